"""Named training runs and datasets in one folder, each made once and resumed when interrupted.

Several processes may share the folder: one that needs what another is making waits for it.

A run is ``online-sac``, ``online-dqn``, or ``SCHEME.DATA`` such as ``ctde-cql-sac.sac-16000``. A
dataset is ``BEHAVIOUR-TRANSITIONS`` such as ``sac-16000``; its behaviour is one of `BEHAVIOURS`, or
a scheduler as in ``max_weight-100000``. What a run or dataset needs is made first: this run needs
its dataset, and the dataset needs ``online-sac``.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from claims import BEST_ITLINQ, PAPER_BASELINES

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.cli.progress import training_progress
from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import collect
from marl.data.dataset import Dataset
from marl.engines.base import Engine, Task
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
"""Fields of `LearnerConfig` that each online learner changes."""

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
"""Fields of `LearnerConfig` that each offline learner changes.

``c-sac`` has no conservative penalty; learners named ``common-*`` see the network's messages alone.
"""

BEHAVIOURS: dict[str, tuple[str, ...]] = {
    "sac": ("online-sac",),
    "dqn": ("online-dqn",),
    "mixture": ("online-sac", "online-dqn"),
    "baselines": PAPER_BASELINES,
}
"""The sources of a dataset's actions, in equal shares: all seeds of a run, or a scheduler.

Actions of a SAC run are drawn from its actor, as in training.
"""

SCHEDULERS = (
    *PAPER_BASELINES,
    BEST_ITLINQ,
    "network_tdm",
    "max_weight",
    "max_weight:csi=large_scale",
)
"""Schedulers beside every figure: the paper's four, ITLinQ at the best tolerance of a sweep, and
reference points that the paper leaves out."""

LOG_EVERY = TrainingConfig.log_every
"""Updates between lines of a run's log, or fewer in a study that evaluates more often."""


def of_size(n_aps: int, network: RRMConfig | None = None) -> RRMConfig:
    """A network with other access points, as dense as the preset ``paper``, with 5 users each.

    Args:
        n_aps: access points.
        network: all else; the preset ``paper`` where None.
    """
    side_m = 50.0 * n_aps**0.5
    return replace(network or RRMConfig(), n_aps=n_aps, n_ues=5 * n_aps, area_side_m=side_m)


@dataclass(frozen=True)
class Scale:
    """Seeds, updates, episodes and sizes of datasets of a study."""

    seeds: int = 5
    """Independent learners per run."""
    online_updates: int = 12_000
    """Updates of each online learner."""
    offline_updates: int = 5_000
    """Updates of each offline learner."""
    evaluate_every: int = 500
    """Updates between points of learning curves."""
    curve_episodes: int = 32
    """Held-out episodes behind each point."""
    episodes: int = 256
    """Unseen episodes of the final evaluation."""
    shrink: int = 1
    """Datasets hold the number of transitions in their names, divided by this."""


QUICK = Scale(
    seeds=2,
    online_updates=10,
    offline_updates=10,
    evaluate_every=10,
    curve_episodes=4,
    episodes=16,
    shrink=200,
)
"""The same pipeline in miniature, too short to learn anything."""


class Study:
    """Runs and datasets of one folder.

    Args:
        out: the folder; created if missing.
        scale: how much to train and to evaluate.
        network: configuration of the network (default: the preset ``paper``).
        device: device to train on.
    """

    def __init__(
        self, out: Path, scale: Scale, network: RRMConfig | None = None, device: str = "cpu"
    ) -> None:
        self.out, self.scale, self.device = out, scale, device
        self.network = RRMConfig() if network is None else network
        self._datasets: dict[str, Dataset] = {}

    def task(self, name: str) -> Task:
        """The training of a run, for an engine; an interrupted one goes on."""
        folder = self.out.absolute()
        return Task(name, _train_in, (folder, self.scale, self.network, self.device, name))

    def run(self, name: str) -> Path:
        """Folder of a finished run, which is trained, or trained to its end, if necessary.

        Raises:
            ValueError: the name is unknown, or the run of that name has other seeds or another
                network.
        """
        scheme, _, data = name.partition(".")
        known = OFFLINE if data else ONLINE
        if scheme not in known:
            raise ValueError(
                f"unknown {'offline' if data else 'online'} learner {nearest(scheme, known)}"
            )
        if not self._is_finished(name):
            with self._alone(name):
                if not self._is_finished(name):  # another process may have finished it meanwhile
                    self._train(name, self._learner(scheme), self.data(data) if data else None)
        return self.folder(name)

    def folder(self, name: str) -> Path:
        """Folder of a run, whether it exists or not."""
        return self.out / _on_disk(name)

    def data(self, name: str) -> Dataset:
        """A dataset, which is recorded first if the folder has no file of it.

        Raises:
            ValueError: the name is unknown.
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
        """Evaluation of all seeds of a run on the unseen episodes."""
        policies = load_policies(self.run(name))
        return Evaluation.stack(
            [evaluate(policy, self.network, self.scale.episodes) for policy in policies]
        )

    def scheduler(self, name: str) -> Evaluation:
        """Evaluation of a scheduler of ``python -m baselines`` on the unseen episodes."""
        return evaluate(parse_scheduler(name), self.network, self.scale.episodes)

    def level(self, name: str) -> dict[str, float]:
        """Mean KPIs of a scheduler on the held-out episodes of learning curves."""
        return curve_point(parse_scheduler(name), self.network, self.scale.curve_episodes)

    def final_level(self, name: str) -> dict[str, float]:
        """Mean KPIs of a finished run on these episodes, the last point of its learning curve."""
        return {
            kpi: float(values[-1].mean())
            for kpi, values in learning_curve(self.folder(name)).kpis.items()
        }

    def needed(self, names: Iterable[str]) -> list[str]:
        """These runs and the runs that their datasets come from, in the order of training."""
        found: dict[str, None] = {}
        for name in names:
            behaviour = name.partition(".")[2].rpartition("-")[0]
            found |= dict.fromkeys(
                source for source in BEHAVIOURS.get(behaviour, ()) if source in ONLINE
            )
            found[name] = None
        return list(found)

    def missing(self, names: Iterable[str]) -> list[str]:
        """The runs of `needed` that are not finished."""
        return [name for name in self.needed(names) if not self._is_trained(name)]

    def description(self, name: str) -> dict[str, Any]:
        """Learner, training, seeds, data and revision of a finished run."""
        described = describe(self.folder(name))
        return {
            key: described[key]
            for key in ("scheme", "learner", "training", "seeds", "data", "revision")
            if key in described
        }

    def hours(self, name: str) -> float:
        """Training time of a finished run in hours, with its evaluations, without interruptions."""
        total, last = 0.0, 0.0
        for record in read_log(self.folder(name)):
            total += record["seconds"] - (last if record["seconds"] >= last else 0.0)
            last = record["seconds"]
        return total / 3600

    def label(self, name: str) -> str:
        """The paper's name for the scheme of a finished run."""
        return str(describe(self.folder(name))["scheme"])

    # --- Internals ---

    def _learner(self, scheme: str) -> LearnerConfig:
        config = LearnerConfig(**{**ONLINE, **OFFLINE}[scheme])
        common = self.network.n_aps * self.network.n_message_features
        return replace(config, common_features=common) if scheme.startswith("common-") else config

    def _updates(self, name: str) -> int:
        return self.scale.offline_updates if "." in name else self.scale.online_updates

    def _is_trained(self, name: str) -> bool:
        return updates_done(self.folder(name)) >= self._updates(name)

    def _is_finished(self, name: str) -> bool:
        return self._is_trained(name) and self._is_own(self.folder(name))

    def _alone(self, name: str) -> AbstractContextManager[None]:
        """Lock under which a run or dataset is made; a second process waits for it."""
        self.out.mkdir(parents=True, exist_ok=True)
        return alone(
            self.out / f".{_on_disk(name)}.lock",
            f"making {name!r} in {str(self.out)!r}",
            waiting=partial(print, flush=True),
        )

    def _is_own(self, folder: Path) -> bool:
        """Whether a finished run has the seeds and the network of this study.

        If not, `train` refuses to go on with it and names the difference.
        """
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
                f"unknown dataset {name!r}; allowed: BEHAVIOUR-TRANSITIONS with "
                f"{', '.join((*BEHAVIOURS, *REGISTRY))}"
            )
        transitions = max(1, int(count) // self.scale.shrink)
        sources = BEHAVIOURS.get(behaviour, (behaviour,))
        share = -(-transitions // len(sources))
        parts = [
            collect_run(
                self.run(source), share, sample=source == "online-sac", environment=self.network
            )
            if source in ONLINE
            else collect(parse_scheduler(source), self.network, share, name=source)
            for source in sources
        ]
        return parts[0] if len(parts) == 1 else Dataset.mix(parts, transitions)

    def _train(self, name: str, learner: LearnerConfig, dataset: Dataset | None) -> None:
        folder, scale, updates = self.folder(name), self.scale, self._updates(name)
        training = TrainingConfig(
            updates=updates,
            log_every=min(LOG_EVERY, scale.evaluate_every),
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
                environment=self.network,
                resume=(folder / "config.json").exists(),
                report=report,
            )
        minutes = 60 * self.hours(name)
        print(
            f"{name}: {scale.seeds} seeds, {updates:,} updates each, {minutes:.1f} minutes",
            flush=True,
        )


def train_missing(wanted: Iterable[tuple[Study, Iterable[str]]], engine: Engine) -> None:
    """Train the missing runs of studies on an engine, online ones first, since data need them.

    Args:
        wanted: studies, and the names of their runs.
        engine: where to train; on a cluster, all nodes must see the studies' folders.
    """
    missing = [(study, study.missing(names)) for study, names in wanted]
    for offline in (False, True):
        tasks = [
            study.task(name)
            for study, names in missing
            for name in names
            if (name not in ONLINE) == offline
        ]
        for _ in engine.values(tasks):
            pass


def _train_in(folder: Path, scale: Scale, network: RRMConfig, device: str, name: str) -> None:
    Study(folder, scale, network, device).run(name)


def _on_disk(name: str) -> str:
    """The name without colons, which some file systems do not allow."""
    return name.replace(":", ",")
