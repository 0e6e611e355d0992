"""Training from a dataset or in an environment, with log, evaluations and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import MAX_SEEDS
from marl.data.dataset import Dataset
from marl.environment import MAX_SEED, Environment, environment_of
from marl.learner.learner import Learner
from marl.learner.on_policy import OnPolicyLearner
from marl.learner.stacked import StackedLearner
from marl.policy import Policy
from marl.runs import checkpoint
from marl.runs.description import RunError, is_online, steps_taken
from marl.torch_state import known_torch, require_device
from marl.training.rollout import curve_point
from marl.training.rollouts import RolloutStore
from marl.training.stores import DatasetStore, ReplayStore, Store, Updates
from marl.training.tensorboard import tensorboard
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer
from rrm_env.files import WriteError
from rrm_env.provenance import revision, versions

Report = Callable[[int, dict[str, Any]], None]
"""A function that is called with the number of updates and the newest entry of the log."""


@known_torch
def train(
    run: str | Path,
    config: LearnerConfig,
    training: TrainingConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    dataset: Dataset | None = None,
    environment: Environment | RRMConfig | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Path:
    """Train one learner per seed, side by side, and write log and checkpoint to the folder ``run``.

    Torch settings of the program, such as a default dtype, inference mode or autocast, neither
    change the outcome nor are changed (`marl.torch_state`). The number of torch threads is up to
    the caller.

    Args:
        run: the folder to make, or with ``resume`` the folder of the run to continue.
        config: scheme and hyperparameters.
        training: duration, device and records; the defaults where None.
        seeds: one per learner, each 0 ... 2^30 - 1.
        dataset: transitions to learn from; training is online where None.
        environment: where to act and to be evaluated: a network's configuration, or another
            environment; where None, what the dataset was recorded in, or the preset ``paper``.
        resume: continue from the last checkpoint; the outcome is that of a run never interrupted.
        report: called after every entry of the log.

    Returns:
        The folder.

    Raises:
        TypeError, ValueError: an argument is none of the above, or arguments do not go together.
        RunError: the folder holds a run already; the run to resume is missing or has other
            options; or another process trains it.
        WriteError: the system refuses to store something, for example because the disk is full;
            the last checkpoint stays.
        DivergenceError: a loss is no longer finite; the last checkpoint stays.
        RuntimeError: the call is inside ``torch.func.vmap`` or ``grad``, or where torch makes no
            real tensors.
        MemoryError: learners or replay buffers do not fit into memory.
    """
    training = TrainingConfig() if training is None else training
    if len(seeds) > MAX_SEEDS:
        raise ValueError(f"seeds must be at most {MAX_SEEDS:,}, got {len(seeds):,}")
    seeds = [bounded_integer("seeds", seed, MAX_SEED, lowest=0) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be at least one, all different, got {seeds}")
    config = config.for_data(offline=dataset is not None)
    require_device(training.device)
    place = _environment(environment, dataset)
    path = Path(run)
    try:
        loop = _Run(path, config, training, seeds, dataset, place, resume=resume, report=report)
        return loop.go()
    except RuntimeError as error:
        if "allocate" not in str(error):  # torch has no error class for a lack of memory
            raise
        learners = f"{len(seeds)} learners with hidden_sizes = {config.hidden_sizes}"
        raise MemoryError(f"{learners} do not fit into memory: {error}") from None


def _environment(given: Environment | RRMConfig | None, dataset: Dataset | None) -> Environment:
    """Where to act and to evaluate: as given, else as recorded, else the preset ``paper``.

    Raises:
        ValueError: the dataset was recorded in an environment of other sizes.
    """
    if given is None:
        given = RRMConfig() if dataset is None else dataset.environment
    found = environment_of(given)
    if dataset is not None and found.team not in (None, dataset.team):
        raise ValueError(f"the dataset is of {dataset.team}, the environment of {found.team}")
    return found


class _Run:
    """A run: the learner, the loop of its updates, and its folder."""

    def __init__(
        self,
        folder: Path,
        config: LearnerConfig,
        training: TrainingConfig,
        seeds: list[int],
        dataset: Dataset | None,
        environment: Environment,
        *,
        resume: bool,
        report: Report | None,
    ) -> None:
        self._folder = folder
        self._training = training
        self._report = report
        self._environment = environment
        team = environment.team if dataset is None else dataset.team
        assert team is not None  # an environment known by its name alone needs a dataset
        self._description = {
            "scheme": config.scheme(offline=dataset is not None),
            "learner": config.as_dict(),
            "training": asdict(training),
            "seeds": seeds,
            "team": asdict(team),
            "environment": environment.as_dict(),
            "data": _described(dataset),
            "versions": versions("torch", "safetensors"),
            "revision": revision(),
        }
        checkpoint.described(self._description)  # an error now if no reader would accept it
        self._resume = resume
        self._saved = 0
        """Updates before the last checkpoint."""
        if resume:
            checkpoint.check_same(folder, self._description)
        self._learner: StackedLearner
        self._store: Store
        make_source = partial(environment.source, training.envs_per_seed)
        if config.algorithm == "ppo":
            self._learner = player = OnPolicyLearner(config, team, seeds, training.device)
            self._store = RolloutStore(player, training, make_source)
            return
        self._learner = learner = Learner(config, team, seeds, training.device)
        if dataset is not None:
            self._store = DatasetStore(dataset, learner)
        else:
            self._store = ReplayStore(learner, training, make_source)

    def go(self) -> Path:
        """Train from the beginning, or from the last checkpoint, and return the folder."""
        if not self._resume:
            checkpoint.check_new(self._folder)
            checkpoint.make_folder(self._folder)
        with checkpoint.held(self._folder):
            self._saved = self._continue() if self._resume else self._start()
            try:
                self._train(self._saved)
            except (KeyboardInterrupt, WriteError) as stopped:
                stopped.args = ("; ".join(filter(None, (str(stopped), self._kept()))),)
                raise
        return self._folder

    def _train(self, updates: int) -> None:
        """Do the updates that are missing after the first ``updates``."""
        self._store.restart(updates)
        update = Updates(self._learner, self._store)
        began = time.perf_counter()
        logged = updates
        total = self._training.updates
        with tensorboard(self._folder) as board:
            while updates < total:
                self._store.before_update(updates)
                update()
                updates += 1
                if updates % self._training.log_every == 0 or updates == total:
                    entry = self._entry(updates, logged, time.perf_counter() - began)
                    checkpoint.append_entry(self._folder, entry)
                    board(entry)
                    if self._report is not None:
                        self._report(updates, entry)
                    logged = updates
                if updates % self._training.checkpoint_every == 0 or updates == total:
                    self._save(updates)

    def _kept(self) -> str:
        """Which checkpoint an interrupted run keeps, and how to go on."""
        folder, saved = str(self._folder), self._saved
        kept = (
            f"{folder!r} keeps its checkpoint of update {saved:,}"
            if saved
            else f"{folder!r} has no checkpoint yet"
        )
        return f"{kept} (of {self._training.updates:,}): go on with --resume"

    def _start(self) -> int:
        """Write the description of a new run; returns 0, the number of its updates."""
        checkpoint.check_new(self._folder)  # another process may have begun one in the meantime
        checkpoint.write_description(self._folder, self._description)
        return 0

    def _continue(self) -> int:
        """Load the last checkpoint, if there is one, and cut the log there; returns its updates."""
        updates = checkpoint.updates_done(self._folder)
        if updates == 0:
            checkpoint.cut_log(self._folder, 0)
            return 0
        if updates > self._training.updates:
            raise RunError(
                f"{str(self._folder)!r} has done {updates} updates already; "
                f"updates = {self._training.updates} asks for fewer"
            )
        learner, replay = checkpoint.load_tensors(
            self._folder, with_replay=self._store.memory is not None
        )
        try:
            self._learner.load(learner)
            if self._store.memory is not None and replay is not None:
                self._store.memory.load(replay)
        except ValueError as error:
            raise RunError(f"{str(self._folder)!r} cannot be resumed: {error}") from None
        checkpoint.remove_other_replays(self._folder, updates)
        checkpoint.cut_log(self._folder, updates)
        checkpoint.write_description(self._folder, self._description)
        return updates

    def _entry(self, updates: int, since: int, seconds: float) -> dict[str, Any]:
        """An entry of the log: means of the loss parts since the last entry, and KPIs when due."""
        self._learner.check()
        means = (self._learner.sums / (updates - since)).cpu()
        self._learner.sums.zero_()
        entry: dict[str, Any] = {"update": updates, "seconds": round(seconds, 3)}
        if is_online(self._description):
            entry["environment_steps"] = steps_taken(self._description, updates)
        entry |= {part: row.tolist() for part, row in zip(self._learner.parts, means, strict=True)}
        if updates % self._training.evaluate_every == 0 or updates == self._training.updates:
            self._learner.check_finite()
            points = []
            for k in range(len(self._learner.seeds)):
                policy = Policy.of_learner(self._learner, k)
                episodes = self._training.evaluation_episodes
                points.append(curve_point(policy, self._environment, episodes))
            if points[0]:
                entry["evaluation"] = {kpi: [point[kpi] for point in points] for kpi in points[0]}
        return entry

    def _save(self, updates: int) -> None:
        self._learner.check_finite()
        memory = self._store.memory
        replay = None if memory is None else memory.tensors()
        checkpoint.save_tensors(
            self._folder, self._description, self._learner.tensors(), replay, updates
        )
        self._saved = updates
        self._store.restart(updates)


def _described(dataset: Dataset | None) -> dict[str, Any] | None:
    """The dataset's part of a run's description."""
    if dataset is None:
        return None
    return {
        "transitions": len(dataset),
        "behaviours": dataset.metadata.get("behaviours", []),
        "fingerprint": dataset.fingerprint(),
    }
