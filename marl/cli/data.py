"""What ``python -m marl`` offers, as documented dataclasses; each one's `run` does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.cli.info import dataset_table, run_tables
from marl.cli.progress import progress
from marl.cli.shared import PRESET, EngineOptions, Settings, default_is
from marl.data.collect import collect, collect_parallel
from marl.data.dataset import Dataset, check_dataset_path
from marl.data.metadata import check_text
from marl.data.sources import make_env
from marl.engines.base import Engine
from marl.exchange.card import check_card, dataset_card
from marl.exchange.d3rlpy import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.exchange.minari import check_minari_name, from_minari, to_minari
from marl.training.rollout import collect_run
from rrm_env import RRMConfig, parse_settings
from rrm_env.files import check_apart, check_writable, write_whole
from rrm_env.provenance import facts

DEFAULT_SCHEDULER = "itlinq"
"""Whose actions are recorded where nobody is named."""


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
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=EngineOptions
    )
    """Where the work is done."""

    def run(self) -> None:
        """Do it."""
        out = check_dataset_path("--out", self.out)
        if self.env and self.where != EngineOptions():
            raise ValueError(
                "--engine shares out the network's episodes and does not go with --env"
            )
        if self.scheduler is not None and (self.policy or self.env):
            raise ValueError(
                f"--scheduler does not go with {'--policy' if self.policy else '--env'}, which says who acts"
            )
        if self.env and (self.settings or self.network is not None):
            raise ValueError(
                f"{'--set' if self.settings else '--network'} is of the network and does not go with --env"
            )
        with (
            progress("transitions", self.transitions) as bar,
            self.where.open(bar.losses) as engine,
        ):
            dataset = self.record(bar, engine)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")

    def record(self, advance: Callable[[int], None], engine: Engine) -> Dataset:
        """The dataset, in memory; ``advance`` is told of transitions just recorded."""
        if self.policy:
            where = {"make": make_env(self.env)} if self.env else {"config": self._config()}
            return collect_run(
                self.policy,
                self.transitions,
                self.seed,
                sample=self.sample,
                progress=advance,
                engine=engine,
                **where,
            )
        if self.sample:
            raise ValueError("--sample needs --policy: a scheduler has no actor to draw from")
        if self.env:
            return collect_parallel(
                make_env(self.env), None, self.transitions, self.seed, progress=advance
            )
        name = self.scheduler or DEFAULT_SCHEDULER
        scheduler = parse_scheduler(name, REGISTRY)
        return collect(
            scheduler,
            self._config(),
            self.transitions,
            self.seed,
            name=name,
            progress=advance,
            engine=engine,
        )

    def _config(self) -> RRMConfig:
        return RRMConfig.preset(self.network or "paper", **parse_settings(self.settings))


@dataclass(frozen=True)
class Info:
    """Say what a dataset or a training run is; without a path, what a bug report should say of this machine."""

    path: Annotated[tyro.conf.Positional[Path | None], default_is("versions and machine")] = None
    """A dataset's file or a run's folder."""

    def run(self) -> None:
        """Do it."""
        if self.path is None:
            devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
            for name, value in {
                **facts(),
                "torch threads": torch.get_num_threads(),
                "CUDA devices": ", ".join(devices) or "none",
            }.items():
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
            write_whole(
                card_path, lambda file: file.write(dataset_card(dataset, self.data.name).encode())
            )
            print(f"wrote {card_path}")
        if name:
            written = to_minari(dataset, name)
            print(
                f"wrote {name}: {written.total_episodes:,} episodes, {written.total_steps:,} transitions"
            )


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
                    raise ValueError(
                        f"{name} is of arrays in an .npz file: {self.source!r} says itself what it was recorded in"
                    )
            dataset = from_minari(self.source)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")
