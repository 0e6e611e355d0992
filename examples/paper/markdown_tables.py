"""Markdown tables of results files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marl.runs.description import experience
from rrm_env import metrics


def figure_tables(result: Mapping[str, Any]) -> str:
    """A figure's section of the docs: picture, origin, rows with intervals, claims with evidence.

    Args:
        result: content of a results file that the figure's script wrote.
    """
    name = result["figure"]
    parts = [
        f"## {result['title']}",
        f"![{result['title']}](results/{name}.png)",
        made_by(result, name, sum(result["training_hours"].values())),
        _rows(result["rows"]),
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
"""Headings of the columns that `kpi_cells` fills."""


def kpi_cells(row: Mapping[str, Any]) -> str:
    """A row's KPIs with intervals as cells of a table; a KPI that the results lack stays empty."""
    return " | ".join(
        interval(row[name], metrics.KPIS[name].digits) if name in row else "" for name in KPIS
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


def _rows(rows: Mapping[str, Any]) -> str:
    lines = [f"| | {KPI_HEADINGS} | score, interquartile mean |", "|---" * (len(KPIS) + 2) + "|"]
    for row in rows.values():
        score = row["score"]
        middle = {
            "mean": score["interquartile_mean"],
            "low": score["interquartile_low"],
            "high": score["interquartile_high"],
        }
        lines.append(f"| {row['label']} | {kpi_cells(row)} | {interval(middle, 3)} |")
    return "\n".join(lines)


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
