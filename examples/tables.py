"""Writes docs/reproduction_tables.md, the tables behind docs/reproduction.md, from the committed results of the figures."""

from __future__ import annotations

import json
from pathlib import Path

from marl.tables import figure_tables
from rrm_env.files import write_whole

RESULTS, TABLES = Path("docs/results"), Path("docs/reproduction_tables.md")


def tables(results: Path) -> str:
    """All figures' sections, from a folder of results files."""
    return "\n".join(figure_tables(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(results.glob("figure_?.json")))


if __name__ == "__main__":
    write_whole(TABLES, lambda file: file.write(tables(RESULTS).encode()))
    print(f"wrote {TABLES}")
