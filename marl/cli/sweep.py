"""The command sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from baselines.comparison import print_whole
from baselines.plots import DRAWING
from marl.cli.progress import progress
from marl.cli.shared import EngineOptions
from marl.options import default_is
from marl.sweep.grid import Sweep
from marl.sweep.report import table, write_results
from marl.sweep.run import PICTURE, RESULTS, SweepRun
from rrm_env.exit_status import GOES_ON
from rrm_env.optional import lacking


class SweepError(RuntimeError):
    """Some cells of a sweep failed; the message says which and why."""


@dataclass(frozen=True)
class SweepCommand:
    """Train and evaluate a grid of learners; what is done stays, what was interrupted goes on."""

    file: tyro.conf.Positional[Path]
    """The grid, in TOML: options of collect, train and evaluate, lists where they vary; seeds."""
    out: Annotated[
        Path | None, default_is("the file's name without .toml, in the present folder")
    ] = None
    """Folder for datasets, runs and results; all nodes of a cluster must see it."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: EngineOptions(engine="local")
    )
    """Where the work is done."""

    def run(self) -> None:
        """Run the sweep, print its table and write results and picture."""
        sweep = Sweep.read(self.file)
        out = Path(self.file.stem) if self.out is None else self.out
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out must be a folder, got the file {str(out)!r}")
        with progress("updates", 1) as bar:
            work = SweepRun(sweep, out, bar.say, bar.reach)
            try:
                with self.where.open(work.listen) as engine:
                    results = work.run(engine)
            except KeyboardInterrupt as interruption:
                interruption.args = (GOES_ON,)
                raise
        lines = [f"wrote {out / RESULTS}"]
        if (why := lacking(*DRAWING, extra="plot")) is not None:
            lines.append(f"{PICTURE} left out: it needs {why}")
        elif results["rows"]:
            write_results(out / PICTURE, results)
            lines.append(f"wrote {out / PICTURE}")
        print_whole(table(results))
        print("\n".join(lines))
        if work.failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in work.failed.items())
            total = len(work.cells) + len(work.references)
            raise SweepError(
                f"{len(work.failed)} of {total} failed; the same command tries again: {reasons}"
            )
