"""Tables of the benchmark, from benchmark.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark_methods import METHODS, Online
from benchmark_pictures import REFERENCE, improvements, ranked

from marl.benchmark.networks import NETWORKS
from marl.benchmark.recipes import TIERS

Row = Mapping[str, Any]

_NOTE = (
    "Normalised scores (random walk = 0, optimum = 100) with 95 % intervals over seeds and "
    "episodes, five seeds unless a row says otherwise. Bold: above the behaviour in the data on "
    "the same episodes, with the interval of the difference clear of zero."
)


def benchmark_tables(found: Row) -> str:
    """All tables of the page, with headings.

    Args:
        found: benchmark.json.
    """
    cells = found["cells"]
    parts = [_NOTE]
    for network in NETWORKS:
        if not any(name.startswith(f"{network}/") for name in cells):
            continue
        parts += [f"### {network}", _of_network(cells, network)]
        if online := _online(cells, network):
            parts += [online]
    return "\n\n".join([*parts, "### All datasets together", _compared(cells)]) + "\n"


def _of_network(cells: Mapping[str, Row], network: str) -> str:
    """The table of a network: methods by tiers."""
    lines = [["learned from", *TIERS]]
    for name in ("behaviour", *METHODS):
        label = "*the behaviour itself*" if name == "behaviour" else METHODS[name].label
        row = [cells.get(f"{network}/{tier}:{name}") for tier in TIERS]
        if any(row):
            lines.append([label, *(_cell(cell) if cell else "" for cell in row)])
    return _table(lines)


def _online(cells: Mapping[str, Row], network: str) -> str:
    """The table of the learners that acted themselves; empty where there are none."""
    lines = [["learned online", "score", "normalised", "worst user's rate"]]
    for name, method in METHODS.items():
        if isinstance(method, Online) and (cell := cells.get(f"{network}/online:{name}")):
            score, worst = cell["score"]["mean"], cell["worst_rate"]["mean"]
            lines.append([method.label, f"{score:.2f}", _cell(cell), f"{worst:.2f}"])
    return _table(lines) if len(lines) > 1 else ""


def _cell(cell: Row) -> str:
    """A normalised score with its interval, bold where it is clearly above the behaviour."""
    value = cell["normalised"]
    text = str(round(value["mean"]))  # as integers, none of which reads -0
    if cell.get("above_behaviour", {"low": 0.0})["low"] > 0:
        text = f"**{text}**"
    return f"{text} ({round(value['low'])}…{round(value['high'])})"


def _compared(cells: Mapping[str, Row]) -> str:
    """Mean ranks, and the probability that a seed is better than one of the plainest method."""
    against = improvements(cells)
    found = ranked(cells)
    named = set(against).union(*found.values())
    if not named:
        return "No method is in the table yet."
    reference = METHODS[REFERENCE].label
    lines = [["method", *(f"rank in {where}" for where in found), f"better than {reference}"]]
    for name in (name for name in METHODS if name in named):
        ranks = [
            "{:.1f} ({:.1f}…{:.1f})".format(*rank[name]) if name in rank else ""
            for rank in found.values()
        ]
        chance = (
            "{:.0f} % ({:.0f}…{:.0f})".format(*(100 * p for p in against[name]))
            if name in against
            else ""
        )
        lines.append([METHODS[name].label, *ranks, chance])
    note = (
        "Mean ranks (1 is the best) over the datasets of `paper` and of all networks, among the "
        "methods that are in the table of every one. The last column is the probability that a "
        f"seed of a method scores higher than one of {reference}, over the datasets that both "
        "learned from."
    )
    return f"{_table(lines)}\n\n{note}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
