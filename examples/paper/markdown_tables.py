"""Results files as Markdown, for the docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marl.runs.description import experience
from rrm_env import metrics


def figure_tables(result: Mapping[str, Any]) -> str:
    """A figure's section: its picture, origin, every row with intervals, every claim with its evidence.

    Args:
        result: the content of a results file that `figure` wrote.
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
    """What made a results file, and where it is."""
    scale, machine = result["scale"], result["machine"]
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"`{result['command']}`, revision {result['revision']}, {scale['seeds']} seeds, {scale['episodes']} unseen episodes; training took "
        f"{hours:.1f} hours on {cores} ({machine['processor']}), data's included. All numbers: "
        f"[results/{name}.json](results/{name}.json)."
    )


KPIS = sorted(metrics.LEARNERS_KPIS, key=lambda name: name != "score")
"""The KPIs in the order of the tables: the score first, beside the name of the row."""

KPI_HEADINGS = " | ".join(metrics.KPIS[name].heading for name in KPIS)
"""The headings above `kpi_cells`."""


def kpi_cells(row: Mapping[str, Any]) -> str:
    """The KPIs of a row, each with its interval, as cells of a table; empty where results have none of that KPI."""
    return " | ".join(
        interval(row[name], metrics.KPIS[name].digits) if name in row else "" for name in KPIS
    )


def experience_of(learners: Mapping[str, Mapping[str, Any]]) -> str:
    """Updates and environment steps of a table's learners, from their descriptions by label, to stand under the table."""
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
        middle = f"{score['interquartile_mean']:.3f} ({score['interquartile_low']:.3f}…{score['interquartile_high']:.3f})"
        lines.append(f"| {row['label']} | {kpi_cells(row)} | {middle} |")
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
    """The text with rows called what the reader knows them as; longer names first, since one may begin another."""
    for name in sorted(labels, key=len, reverse=True):
        text = text.replace(name, labels[name]) if name != labels[name] else text
    for name, kpi in metrics.KPIS.items():
        text = text.replace(name, kpi.axis)
    return text


def interval(value: Mapping[str, float], digits: int) -> str:
    """A mean and its 95 % interval."""
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}…{value['high']:.{digits}f})"


def _mark(item: Mapping[str, Any]) -> str:
    return "" if item["holds"] else " ✗"
