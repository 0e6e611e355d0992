"""The tables of the page on baselines that examples/benchmarks/schedulers.py measures."""

from __future__ import annotations

import json
import re
from typing import Any

from documents import text_of

PAGE = text_of("baselines.md")
FOUND: dict[str, Any] = json.loads(text_of("results/schedulers.json"))


def test_other_presets_have_their_committed_numbers() -> None:
    rows = re.findall(r"^\| `(wide|dense)` \| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert {preset for preset, *_ in rows} == {"wide", "dense"}
    measured = {
        (preset, row["scheduler"]): row
        for preset in FOUND["presets"]
        for row in FOUND["presets"][preset]
    }
    for preset, name, cells in rows:
        row = measured[preset, name]
        assert row["episodes"] == 256
        assert cells.split(" | ") == [
            "{mean:.3f} ({low:.3f}…{high:.3f})".format(**row["score"]),
            f"{row['sum_rate']['mean']:.2f}",
            f"{row['tail_rate']['mean']:.3f}",
            f"{row['worst_rate']['mean']:.3f}",
        ], name


def test_shares_of_exhaustive_search_are_the_committed_ones() -> None:
    rows = re.findall(r"^\| `(\w+)`, (\w+) \| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(FOUND["shares"]) - 3  # without exhaustive search itself
    measured = {(row["preset"], row["csi"], row["scheduler"]): row for row in FOUND["shares"]}
    for preset, csi, name, cells in rows:
        row = measured[preset, csi, name]
        assert cells.split(" | ") == [
            f"{100 * row['ratio_mean']:.2f} %",
            f"{100 * row['ratio_5th_percentile']:.0f} %",
            f"{100 * row['optimal_share']:.0f} %",
            f"{row['us_per_decision']:.0f}",
        ], name
