"""What ``python -m marl`` offers, as documented dataclasses; each one's `run` does the work."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from rich.console import Console

from baselines import REGISTRY
from baselines.comparison import check_picture, parse_scheduler, publish, warm_up
from marl.card import check_card, dataset_card
from marl.checkpoint import updates_done
from marl.collect import MAX_SEEDS, collect, collect_parallel, collect_run
from marl.config import LearnerConfig, TrainingConfig
from marl.dataset import Dataset, check_dataset_path
from marl.described import dataset_table, run_tables
from marl.descriptions import check_text, experience
from marl.engine import Engine, Listen, open_engine
from marl.exchange import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.minari_datasets import check_minari_name, from_minari, to_minari
from marl.policy import Policy, describe, load_policies
from marl.progress import progress, training_progress
from marl.sources import MakeEnv, make_env
from marl.training import episode_returns, train
from rrm_env import Evaluation, RRMConfig, Scheduler, evaluate, metrics, parse_settings
from rrm_env.files import check_apart, check_results, check_writable, readable, write_whole
from rrm_env.network import bounded_integer
from rrm_env.version import facts, versions
from rrm_env.watching import check_video, record, watch

DEFAULT_SCHEDULER = "itlinq"
"""Whose actions are recorded where nobody is named."""


def default_is(meaning: str, *aliases: str, **more: Any) -> Any:
    """How help texts state a default: by what it means where the value itself, None or nothing, says little."""

    def hint(value: str) -> str:
        return f"(default: {meaning if value in ('None', '', repr('')) else value})"

    return tyro.conf.arg(help_behavior_hint=hint, aliases=aliases or None, **more)


PRESET = "--preset"
"""Understood for --network, as for ``python -m baselines``; not where --preset names hyperparameters."""

_settings = default_is("change none", name="set", metavar="FIELD=VALUE")
Settings = Annotated[tuple[str, ...], _settings]


@dataclass(frozen=True)
class EngineOptions:
    """Where tasks run."""

    engine: Annotated[Literal["local", "ray"] | None, default_is("this process alone")] = None
    """local: processes on this machine. ray: a Ray cluster."""
    workers: Annotated[int | None, default_is("one per core of the machine, or of the cluster")] = None
    """Tasks at once."""
    address: Annotated[str | None, default_is("start a cluster on this machine")] = None
    """With ray: the cluster's address, such as 10.0.0.1:6379, or auto for the one that this machine belongs to."""

    def open(self, listen: Listen) -> Engine:
        """The engine, which tells ``listen`` what happens (ValueError: options that do not go together, or no such cluster)."""
        return open_engine(self.engine, self.workers, self.address, listen)


@dataclass(frozen=True)
class Collect:
    """Record what a scheduler, or a trained policy, does: a dataset for offline training."""

    out: Path
    """File to write, such as data.safetensors."""
    scheduler: Annotated[str | None, default_is(DEFAULT_SCHEDULER)] = None
    """Whose actions to record: a scheduler of python -m baselines, with options after colons (itlinq:tolerance_db=0,
    random_walk:silence=true)."""
    policy: Annotated[Path | None, default_is("record the scheduler")] = None
    """Folder of a training run to record instead of a scheduler; all its seeds contribute equally."""
    sample: bool = False
    """Draw the policy's actions from its actor instead of taking the most probable ones."""
    transitions: int = 100_000
    """How many transitions to record."""
    seed: int = 0
    """Which episodes; different seeds share none."""
    network: Annotated[str | None, default_is("paper", PRESET)] = None
    """Preset of the network: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""
    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons (mpe2.simple_spread_v3:max_cycles=50). Random legal actions
    are recorded there, or the policy's."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=EngineOptions)
    """Where the work is done."""

    def run(self) -> None:
        """Do it."""
        out = check_dataset_path("--out", self.out)
        if self.env and self.where != EngineOptions():
            raise ValueError("--engine shares out the network's episodes and does not go with --env")
        if self.scheduler is not None and (self.policy or self.env):
            raise ValueError(f"--scheduler does not go with {'--policy' if self.policy else '--env'}, which says who acts")
        if self.env and (self.settings or self.network is not None):
            raise ValueError(f"{'--set' if self.settings else '--network'} is of the network and does not go with --env")
        with progress("transitions", self.transitions) as bar, self.where.open(bar.losses) as engine:
            dataset = self.record(bar, engine)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")

    def record(self, advance: Callable[[int], None], engine: Engine) -> Dataset:
        """The dataset, in memory; ``advance`` is told of transitions just recorded."""
        if self.policy:
            where = {"make": make_env(self.env)} if self.env else {"config": self._config()}
            return collect_run(self.policy, self.transitions, self.seed, sample=self.sample, progress=advance, engine=engine, **where)
        if self.sample:
            raise ValueError("--sample needs --policy: a scheduler has no actor to draw from")
        if self.env:
            return collect_parallel(make_env(self.env), None, self.transitions, self.seed, progress=advance)
        name = self.scheduler or DEFAULT_SCHEDULER
        scheduler = parse_scheduler(name, REGISTRY)
        return collect(scheduler, self._config(), self.transitions, self.seed, name=name, progress=advance, engine=engine)

    def _config(self) -> RRMConfig:
        return RRMConfig.preset(self.network or "paper", **parse_settings(self.settings))


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
    learner: Annotated[LearnerConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedLearner)] = field(
        default_factory=LearnerConfig
    )
    """Scheme and hyperparameters. sac, dqn, offline and online say where an option has an effect."""
    training: Annotated[TrainingConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedTraining)] = field(
        default_factory=TrainingConfig
    )
    """How long to train, and what to record meanwhile."""

    def checked(self) -> Train:
        """The command with its configs checked (TypeError, ValueError)."""
        return replace(self, learner=LearnerConfig(**vars(self.learner)), training=TrainingConfig(**vars(self.training)))

    def run(self) -> None:
        """Do it."""
        dataset = Dataset.read(self.dataset) if self.dataset else None
        if self.env and (self.settings or self.network):
            raise ValueError(f"{'--set' if self.settings else '--network'} is of the network and does not go with --env")
        network = RRMConfig.preset(self.network or "paper", **parse_settings(self.settings)) if self.network or self.settings else None
        with training_progress(self.training.updates) as report:
            train(
                self.out,
                self.learner,
                self.training,
                seeds=range(self.first_seed, self.first_seed + bounded_integer("seeds", self.seeds, MAX_SEEDS, lowest=0)),
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

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help_behavior_hint="(at least one)")]
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
        notes = [f"{name}: {experience(describe(run), updates_done(run))}" for name, run in self._names().items()]
        publish(evaluations, title, json_path, plot_path, notes)

    def _evaluations(self) -> dict[str, Evaluation]:
        policies = {name: load_policies(run, act_on=self.act_on, sample=self.sample) for name, run in self._names().items()}
        names = [*REGISTRY] if self.schedulers == "all" else [name for name in self.schedulers.split(",") if name]
        schedulers: dict[str, Scheduler] = {name: parse_scheduler(name, REGISTRY) for name in names}
        config = _network_of(self.runs[0], self.network, self.settings)
        evaluations = {}
        total = (sum(map(len, policies.values())) + len(schedulers)) * self.episodes * config.episode_length
        with progress("evaluating", total) as advance:
            for policy in (*(of_seeds[0] for of_seeds in policies.values()), *schedulers.values()):
                warm_up(policy, config, self.episodes)
            for name, of_seeds in policies.items():
                results = [evaluate(policy, config, self.episodes, self.seed, progress=advance) for policy in of_seeds]
                evaluations[name] = Evaluation.stack(results)
            for name, scheduler in schedulers.items():
                evaluations[name] = evaluate(scheduler, config, self.episodes, self.seed, progress=advance)
        return evaluations

    def _names(self) -> dict[str, Path]:
        """Each run by its scheme, and by its folder too where two runs share one."""
        schemes = {run: str(describe(run)["scheme"]) for run in self.runs}
        shared = [scheme for scheme in schemes.values() if list(schemes.values()).count(scheme) > 1]
        return {f"{scheme}, {readable(run)}" if scheme in shared else scheme: run for run, scheme in schemes.items()}

    def _returns(self, make: MakeEnv, json_path: Path | None) -> None:
        for name in ("schedulers", "network", "settings", "plot"):
            if getattr(self, name):
                raise ValueError(f"--{name if name != 'settings' else 'set'} is of the network and does not go with --env")
        result, lines = {}, []
        for name, run in self._names().items():
            policies = load_policies(run, act_on=self.act_on, sample=self.sample)
            returns = np.array([episode_returns(policy, make, self.episodes, self.seed) for policy in policies])
            low, high = metrics.mean_interval(returns)
            lines.append(f"{name}: return {returns.mean():.3f} ({low:.3f}…{high:.3f}), {len(policies)} seeds, {self.episodes} episodes")
            result[name] = {"return": {"mean": float(returns.mean()), "low": low, "high": high}, "per_episode": returns.tolist()}
        content = {"environment": self.env, "seed": self.seed, "episodes": self.episodes, "versions": versions("torch"), "runs": result}
        try:
            if json_path:
                write_whole(json_path, lambda file: file.write(json.dumps(content, indent=1).encode()))
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
        config = _network_of(self.path, self.network, self.settings)
        policy = Policy.load(self.path, self.policy_seed, act_on=self.act_on, sample=self.sample)
        title = str(describe(self.path)["scheme"])
        if self.video:
            target = check_video(self.video, "--video")
            record(target, policy, config, self.seed, title)
            print(f"wrote {target}")
        else:
            watch(policy, config, self.seed, title)


@dataclass(frozen=True)
class Info:
    """Say what a dataset or a training run is; without a path, what a bug report should say of this machine."""

    path: Annotated[tyro.conf.Positional[Path | None], default_is("versions and machine")] = None
    """A dataset's file or a run's folder."""

    def run(self) -> None:
        """Do it."""
        if self.path is None:
            devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
            for name, value in {**facts(), "torch threads": torch.get_num_threads(), "CUDA devices": ", ".join(devices) or "none"}.items():
                print(f"{name}: {value}")
            return
        if not self.path.is_dir():
            Console().print(dataset_table(Dataset.read(self.path), str(self.path)))
            return
        for grid in run_tables(self.path):
            Console().print(grid)


@dataclass(frozen=True)
class Export:
    """Hand a dataset on: to Minari, to d3rlpy, or with a card to Hugging Face."""

    data: tyro.conf.Positional[Path]
    """The dataset's file."""
    minari: Annotated[str | None, default_is("write none")] = None
    """Write a Minari dataset of this name, such as rrm/itlinq-v0, where Minari keeps its datasets."""
    arrays: Annotated[Path | None, default_is("write none")] = None
    """Write the arguments of d3rlpy's MDPDataset to this .npz file; joint actions, no masks."""
    card: Annotated[Path | None, default_is("write none")] = None
    """Write a dataset card, such as card.md, which Hugging Face wants as README.md beside the data. Only a card is replaced."""

    def run(self) -> None:
        """Do it."""
        if not (self.minari or self.arrays or self.card):
            raise ValueError("export needs at least one of --minari, --arrays and --card, got none")
        name = check_minari_name("--minari", self.minari) if self.minari else None
        if self.arrays and self.arrays.suffix != ".npz":
            raise ValueError(f"--arrays = {str(self.arrays)!r} must end in .npz")
        arrays_path = check_writable("--arrays", self.arrays) if self.arrays else None
        card_path = check_card("--card", self.card) if self.card else None
        if card_path:
            check_text("the dataset's file name, which the card states,", self.data.name)
        check_apart(arrays=arrays_path, card=card_path)
        dataset = Dataset.read(self.data)
        if arrays_path:
            arrays: dict[str, Any] = mdp_arrays(dataset)
            write_whole(arrays_path, lambda file: np.savez(file, **arrays))
            print(f"wrote {arrays_path}")
        if card_path:
            write_whole(card_path, lambda file: file.write(dataset_card(dataset, self.data.name).encode()))
            print(f"wrote {card_path}")
        if name:
            written = to_minari(dataset, name)
            print(f"wrote {name}: {written.total_episodes:,} episodes, {written.total_steps:,} transitions")


@dataclass(frozen=True)
class Import:
    """Take a dataset over: from Minari, or from arrays as d3rlpy's MDPDataset takes them."""

    source: tyro.conf.Positional[str]
    """A local Minari dataset's name, such as rrm/itlinq-v0, or an .npz file of arrays."""
    out: Path
    """File to write, such as data.safetensors."""
    network: Annotated[str | None, default_is("paper", PRESET)] = None
    """For arrays: preset of the network that they were recorded in."""
    settings: Settings = ()
    """For arrays: fields of that network that differ from the preset's, such as n_ues=10."""

    def run(self) -> None:
        """Do it."""
        out = check_dataset_path("--out", self.out)
        if self.source.endswith(".npz"):
            config = RRMConfig.preset(self.network or "paper", **parse_settings(self.settings))
            dataset = from_mdp_arrays(read_mdp_arrays(self.source), config, Path(self.source).stem)
        else:
            for name, given in (("--network", self.network), ("--set", self.settings)):
                if given:
                    raise ValueError(f"{name} is of arrays in an .npz file: {self.source!r} says itself what it was recorded in")
            dataset = from_minari(self.source)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")


def _network_of(run: Path, preset: str | None, settings: tuple[str, ...]) -> RRMConfig:
    """The network named, or else the one a run was trained in, with fields changed."""
    changes = parse_settings(settings)
    if preset:
        return RRMConfig.preset(preset, **changes)
    environment = describe(run)["environment"]
    if environment.get("kind") != "network":
        raise ValueError(f"{str(run)!r} was trained in {environment.get('name')!r}: name it with --env MODULE")
    return RRMConfig(**{**environment["config"], **changes})
