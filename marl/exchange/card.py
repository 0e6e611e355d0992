"""Dataset cards for Hugging Face: YAML front matter and the sections of its template that apply."""

from __future__ import annotations

import json
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from marl.data.dataset import Dataset
from marl.data.transitions import COLUMNS
from marl.exchange.d3rlpy import episode_ends
from marl.exchange.statistics import (
    BITS,
    distribution,
    episode_values,
    legal_actions,
    state_action_coverage,
)
from rrm_env import RRMConfig, metrics
from rrm_env.files import check_replaceable
from rrm_env.references import known_reference

PAPER = """@article{eldeeb2025offline,
  title = {An Offline Multi-Agent Reinforcement Learning Framework for Radio Resource Management},
  author = {Eldeeb, Eslam and Alves, Hirley},
  journal = {arXiv preprint arXiv:2501.12991},
  year = {2025}
}"""
"""BibTeX entry of the paper."""

_SIZES = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "n>1B",
)
"""Hugging Face's size categories; bounds are a factor of ten apart, from 1,000 on."""


class Behaviour(NamedTuple):
    """Who acted in some of a dataset's transitions."""

    name: str
    seed: str
    transitions: int
    """Number of its transitions in the dataset."""
    kpis: Mapping[str, float]
    """Means over the episodes of its recording."""


def behaviours(dataset: Dataset) -> list[Behaviour]:
    """The behaviours of a dataset, in the order of their ids."""
    known = dataset.metadata.get("behaviours", [])
    counts = Counter(dataset.behaviour.tolist())
    described = {**{k: {} for k in counts}, **dict(enumerate(known))}
    return [_behaviour(k, behaviour, counts[k]) for k, behaviour in sorted(described.items())]


def described_behaviours(known: Sequence[Mapping[str, Any]]) -> list[Behaviour]:
    """The behaviours in a run's description, whose dataset need not be there."""
    return [
        _behaviour(k, behaviour, int(behaviour.get("transitions", 0)))
        for k, behaviour in enumerate(known)
    ]


def _behaviour(k: int, described: Mapping[str, Any], transitions: int) -> Behaviour:
    return Behaviour(
        str(described.get("name", k)),
        str(described.get("seed", "")),
        transitions,
        described.get("kpis", {}),
    )


def dataset_card(
    dataset: Dataset, file: str = "data.safetensors", *, picture: str = "", name: str = ""
) -> str:
    """The text of a dataset's card, for README.md beside the data on Hugging Face.

    Args:
        dataset: what to describe, by its arrays and its metadata.
        file: the name of its file.
        picture: the name of the picture's file beside the card, if there is one.
        name: the dataset's name in the benchmark, if it has one; the title begins with it.
    """
    config = dataset.environment.network
    names = dict.fromkeys(
        behaviour.name.partition(", seed")[0] for behaviour in behaviours(dataset)
    )
    task = str(dataset.environment.name or "Multi-agent reinforcement learning")
    licence = "unknown"
    tags = ["offline-rl", "multi-agent-reinforcement-learning", "pettingzoo"]
    if config:
        task = "Radio resource management"
        licence = "mit"
        tags += ["radio-resource-management", "wireless"]
    title = f"{name or task}: {', '.join(names)}, {len(dataset):,} transitions"
    size = _SIZES[bisect([10**k for k in range(3, 10)], len(dataset))]
    front = [
        f"license: {licence}",
        f"pretty_name: {json.dumps(title, ensure_ascii=False)}",
        *("task_categories:", "- reinforcement-learning"),
        *("tags:", *(f"- {tag}" for tag in tags)),
        *("size_categories:", f"- {size}"),
        "viewer: false",
    ]
    template = resources.files("marl.exchange").joinpath("card_template.md")
    return Template(template.read_text(encoding="utf-8")).substitute(
        front="\n".join(front),
        title=title,
        about=_about(dataset, config),
        transitions=f"{len(dataset):,}",
        pieces=f"{int(episode_ends(dataset).sum()):,}",
        version=dataset.metadata.get("versions", {}).get("rrm_env", ""),
        licence=_LICENCES[licence],
        checksum=dataset.fingerprint(),
        source=_SOURCE if config else "",
        file=file,
        arrays=_arrays(dataset),
        observed=_OBSERVED if config else "",
        recorded=_environment(dataset, config),
        behaviours=_behaviours_table(behaviours(dataset)),
        quality=_quality(dataset, config, picture),
        limits=_LIMITS_OF_THE_NETWORK if config else "",
        citation=f"## Citation\n\nThe task:\n\n```bibtex\n{PAPER}\n```\n\n" if config else "",
    )


def check_card(name: str, path: str | Path) -> Path:
    """Check that a card can be written to ``path`` and replaces nothing but a card.

    Args:
        name: what errors call the path.
        path: the file to write.

    Returns:
        The path.

    Raises:
        ValueError: something else is there, or the file cannot be written.
    """
    return check_replaceable(name, path, "dataset card", _is_card)


def _is_card(path: Path) -> bool:
    text = path.read_bytes()
    return text.startswith(b"---\nlicense: ") and b"\n# Dataset Card for " in text


_LICENCES = {
    "mit": "MIT, as the package `rrm_env`",
    "unknown": "not stated; that of the environment may apply",
}

# What the template holds of datasets of the network alone.
_SOURCE = """

### Dataset Sources

- **Paper:** arXiv 2501.12991 (the task; the recordings are not its authors')"""
_OBSERVED = (
    "Of the network, an observation is log10 SINR and log10 weight of each candidate, "
    "and what else its options add.\n\n"
)
_LIMITS_OF_THE_NETWORK = (
    " The network is a model: one channel, flat fading, users walking\n"
    "in a square, an association that stays. What the paper leaves open, such as noise, shadowing "
    "and the age of channel reports, is settled as\nthe environment's page says."
)


def _about(dataset: Dataset, config: RRMConfig | None) -> str:
    if config is None:
        name = dataset.environment.name or "unknown"
        agents = dataset.team.n_agents
        return f"Transitions of {agents} agents in the PettingZoo environment `{name}`."
    return (
        f"Transitions of downlink user scheduling: {config.n_aps} access points share one "
        f"channel and {config.n_ues} users, and each serves one of up to "
        f"{config.n_candidates} candidates per step or stays silent, for one shared reward."
        f"{_levels(config)}"
    )


def _levels(config: RRMConfig) -> str:
    """What the card says of power levels, if actions choose among several."""
    levels = config.power_levels_dbm or ()
    if len(levels) < 2:
        return ""
    powers = ", ".join(f"{level:g}" for level in levels)
    return (
        f" Action a serves candidate a // {len(levels)} at level a % {len(levels)} of {powers} dBm."
    )


def _arrays(dataset: Dataset) -> str:
    """The table of a dataset's arrays, a line each."""
    tensors = dataset.tensors()
    return "\n".join(
        f"| `{name}` | {_shape(tensors[name])} | {column.dtype} | {column.meaning} |"
        for name, column in COLUMNS.items()
    )


def _shape(tensor: Any) -> str:
    return " × ".join(f"{size:,}" for size in tensor.shape)


def _behaviours_table(known: Sequence[Behaviour]) -> str:
    kpis = list(dict.fromkeys(kpi for behaviour in known for kpi in behaviour.kpis))
    heads = [metrics.axis_label(kpi) for kpi in kpis]
    lines = [
        f"| {' | '.join(('behaviour', 'seed', 'transitions', *heads))} |",
        f"|---|---|---:|{'---:|' * len(kpis)}",
    ]
    for behaviour in known:
        cells = [behaviour.name, behaviour.seed, f"{behaviour.transitions:,}"]
        for kpi in kpis:
            digits = 0 if kpi == "episodes" else 3
            cells.append(f"{behaviour.kpis[kpi]:,.{digits}f}" if kpi in behaviour.kpis else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _quality(dataset: Dataset, config: RRMConfig | None, picture: str) -> str:
    """What the episodes reached, what was legal, and how much of states and actions is covered."""
    values = {name: each for name, each in episode_values(dataset).items() if each.size}
    rows = {name: distribution(each) for name, each in values.items()}
    heads = [*next(iter(rows.values()))]
    lines = [f"| per episode | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name, row in rows.items():
        cells = " | ".join(f"{value:,.3f}" for value in row.values())
        lines.append(f"| {metrics.axis_label(name)} | {cells} |")
    said = ["\n".join(lines)]
    known = None if config is None else known_reference(config)
    if known is not None and "score" in rows:
        normalised = known.normalised(rows["score"]["mean"])
        said.append(
            f"**Normalised score: {normalised:.1f}**, where a random walk has 0 and the "
            f"{known.optimum_name} 100 ({known.origin})."
        )
    legal = legal_actions(dataset)
    coverage = state_action_coverage(dataset)
    said.append(
        f"**Legal actions** of an agent: {legal['mean']:.1f} on average, from {legal['min']} to "
        f"{legal['max']} of {dataset.team.n_actions}; all of them in {100 * legal['all']:.0f} % "
        "of its decisions."
    )
    said.append(
        f"**Joint state-action coverage (SACo): {coverage:.3f}**, unique joint state-action pairs "
        f"over transitions, with states hashed to {BITS} bits "
        "(`marl.exchange.statistics.state_action_coverage`; after Schweighofer et al., CoLLAs "
        "2022)."
    )
    if picture:
        said.append(f"![Distribution of scores and returns over the episodes]({picture})")
    return "\n\n".join(said)


def _environment(dataset: Dataset, config: RRMConfig | None) -> str:
    recorded = dataset.metadata.get("versions", {})
    libraries = ("rrm_env", "numpy", "numba", "torch")
    made = ", ".join(f"{name} {recorded[name]}" for name in libraries if name in recorded)
    with_what = f" with {made}" if made else ""
    if not config:
        name = dataset.environment.name or "unknown"
        return f"Recorded in `{name}`{with_what}; rewards are means over agents."
    defaults = RRMConfig().as_dict()
    changed = {name: value for name, value in config.as_dict().items() if value != defaults[name]}
    network = "the preset `paper`"
    if changed:
        settings = [f"`{key} = {value!r}`" for key, value in changed.items()]
        network = f"{network} with {', '.join(settings)}"
    return (
        f"Recorded by `rrm_env`{with_what} in {network}, in episodes of {config.episode_length} "
        "steps on channels that no evaluation of the package ever sees."
    )
