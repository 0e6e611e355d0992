"""Markdown tables of the leaderboard, from the submissions in docs/leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markdown_tables import interval

from baselines.comparison import mean_with_interval
from baselines.submission import Submission, demanded_episodes, read_submission
from rrm_env import metrics
from rrm_env.references import Reference, references

HEADINGS = (
    "",
    "score",
    "normalised",
    metrics.KPIS["worst_rate"].heading,
    metrics.KPIS["sum_rate"].heading,
    "decides from",
    "bits",
    "by",
)


def leaderboard_tables(folder: Path) -> str:
    """A section for each network that has submissions, the best ones first.

    Args:
        folder: of the submissions.
    """
    submissions = [read_submission(path) for path in sorted(folder.glob("*.json"))]
    parts = []
    for name, network in references().items():
        own = [entry for entry in submissions if entry.network.name == name]
        if own:
            ordered = sorted(own, key=lambda entry: -float(entry.kpi("score").mean()))
            parts += [f"## {name}", _about(network), _table(ordered)]
    return "\n\n".join(parts) + "\n"


def _about(network: Reference) -> str:
    config = network.network
    return (
        f"{config.n_aps} access points, {config.n_ues} users, {config.episode_length} steps; "
        f"{demanded_episodes(config)} episodes. {network.note}"
    )


def _table(submissions: Sequence[Submission]) -> str:
    lines = [HEADINGS, ["---", *["---:"] * 4, "---", "---:", "---"]]
    lines += [_cells(entry) for entry in submissions]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(entry: Submission) -> list[str]:
    found = {}
    for name in ("score", "worst_rate", "sum_rate"):
        values = entry.kpi(name)
        found[name] = mean_with_interval(values[0] if len(values) == 1 else values)
    # Rounded before 0 is added, so that no cell reads -0.0.
    normalised = {
        key: round(entry.network.normalised(value), 1) + 0.0
        for key, value in found["score"].items()
    }
    seeds = f", {len(entry.ue_rates)} seeds" if len(entry.ue_rates) > 1 else ""
    link = f"[{_plain(entry.about.name)}](leaderboard/{entry.path.name}){seeds}"
    return [
        link,
        interval(found["score"], metrics.KPIS["score"].digits),
        interval(normalised, 1),
        interval(found["worst_rate"], metrics.KPIS["worst_rate"].digits),
        interval(found["sum_rate"], metrics.KPIS["sum_rate"].digits),
        _plain(entry.about.information),
        "" if entry.about.bits is None else f"{entry.about.bits:,.1f}".removesuffix(".0"),
        _plain(entry.about.author),
    ]


def _plain(text: str) -> str:
    """A text of a stranger for a table: Markdown and HTML in it are shown as they are."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#!$&{}" else sign for sign in text)
