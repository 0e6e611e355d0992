"""Other channels: do ranking and gains survive where the channel is not the paper's?

``python examples/paper/channels.py --street street.npz`` evaluates schedulers, the optimum and
learned policies on 256 unseen episodes of the preset ``paper``, of an indoor office and a street
canyon of 3GPP TR 38.901, and of walks through ray-traced streets of Munich, a trace. It is made by
``python examples/bridges/street_walks.py docs/results/munich_maps.npz --steps 5252 --out
street.npz``. All have 4 access points and 20 users, so that policies trained in ``paper`` can act
everywhere; each policy is trained in the other channels too. The script writes
docs/results/channels.json, channel by channel, and channels.png. ``--quick`` does the same in
miniature, without the street.

A row of a learned policy is the mean over its training seeds of each episode's score; intervals are
over episodes, and ``seeds`` has each seed's mean.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from pictures import PICTURE_DPI
from study import Study
from study_options import StudyOptions, origin

from baselines.comparison import mean_with_interval
from baselines.optimum import optimum
from baselines.plots import COLOURS, require_drawing, write_figure
from baselines.registry import parse_scheduler
from baselines.scale import share_of_optimum
from marl import GraphConfig, GraphPolicy, train_prices
from marl.graph.network import Parameters
from marl.policy import load_policies
from rrm_env import RRMConfig, Scheduler, evaluate
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.trace_source import evaluation_notes

Row = dict[str, Any]

HOME = "paper"
"""The channel in which policies are trained that act in all."""
CHANNELS: dict[str, RRMConfig] = {
    HOME: RRMConfig(),
    "indoor office": RRMConfig(
        propagation="inh_office", carrier_hz=3.5e9, tx_power_dbm=20.0, noise_figure_db=9.0
    ),
    "street canyon": RRMConfig(
        propagation="umi",
        area_side_m=400.0,
        min_ap_distance_m=100.0,
        min_ue_distance_m=10.0,
        carrier_hz=3.5e9,
        tx_power_dbm=33.0,
        noise_figure_db=9.0,
    ),
}
"""Networks of 4 access points and 20 users."""
STREET = "ray-traced street"
OF_STREET: dict[str, Any] = {"fading": "iid", "tx_power_dbm": 10.0, "noise_figure_db": 9.0}
"""What a network on the ray-traced gains adds to them: Rayleigh fading, power and noise.

Powers of all channels are such that half of the users receive 34 to 39 dB more than noise.
"""
SCHEDULERS = (
    "random_walk",
    "tdm",
    "itlinq",
    "itlinq:tolerance_db=-10",
    "max_weight",
    "max_weight:csi=large_scale:exponent=2",
    "long_memory",
    "debts",
    "fluid",
    "fluid:trend=false",
)
RUNS = {
    "C-MARL-CQL (SAC)": "c-cql-sac.max_weight:csi=large_scale:exponent=2-100000",
    "cloning": "bc.max_weight:csi=large_scale:exponent=2-100000",
}
"""Offline learners, and their runs: trained on decisions of an exhaustive search in the channel."""
GRAPH = "graph policy"
PICTURED = {
    "tdm": "TDM",
    "itlinq:tolerance_db=-10": "ITLinQ, -10 dB",
    "max_weight:csi=large_scale:exponent=2": "max-weight",
    "C-MARL-CQL (SAC), trained in paper": "C-MARL-CQL, trained in paper",
    "C-MARL-CQL (SAC), trained here": "C-MARL-CQL, trained here",
    "graph policy, trained in paper": "graph policy, trained in paper",
    "graph policy, trained here": "graph policy, trained here",
    "fluid": "fluid",
}
"""Rows of the picture, and their labels."""


@dataclass(frozen=True)
class Options(StudyOptions):
    """What to compute."""

    street: Path | None = None
    """Trace of the ray-traced street."""
    channels: tuple[str, ...] = ()
    """Compute these channels anew; the others are kept as they are in the file."""


def main(options: Options) -> None:
    """Train what is missing, evaluate channel by channel, and write results and picture."""
    if not options.quick:
        require_drawing("the picture")
    networks = dict(CHANNELS)
    if options.street is not None:
        networks[STREET] = RRMConfig.preset(trace=str(options.street), **OF_STREET)
    for name in options.channels:
        if name not in networks:
            raise ValueError(f"channels must be of {', '.join(networks)}, got {name!r}")
    path = check_writable("results", options.results("channels.json"))
    found: Row = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    home = _Trained(options, HOME, networks[HOME])
    for name in options.channels or networks:
        found[name] = channel(
            networks[name], options, home, _Trained(options, name, networks[name])
        )
        _show(name, found[name])
        write_json(path, {**found, **origin(options.scale)})
    if not options.quick and set(found) >= {*CHANNELS, STREET}:
        draw(found, path.with_suffix(".png"))


class _Trained:
    """What is trained in one channel."""

    def __init__(self, options: Options, name: str, network: RRMConfig) -> None:
        self.scale, self.network = options.scale, network
        folder = options.folder / "channels" / name.replace(" ", "_")
        self.study = Study(folder, options.scale, network, options.device)
        self._quick = options.quick
        self._graph: Parameters | None = None

    def policies(self, name: str) -> Sequence[Scheduler]:
        """The policies of all seeds of a learner."""
        if name != GRAPH:
            return load_policies(self.study.run(RUNS[name]))
        config, seeds = GraphConfig(), tuple(range(self.scale.seeds))
        if self._graph is None:
            few: dict[str, Any] = {"updates": 8, "episodes": 32} if self._quick else {}
            self._graph = train_prices((self.network,), config, seeds, **few)
        return [GraphPolicy.of(config, self._graph, k) for k in seeds]


def channel(network: RRMConfig, options: Options, home: _Trained, own: _Trained) -> Row:
    """All rows of a channel, the optimum among them."""
    episodes = options.scale.episodes
    best = optimum(network, 0, episodes).score.value
    rows: Row = {name: _row([parse_scheduler(name)], network, best) for name in SCHEDULERS}
    for learner in (*RUNS, GRAPH):
        rows[f"{learner}, trained in {HOME}"] = _row(home.policies(learner), network, best)
        if own.network != home.network:
            rows[f"{learner}, trained here"] = _row(own.policies(learner), network, best)
    return {
        "network": network.as_dict(),
        "episodes": episodes,
        "notes": evaluation_notes(network, episodes),
        "optimum": mean_with_interval(best),
        "rows": rows,
    }


def _row(schedulers: Sequence[Scheduler], network: RRMConfig, best: Any) -> Row:
    """KPIs of one scheduler, or of one learner's policies of several seeds."""
    found = [evaluate(scheduler, network, len(best)) for scheduler in schedulers]
    scores = np.stack([each.score for each in found])
    row: Row = {
        kpi: mean_with_interval(np.mean([each.kpi(kpi) for each in found], axis=0))
        for kpi in ("score", "sum_rate", "tail_rate", "worst_rate")
    }
    row["share_of_optimum"] = share_of_optimum(scores.mean(axis=0), best)
    return row if len(found) == 1 else {**row, "seeds": scores.mean(axis=1).tolist()}


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw each row's share of the optimum, a group of bars for each channel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    names = [*CHANNELS, STREET]
    width = 0.8 / len(PICTURED)
    for k, (row, label) in enumerate(PICTURED.items()):
        drawn = [(g, found[name]["rows"][row]) for g, name in enumerate(names)
                 if row in found[name]["rows"]]  # fmt: skip
        shares = [100 * each["share_of_optimum"][part] for part in ("mean", "low", "high")
                  for _, each in drawn]  # fmt: skip
        mean, low, high = np.reshape(shares, (3, -1))
        at = [g + (k - (len(PICTURED) - 1) / 2) * width for g, _ in drawn]
        hatch = "//" if "trained here" in row else None
        axes.bar(at, mean, width, color=COLOURS[k % len(COLOURS)], hatch=hatch, label=label,
                 yerr=(mean - low, high - mean), error_kw={"lw": 0.8})  # fmt: skip
    labels = [f"{name}\noptimum {found[name]['optimum']['mean']:.2f}" for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set_ylabel("score, % of the optimum")
    axes.legend(fontsize=8, ncols=2)
    write_figure(path, figure, PICTURE_DPI)


def _show(name: str, found: Row) -> None:
    """Print the score of every row."""
    print(f"{name}: optimum {found['optimum']['mean']:.3f}", *found["notes"], flush=True)
    for label, row in found["rows"].items():
        score, share = row["score"], row["share_of_optimum"]
        print(
            f"{name}, {label}: score {score['mean']:.3f} ({score['low']:.3f}…{score['high']:.3f}), "
            f"{100 * share['mean']:.1f} %, worst user {row['worst_rate']['mean']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
