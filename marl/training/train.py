"""Trains a learner, from a dataset or in an environment: feeding, logging, evaluation, checkpoints."""

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
from marl.policy import Policy
from marl.runs import checkpoint
from marl.runs.description import RunError, is_online, steps_taken
from marl.torch_state import known_torch, require_device
from marl.training.rollout import curve_point
from marl.training.stores import DatasetStore, ReplayStore, Updates
from marl.training.tensorboard import tensorboard
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer
from rrm_env.files import WriteError
from rrm_env.provenance import revision, versions

Report = Callable[[int, dict[str, Any]], None]
"""Called with the updates done and the newest record of the log."""


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
    """Train one learner per seed, side by side, and leave log and checkpoint in the folder ``run``.

    Settings of torch that the program has made, such as a default dtype, inference mode or autocast, neither change the outcome nor
    are changed (`marl.torch_state`); the number of torch threads is the caller's.

    Args:
        run: a folder to make, or with ``resume`` one to go on with.
        config: the scheme.
        training: how long and how; the defaults where None.
        seeds: one per learner, each 0 ... 2^30 - 1.
        dataset: transitions to learn from; online where None.
        environment: where to act and to be evaluated: a network's configuration, or another
            environment; where None what the dataset was recorded in, or the preset ``paper``.
        resume: continue from the last checkpoint; the outcome is that of a run never interrupted.
        report: called after every record.

    Returns:
        The folder.

    Raises:
        TypeError, ValueError: something else than the above, or things that do not go together.
        RunError: a run stands there already, the one to resume is missing or was another, or another process trains it.
        WriteError: the system refuses to store something, a full disk say; the last checkpoint before that stays.
        DivergenceError: a loss is no longer finite; the last checkpoint before that stays.
        RuntimeError: called inside ``torch.func.vmap`` or ``grad``, or where torch makes no real tensors.
        MemoryError: learners or replay do not fit into memory.
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
    try:
        return _Run(
            Path(run), config, training, seeds, dataset, place, resume=resume, report=report
        ).go()
    except RuntimeError as error:
        if "allocate" not in str(error):  # torch has no error of its own for that
            raise
        raise MemoryError(
            f"{len(seeds)} learners with hidden_sizes = {config.hidden_sizes} do not fit into memory: {error}"
        ) from None


def _environment(given: Environment | RRMConfig | None, dataset: Dataset | None) -> Environment:
    """Where to act and to evaluate: what is given, else what was recorded, else ``paper``.

    Raises:
        ValueError: the dataset is of other sizes.
    """
    if given is None:
        given = RRMConfig() if dataset is None else dataset.environment
    found = environment_of(given)
    if dataset is not None and found.team not in (None, dataset.team):
        raise ValueError(f"the dataset is of {dataset.team}, the environment of {found.team}")
    return found


class _Run:
    """One run: the loop around the learner, and its folder."""

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
        self._folder, self._training, self._report = folder, training, report
        self._environment = environment
        team = environment.team if dataset is None else dataset.team
        assert team is not None  # nobody can act in what is known by name alone
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
        checkpoint.described(self._description)  # refuses what no reader would take
        self._learner = Learner(config, team, seeds, training.device)
        self._resume, self._saved = resume, 0
        if resume:
            checkpoint.check_same(folder, self._description)
        self._store: DatasetStore | ReplayStore = (
            DatasetStore(dataset, self._learner)
            if dataset is not None
            else ReplayStore(
                self._learner, training, partial(environment.source, training.envs_per_seed)
            )
        )

    def go(self) -> Path:
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
        self._store.restart(updates)
        step, began, since = Updates(self._learner, self._store), time.perf_counter(), updates
        with tensorboard(self._folder) as board:
            while updates < self._training.updates:
                self._store.before_update(updates)
                step()
                updates += 1
                if updates % self._training.log_every == 0 or updates == self._training.updates:
                    record = self._record(updates, since, time.perf_counter() - began)
                    checkpoint.append_entry(self._folder, record)
                    board(record)
                    if self._report is not None:
                        self._report(updates, record)
                    since = updates
                if (
                    updates % self._training.checkpoint_every == 0
                    or updates == self._training.updates
                ):
                    self._save(updates)

    def _kept(self) -> str:
        """What a run that is stopped keeps, and how to go on."""
        folder, saved = str(self._folder), self._saved
        kept = (
            f"{folder!r} keeps its checkpoint of update {saved:,}"
            if saved
            else f"{folder!r} has no checkpoint yet"
        )
        return f"{kept} (of {self._training.updates:,}): go on with --resume"

    def _start(self) -> int:
        """Say what the run is; another process may have begun one here in the meantime."""
        checkpoint.check_new(self._folder)
        checkpoint.write_description(self._folder, self._description)
        return 0

    def _continue(self) -> int:
        """Load the last checkpoint, if the run was not killed before the first, and drop what the log says of later updates."""
        updates = checkpoint.updates_done(self._folder)
        if updates == 0:
            checkpoint.cut_log(self._folder, 0)
            return 0
        if updates > self._training.updates:
            raise RunError(
                f"{str(self._folder)!r} has done {updates} updates already; updates = {self._training.updates} asks for fewer"
            )
        learner, replay = checkpoint.load_tensors(
            self._folder, with_replay=isinstance(self._store, ReplayStore)
        )
        try:
            self._learner.load(learner)
            if isinstance(self._store, ReplayStore) and replay is not None:
                self._store.replay.load(replay)
        except ValueError as error:
            raise RunError(f"{str(self._folder)!r} cannot be resumed: {error}") from None
        checkpoint.remove_other_replays(self._folder, updates)
        checkpoint.cut_log(self._folder, updates)
        checkpoint.write_description(self._folder, self._description)
        return updates

    def _record(self, updates: int, since: int, seconds: float) -> dict[str, Any]:
        self._learner.check()
        means = (self._learner.sums / (updates - since)).cpu()
        self._learner.sums.zero_()
        record: dict[str, Any] = {"update": updates, "seconds": round(seconds, 3)}
        if is_online(self._description):
            record["environment_steps"] = steps_taken(self._description, updates)
        record |= {part: row.tolist() for part, row in zip(self._learner.parts, means, strict=True)}
        if updates % self._training.evaluate_every == 0 or updates == self._training.updates:
            self._learner.check_finite()
            curves = [
                curve_point(
                    Policy.of_learner(self._learner, k),
                    self._environment,
                    self._training.evaluation_episodes,
                )
                for k in range(len(self._learner.seeds))
            ]
            if curves[0]:
                record["evaluation"] = {kpi: [curve[kpi] for curve in curves] for kpi in curves[0]}
        return record

    def _save(self, updates: int) -> None:
        self._learner.check_finite()
        replay = self._store.replay.tensors() if isinstance(self._store, ReplayStore) else None
        checkpoint.save_tensors(
            self._folder, self._description, self._learner.tensors(), replay, updates
        )
        self._saved = updates
        self._store.restart(updates)


def _described(dataset: Dataset | None) -> dict[str, Any] | None:
    if dataset is None:
        return None
    return {
        "transitions": len(dataset),
        "behaviours": dataset.metadata.get("behaviours", []),
        "fingerprint": dataset.fingerprint(),
    }
