"""Tables of policies that scale, from policies.json and schedulers.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markdown_tables import interval

Row = Mapping[str, Any]

COUNTED = ("tail", "everybody")
SCHEDULERS = (
    "reuse",
    "greedy_max_weight:csi=large_scale:exponent=2:starts=1",
    "long_memory",
    "fluid",
)
"""Schedulers beside the policies; of ITLinQ stands the best tolerance."""
HEADINGS = (
    "graph",
    "`debts`",
    "ITLinQ, best",
    "`reuse`",
    "greedy max-weight",
    "`long_memory`",
    "`fluid`",
    "best known",
)


def policy_tables(found: Row, committed: Row) -> str:
    """All tables of the page, with headings.

    Args:
        found: policies.json.
        committed: schedulers.json.
    """
    return "\n\n".join(
        [
            "### Score against bits\n",
            _bits(found["bits"], committed["paper"]["optimum"]),
            "### One policy for all sizes\n",
            _sizes(found["sizes"], committed),
            "### What it learned from\n",
            _data(found["data"]),
            "### What each part is worth\n",
            _parts(found["parts"]),
        ]
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scored(row: Row) -> str:
    """A score with its interval, and the worst user's rate."""
    return f"{interval(row['score'], 2)}; {row['worst_rate']['mean']:.2f}"


def _bits(rows: Row, best: Row) -> str:
    told = sorted(
        {label.split(":", 2)[2] for label in rows},
        key=lambda exchange: float(
            rows[f"graph:counted=tail:{exchange}"]["bits_per_joint_decision"]
        ),
    )
    lines = []
    for exchange in told:
        bits = rows[f"graph:counted=tail:{exchange}"]["bits_per_joint_decision"]
        lines.append(
            [
                f"`{exchange}`",
                f"{bits:,.1f}",
                *(
                    _scored(rows[f"{name}:counted={counted}:{exchange}"])
                    for counted in COUNTED
                    for name in ("graph", "debts", "fluid")
                ),
            ]
        )
    top = f"{best['score']['mean']:.2f}", f"{best['minimum_score']['mean']:.2f}"
    lines.append(["optimum", "", top[0], top[0], top[0], top[1], top[1], top[1]])
    names = [f"{name}, {counted}" for counted in COUNTED for name in ("graph", "debts", "fluid")]
    return _table(["exchanged", "bits per joint decision", *names], lines)


def _sizes(sizes: Row, committed: Row) -> str:
    lines, times = [], []
    for name, rows in sizes.items():
        others = {row["scheduler"]: row for row in committed[name]["schedulers"]}
        itlinq = max(
            (row for label, row in others.items() if label.startswith("itlinq")),
            key=lambda row: float(row["score"]["mean"]),
        )
        beside = [
            others.get(label) or others[label.removesuffix(":starts=1")] for label in SCHEDULERS
        ]
        best = committed[name]["optimum"]["score"]["mean"]
        tail = rows["graph:counted=tail"], rows["debts:counted=tail"], itlinq, *beside
        lines.append([name, *(interval(row["score"], 2) for row in tail), f"{best:.2f}"])
        everybody = rows["graph:counted=everybody"], rows["debts:counted=everybody"]
        lines.append(
            [
                f"{name}, worst user",
                *(f"{row['worst_rate']['mean']:.3f}" for row in (*everybody, itlinq, *beside)),
                "",
            ]
        )
        times.append(
            [
                name,
                *(f"{row['microseconds_per_step']:,.0f}" for row in tail[:2]),
                *(f"{1e6 / row['steps_per_processor_second']:,.0f}" for row in tail[2:]),
            ]
        )
    scores = _table(["network", *HEADINGS], lines)
    return f"{scores}\n\nMicroseconds of the processor per step, network included:\n\n" + _table(
        ["network", *HEADINGS[:-1]], times
    )


def _data(networks: Row) -> str:
    lines = []
    for network, behaviours in networks.items():
        for behaviour, rows in behaviours.items():
            lines.append(
                [
                    f"{network}, `{behaviour}`",
                    _scored(rows["behaviour"]),
                    *(
                        _scored(rows[f"{method}:counted={counted}"])
                        for counted in COUNTED
                        for method in ("clone", "dual")
                    ),
                ]
            )
    names = [f"{method}, {counted}" for counted in COUNTED for method in ("cloned", "dual")]
    return _table(["recorded", "behaviour", *names], lines)


def _parts(variants: Row) -> str:
    columns = list(variants["as it is"])
    lines = [
        [variant, *(_scored(rows[column]) for column in columns)]
        for variant, rows in variants.items()
    ]
    return _table(["", *(column.replace(":counted=", ", ") for column in columns)], lines)
