"""Markdown tables of results files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marl.runs.description import experience
from rrm_env import RRMConfig, metrics

OPTIMUM = "optimum_paper"
"""The results file of ``python -m baselines --optimum`` that has the optimum of the tables."""


def optimum_for(
    optimum: Mapping[str, Any] | None, network: RRMConfig, episodes: int
) -> Mapping[str, Any] | None:
    """The optimum, if it is of this network and this many episodes; otherwise None.

    Args:
        optimum: content of `OPTIMUM`.
        network: the network of a table's rows.
        episodes: number of episodes of seed 0 that the rows were evaluated on.
    """
    if optimum is None:
        return None
    measured = optimum["seed"], RRMConfig(**optimum["config"]), optimum["episodes"]
    return optimum["optimum"] if measured == (0, network, episodes) else None


def figure_tables(result: Mapping[str, Any], optimum: Mapping[str, Any] | None = None) -> str:
    """A figure's section of the docs: picture, origin, rows with intervals, claims with evidence.

    Args:
        result: content of a results file that the figure's script wrote.
        optimum: content of `OPTIMUM`; where it is of the same episodes, rows state their share.
    """
    network = RRMConfig(**result["network"])  # newer fields: their defaults
    best = optimum_for(optimum, network, result["scale"]["episodes"])
    name = result["figure"]
    parts = [
        f"## {result['title']}",
        f"![{result['title']}](results/{name}.png)",
        made_by(result, name, sum(result["training_hours"].values())),
        _rows(result["rows"], best),
        *([] if best is None else [about_optimum(best)]),
        experience_of(
            {result["rows"][name]["label"]: learner for name, learner in result["learners"].items()}
        ),
        _claims(result["claims"], {name: row["label"] for name, row in result["rows"].items()}),
    ]
    return "\n\n".join(parts) + "\n"


def made_by(result: Mapping[str, Any], name: str, hours: float) -> str:
    """A sentence on the command, revision, scale, machine and time behind a results file."""
    scale, machine = result["scale"], result["machine"]
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"`{result['command']}`, revision {result['revision']}, {scale['seeds']} seeds, "
        f"{scale['episodes']} unseen episodes; training took {hours:.1f} hours on {cores} "
        f"({machine['processor']}), data's included. All numbers: "
        f"[results/{name}.json](results/{name}.json)."
    )


KPIS = sorted(metrics.LEARNERS_KPIS, key=lambda name: name != "score")
"""The KPIs in the order of the tables: the score first, beside the name of the row."""

KPI_HEADINGS = " | ".join(metrics.KPIS[name].heading for name in KPIS)
"""Headings of the columns that `kpi_cells` fills where no optimum is known."""


def kpi_headings(best: Mapping[str, Any] | None) -> str:
    """Headings of the columns that `kpi_cells` fills."""
    score, others = KPI_HEADINGS.split(" | ", 1)
    return KPI_HEADINGS if best is None else f"{score} | share of optimum | {others}"


def kpi_cells(row: Mapping[str, Any], best: Mapping[str, Any] | None = None) -> str:
    """A row's KPIs with intervals as cells of a table; a KPI that the results lack stays empty.

    Args:
        row: intervals by KPI.
        best: the optimum of the same episodes, of which the second cell states the share.
    """
    cells = [interval(row[name], metrics.KPIS[name].digits) if name in row else "" for name in KPIS]
    if best is not None:
        cells.insert(1, f"{100 * row['score']['mean'] / best['score']['mean']:.0f} %")
    return " | ".join(cells)


def optimum_rows(best: Mapping[str, Any] | None, empty: int) -> list[str]:
    """Rows of a table about the optimum, and about the one with everybody counted.

    Args:
        best: the optimum; None gives no rows.
        empty: number of empty cells behind those of `kpi_cells`.
    """
    schedules = {} if best is None else best["schedules"]
    return [
        f"| *{name}* | {kpi_cells(row, best)} |{'  |' * empty}" for name, row in schedules.items()
    ]


def about_optimum(best: Mapping[str, Any]) -> str:
    """A note below a table on what its shares are of."""
    score, everybody = (best[name]["mean"] for name in ("score", "minimum_score"))
    return (
        "Share of optimum: the mean score by that of the "
        f"[optimum](baselines.md#how-far-from-the-optimum) of the same episodes, {score:.3f}. The "
        "score's tail leaves out one user in 20, and the optimum uses that; with everybody counted "
        f"it is {everybody:.3f}. All numbers: [results/{OPTIMUM}.json](results/{OPTIMUM}.json)."
    )


def experience_of(learners: Mapping[str, Mapping[str, Any]]) -> str:
    """A note below a table: updates and environment steps of its learners.

    Args:
        learners: descriptions of runs, by label.
    """
    alike: dict[str, list[str]] = {}
    for label, description in learners.items():
        alike.setdefault(experience(description), []).append(label)
    if len(alike) == 1:
        return f"Each seed of every learner: {next(iter(alike))}."
    return "\n".join(
        ["Each seed:", "", *(f"- {text}: {'; '.join(labels)}" for text, labels in alike.items())]
    )


def _rows(rows: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    headings = f"| | {kpi_headings(best)} | score, interquartile mean |"
    lines = [headings, "|---" * (headings.count("|") - 1) + "|"]
    for row in rows.values():
        score = row["score"]
        middle = {
            "mean": score["interquartile_mean"],
            "low": score["interquartile_low"],
            "high": score["interquartile_high"],
        }
        lines.append(f"| {row['label']} | {kpi_cells(row, best)} | {interval(middle, 3)} |")
    return "\n".join(lines + optimum_rows(best, 1))


def _claims(claims: list[dict[str, Any]], labels: Mapping[str, str]) -> str:
    lines = ["| claim | verdict | measured |", "|---|---|---|"]
    for claim in claims:
        evidence = "<br>".join(
            f"{_labelled(item['text'], labels)}: {interval(item, 3)}{_mark(item)}"
            for item in claim["evidence"]
        )
        lines.append(f"| {claim['claim']} | **{claim['verdict']}** | {evidence} |")
    return "\n".join(lines)


def _labelled(text: str, labels: Mapping[str, str]) -> str:
    """The text with labels instead of the names of rows, and with the KPIs' full names."""
    # Longer names first: a shorter one may begin a longer one.
    for name in sorted(labels, key=len, reverse=True):
        text = text.replace(name, labels[name]) if name != labels[name] else text
    for name, kpi in metrics.KPIS.items():
        text = text.replace(name, kpi.axis)
    return text


def interval(value: Mapping[str, float], digits: int) -> str:
    """A mean and its 95 % interval as text."""
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}…{value['high']:.{digits}f})"


def _mark(item: Mapping[str, Any]) -> str:
    return "" if item["holds"] else " ✗"
