"""Schedulers beside the published code of a graph neural network, on the channels of that code.

N. Naderializadeh, M. Eisen, A. Ribeiro, "Learning resilient radio resource management policies with
graph neural networks", IEEE Trans. Signal Process. (2023), arXiv 2203.11012, control the power of
each access point and choose its user. Their code, github.com/navid-naderi/Resilient_RRM_GNN
(``--code``), draws the networks: 8 access points and 40 users in 500 m x 500 m, Rayleigh fading
with a Doppler frequency of 8 Hz, steps of 1 ms, 100 of them after a warm-up of 100. It runs under
an interpreter of its own (``--python``) and plays its policies (``--models``, trained by its
``main_train.py``) and baselines. Schedulers of this package then play the same steps, with averages
that the same warm-up has moved; all users are candidates.

Both KPIs are theirs: the mean rate of all users of all networks, and the 5th percentile over all of
them together. Intervals are by bootstrap over networks. How their policies play, resilient_peer.py
says under `KINDS`.

Writes docs/results/resilient.json. Without ``--code``, ``--quick`` plays on channels of `Network`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from recorded_network import RecordedNetwork, record, round_robin
from rich import box
from rich.console import Console
from rich.table import Table

from baselines.comparison import mean_with_interval
from baselines.registry import parse_scheduler
from rrm_env import Network, RRMConfig, Scheduler, metrics
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

Row = dict[str, Any]
Floats = NDArray[np.float64]

PRESENT, SLOW, NOTHING = "present fading", "large-scale gains", "no gains"
"""What a policy knows of the channel. All know the rates so far."""
OURS = (
    ("random_walk", NOTHING),
    ("tdm", NOTHING),
    ("proportional_fair", PRESENT),
    ("itlinq", PRESENT),
    ("itlinq:tolerance_db=0", PRESENT),
    ("greedy_max_weight:csi=present", PRESENT),
    ("greedy_max_weight:csi=present:exponent=1", PRESENT),
    ("greedy_max_weight:csi=present:exponent=2", PRESENT),
    ("greedy_max_weight:csi=large_scale:exponent=2", SLOW),
    ("long_memory", SLOW),
    ("fluid", SLOW),
    ("fluid:counted=everybody", SLOW),
    ("debts", SLOW),
    ("debts:counted=everybody", SLOW),
    ("graph", SLOW),
    ("graph:counted=everybody", SLOW),
)
"""Our schedulers, which switch access points on and off, and what they know of the channel."""
BASELINES = {
    "FR": ("full reuse, best PF ratio", "on/off"),
    "ITLinQ": ("ITLinQ, best PF ratio", "on/off"),
    "WMMSE": ("WMMSE, best PF ratio", "continuous"),
}
"""Their baselines by the names of their code: name of the row, and powers."""
POWERS = {
    "as trained": "continuous",
    "likeliest user": "continuous",
    "on/off": "on/off",
    "on/off in proportion": "on/off",
    "earlier": "continuous",
}
"""Powers of their trained policies by the kinds of resilient_peer.py."""
WARM_UP = 100


@dataclass(frozen=True)
class Options:
    """Where their code is, how much to measure, and where to put it."""

    code: Path | None = None
    """Clone of Resilient_RRM_GNN."""
    python: Path = Path(sys.executable)
    """Interpreter of an environment that can run it: torch, torch_geometric, scipy and so on."""
    models: tuple[str, ...] = ()
    """Trained policies as NAME=FILE (default: published=, the file that main_train.py writes)."""
    training: str = ""
    """How they were trained, for the file of results."""
    networks: int = 128
    """Networks of the test set."""
    quick: bool = False
    """Measure the same in miniature, in seconds."""
    json: Path | None = None
    """File of the results (default: docs/results/resilient.json, or none with --quick)."""

    def __post_init__(self) -> None:
        if self.code is None and not self.quick:
            raise ValueError(
                "--code must name a clone of Resilient_RRM_GNN; only --quick needs none"
            )
        if self.code is not None and not (self.code / "main_eval.py").exists():
            raise ValueError(f"--code must hold main_eval.py, got {self.code}")
        if self.networks < 1:
            raise ValueError(f"--networks must be at least 1, got {self.networks}")
        for model in self.models:
            name, separator, file = model.partition("=")
            if not (name and separator and Path(file).is_file()):
                raise ValueError(
                    f"--models must be NAME=FILE with a file that exists, got {model!r}"
                )


# --- Both sides ---


def scheduler_of(name: str) -> Scheduler:
    """The scheduler of a name in `OURS`."""
    return parse_scheduler(name)


def setting(steps: int, n_candidates: int) -> RRMConfig:
    """Their network as a configuration; channels come from their code."""
    return RRMConfig.preset(
        "wide",
        step_duration_s=0.001,
        fading="jakes",
        csi_delay=0,
        episode_length=steps,
        n_candidates=n_candidates,
    )


def played(channels: Mapping[str, Any], steps: int) -> list[Row]:
    """A row for each of `OURS`, on the last steps of the channels.

    Args:
        channels: ``gain`` (steps before + steps, B, I, J), ``large_scale_gain`` (B, I, J).
        steps: of the episode.
    """
    slow = channels["large_scale_gain"]
    users = (slow.argmax(axis=1)[:, None, :] == np.arange(slow.shape[1])[:, None]).sum(axis=2)
    config, rows = setting(steps, int(users.max())), []
    for name, knows in OURS:
        network = RecordedNetwork(
            config,
            channels["gain"],
            slow,
            lambda t, association: round_robin(t, association, config.n_aps),
        )
        scheduler = scheduler_of(name)
        network.reset()
        scheduler.reset(network)
        while not network.done:
            network.step(scheduler.schedule(network))
        silent = network.silent_steps.mean() / (steps * config.n_aps)
        rates = network.ue_rate_sum / steps
        rows.append(row_of(name, "ours", knows, "on/off", rates, 1 - float(silent)))
    return rows


def theirs(found: Mapping[str, Any]) -> list[Row]:
    """A row for each baseline and policy of their code, from the file of resilient_peer.py."""
    rows = []
    for key in (key for key in found if key.startswith("rates/")):
        _, name, *kind = key.split("/", 2)
        rates, power = found[key].astype(np.float64), None
        if kind:
            label = f"GNN {name}, {kind[0]}"
            powers, power = POWERS[kind[0]], found[key.replace("rates/", "power/")]
            rows.append(
                row_of(label, "theirs", PRESENT, powers, rates, float(power[..., 0].mean()))
            )
            rows[-1]["share_above_half"] = float(power[..., 1].mean())
        else:
            label, powers = BASELINES[name]
            rows.append(row_of(label, "theirs", PRESENT, powers, rates, None))
    return rows


def row_of(
    name: str, whose: str, knows: str, powers: str, rates: Floats, mean_power: float | None
) -> Row:
    """KPIs of rates (networks, J), averaged over the steps."""
    low, high = metrics.pooled_tail_interval(rates)
    return {
        "policy": name,
        "whose": whose,
        "knows": knows,
        "powers": powers,
        "mean_rate": mean_with_interval(rates.mean(axis=1)),
        "pooled_tail_rate": {"mean": metrics.pooled_tail_rate(rates), "low": low, "high": high},
        "tail_rate": mean_with_interval(metrics.tail_rate(rates)),
        "worst_rate": mean_with_interval(metrics.worst_rate(rates)),
        "mean_power": mean_power,
        "rates": rates,
    }


def compared(rows: list[Row], reference: str) -> None:
    """Add to each row both KPIs minus those of the reference, paired by network."""
    base = next(row["rates"] for row in rows if row["policy"] == reference)
    for row in rows:
        pair = np.stack([row["rates"], base], axis=1)
        for name, statistic in (("mean_rate", _mean_gain), ("pooled_tail_rate", _tail_gain)):
            low, high = metrics.bootstrap_interval(pair, statistic, 2_000)
            gain = float(statistic(pair[None])[0])
            row[f"{name}_minus_reference"] = {"mean": gain, "low": low, "high": high}


def _mean_gain(sample: Floats) -> Floats:
    """(r,) differences of mean rates, of resamples (r, networks, 2, J)."""
    means = sample.mean(axis=(1, 3))
    gain: Floats = means[:, 0] - means[:, 1]
    return gain


def _tail_gain(sample: Floats) -> Floats:
    """(r,) differences of pooled tail rates, of resamples (r, networks, 2, J)."""
    tails = np.percentile(np.moveaxis(sample, 2, 1).reshape(len(sample), 2, -1), 5, axis=2)
    gain: Floats = tails[:, 0] - tails[:, 1]
    return gain


# --- Their code ---


def run_peer(options: Options, models: tuple[str, ...]) -> dict[str, Any]:
    """Channels and rates of their code, which runs in a process of its own."""
    assert options.code is not None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npz"
        command = [
            str(options.python),
            str(Path(__file__).with_name("resilient_peer.py")),
            str(out),
            f"--code={options.code}",
            f"--networks={2 if options.quick else options.networks}",
            *(["--skip=0"] if options.quick else []),
            "--models",
            *models,
        ]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        if done.returncode:
            sys.exit(f"error: their code stopped:\n{done.stderr[-2000:]}")
        with np.load(out) as found:
            return dict(found)


def models_of(options: Options) -> tuple[str, ...]:
    """The trained policies, NAME=FILE."""
    if options.models or options.code is None:
        return options.models
    files = sorted((options.code / "results" / "models").glob("m8_n40_*.pt"))
    return tuple(f"published={file}" for file in files[:1])


def own_channels() -> dict[str, Any]:
    """Channels of `Network` in place of theirs, for a miniature without their code."""
    network = Network(setting(WARM_UP + 10, 3), 2)
    network.reset(0)
    gain, slow = record(network)
    return {"gain": gain, "large_scale_gain": slow[WARM_UP]}


def results(options: Options) -> Row:
    """Everything that the file of results states."""
    models = models_of(options)
    found = own_channels() if options.code is None else run_peer(options, models)
    rows = [*theirs(found), *played(found, len(found["gain"]) - WARM_UP)]
    policies = [row["policy"] for row in rows]
    reference = next((name for name in policies if name.endswith("as trained")), policies[0])
    compared(rows, reference)
    about: Row = {}
    if options.code is not None:
        head = ["git", "-C", str(options.code), "rev-parse", "HEAD"]
        about = {
            **json.loads(str(found["about"])),
            "revision": subprocess.run(head, capture_output=True, encoding="utf-8").stdout.strip(),
            "training": options.training,
            "models": {
                name: hashlib.sha256(Path(file).read_bytes()).hexdigest()
                for name, _, file in (model.partition("=") for model in models)
            },
        }
    for row in rows:
        rates = row.pop("rates")
        row["per_network"] = {
            "mean_rate": np.round(rates.mean(axis=1), 6).tolist(),
            "tail_rate": np.round(metrics.tail_rate(rates), 6).tolist(),
        }
    networks = int(found["gain"].shape[1])
    return {
        **origin(),
        "theirs": about,
        "networks": networks,
        "reference": reference,
        "policies": rows,
    }


def table(found: Row) -> Table:
    """The rows for the terminal, sorted by the 5th percentile."""
    grid = Table(
        title=f"{found['networks']} networks of 8 access points and 40 users",
        caption=f"bit/s/Hz per user. Gain: over {found['reference']!r}, paired by network.",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    grid.add_column("policy", no_wrap=True)
    for heading in ("knows", "powers"):
        grid.add_column(heading)
    for heading in ("mean rate", "5th percentile", "gain", "worst user", "mean power %"):
        grid.add_column(heading, justify="right")
    key = "pooled_tail_rate"
    for row in sorted(found["policies"], key=lambda row: -row[key]["mean"]):
        power = row["mean_power"]
        grid.add_row(
            f"{row['whose']}: {row['policy']}",
            row["knows"],
            row["powers"],
            _interval(row["mean_rate"]),
            _interval(row[key]),
            _interval(row[f"{key}_minus_reference"]),
            f"{row['worst_rate']['mean']:.4f}",
            "" if power is None else f"{100 * power:.0f}",
        )
    return grid


def _interval(value: Mapping[str, float], digits: int = 4) -> str:
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}…{value['high']:.{digits}f})"


def main(options: Options) -> None:
    """Measure, print the table, and write the results."""
    path = options.json or (None if options.quick else Path("docs/results/resilient.json"))
    path = check_writable("json", path) if path else None
    found = results(options)
    if path:
        write_json(path, found)
    Console(width=190).print(table(found))


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
