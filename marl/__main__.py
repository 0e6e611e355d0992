"""The command ``python -m marl``, from collect to info."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from marl.cli.data import Collect, Export, Import, Info
from marl.cli.datasets import Datasets, VerificationError
from marl.cli.graph import Graph
from marl.cli.learning import Evaluate, Train, Watch
from marl.cli.policies import Policies
from marl.cli.sweep import SweepCommand, SweepError
from marl.config import PRESETS, LearnerConfig
from marl.engines.base import LostError
from marl.learner.stacked import DivergenceError
from rrm_env import PRESETS as NETWORKS
from rrm_env.exit_status import status_of

Command = (
    Annotated[Collect, tyro.conf.subcommand("collect")]
    | Annotated[Datasets, tyro.conf.subcommand("datasets")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[SweepCommand, tyro.conf.subcommand("sweep")]
    | Annotated[Graph, tyro.conf.subcommand("graph")]
    | Annotated[Watch, tyro.conf.subcommand("watch")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Policies, tyro.conf.subcommand("policies")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)

_CONFIG = (tyro.conf.DisallowNone,)
"""Help texts do not list None as a value of an option that may be left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: the words after ``python -m marl``; those of this process where None.

    Returns:
        The status of `rrm_env.exit_status.status_of`; 1 also if training diverged, cells of a sweep
        failed, an engine lost its workers, or datasets are not as published.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    failures = DivergenceError, LostError, SweepError, VerificationError
    return status_of(lambda: _parse(given).run(), failures=failures)


def _parse(given: list[str]) -> Any:
    """The command that ``given`` spells, with its options."""
    command = tyro.cli(Command, args=given, prog="python -m marl", config=_CONFIG)
    if isinstance(command, Train) and command.preset in set(NETWORKS) - set(PRESETS):
        raise ValueError(
            f"--preset of train names hyperparameters; {command.preset!r} is a network: "
            f"--network {command.preset}"
        )
    if isinstance(command, Train) and command.preset != "tuned":
        # Parse again with the preset's values as defaults, so that given options override them.
        start = dataclasses.replace(command, learner=LearnerConfig.preset(command.preset))
        command = tyro.cli(
            Train, args=given[1:], default=start, prog="python -m marl train", config=_CONFIG
        )
    return command.checked() if isinstance(command, Train) else command


if __name__ == "__main__":
    sys.exit(main())
