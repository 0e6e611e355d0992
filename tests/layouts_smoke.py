"""Call everything that reaches compiled code with every layout and type that is allowed.

``python layouts_smoke.py`` prints the signatures of each compiled function at the end, as JSON.
`test_signatures` runs it and reads them.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

import baselines
import rrm_env
from baselines import (
    REGISTRY,
    WMMSE,
    Debts,
    Fluid,
    FPLinQ,
    GreedyMaxWeight,
    ITLinQ,
    LongMemory,
    MaxWeight,
    PowerControl,
    RandomWalk,
    Reuse,
    ergodic_rate,
)
from baselines.ergodic import rates_of_set, rates_of_sets
from baselines.links import Links
from baselines.optimum import optimum
from rrm_env import (
    Network,
    PoweredDecision,
    RRMConfig,
    RRMJointEnv,
    RRMParallelEnv,
    RRMVectorEnv,
    evaluate,
    from_actions,
    record_trace,
)
from rrm_env.compiling import Direct
from rrm_env.propagation import path_loss

CONFIG = RRMConfig(n_aps=3, n_ues=30, n_candidates=2, episode_length=40)
"""So many users that no access point lacks one."""
LARGE = RRMConfig(n_aps=11, n_ues=22, min_ap_distance_m=1.0, episode_length=5)
"""So many access points that their sets are not listed."""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _unaligned(array: NDArray[Any]) -> NDArray[Any]:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(array.tobytes(), np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


LAYOUTS: dict[str, Callable[[NDArray[np.int64]], Any]] = {
    "int64": lambda actions: actions.copy(),
    "read-only": lambda actions: _read_only(actions.copy()),
    "broadcast": lambda actions: np.broadcast_to(actions[:1], actions.shape),
    "column-major": np.asfortranarray,
    "strided": lambda actions: np.repeat(actions, 2, axis=1)[:, ::2],
    "reversed": lambda actions: actions[::-1].copy()[::-1],
    "unaligned": _unaligned,
    "bytes": lambda actions: np.frombuffer(actions.tobytes(), np.int64).reshape(actions.shape),
    "list": lambda actions: actions.tolist(),
    "tuple of arrays": tuple,
    **{
        kind: (lambda actions, kind=kind: actions.astype(kind))  # type: ignore[misc]
        for kind in ("i1", "u1", "i2", "u2", "<i4", ">i4", "u4", ">i8", ">u8", "u8", "q", "Q")
    },
}
"""Forms in which actions arrive, made from (B, I) int64."""


def functions() -> Iterator[tuple[str, Any]]:
    """Every global of the core packages, by module and name."""
    for package in (rrm_env, baselines):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                for name, value in vars(importlib.import_module(module.name)).items():
                    yield f"{module.name}.{name}", value


def compiled() -> Iterator[tuple[str, Dispatcher]]:
    """Every function of the core packages that numba compiles and keeps on the disk."""
    for name, value in functions():
        if isinstance(value, Dispatcher) and value.stats.cache_path:
            yield name, value


def look_at_every_call() -> None:
    """Let numba see the types of every call; a `Direct` shows it those of the first one only."""
    for _, value in functions():
        if isinstance(value, Direct):
            value.call = value.function


def signatures_of(function: Dispatcher) -> list[str]:
    """The signatures; a call by another kernel with a constant argument counts as one without."""
    signatures = function.signatures
    return sorted({str(tuple(map(types.unliteral, signature))) for signature in signatures})


def play_networks() -> None:
    """Step networks of one episode, of several, and of two threads."""
    for num_envs, num_threads in ((1, 1), (4, 1), (4, 2)):
        network = Network(CONFIG, num_envs, num_threads)
        for form in LAYOUTS.values():
            network.reset(np.full(num_envs, 7))
            network.step_actions(form(np.ones((num_envs, CONFIG.n_aps), np.int64)))
            network.step(form(network.candidates[:, :, 0].astype(np.int64)))
        network.reset()
        twin = copy.deepcopy(network)
        twin.step_actions(np.zeros((num_envs, CONFIG.n_aps), np.int64))
        for turns in ("equal", "by_load"):
            twin.turn(turns)
        for stream in (0, np.int32(1), np.uint64(2), np.array(3), 2**32 - 1):
            network.uniform(2, stream)  # type: ignore[arg-type]
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(network, protocol=5, buffer_callback=buffers.append)
        copied = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
        copied.step_actions(np.zeros((num_envs, CONFIG.n_aps), np.int64))
        copied.reset()


def play_options() -> None:
    """Networks whose fields choose other parts of the kernels."""
    fields: dict[str, Any]
    for fields in (
        {"fading": "jakes", "csi_delay": 3},
        {"fading": "none", "csi_delay": 0, "association_bias_db": (0, 3, 0)},
        {"average": "episode", "reward": "utility", "pf_exponent": 2, "fairness_exponent": 1},
        {"measurements": "neighbours", "messages": "best", "message_range": "neighbours"},
        {"measurements": "large_scale", "messages": "all", "turns": "by_load", "clock": "elapsed"},
    ):
        network = Network(RRMConfig(n_aps=3, **fields), 2)
        network.reset(0)
        network.step_actions(np.zeros((2, 3), np.int64))


def play_traces(folder: str) -> None:
    """Networks that play a trace, with each kind of fading."""
    trace = record_trace(replace(CONFIG, episode_length=20)).save(f"{folder}/trace.npz")
    for fading in ("trace", "none", "iid", "jakes"):
        network = Network(trace.config(fading=fading, episode_length=9, trace_split="none"), 2)
        network.reset(0)
        network.step_actions(np.zeros((2, CONFIG.n_aps), np.int64))


def play_places() -> None:
    """Networks with models and deployments of all kinds, given with numbers of several types."""
    for propagation in ("log_distance", "umi"):
        config = replace(CONFIG, propagation=propagation, n_aps=7)
        for fields in ({}, {"ap_deployment": "hexagonal", "wrap_around": "torus"}):
            network = Network(replace(config, **fields), 2)  # type: ignore[arg-type]
            for kind in ("u1", "<i4", ">i8", "f4", "f8"):
                users = np.ones((2, CONFIG.n_ues, 2), kind)
                network.reset(0, ue_positions=users)
                network.reset(0, ue_positions=users[:, ::-1])
                network.reset(0, ue_positions=np.asfortranarray(users))
                network.reset(0, ue_positions=_read_only(users)[0].tolist())
                if not fields:
                    aps = 7 * np.arange(14).reshape(7, 2).astype(kind)
                    network.reset(0, ap_positions=np.asfortranarray(aps))
                    network.reset(0, ap_positions=np.broadcast_to(aps, (2, 7, 2)))
            for given in (np.zeros(CONFIG.n_ues, np.uint8), [0] * CONFIG.n_ues):
                network.reset(0, association=given)
                network.reset(0, association=np.broadcast_to(given, (2, CONFIG.n_ues)))
            network.step(np.full((2, 7), -1))
            buffers: list[pickle.PickleBuffer] = []
            pickled = pickle.dumps(network, protocol=5, buffer_callback=buffers.append)
            copied = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
            copied.step(np.full((2, 7), -1))
            copied.reset()
    for distances in ([1, 2], np.float32(3), np.ones((2, 2))):
        path_loss("umi", distances, carrier_hz=1e9)


def play_levels() -> None:
    """Power levels in decisions and actions of every form, and the searches over them."""
    config = replace(CONFIG, power_levels_dbm=(0.0, 10.0))
    for num_envs, num_threads in ((1, 1), (4, 2)):
        network = Network(config, num_envs, num_threads)
        network.reset(np.full(num_envs, 7))
        copied = pickle.loads(pickle.dumps(network))
        for form in LAYOUTS.values():
            for each in (network, copied):
                each.reset(np.full(num_envs, 7))
                each.step_actions(form(np.ones((num_envs, CONFIG.n_aps), np.int64)))
                served = each.candidates[:, :, 0].astype(np.int64)
                each.step(PoweredDecision(form(served), form(np.ones_like(served))))
                each.step(form(each.candidates[:, :, 0].astype(np.int64)))
    for csi in ("reported", "large_scale", "present"):
        for scheduler in (MaxWeight(csi), WMMSE(csi, power="levels"), FPLinQ(csi, power="levels")):
            evaluate(scheduler, config, episodes=2)
            evaluate(scheduler, CONFIG, episodes=2)
        WMMSE(csi).continuous(network)
        FPLinQ(csi).continuous(network)
    evaluate(RandomWalk(silence=True), config, episodes=2)
    for fading in ("iid", "none"):
        levels = replace(config, n_ues=6, fading=fading, episode_length=2)
        optimum(levels, episodes=1, cached=False)


def play_environments() -> None:
    """Actions through the APIs of PettingZoo and Gymnasium."""
    for form in LAYOUTS.values():
        actions = form(np.ones((4, CONFIG.n_aps), np.int64))
        parallel = RRMParallelEnv(CONFIG)
        parallel.reset(seed=0)
        parallel.step(dict(zip(parallel.agents, actions[0], strict=True)))
        joint = RRMJointEnv(CONFIG)
        joint.reset(seed=0)
        joint.step(actions[0])
        vector = RRMVectorEnv(4, CONFIG)
        vector.reset(seed=0)
        vector.step(actions)
        flat = RRMVectorEnv(4, CONFIG, flat_actions=True)
        flat.reset(seed=0)
        flat.step(form(np.ones((1, 4), np.int64))[0])
        evaluate(from_actions(lambda *_, given=actions: given), CONFIG, 4)


def play_schedulers() -> None:
    """Every baseline, with options of every numeric type."""
    number: Any
    for number in (1, 1.0, np.float32(1), np.int16(1)):
        for kind in (MaxWeight, GreedyMaxWeight, PowerControl, FPLinQ, WMMSE):
            evaluate(kind(exponent=number), CONFIG, episodes=2)
        evaluate(ITLinQ(tolerance_db=number, exponent=number), CONFIG, episodes=2)
    for seed in (0, np.int32(1), np.uint64(2)):
        evaluate(RandomWalk(seed), CONFIG, episodes=2)  # type: ignore[arg-type]
    for count in (np.int8(2), np.uint64(2)):
        evaluate(GreedyMaxWeight(starts=count), CONFIG, episodes=2)  # type: ignore[arg-type]
        evaluate(FPLinQ(iterations=count, users="all_on"), CONFIG, episodes=2)  # type: ignore[arg-type]
        evaluate(WMMSE(iterations=count), CONFIG, episodes=2)  # type: ignore[arg-type]
        evaluate(Reuse(groups=count, turns="equal"), CONFIG, episodes=2)  # type: ignore[arg-type]
    for csi in ("reported", "large_scale", "present"):
        evaluate(PowerControl(csi=csi, users="alone"), CONFIG, episodes=2)
    env = RRMParallelEnv(CONFIG)
    for baseline in REGISTRY.values():
        for csi_delay in (0, 1):
            config = RRMConfig(csi_delay=csi_delay, episode_length=4)
            evaluate(baseline(), config, episodes=3, batch_size=2)
        env.reset(seed=1)
        scheduler = baseline()
        while env.agents:
            env.step(scheduler.act(env))


def play_debts() -> None:
    """The scheduler that looks among neighbours, with numbers of several types as options."""
    number: Any
    for number in (np.int8(2), np.uint64(2), 2):
        debts = Debts("everybody", number, exchange_steps=number, bits=number, n_neighbours=number)
        for config in (CONFIG, LARGE):
            evaluate(debts, config, episodes=2)
            evaluate(debts, replace(config, fading="none"), episodes=2)


def play_fluid() -> None:
    """The schedulers on ergodic rates, in networks whose sets are listed and in others."""
    number: Any
    for number in (np.int8(2), np.uint64(2)):
        fluid = Fluid(
            resolve_steps=number, exchange_steps=number, bits=number, descent_steps=number
        )
        for config in (CONFIG, LARGE):
            evaluate(fluid, config, episodes=2)
            evaluate(LongMemory(exponent=number), config, episodes=2)


def rate_networks() -> None:
    """Ergodic rates of gains and sets of every type and layout."""
    network = Network(CONFIG, 2)
    network.reset(0)
    gain, association = np.minimum(network.large_scale_gain, 1e9), network.association
    for form in (np.array, np.asfortranarray, np.ndarray.tolist, lambda array: array[::-1]):
        for kind in (np.float32, np.float64, np.int64):
            gains = form(gain.astype(kind))
            ergodic_rate(gains, form(gain.astype(kind)[..., None]))
            rates_of_sets(gains, form(association))
            rates_of_set(gains, form(association), form(gain[:, :, 0] > 1))
    for matrix in (gain, gain.copy(), np.asfortranarray(gain), gain[::-1], gain.astype(">f4")):
        Links.of_gains(matrix, association, 2)
        links = Links.of_gains(matrix, association.astype(">i8"), 2)
        Links.of_gains(matrix, association, 2, _read_only(links.neighbours))


def solve_networks() -> None:
    """The optimum by each of its searches, with each kind of fading."""
    fields = {"n_aps": 3, "n_ues": 20, "episode_length": 4}
    for fading, information in (
        ("iid", "large_scale"),
        ("none", "large_scale"),
        ("iid", "channel"),
    ):
        config = RRMConfig(fading=fading, **fields)  # type: ignore[arg-type]
        optimum(config, np.int32(1), 2, information=information, cached=False)  # type: ignore[arg-type]
    for search, n_aps in (("greedy", 3), ("exact", 11)):
        config = RRMConfig(n_aps=n_aps, n_ues=20, episode_length=4, min_ap_distance_m=0.0)
        optimum(config, 1, 2, search=search, cached=False)


if __name__ == "__main__":
    look_at_every_call()
    solve_networks()
    rate_networks()
    play_networks()
    play_options()
    with tempfile.TemporaryDirectory() as folder:
        play_traces(folder)
    play_places()
    play_levels()
    play_environments()
    play_schedulers()
    play_debts()
    play_fluid()
    json.dump({name: signatures_of(function) for name, function in compiled()}, sys.stdout)
