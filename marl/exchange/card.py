"""Dataset cards for Hugging Face: YAML front matter and the sections of its template that apply."""

from __future__ import annotations

import json
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marl.data.dataset import Dataset
from marl.data.transitions import COLUMNS
from marl.exchange.d3rlpy import episode_ends
from rrm_env import RRMConfig, metrics
from rrm_env.files import check_replaceable

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


def dataset_card(dataset: Dataset, file: str = "data.safetensors") -> str:
    """The text of a dataset's card, for README.md beside the data on Hugging Face.

    Args:
        dataset: what to describe, by its arrays and its metadata.
        file: the name of its file.
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
    title = f"{task}: {', '.join(names)}, {len(dataset):,} transitions"
    size = _SIZES[bisect([10**k for k in range(3, 10)], len(dataset))]
    front = [
        f"license: {licence}",
        f"pretty_name: {json.dumps(title, ensure_ascii=False)}",
        *("task_categories:", "- reinforcement-learning"),
        *("tags:", *(f"- {tag}" for tag in tags)),
        *("size_categories:", f"- {size}"),
        "viewer: false",
    ]
    sections = [
        _details(dataset, config, licence),
        _USES,
        _structure(dataset, file),
        _creation(dataset, config),
        _LIMITS_OF_THE_NETWORK if config else _LIMITS,
        *([f"## Citation\n\nThe task:\n\n```bibtex\n{PAPER}\n```"] if config else []),
        _loading(file),
    ]
    heading = f"# Dataset Card for {title}"
    return "\n".join(["---", *front, "---", "", heading, "", "\n\n".join(sections), ""])


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


def _details(dataset: Dataset, config: RRMConfig | None, licence: str) -> str:
    team = dataset.team
    if config:
        about = (
            f"Transitions of downlink user scheduling: {config.n_aps} access points share one "
            f"channel and {config.n_ues} users, and each serves one of up to "
            f"{config.n_candidates} candidates per step or stays silent, for one shared reward."
        )
        source = (
            "\n\n### Dataset Sources\n\n"
            "- **Paper:** arXiv 2501.12991 (the task; the recordings are not its authors')"
        )
    else:
        name = dataset.environment.name or "unknown"
        about = f"Transitions of {team.n_agents} agents in the PettingZoo environment `{name}`."
        source = ""
    licences = {
        "mit": "MIT, as the package `rrm_env`",
        "unknown": "not stated; that of the environment may apply",
    }
    pieces = int(episode_ends(dataset).sum())
    version = dataset.metadata.get("versions", {}).get("rrm_env", "")
    checksum = f"`{dataset.fingerprint()}` (arrays and description; `Dataset.fingerprint()`)"
    return f"""## Dataset Details

### Dataset Description

{about} For offline reinforcement learning.

- **Transitions:** {len(dataset):,}, in {pieces:,} uninterrupted pieces of episodes
- **Made by:** `rrm_env` {version}
- **License:** {licences[licence]}
- **Checksum:** {checksum}{source}"""


_USES = """## Uses

### Direct Use

Training offline learners on data of known origin, and comparing them: the behaviours' KPIs below \
say what there is to beat.

### Out-of-Scope Use

Conclusions about a deployed network or about people: everything here is simulated."""


def _structure(dataset: Dataset, file: str) -> str:
    observed = ""
    if dataset.environment.network:
        observed = (
            "Of the network, an observation is log10 SINR and log10 weight of each candidate, "
            "and what else its options add.\n\n"
        )
    tensors = dataset.tensors()
    rows = "\n".join(
        f"| `{name}` | {_shape(tensors[name])} | {column.dtype} | {column.meaning} |"
        for name, column in COLUMNS.items()
    )
    return f"""## Dataset Structure

One safetensors file, `{file}`, without splits. Rows are transitions; whole episodes stand one \
after the other, unless the dataset was
drawn from others.

| array | shape | type | meaning |
|---|---|---|---|
{rows}

{observed}The file's metadata hold environment, behaviours, versions and a checksum as JSON."""


def _shape(tensor: Any) -> str:
    return " × ".join(f"{size:,}" for size in tensor.shape)


def _creation(dataset: Dataset, config: RRMConfig | None) -> str:
    known = behaviours(dataset)
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
    table = "\n".join(lines)
    return f"""## Dataset Creation

### Source Data

#### Data Collection and Processing

{_environment(dataset, config)}

{table}

KPIs are means over the whole episodes of the recording that a behaviour's transitions come from.

#### Who are the source data producers?

Programs: the behaviours above acted in a simulation.

#### Personal and Sensitive Information

None. All observations are simulated, of nobody in particular."""


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


_LIMITS = """## Bias, Risks, and Limitations

A learner sees only states that the behaviours reached and actions that they took."""

_LIMITS_OF_THE_NETWORK = f"""{_LIMITS} \
The network is a model: one channel, flat fading, users walking
in a square, an association that stays. What the paper leaves open, such as noise, shadowing and \
the age of channel reports, is settled as
the environment's page says."""


def _loading(file: str) -> str:
    return f"""## How to Load

```python
from marl import Dataset

dataset = Dataset.read("{file}")  # verifies the checksum
print(len(dataset), dataset.observation.shape)
```

Without the package, `safetensors.numpy.load_file("{file}")` gives the arrays.
`python -m marl export {file} --minari rrm/name-v0` hands them to Minari, \
`--arrays data.npz` to d3rlpy."""
