"""Writes the tables in the docs from the committed results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from benchmark_tables import benchmark_tables
from leaderboard_table import leaderboard_tables
from markdown_tables import (
    OPTIMUM,
    about_optimum,
    experience_of,
    figure_tables,
    interval,
    kpi_cells,
    kpi_headings,
    made_by,
    optimum_for,
    optimum_rows,
)
from network_tables import (
    channels_table,
    ladder_table,
    resilient_table,
    schedulers_tables,
    searches_table,
)
from optima import share_of
from performance_tables import performance_tables
from policy_tables import policy_tables

from rrm_env import RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.files import write_whole

DOCS = Path("docs")


def figures(results: Path) -> str:
    """Sections of all figures.

    Args:
        results: folder of the results files, here and below.
    """
    optimum = _read(results, OPTIMUM)
    return "\n".join(
        figure_tables(json.loads(path.read_text(encoding="utf-8")), optimum)
        for path in sorted(results.glob("figure_?.json"))
    )


def sensitivity(results: Path) -> str:
    """Table of every scheduler's and the learner's score in every variant of the network."""
    result = _read(results, "sensitivity")
    variants = result["variants"]
    optima = {name: variant.get("optimum") for name, variant in variants.items()}
    rows = {
        row: [
            interval(variant["rows"][row]["score"], 2) + _share(variant["rows"][row], optima[name])
            for name, variant in variants.items()
        ]
        for row in variants["paper"]["rows"]
    }
    for best, label in (
        ("score", "*optimum*"),
        ("minimum_score", "*optimum, everybody counted*"),
    ):
        if all(optima.values()):
            rows[label] = [interval(found[best], 2) for found in optima.values() if found]
    headings = [name + _mark_of(best) for name, best in optima.items()]
    table = [f"| score | {' | '.join(headings)} |", "|---" * (len(variants) + 1) + "|"]
    table += [f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items()]
    if notes := _about_optima([*optima.values()]):
        table += ["", notes]
    hours = sum(variant["training_hours"] for variant in variants.values())
    experience = experience_of({name: variant["learner"] for name, variant in variants.items()})
    return "\n".join([made_by(result, "sensitivity", hours), "", *table, "", experience]) + "\n"


def claims_map(results: Path) -> str:
    """Table of how many claims hold in each setting, with the scores and rates that decide them.

    Claims that hold in no setting and in every setting are listed below it.
    """
    result = _read(results, "claims_map")
    data, settings = result["data"], result["settings"]
    scores = {
        "C-CQL": f"c-cql-sac.{data}",
        "CTDE-CQL": f"ctde-cql-sac.{data}",
        "I-CQL": f"i-cql-sac.{data}",
        "online SAC": "online-sac",
        "online DQN": "online-dqn",
        "ITLinQ 25 dB": "itlinq",
        "TDM": "tdm",
    }
    headings = [
        "setting",
        "claims that hold",
        "in part",
        "not",
        *scores,
        "optimum",
        "CTDE of C",
        "tail of online SAC",
    ]
    lines = [f"| {' | '.join(headings)} |", "|---" + "|---:" * (len(headings) - 1) + "|"]
    for name, setting in settings.items():
        means = {label: setting["rows"][row]["score"]["mean"] for label, row in scores.items()}
        best = setting.get("optimum")
        cells = [
            *(str(number) for number in result["count"][name].values()),
            *(
                f"{setting['rows'][row]['score']['mean']:.2f}" + _share(setting["rows"][row], best)
                for row in scores.values()
            ),
            "" if best is None else f"{best['score']['mean']:.2f}",
            f"{means['CTDE-CQL'] / means['C-CQL']:.0%}",
            f"{setting['rows']['online-sac']['tail_rate']['mean']:.2f}",
        ]
        lines.append(f"| {name}{_mark_of(best)} | {' | '.join(cells)} |")
    hours = sum(
        sum(setting["training_hours"].values())
        for setting in settings.values()
        if setting["random_walk"] == "random_walk"
    )
    nowhere = "\n".join(f"- {claim}" for claim in result["nowhere"])
    everywhere = "\n".join(f"- {claim}" for claim in result["everywhere"])
    parts = [
        made_by(result, "claims_map", hours),
        "Scores, and 5-percentile rates in bit/s/Hz:",
        "\n".join(lines),
        *(
            [notes]
            if (notes := _about_optima([s.get("optimum") for s in settings.values()]))
            else []
        ),
        experience_of(next(iter(settings.values()))["learners"]),
        f"Claims that hold in no setting:\n\n{nowhere or '- none'}",
        f"Claims that hold in every setting:\n\n{everywhere or '- none'}",
    ]
    return "\n\n".join(parts) + "\n"


def _share(row: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    """The share of the optimum that a row's score reaches, behind a comma; empty where unknown."""
    share = share_of(row, best)
    return "" if share is None else f", {100 * share:.0f} %"


def _mark_of(best: Mapping[str, Any] | None) -> str:
    """The mark of networks whose optimum knows all channels beforehand."""
    return " †" if best is not None and best["information"] == "channel" else ""


def _about_optima(optima: Sequence[Mapping[str, Any] | None]) -> str:
    """A note below a table on what its shares are of; empty where no optimum is known."""
    known = [best for best in optima if best is not None]
    if not known:
        return ""
    return (
        "Percentages are ratios of the mean score to the mean "
        "[optimum](baselines.md#how-far-from-the-optimum) of the same "
        f"{known[0]['episodes']} episodes (`{known[0]['command']}`)."
        + (
            " †: schedulers can know the present fading, so the optimum is that of a scheduler "
            "that knows the channels of all steps beforehand, and shares of it are lower."
            if any(_mark_of(best) for best in known)
            else ""
        )
    )


def past_the_paper(results: Path) -> str:
    """Tables of what lies past the paper.

    What each learner reaches, exchanges, computes and knows; its score with other numbers of access
    points; and the policies found by searching for the score itself.
    """
    result, limit = _read(results, "past_the_paper"), _read(results, "information_limit")
    agreement, effort = result["return_and_score"], limit["effort"]
    # What the rows' networks change leaves channels and score as they are.
    best = optimum_for(_read(results, OPTIMUM), RRMConfig(), result["scale"]["episodes"])
    correlations = ", ".join(
        f"{value:.2f} for the reward `{reward}`"
        for reward, value in agreement["rank_correlation"].items()
    )
    parts = [
        made_by(
            result, "past_the_paper", sum(row["training_hours"] for row in result["rows"].values())
        ),
        _rows_by_bits(result["rows"], result["references"], best),
        *([] if best is None else [about_optimum(best)]),
        experience_of({name: row["learner"] for name, row in result["rows"].items()}),
        "Score of policies that run with other numbers of access points, 5 users each, "
        "equally dense:",
        _other_sizes(result["other_numbers_of_access_points"]),
        f"Rank correlation of mean return and mean score over {len(agreement['policies'])} "
        f"policies and schedulers: {correlations}.",
        f"Searches for the score itself, `{limit['command']}`, {limit['scale']['seeds']} searches, "
        f"{effort['generations']} generations of {effort['population']} policies:",
        "\n".join(
            [
                f"| policies found | {kpi_headings(best)} |",
                _rule(1, best),
                *(f"| {name} | {kpi_cells(row, best)} |" for name, row in limit["rows"].items()),
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _rule(others: int, best: Mapping[str, Any] | None) -> str:
    """The line below the heading of a table of all KPIs and ``others`` further columns."""
    return "|---" * (kpi_headings(best).count("|") + 1 + others) + "|"


def _rows_by_bits(
    rows: dict[str, Any], references: dict[str, Any], best: Mapping[str, Any] | None
) -> str:
    headings = kpi_headings(best)
    lines = [
        f"| | {headings} | bits per decision | multiply-adds | an access point knows |",
        _rule(4, best),
    ]
    for name, row in sorted(rows.items(), key=lambda item: int(item[1]["bits"])):
        lines.append(
            f"| {name} | {kpi_cells(row, best)} | {row['bits']} | {row['multiply_adds']:,} "
            f"| {row['information']} |"
        )
    lines += [f"| `{name}` | {kpi_cells(row, best)} | | | |" for name, row in references.items()]
    return "\n".join(lines + optimum_rows(best, 3))


def _other_sizes(sizes: dict[str, Any]) -> str:
    names = list(next(iter(sizes.values())))
    lines = [f"| access points | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join(
        lines
        + [
            f"| {size} | {' | '.join(interval(row[name]['score'], 3) for name in names)} |"
            for size, row in sizes.items()
        ]
    )


PAGES: dict[str, Callable[[Path], str]] = {
    "reproduction_tables.md": figures,
    "sensitivity_table.md": sensitivity,
    "claims_map_table.md": claims_map,
    "past_the_paper_tables.md": past_the_paper,
    "ladder_table.md": ladder_table,
    "schedulers_tables.md": lambda results: schedulers_tables(_read(results, "schedulers")),
    "searches_table.md": lambda results: searches_table(_read(results, "searches")),
    "policies_tables.md": lambda results: policy_tables(
        _read(results, "policies"), _read(results, "schedulers")
    ),
    "channels_table.md": lambda results: channels_table(_read(results, "channels")),
    "benchmark_tables.md": lambda results: benchmark_tables(_read(results, "benchmark")),
    "resilient_table.md": lambda results: resilient_table(_read(results, "resilient")),
    "performance_tables.md": lambda results: performance_tables(
        *(
            _read(results, name)
            for name in (
                "benchmark_environment",
                "benchmark_deciding",
                "traces",
                "benchmark_learners",
            )
        )
    ),
    "leaderboard_table.md": lambda results: leaderboard_tables(results.parent / "leaderboard"),
}
"""Functions that make the content of each file in docs from the folder of results."""


def _read(results: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        _write(DOCS / name, page(DOCS / "results"))
        print(f"wrote {DOCS / name}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: tyro.cli(main, description=__doc__)))
