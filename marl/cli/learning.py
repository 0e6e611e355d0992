"""The commands that train policies, evaluate them and show them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from baselines import REGISTRY
from baselines.comparison import publish, warm_up
from baselines.plots import check_picture
from baselines.registry import parse_scheduler
from marl.cli.progress import progress, training_progress
from marl.cli.shared import PRESET, Settings, default_is, network_of
from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import MAX_SEEDS
from marl.data.dataset import Dataset
from marl.data.sources import MakeEnv, make_env
from marl.policy import Policy, load_policies
from marl.runs.checkpoint import updates_done
from marl.runs.description import describe, experience
from marl.training.rollout import episode_returns
from marl.training.train import train
from rrm_env import Evaluation, RRMConfig, Scheduler, evaluate, metrics, parse_settings
from rrm_env.checks import bounded_integer
from rrm_env.files import check_apart, check_results, check_writable, readable, write_whole
from rrm_env.provenance import versions
from rrm_env.watching import check_video, record, watch


class _UncheckedLearner(LearnerConfig):
    """A learner's options as given; tyro would wrap what `LearnerConfig` says of wrong ones into a text of its own."""

    def __post_init__(self) -> None:
        """Leave checking to `Train.checked`."""


class _UncheckedTraining(TrainingConfig):
    """Options of training, likewise."""

    def __post_init__(self) -> None:
        """Leave checking to `Train.checked`."""


@dataclass(frozen=True)
class Train:
    """Train a scheme of the paper, offline from a dataset or online, several seeds at once."""

    out: Path
    """Folder for the run: config.json, log.jsonl, checkpoint.safetensors."""
    dataset: Annotated[Path | None, default_is("train online")] = None
    """Learn from the transitions of this file."""
    seeds: int = 1
    """Independent learners, trained side by side."""
    first_seed: int = 0
    """Seed of the first; the others follow."""
    resume: bool = False
    """Go on from the last checkpoint in the folder; give the same options as before (updates may grow)."""
    preset: str = "tuned"
    """Hyperparameters to start from: tuned, or paper (Table III). Options of the learner change single ones."""
    network: Annotated[str | None, default_is("the dataset's network; online paper")] = None
    """Preset of the network to act and be evaluated in: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""
    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons (mpe2.simple_spread_v3:max_cycles=50)."""
    learner: Annotated[
        LearnerConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedLearner)
    ] = field(default_factory=LearnerConfig)
    """Scheme and hyperparameters. sac, dqn, offline and online say where an option has an effect."""
    training: Annotated[
        TrainingConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedTraining)
    ] = field(default_factory=TrainingConfig)
    """How long to train, and what to record meanwhile."""

    def checked(self) -> Train:
        """The command with its configs checked (TypeError, ValueError)."""
        return replace(
            self,
            learner=LearnerConfig(**vars(self.learner)),
            training=TrainingConfig(**vars(self.training)),
        )

    def run(self) -> None:
        """Do it."""
        dataset = Dataset.read(self.dataset) if self.dataset else None
        if self.env and (self.settings or self.network):
            raise ValueError(
                f"{'--set' if self.settings else '--network'} is of the network and does not go with --env"
            )
        network = (
            RRMConfig.preset(self.network or "paper", **parse_settings(self.settings))
            if self.network or self.settings
            else None
        )
        with training_progress(self.training.updates) as report:
            train(
                self.out,
                self.learner,
                self.training,
                seeds=range(
                    self.first_seed,
                    self.first_seed + bounded_integer("seeds", self.seeds, MAX_SEEDS, lowest=0),
                ),
                dataset=dataset,
                network=network,
                make=make_env(self.env) if self.env else None,
                resume=self.resume,
                report=report,
            )
        print(f"wrote {self.out}")


@dataclass(frozen=True)
class Evaluate:
    """Compare trained policies with each other and with schedulers, on episodes that no training saw."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help_behavior_hint="(at least one)")
    ]
    """Folders of training runs."""
    episodes: int = 128
    """Episodes per policy."""
    seed: int = 0
    """Which evaluation episodes."""
    schedulers: Annotated[str, default_is("none")] = ""
    """Schedulers to set beside them, comma-separated, as in python -m baselines; "all" for all."""
    act_on: Annotated[str | None, default_is("as trained")] = None
    """Make sac policies greedy on their actor or on their critic."""
    sample: bool = False
    """Draw actions from the actor instead of taking the most probable ones."""
    network: Annotated[str | None, default_is("the first run's network", PRESET)] = None
    """Preset of the network to evaluate in: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""
    env: Annotated[str | None, default_is("the network")] = None
    """For runs in another PettingZoo environment: its module, as in training."""
    json: Annotated[Path | None, default_is("write none")] = None
    """Write config, versions, KPIs with intervals and per-episode values to this file."""
    plot: Annotated[Path | None, default_is("draw none")] = None
    """Draw the distribution of per-user rates into this file."""

    def run(self) -> None:
        """Do it."""
        if not self.runs:
            raise ValueError("runs must name at least one folder of a training run, got none")
        json_path = check_results("--json", self.json) if self.json else None
        plot_path = check_writable("--plot", self.plot) if self.plot else None
        check_apart(json=json_path, plot=plot_path)
        if plot_path:
            check_picture(plot_path)
        if self.env:
            self._returns(make_env(self.env), json_path)
            return
        evaluations = self._evaluations()
        first = next(iter(evaluations.values()))
        title = f"{first.config.n_aps} APs, {first.config.n_ues} UEs, {self.episodes} episodes, seed {self.seed}"
        notes = [
            f"{name}: {experience(describe(run), updates_done(run))}"
            for name, run in self._names().items()
        ]
        publish(evaluations, title, json_path, plot_path, notes)

    def _evaluations(self) -> dict[str, Evaluation]:
        policies = {
            name: load_policies(run, act_on=self.act_on, sample=self.sample)
            for name, run in self._names().items()
        }
        names = (
            [*REGISTRY]
            if self.schedulers == "all"
            else [name for name in self.schedulers.split(",") if name]
        )
        schedulers: dict[str, Scheduler] = {name: parse_scheduler(name, REGISTRY) for name in names}
        config = network_of(self.runs[0], self.network, self.settings)
        evaluations = {}
        total = (
            (sum(map(len, policies.values())) + len(schedulers))
            * self.episodes
            * config.episode_length
        )
        with progress("evaluating", total) as advance:
            for policy in (*(of_seeds[0] for of_seeds in policies.values()), *schedulers.values()):
                warm_up(policy, config, self.episodes)
            for name, of_seeds in policies.items():
                results = [
                    evaluate(policy, config, self.episodes, self.seed, progress=advance)
                    for policy in of_seeds
                ]
                evaluations[name] = Evaluation.stack(results)
            for name, scheduler in schedulers.items():
                evaluations[name] = evaluate(
                    scheduler, config, self.episodes, self.seed, progress=advance
                )
        return evaluations

    def _names(self) -> dict[str, Path]:
        """Each run by its scheme, and by its folder too where two runs share one."""
        schemes = {run: str(describe(run)["scheme"]) for run in self.runs}
        shared = [scheme for scheme in schemes.values() if list(schemes.values()).count(scheme) > 1]
        return {
            f"{scheme}, {readable(run)}" if scheme in shared else scheme: run
            for run, scheme in schemes.items()
        }

    def _returns(self, make: MakeEnv, json_path: Path | None) -> None:
        for name in ("schedulers", "network", "settings", "plot"):
            if getattr(self, name):
                raise ValueError(
                    f"--{name if name != 'settings' else 'set'} is of the network and does not go with --env"
                )
        result, lines = {}, []
        for name, run in self._names().items():
            policies = load_policies(run, act_on=self.act_on, sample=self.sample)
            returns = np.array(
                [episode_returns(policy, make, self.episodes, self.seed) for policy in policies]
            )
            low, high = metrics.mean_interval(returns)
            lines.append(
                f"{name}: return {returns.mean():.3f} ({low:.3f}…{high:.3f}), {len(policies)} seeds, {self.episodes} episodes"
            )
            result[name] = {
                "return": {"mean": float(returns.mean()), "low": low, "high": high},
                "per_episode": returns.tolist(),
            }
        content = {
            "environment": self.env,
            "seed": self.seed,
            "episodes": self.episodes,
            "versions": versions("torch"),
            "runs": result,
        }
        try:
            if json_path:
                write_whole(
                    json_path, lambda file: file.write(json.dumps(content, indent=1).encode())
                )
                lines.append(f"wrote {json_path}")
        finally:
            print("\n".join(lines))


@dataclass(frozen=True)
class Watch:
    """Watch a trained policy for one unseen episode, in a window or as a video."""

    path: tyro.conf.Positional[Path]
    """Folder of a training run."""
    video: Annotated[Path | None, default_is("open a window")] = None
    """Write the episode to this .gif or .mp4 file instead of opening a window."""
    policy_seed: int = 0
    """Which of the run's seeds, counted from 0."""
    seed: int = 0
    """The episode is the first that python -m marl evaluate has with this seed."""
    act_on: Annotated[str | None, default_is("as trained")] = None
    """Make a sac policy greedy on its actor or on its critic."""
    sample: bool = False
    """Draw actions from the actor instead of taking the most probable ones."""
    network: Annotated[str | None, default_is("the run's network", PRESET)] = None
    """Preset of the network to watch it in: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""

    def run(self) -> None:
        """Do it."""
        config = network_of(self.path, self.network, self.settings)
        policy = Policy.load(self.path, self.policy_seed, act_on=self.act_on, sample=self.sample)
        title = str(describe(self.path)["scheme"])
        if self.video:
            target = check_video(self.video, "--video")
            record(target, policy, config, self.seed, title)
            print(f"wrote {target}")
        else:
            watch(policy, config, self.seed, title)
