"""Descriptions of datasets and training runs, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from marl.data.dataset import Dataset
from marl.exchange.card import Behaviour, behaviours, described_behaviours
from marl.runs.checkpoint import updates_done
from marl.runs.description import describe, experience, is_online


def dataset_table(dataset: Dataset, title: str) -> Table:
    """The behaviours of a dataset, and the sizes of its team."""
    team = dataset.team
    grid = _behaviours_table(behaviours(dataset), f"{title}: {len(dataset):,} transitions")
    grid.caption = (
        f"{team.n_agents} agents, {team.n_features} features and {team.n_actions} actions each"
    )
    return grid


def run_tables(run: Path) -> Iterator[Table]:
    """A table for each part of a run's description."""
    description = describe(run)
    seeds = {
        "seeds": description["seeds"],
        "trained for": experience(description),
        "done": experience(description, updates_done(run)),
    }
    yield _pairs(f"{run}: {description['scheme']}", seeds)
    if is_online(description):
        yield _pairs("Data", {"data": "online"})
    else:
        data = description["data"]
        yield _pairs("Data", {name: value for name, value in data.items() if name != "behaviours"})
        if data.get("behaviours"):
            known = described_behaviours(data["behaviours"])
            yield _behaviours_table(known, "Behaviours in the data")
    environment = dict(description["environment"])
    config = environment.pop("config", {})
    yield _pairs("Environment", {**config, **environment})
    for part in ("training", "learner", "versions"):
        if description.get(part):
            yield _pairs(part.capitalize(), description[part])


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    """A table of names and values."""
    grid = Table(title=escape(title), show_header=False, title_justify="left")
    for name, value in values.items():
        grid.add_row(escape(name), escape(_text(value)))
    return grid


def _text(value: Any) -> str:
    """A value of a description as plain text, without brackets and quotation marks."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _behaviours_table(known: list[Behaviour], title: str) -> Table:
    grid = Table(title=escape(title), title_justify="left", caption_justify="left")
    for heading in ("Behaviour", "Seed", "Transitions", "KPIs of its episodes"):
        grid.add_column(heading)
    for behaviour in known:
        kpis = ", ".join(f"{name} {value:,.3f}" for name, value in behaviour.kpis.items())
        grid.add_row(
            escape(behaviour.name), behaviour.seed, f"{behaviour.transitions:,}", escape(kpis)
        )
    return grid
