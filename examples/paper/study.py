"""A study: named training runs and datasets in one folder, each made once, gone on with where it was interrupted. Several processes may
share the folder: who needs what another one is making waits for it.

Names say everything. A run is ``online-sac``, ``online-dqn``, or ``SCHEME.DATA`` such as ``ctde-cql-sac.sac-16000``; a dataset is
``BEHAVIOUR-TRANSITIONS`` such as ``sac-16000``, and the behaviour one of `BEHAVIOURS` or a scheduler, ``max_weight-100000``. What a name
needs is made first: the run above needs the dataset, the dataset needs ``online-sac``.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from claims import PAPER_BASELINES

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.cli.progress import training_progress
from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import collect
from marl.data.dataset import Dataset
from marl.policy import load_policies
from marl.runs.checkpoint import read_log, updates_done
from marl.runs.description import describe
from marl.runs.lock import alone
from marl.training.curves import learning_curve
from marl.training.rollout import collect_run, curve_point
from marl.training.train import train
from rrm_env import Evaluation, RRMConfig, evaluate
from rrm_env.checks import nearest

ONLINE: dict[str, dict[str, Any]] = {"online-sac": {}, "online-dqn": {"algorithm": "dqn"}}
"""Online learners: what their configs change of the defaults."""

OFFLINE: dict[str, dict[str, Any]] = {
    "c-cql-sac": {},
    "c-cql-dqn": {"algorithm": "dqn"},
    "ctde-cql-sac": {"paradigm": "ctde"},
    "i-cql-sac": {"paradigm": "i"},
    "c-sac": {"cql_alpha": 0.0},
    "bc": {"algorithm": "bc"},
    "i-shared-cql-sac": {"paradigm": "i", "share_parameters": True},
    "common-cql-sac": {},
    "common-cql-dqn": {"algorithm": "dqn"},
}
"""Offline learners, likewise; c-sac is without the conservative penalty, common-* see the network's messages alone."""

BEHAVIOURS: dict[str, tuple[str, ...]] = {
    "sac": ("online-sac",),
    "dqn": ("online-dqn",),
    "mixture": ("online-sac", "online-dqn"),
    "baselines": PAPER_BASELINES,
}
"""Whose actions a dataset holds, in equal shares: all seeds of a run (a sac's drawn from its actor, as while training), or a scheduler."""


@dataclass(frozen=True)
class Scale:
    """How much a study does."""

    seeds: int = 5
    """Independent learners per run."""
    online_updates: int = 12_000
    """Updates of each online learner."""
    offline_updates: int = 5_000
    """Updates of each offline learner."""
    evaluate_every: int = 500
    """Updates between points of learning curves."""
    curve_episodes: int = 32
    """Held-out episodes behind each such point."""
    episodes: int = 256
    """Unseen episodes of the final evaluation."""
    shrink: int = 1
    """Datasets hold the transitions in their names divided by this."""


QUICK = Scale(
    seeds=2,
    online_updates=100,
    offline_updates=100,
    evaluate_every=100,
    curve_episodes=4,
    episodes=16,
    shrink=40,
)
"""The same pipeline, too short to learn anything."""


class Study:
    """Runs and datasets of one folder.

    Args:
        out: the folder; made where missing.
        scale: how much to train and to evaluate.
        network: the network throughout; the preset ``paper`` where None.
        device: where to train.
    """

    def __init__(
        self, out: Path, scale: Scale, network: RRMConfig | None = None, device: str = "cpu"
    ) -> None:
        self.out, self.scale, self.device = out, scale, device
        self.network = RRMConfig() if network is None else network
        self._datasets: dict[str, Dataset] = {}

    def run(self, name: str) -> Path:
        """The folder of a finished run; trained now, or to its end, where it is not.

        Raises:
            ValueError: an unknown name, or a run of other seeds or another network under that name.
        """
        scheme, _, data = name.partition(".")
        known = OFFLINE if data else ONLINE
        if scheme not in known:
            raise ValueError(
                f"unknown {'offline' if data else 'online'} learner {nearest(scheme, known)}"
            )
        if not self._is_finished(name):
            with self._alone(name):
                if not self._is_finished(name):  # by another process in the meantime
                    self._train(name, self._learner(scheme), self.data(data) if data else None)
        return self.folder(name)

    def folder(self, name: str) -> Path:
        """Where a run is, or will be."""
        return self.out / _on_disk(name)

    def data(self, name: str) -> Dataset:
        """A dataset, from its file in the folder; recorded now where there is none.

        Raises:
            ValueError: an unknown name.
        """
        if name not in self._datasets:
            path = self.out / f"{_on_disk(name)}.safetensors"
            if not path.exists():
                with self._alone(name):
                    if not path.exists():
                        self._record(name).write(path)
            self._datasets = {name: Dataset.read(path)}  # only the newest stays in memory
        return self._datasets[name]

    def evaluation(self, name: str) -> Evaluation:
        """All seeds of a run on the unseen episodes."""
        policies = load_policies(self.run(name))
        return Evaluation.stack(
            [evaluate(policy, self.network, self.scale.episodes) for policy in policies]
        )

    def scheduler(self, name: str) -> Evaluation:
        """A scheduler, named as in ``python -m baselines``, on the unseen episodes."""
        return evaluate(parse_scheduler(name, REGISTRY), self.network, self.scale.episodes)

    def level(self, name: str) -> dict[str, float]:
        """Mean KPIs of a scheduler on the held-out episodes behind learning curves."""
        return curve_point(parse_scheduler(name, REGISTRY), self.network, self.scale.curve_episodes)

    def final_level(self, name: str) -> dict[str, float]:
        """Mean KPIs of a finished run on the same episodes: its learning curve's last point."""
        return {
            kpi: float(values[-1].mean())
            for kpi, values in learning_curve(self.folder(name)).kpis.items()
        }

    def needed(self, names: Iterable[str]) -> list[str]:
        """Runs and the runs that their datasets come from, in the order in which they are made."""
        found: dict[str, None] = {}
        for name in names:
            behaviour = name.partition(".")[2].rpartition("-")[0]
            found |= dict.fromkeys(
                source for source in BEHAVIOURS.get(behaviour, ()) if source in ONLINE
            )
            found[name] = None
        return list(found)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `needed` that are not finished."""
        return [name for name in self.needed(names) if not self._is_trained(name)]

    def description(self, name: str) -> dict[str, Any]:
        """What a finished run was: learner, data, revision; not the network, which the study has throughout."""
        described = describe(self.folder(name))
        return {
            key: described[key]
            for key in ("scheme", "learner", "training", "seeds", "data", "revision")
            if key in described
        }

    def hours(self, name: str) -> float:
        """How long a finished run's training took; evaluations along the way included, interruptions not."""
        total, last = 0.0, 0.0
        for record in read_log(self.folder(name)):
            total += record["seconds"] - (last if record["seconds"] >= last else 0.0)
            last = record["seconds"]
        return total / 3600

    def label(self, name: str) -> str:
        """What the paper calls a finished run's scheme."""
        return str(describe(self.folder(name))["scheme"])

    # --- Inside ---

    def _learner(self, scheme: str) -> LearnerConfig:
        config = LearnerConfig(**{**ONLINE, **OFFLINE}[scheme])
        told = self.network.n_aps * self.network.n_message_features
        return replace(config, common_features=told) if scheme.startswith("common-") else config

    def _updates(self, name: str) -> int:
        return self.scale.offline_updates if "." in name else self.scale.online_updates

    def _is_trained(self, name: str) -> bool:
        return updates_done(self.folder(name)) >= self._updates(name)

    def _is_finished(self, name: str) -> bool:
        return self._is_trained(name) and self._is_own(self.folder(name))

    def _alone(self, name: str) -> AbstractContextManager[None]:
        """Make a run or a dataset without another process making it too; who comes second waits."""
        self.out.mkdir(parents=True, exist_ok=True)
        return alone(
            self.out / f".{_on_disk(name)}.lock",
            f"making {name!r} in {str(self.out)!r}",
            waiting=partial(print, flush=True),
        )

    def _is_own(self, folder: Path) -> bool:
        """Whether a finished run is of this study's seeds and network; training it on would be refused with the difference."""
        found = describe(folder)
        return (
            found["seeds"] == list(range(self.scale.seeds))
            and RRMConfig(**found["environment"]["config"]) == self.network
        )

    def _record(self, name: str) -> Dataset:
        behaviour, _, count = name.rpartition("-")
        if not count.isdigit() or not (
            behaviour in BEHAVIOURS or behaviour.partition(":")[0] in REGISTRY
        ):
            raise ValueError(
                f"unknown dataset {name!r}; allowed: BEHAVIOUR-TRANSITIONS with {', '.join((*BEHAVIOURS, *REGISTRY))}"
            )
        transitions = max(1, int(count) // self.scale.shrink)
        sources = BEHAVIOURS.get(behaviour, (behaviour,))
        share = -(-transitions // len(sources))
        parts = [
            collect_run(self.run(source), share, sample=source == "online-sac", config=self.network)
            if source in ONLINE
            else collect(parse_scheduler(source, REGISTRY), self.network, share, name=source)
            for source in sources
        ]
        return parts[0] if len(parts) == 1 else Dataset.mix(parts, transitions)

    def _train(self, name: str, learner: LearnerConfig, dataset: Dataset | None) -> None:
        folder, scale, updates = self.folder(name), self.scale, self._updates(name)
        training = TrainingConfig(
            updates=updates,
            evaluate_every=scale.evaluate_every,
            evaluation_episodes=scale.curve_episodes,
            device=self.device,
        )
        with training_progress(updates) as report:
            train(
                folder,
                learner,
                training,
                seeds=range(scale.seeds),
                dataset=dataset,
                network=self.network,
                resume=(folder / "config.json").exists(),
                report=report,
            )
        print(
            f"{name}: {scale.seeds} seeds, {updates:,} updates each, {60 * self.hours(name):.1f} minutes",
            flush=True,
        )


def _on_disk(name: str) -> str:
    """A name without the characters of scheduler options that some file systems do not allow."""
    return name.replace(":", ",")
