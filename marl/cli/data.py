"""The commands for datasets: collect, info, export and import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import tyro
from rich.console import Console

from marl.benchmark.hub import reference_returns
from marl.checks import check_text
from marl.cli.info import dataset_table, run_tables
from marl.cli.progress import progress
from marl.cli.shared import EngineOptions
from marl.data.dataset import Dataset, check_dataset_path
from marl.exchange.card import check_card, dataset_card
from marl.exchange.d3rlpy import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.exchange.minari import check_minari_name, from_minari, to_minari
from marl.options import PRESET, NetworkOptions, RecordingOptions, Settings, default_is
from rrm_env.files import check_apart, check_writable, write_whole
from rrm_env.provenance import facts


@dataclass(frozen=True, kw_only=True)
class Collect(RecordingOptions):
    """Record what a scheduler, or a trained policy, does: a dataset for offline training."""

    dashes: ClassVar[str] = "--"
    out: Path
    """File to write, such as data.safetensors."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=EngineOptions
    )
    """Where the work is done."""

    def run(self) -> None:
        """Record the dataset and write its file."""
        out = check_dataset_path("--out", self.out)
        if self.env and self.where != EngineOptions():
            raise ValueError(
                "--engine shares out the network's episodes and does not go with --env"
            )
        self.check()  # before an engine is opened
        with (
            progress("transitions", self.transitions) as bar,
            self.where.open(bar.losses) as engine,
        ):
            dataset = self.record(bar, engine)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")


@dataclass(frozen=True)
class Info:
    """Describe a dataset or a training run; without a path, this machine, for a bug report."""

    path: Annotated[tyro.conf.Positional[Path | None], default_is("versions and machine")] = None
    """A dataset's file or a run's folder."""

    def run(self) -> None:
        """Print the description."""
        if self.path is None:
            devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
            machine = {
                **facts(),
                "torch threads": torch.get_num_threads(),
                "CUDA devices": ", ".join(devices) or "none",
            }
            for name, value in machine.items():
                print(f"{name}: {value}")
        elif self.path.is_dir():
            for grid in run_tables(self.path):
                Console().print(grid)
        else:
            Console().print(dataset_table(Dataset.read(self.path), str(self.path)))


@dataclass(frozen=True)
class Export:
    """Export a dataset: to Minari, to d3rlpy, or with a card to Hugging Face."""

    data: tyro.conf.Positional[Path]
    """The dataset's file."""
    minari: Annotated[str | None, default_is("write none")] = None
    """Write a Minari dataset of this name, such as rrm/itlinq-v0, into Minari's folder."""
    arrays: Annotated[Path | None, default_is("write none")] = None
    """Write the arguments of d3rlpy's MDPDataset to this .npz file; joint actions, no masks."""
    card: Annotated[Path | None, default_is("write none")] = None
    """Write a card, such as card.md, for README.md on Hugging Face. Only a card is replaced."""

    def run(self) -> None:
        """Write what was asked for."""
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
            card = dataset_card(dataset, self.data.name).encode()
            write_whole(card_path, lambda file: file.write(card))
            print(f"wrote {card_path}")
        if name:
            config = dataset.environment.network
            returns = None if config is None else reference_returns(config)
            written = to_minari(dataset, name, reference_returns=returns)
            episodes = f"{written.total_episodes:,} episodes"
            print(f"wrote {name}: {episodes}, {written.total_steps:,} transitions")


@dataclass(frozen=True, kw_only=True)
class Import(NetworkOptions):
    """Import a dataset: from Minari, or from arrays as d3rlpy's MDPDataset takes them."""

    dashes: ClassVar[str] = "--"
    source: tyro.conf.Positional[str]
    """A local Minari dataset's name, such as rrm/itlinq-v0, or an .npz file of arrays."""
    out: Path
    """File to write, such as data.safetensors."""
    network: Annotated[str | None, default_is("paper", PRESET)] = None
    """For arrays: preset of the network that they were recorded in."""
    settings: Settings = ()
    """For arrays: fields of that network that differ from the preset's, such as n_ues=10."""

    def run(self) -> None:
        """Read the source and write the dataset's file."""
        out = check_dataset_path("--out", self.out)
        if self.source.endswith(".npz"):
            arrays = read_mdp_arrays(self.source)
            dataset = from_mdp_arrays(arrays, self.config(), Path(self.source).stem)
        elif given := self.of_network:
            raise ValueError(
                f"--{[*given][-1]} is of arrays in an .npz file: "
                f"{self.source!r} says itself what it was recorded in"
            )
        else:
            dataset = from_minari(self.source)
        dataset.write(out)
        Console().print(dataset_table(dataset, str(out)))
        print(f"wrote {out}")
