"""How fast the environment is, as ratios measured in one run.

    python examples/benchmarks/environment.py [--rounds 15] [--json benchmark.json]

The peer, mobile-env, comes with ``pip install -e ".[bench]"``; without it its rows are left out.
Machines differ and stall, so compare ratios rather than absolute rates. Rows take turns. A row's
figure in a round is the median over its calls, so that a stall of the machine counts little; a
ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numba import njit
from rich import box
from rich.console import Console
from rich.table import Table

from rrm_env import Network, RRMConfig, RRMVectorEnv, kernels, parallel_env
from rrm_env.exit_status import status_of
from rrm_env.files import check_results, write_json
from rrm_env.optional import lacking
from rrm_env.provenance import origin


@dataclass
class Options:
    """What to measure, and how long."""

    rounds: int = field(
        default=15, metadata={"help": "rounds over all rows; figures are medians over rounds"}
    )
    batch: int = field(default=1024, metadata={"help": "episodes simulated at once"})
    steps: int = field(
        default=99, metadata={"help": "steps timed per row and round, fewer than an episode"}
    )
    json: str | None = field(default=None, metadata={"help": "write the figures to this file"})


@dataclass
class Row:
    """Something to time: after `prepare`, one `call` with each of `inputs`.

    Every call makes `env_steps` steps of environments.
    """

    name: str
    prepare: Callable[[], object]
    call: Callable[[Any], object]
    inputs: Sequence[Any]
    env_steps: int
    peer: str | None = None
    """Row that its speed is compared with."""


def legal_actions(network: Network, steps: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(steps, B, I) random legal actions of episodes from seed 0."""
    generator, drawn = np.random.default_rng(0), []
    network.reset(0)
    for _ in range(steps):
        drawn.append(
            (generator.random(network.action_mask.shape) * network.action_mask).argmax(axis=-1)
        )
        network.step_actions(drawn[-1])
    return np.array(drawn)


def network_row(
    name: str, config: RRMConfig, batch: int, steps: int, threads: int = 1, peer: str | None = None
) -> Row:
    """Row of `Network.step_actions`: rates, reward, channels, reports, observations, masks."""
    network = Network(config, batch, threads)
    actions = legal_actions(network, steps)
    return Row(name, lambda: network.reset(0), network.step_actions, list(actions), batch, peer)


def vector_row(name: str, config: RRMConfig, batch: int, steps: int, peer: str) -> Row:
    """Row of `RRMVectorEnv.step`, without a reset among the steps."""
    env = RRMVectorEnv(batch, config)
    actions = legal_actions(env.network, steps)
    return Row(name, lambda: env.reset(seed=0), env.step, list(actions), batch, peer)


def parallel_row(name: str, config: RRMConfig, steps: int, peer: str | None = None) -> Row:
    """Row of `parallel_env`, with dictionaries in and out."""
    env = parallel_env(config=config)
    drawn = legal_actions(env.network, steps)[:, 0].tolist()
    actions = [dict(zip(env.possible_agents, row, strict=True)) for row in drawn]
    return Row(name, lambda: env.reset(seed=0), env.step, actions, 1, peer)


def picture_row(name: str, config: RRMConfig, steps: int, peer: str) -> Row | None:
    """Row of `parallel_env` with a picture after every step, or None if pygame is missing."""
    try:
        env = parallel_env(config=config, render_mode="rgb_array")
    except DependencyNotInstalled:
        return None
    actions = [dict.fromkeys(env.possible_agents, 0)] * steps

    def step_and_draw(action: dict[str, int]) -> None:
        env.step(action)
        env.render()

    return Row(name, lambda: env.reset(seed=0), step_and_draw, actions, 1, peer)


def mobile_env_lacks() -> str | None:
    """Why the peer cannot be timed, or None; importing it registers its environments."""
    return lacking("mobile_env", extra="bench")


def peer_row(name: str, steps: int) -> Row | None:
    """Row of mobile-env with 7 stations and 15 users, or None if it is missing."""
    if mobile_env_lacks() is not None:
        return None
    env = gymnasium.make("mobile-medium-central-v0")
    env.action_space.seed(0)
    # Its episodes have 100 steps.
    actions = [env.action_space.sample() for _ in range(min(steps, 99))]
    return Row(name, lambda: env.reset(seed=0), env.step, actions, 1)


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _arithmetic(links: Any, ues: Any, key: Any) -> None:
    """Compute one step's transcendental functions in long flat loops.

    They are a draw, two log2 and an exp2 per link, and a rate and two log2 per UE.
    """
    quarter = links.size // 4
    key0, key1 = key
    row0, row1, row2, row3 = (
        links[:quarter],
        links[quarter : 2 * quarter],
        links[2 * quarter : 3 * quarter],
        links[3 * quarter :],
    )
    for block in range(quarter):
        word0, word1, word2, word3 = kernels.philox(np.uint64(block), key0, key0, key0, key0, key1)
        row0[block], row1[block] = kernels.uniform(word0), kernels.uniform(word1)
        row2[block], row3[block] = kernels.uniform(word2), kernels.uniform(word3)
    for link in range(links.size):
        links[link] = kernels.exp2(kernels.log2(links[link]))
    for link in range(links.size):
        links[link] = kernels.log2(links[link])
    for ue in range(ues.size):
        ues[ue] = kernels.log2(kernels.log2_1p(links[ue]) + np.float32(1)) + kernels.log2(
            links[ue] + np.float32(200)
        )


def arithmetic_row(name: str, config: RRMConfig, batch: int, steps: int, peer: str) -> Row:
    """Row of a lower bound: the arithmetic alone, through all episodes without a pause."""
    part = max(1, batch // 16)  # fits the first caches
    links, ues = (
        np.zeros(part * config.n_aps * config.n_ues, np.float32),
        np.zeros(part * config.n_ues, np.float32),
    )
    key = (np.uint64(1), np.uint64(2))
    return Row(name, lambda: None, lambda _: _arithmetic(links, ues, key), range(steps), part, peer)


def reset_row(name: str, config: RRMConfig, batch: int) -> Row:
    """Row of `Network.reset`, its cost spread over the steps of the episodes it starts."""
    network = Network(config, batch)
    return Row(
        name,
        lambda: None,
        network.reset,
        range(5),
        batch * config.episode_length,
        "Network, 1 thread",
    )


def time_rows(rows: list[Row], rounds: int) -> dict[str, dict[str, Any]]:
    """Time all rows, in turns.

    Returns:
        per row the median time of a step and, if it has a peer, the median over rounds of the ratio
        of speeds.
    """
    seconds: dict[str, list[float]] = {row.name: [] for row in rows}
    for round_ in range(rounds + 1):
        for row in rows:
            row.prepare()
            taken = []
            for item in row.inputs:
                began = time.perf_counter()
                row.call(item)
                taken.append(time.perf_counter() - began)
            if round_ > 0:  # the first round compiles and warms up
                seconds[row.name].append(median(taken) / row.env_steps)
    figures: dict[str, dict[str, Any]] = {}
    for row in rows:
        own = seconds[row.name]
        figures[row.name] = {
            "ns_per_env_step": 1e9 * median(own),
            "env_steps_per_second": 1 / median(own),
        }
        if row.peer in seconds:
            ratio = median(
                theirs / ours for ours, theirs in zip(own, seconds[row.peer], strict=True)
            )
            figures[row.name] |= {"times_as_fast": ratio, "peer": row.peer}
    return figures


def speed_rows(options: Options) -> list[Row]:
    """Rows of the first table."""
    paper, seven = RRMConfig(), RRMConfig(n_aps=7, n_ues=15)
    batch, steps = options.batch, min(options.steps, paper.episode_length - 1)
    base, larger, peer = "Network, 1 thread", "Network, 1 thread, 8 x batch", "mobile-env, 7 x 15"
    rows = [
        network_row(base, paper, batch, steps),
        network_row("Network, 2 threads", paper, batch, steps, threads=2, peer=base),
        network_row(larger, paper, 8 * batch, max(1, steps // 4)),
        network_row(
            "Network, 2 threads, 8 x batch",
            paper,
            8 * batch,
            max(1, steps // 4),
            threads=2,
            peer=larger,
        ),
        vector_row("RRMVectorEnv", paper, batch, steps, peer=base),
        arithmetic_row("arithmetic alone", paper, batch, steps, peer=base),
        reset_row("Network.reset, per step", paper, batch),
        parallel_row("parallel_env", paper, steps),
        network_row("Network, 7 x 15, 1 thread", seven, batch, steps, peer=peer),
        network_row("Network, 7 x 15, 2 threads", seven, batch, steps, threads=2, peer=peer),
        parallel_row("parallel_env, 7 x 15", seven, steps, peer=peer),
    ]
    others = (
        picture_row("parallel_env with pictures", paper, steps, peer="parallel_env"),
        picture_row(
            "parallel_env with pictures, 16 x 160",
            RRMConfig.preset("dense"),
            steps,
            peer="parallel_env",
        ),
        peer_row(peer, steps),
    )
    return rows + [row for row in others if row is not None]


def growth_figures(options: Options) -> list[dict[str, Any]]:
    """Cost against the network's size, with about the same number of links at every size."""
    sizes = ((4, 20), (8, 40), (16, 80), (32, 160), (64, 640))
    configs = [RRMConfig(n_aps=i, n_ues=j, area_side_m=100 * (i / 4) ** 0.5) for i, j in sizes]
    batches = [max(1, options.batch * 80 // (config.n_aps * config.n_ues)) for config in configs]
    rows = [
        network_row(f"{config.n_aps} x {config.n_ues}", config, batch, min(options.steps, 50))
        for config, batch in zip(configs, batches, strict=True)
    ]
    figures = time_rows(rows, options.rounds)
    return [
        {
            "n_aps": config.n_aps,
            "n_ues": config.n_ues,
            "batch": batch,
            **figures[row.name],
            "ns_per_link": figures[row.name]["ns_per_env_step"] / (config.n_aps * config.n_ues),
            "bytes_per_episode": Network(config).bytes_per_episode,
        }
        for config, batch, row in zip(configs, batches, rows, strict=True)
    ]


def startup_figures() -> dict[str, float]:
    """Seconds of ``import rrm_env`` and of the first reset and step in a new process.

    The numba cache is empty at first, and filled the second time.
    """
    program = (
        "import time; a = time.perf_counter(); import rrm_env; b = time.perf_counter(); "
        "env = rrm_env.parallel_env(); env.reset(seed=0); "
        "env.step({agent: 0 for agent in env.agents}); c = time.perf_counter(); print(b - a, c - b)"
    )
    with tempfile.TemporaryDirectory() as cache:
        runs = []
        for _ in range(2):
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            result = subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=True,
            )
            runs.append([float(text) for text in result.stdout.split()])
    return {
        "import_s": runs[1][0],
        "first_step_cold_cache_s": runs[0][1],
        "first_step_warm_cache_s": runs[1][1],
    }


def print_figures(
    console: Console,
    speed: dict[str, dict[str, Any]],
    growth: list[dict[str, Any]],
    startup: dict[str, float],
) -> None:
    """Print the tables of speed, growth and start."""
    grid = Table(
        "",
        "env-steps/s",
        "ns per env-step",
        "times as fast as",
        "",
        box=box.SIMPLE_HEAD,
        title="Speed",
        title_justify="left",
    )
    for name, row in speed.items():
        ratio = f"{row['times_as_fast']:,.3g}" if "peer" in row else ""
        grid.add_row(
            name,
            f"{row['env_steps_per_second']:,.0f}",
            f"{row['ns_per_env_step']:,.1f}",
            ratio,
            row.get("peer", ""),
        )
    console.print(grid)
    reset = speed["Network.reset, per step"]
    if "times_as_fast" in reset:
        share = 100 / reset["times_as_fast"]
        console.print(f"Reset costs {share:.1f} % of an episode's steps.\n")
    grid = Table(
        "I x J",
        "batch",
        "ns per env-step",
        "ns per link",
        "bytes per episode",
        box=box.SIMPLE_HEAD,
        title="Growth",
        title_justify="left",
    )
    for size in growth:
        cells = (
            f"{size['ns_per_env_step']:,.0f}",
            f"{size['ns_per_link']:.2f}",
            f"{size['bytes_per_episode']:,}",
        )
        grid.add_row(f"{size['n_aps']} x {size['n_ues']}", str(size["batch"]), *cells)
    console.print(grid)
    grid = Table("", "seconds", box=box.SIMPLE_HEAD, title="Start", title_justify="left")
    for name, seconds in startup.items():
        grid.add_row(name.removesuffix("_s").replace("_", " "), f"{seconds:.2f}")
    console.print(grid)


def parse_options() -> Options:
    """Read the command line, which follows from the fields of `Options`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for item in fields(Options):
        kind = int if isinstance(item.default, int) else str
        parser.add_argument(
            f"--{item.name}",
            type=kind,
            default=item.default,
            help=f"{item.metadata['help']} (default: %(default)s)",
        )
    options = Options(**vars(parser.parse_args()))
    for name in ("rounds", "batch", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    return options


def main() -> None:
    """Measure, print the figures, and write them to the file."""
    options = parse_options()
    path = check_results("--json", options.json) if options.json else None
    rows = speed_rows(options)
    if all(row.name != "mobile-env, 7 x 15" for row in rows):
        print(f"no rows for mobile-env: they need {mobile_env_lacks()}")
    speed = time_rows(rows, options.rounds)
    growth, startup = growth_figures(options), startup_figures()
    asked = {name: value for name, value in asdict(options).items() if name != "json"}
    result = {
        **origin(),
        "options": asked,
        "speed": speed,
        "growth": growth,
        "startup": startup,
    }
    try:
        if path is not None:
            write_json(path, result)
    finally:
        print_figures(Console(width=132), speed, growth, startup)


if __name__ == "__main__":
    sys.exit(status_of(main))
