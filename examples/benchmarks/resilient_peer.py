"""The published code of "Learning resilient radio resource management policies", as a peer.

An interpreter that can run that code runs this file as a script,
``python resilient_peer.py OUT --code CLONE``. It has none of this project's packages, so nothing of
them is imported. It draws networks, plays that paper's policies and baselines, and writes channels
and rates to the file OUT.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

PHASE = "test"
"""The phase whose baselines their code evaluates."""
KINDS = ("as trained", "likeliest user", "on/off", "on/off in proportion", "earlier")
"""How a policy plays.

- ``as trained``: with continuous powers, on the steps after the warm-up;
- ``likeliest user``: each access point serves its user of highest probability, not one drawn;
- ``on/off``: powers above half of the maximum become the maximum, all others 0;
- ``on/off in proportion``: the same with half of the highest power of the network in the step;
- ``earlier``: as trained, on the steps of their own evaluation, which takes the edges of the graph
  from the steps after the warm-up, but rates and PF ratios from the steps of the warm-up.
"""


def work(out: Path, code: Path, networks: int, skip: int, models: list[str]) -> None:
    """Draw the networks, play everything on them, and write the file."""
    sys.path.insert(0, str(code.resolve()))
    os.environ.setdefault("MPLBACKEND", "agg")
    import numpy.matlib  # noqa: F401 - their channels use it, their scripts import it
    import torch

    torch.set_num_threads(1)
    data: Any
    theirs, utils, data = (
        importlib.import_module(n) for n in ("main_eval", "utils", "data_creation")
    )
    sys.argv = [sys.argv[0]]
    args = theirs.parse_option()
    p_max = 10 ** ((args.P_max_dBm - 30) / 10)
    noise = 10 ** ((args.Noise_PSD - 30 + 10 * np.log10(args.BW)) / 10)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(args.random_seed)
    draw, drawn = data.create_channel_matrix_over_time, []
    for _ in range(skip):
        draw(args)

    def recording(*given: Any) -> Any:
        drawn.append(draw(*given))
        return drawn[-1]

    data.create_channel_matrix_over_time = recording
    baselines, graphs, _, _ = data.create_dataset(args, {PHASE: networks}, p_max, noise)
    found: dict[str, Any] = {
        f"rates/{name}": np.reshape(rates, (networks, args.n))
        for (_, name), rates in baselines.items()
    }
    loaders = importlib.import_module("torch_geometric.loader")
    loader = loaders.DataLoader(utils.WirelessDataset(graphs[PHASE]), batch_size=args.batch_size)
    for model in models:
        name, _, path = model.partition("=")
        net = utils.main_gnn([1, *args.hidden_layers], p_max, args.tau)
        net.load_state_dict(torch.load(path, weights_only=True))
        net.eval()
        for kind in KINDS:
            torch.manual_seed(args.random_seed)
            played = [play(net, batch, args, noise, kind, utils) for batch, _ in loader]
            rates, power = (np.concatenate(each) for each in zip(*played, strict=True))
            found[f"rates/{name}/{kind}"], found[f"power/{name}/{kind}"] = rates, power
    about = {
        "arguments": vars(args),
        "skipped": skip,
        "versions": {
            n: importlib.import_module(n).__version__ for n in ("torch", "torch_geometric", "numpy")
        },
    }
    np.savez(
        out,
        gain=np.stack([np.moveaxis(each[0], 2, 0) for each in drawn], 1).astype(np.float32)
        * np.float32(p_max / noise),
        large_scale_gain=np.stack([each[1] for each in drawn]) * (p_max / noise),
        about=json.dumps(about),
        **found,
    )


def play(net: Any, graphs: Any, args: Any, noise: float, kind: str, utils: Any) -> Any:
    """A policy's rates in a batch of networks, and its powers, both averaged over the steps.

    Args:
        net: their graph network.
        graphs: the batch.
        args: their arguments.
        noise: power of the noise in watts.
        kind: one of `KINDS`.
        utils: their module.

    Returns:
        rates (networks, n) and powers over the maximum (networks, m, 2): their mean, and the share
        of the steps in which they are above half before they are cut.
    """
    import torch

    first = 0 if kind == "earlier" else args.warmup_steps
    users, everybody = graphs.transmitters_index, torch.ones_like(graphs.y)
    full = torch.ones(graphs.num_graphs * args.m)
    average = graphs.init_long_term_avg_rates
    total: Any = 0.0
    power: Any = 0.0
    steps = args.T - args.warmup_steps
    with torch.no_grad():
        for t in range(steps):
            channel = graphs.weighted_adjacency[:, :, :, first + t]
            nominal = utils.calc_rates(full, everybody, channel, noise)
            p, gamma = net(nominal / average, graphs.edge_index[t], graphs.edge_weight[t], users)
            above = (p > net.P_max / 2).to(p.dtype)
            if kind.startswith("on/off"):
                p = net.P_max * above if kind == "on/off" else in_proportion(p, graphs, net.P_max)
            chosen = (
                likeliest(gamma, users, utils)
                if kind == "likeliest user"
                else utils.sample_selected_receivers(gamma, users)
            )
            rates = utils.calc_rates(p, chosen, channel, noise)
            average = average + args.beta_rate * (rates - average)
            total, power = total + rates, power + torch.cat([p / net.P_max, above], 1)
    shape = graphs.num_graphs, args.m, 2
    return (total / steps).view(-1, args.n).numpy(), (power / steps).view(shape).numpy()


def in_proportion(p: Any, graphs: Any, p_max: float) -> Any:
    """On/off powers: on where a power is above half of the highest of its network."""
    by_network = p.view(graphs.num_graphs, -1)
    on = by_network > by_network.max(dim=1, keepdim=True).values / 2
    return p_max * on.to(p.dtype).view(p.shape)


def likeliest(gamma: Any, users: Any, utils: Any) -> Any:
    """1 for the user of highest probability of each access point, 0 for the others."""
    import torch

    highest = utils.scatter(gamma, users, dim=0, reduce="max")[users]
    return (gamma == highest).to(torch.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="file of channels and rates (.npz)")
    parser.add_argument(
        "--code", type=Path, default=Path(), help="clone of Resilient_RRM_GNN (default: here)"
    )
    parser.add_argument("--networks", type=int, default=128, help="networks (default: 128)")
    parser.add_argument(
        "--skip",
        type=int,
        default=384,
        help="networks drawn before, their training and validation sets (default: 384)",
    )
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="NAME=FILE", help="trained policies"
    )
    work(**vars(parser.parse_args()))
