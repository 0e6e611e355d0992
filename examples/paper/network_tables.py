"""Markdown tables of schedulers: beside the optimum, exhaustive search and another paper's code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladder import rows_of
from markdown_tables import KPI_HEADINGS, KPIS, interval, kpi_cells

from rrm_env import metrics

_INFORMATION = {
    "large_scale": "that knows all gains without fading and nothing of the present fading",
    "channel": "that knows all channels of the episode beforehand, with their fading",
}


def schedulers_tables(found: Mapping[str, Any]) -> str:
    """A section for each network: its optimum, and every scheduler's KPIs and shares of it."""
    first = next(iter(found.values()))
    machine = first["machine"]
    parts = [
        f"`{first['command']}` on {machine['cores']} cores of {machine['processor']}. "
        "Shares are ratios of mean scores over the episodes whose optimum is known, with intervals "
        "over these episodes. All numbers: [results/schedulers.json](results/schedulers.json)."
    ]
    for name, network in found.items():
        parts += [f"### {_title(name, network['config'])}", _about(network), _table(network)]
    return "\n\n".join(parts) + "\n"


def _title(name: str, config: Mapping[str, Any]) -> str:
    if name.startswith(tuple("0123456789")):
        return f"{name}, {config['n_ues']} users"
    return f"Preset {name}: {config['n_aps']} access points, {config['n_ues']} users"


def _about(network: Mapping[str, Any]) -> str:
    """What is known of the optimum, and what it took."""
    top = network["optimum"]
    known = (
        f"Optimum of a scheduler {_INFORMATION[top['information']]}"
        if top["is_bound"]
        else "Best schedule known, without a proof"
    )
    one = top["episodes"] == 1

    def value(name: str, digits: int) -> str:
        """A mean, with its interval if it is over more than one episode."""
        return f"{top[name]['mean']:.{digits}f}" if one else interval(top[name], digits)

    gaps = [gap for gap in top["relative_gap"].values() if gap is not None]
    return (
        f"{known}: {top['episodes']} episode{'' if one else 's'}, {top['blocks']} time blocks, "
        f"{_two_digits(top['seconds_per_episode'])} s of the processor per episode"
        + (f", gap at most {max(gaps):.0e}" if gaps else "")
        + f". Score {value('score', 3)}; with everybody counted {value('minimum_score', 3)}; "
        f"highest sum rate {value('sum_rate', 2)}; "
        f"highest rate of the worst user {value('max_min', 3)}."
    )


def _two_digits(value: float) -> str:
    """A number with at least two digits that count, never as a power of ten."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _table(network: Mapping[str, Any]) -> str:
    top = network["optimum"]
    best = "optimum" if top["is_bound"] else "best known"
    lines = [
        f"| scheduler | {KPI_HEADINGS} | episodes | share of {best} | everybody counted |",
        "|---" * (KPI_HEADINGS.count("|") + 5) + "|",
    ]
    lines += [
        f"| `{row['scheduler']}` | {kpi_cells(row)} | {row['episodes']} "
        f"| {share(row['score_share'], top)} | {share(row['minimum_score_share'], top)} |"
        for row in network["schedulers"]
    ]
    kpis = top["kpis_at_best_score"]
    cells = kpi_cells(kpis)
    if top["episodes"] == 1:
        cells = " | ".join(f"{kpis[name]['mean']:.{metrics.KPIS[name].digits}f}" for name in KPIS)
    lines.append(f"| {best} | {cells} | {top['episodes']} | 100 % | |")
    return "\n".join(lines)


def share(value: Mapping[str, float], top: Mapping[str, Any]) -> str:
    """A share in per cent, with its interval if the optimum of several episodes is known."""
    if top["episodes"] == 1:
        return f"{100 * value['mean']:.0f} %"
    return f"{100 * value['mean']:.0f} % ({100 * value['low']:.0f}…{100 * value['high']:.0f})"


def searches_table(found: Mapping[str, Any]) -> str:
    """How much of exhaustive search's weighted rate each other search reaches."""
    rows = [row for row in found["shares"] if row["scheduler"] != "exact"]
    lines = [
        "| network, channel | search | mean | 5th percentile | best action found | µs |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{row['preset']}`, {row['csi']} | `{row['scheduler']}` "
        f"| {100 * row['ratio_mean']:.2f} % | {100 * row['ratio_5th_percentile']:.0f} % "
        f"| {100 * row['optimal_share']:.0f} % | {row['us_per_decision']:.0f} |"
        for row in rows
    ]
    episodes = {f"{row['episodes']} of `{row['preset']}`": None for row in rows}
    return (
        f"`{found['command']}`, unseen episodes: {', '.join(episodes)}. "
        "All numbers: [results/searches.json](results/searches.json).\n\n" + "\n".join(lines) + "\n"
    )


def resilient_table(found: Mapping[str, Any]) -> str:
    """Schedulers beside the code of arXiv 2203.11012, by the KPIs of that code."""
    lines = [
        "| policy | knows | powers | 5th percentile | mean rate | worst user | mean power |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    key = "pooled_tail_rate"
    for row in sorted(found["policies"], key=lambda row: -row[key]["mean"]):
        theirs, power = row["whose"] == "theirs", row["mean_power"]
        name = f"theirs: {row['policy']}" if theirs else f"`{row['policy']}`"
        cells = (
            row["knows"],
            row["powers"],
            interval(row[key], 3),
            interval(row["mean_rate"], 3),
            f"{row['worst_rate']['mean']:.3f}",
            "" if power is None else f"{100 * power:.0f} %",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return (
        f"`{found['command']}`, {found['networks']} networks. "
        f"{found['theirs']['training']} Rates in bit/s/Hz per user. "
        "All numbers: [results/resilient.json](results/resilient.json).\n\n"
        + "\n".join(lines)
        + "\n"
    )


def ladder_table(results: Path) -> str:
    """Every rung of the ladder: what it reaches, what it knows and what that costs in bits."""
    rows, top = rows_of(results)
    best = top["score"]["mean"]
    lines = [
        "| | score | share of optimum | worst user's rate | bits | knows |",
        "|---|---|---:|---:|---:|---|",
    ]
    for rung, row in rows:
        worst = f"{row['worst_rate']['mean']:.2f}" if "worst_rate" in row else ""
        lines.append(
            f"| {rung.label} | {interval(row['score'], 2)} "
            f"| {100 * row['score']['mean'] / best:.0f} % | {worst} | {rung.bits} | {rung.knows} |"
        )
    for name, text in (("minimum_score", "optimum, everybody counted"), ("score", "optimum")):
        lines.append(
            f"| *{text}* | {interval(top[name], 2)} | {100 * top[name]['mean'] / best:.0f} % | | "
            "| all gains of the whole episode without fading |"
        )
    return "\n".join(lines) + "\n"


def channels_table(found: Mapping[str, Any]) -> str:
    """Scores in other channels, and their shares of the optimum there."""
    channels = {name: part for name, part in found.items() if "rows" in part}
    rows = dict.fromkeys(row for part in channels.values() for row in part["rows"])
    lines = [
        f"`{found['command']}`, 5 seeds of each learner. Score with its 95 % interval, "
        "share of the optimum, worst user's rate.",
        "",
        f"| | {' | '.join(channels)} |",
        "|---" * (len(channels) + 1) + "|",
        *(
            f"| {row if ' ' in row else f'`{row}`'} | "
            + " | ".join(_in_channel(part["rows"].get(row)) for part in channels.values())
            + " |"
            for row in rows
        ),
        "| *optimum* | "
        + " | ".join(interval(part["optimum"], 2) for part in channels.values())
        + " |",
    ]
    notes = [
        f"{name}: {' '.join(part['notes'])}" for name, part in channels.items() if part["notes"]
    ]
    return "\n".join([*lines, "", *notes]) + "\n"


def _in_channel(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    share, worst = row["share_of_optimum"]["mean"], row["worst_rate"]["mean"]
    return f"{interval(row['score'], 2)}; {100 * share:.0f}&nbsp;%; {worst:.2f}"
