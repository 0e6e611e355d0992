"""Snapshots of the tier `replay`: what they play, the same everywhere, and their files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import assert_same

from marl import collect
from marl.benchmark.networks import NETWORKS
from marl.benchmark.snapshots import (
    Snapshot,
    SnapshotError,
    read_snapshots,
    snapshots,
    write_snapshots,
)
from marl.engines import open_engine
from marl.graph.files import shipped
from marl.team import Team, team_of
from rrm_env import Network, RRMConfig

PAPER = NETWORKS["paper"]
TEAM = team_of(PAPER)


def made_up(
    team: Team,
    seed: int = 0,
    *,
    shared: bool = True,
    sees_all: bool = False,
    joint: bool = False,
) -> Snapshot:
    """A snapshot of random networks with five hidden units."""
    outputs = team.n_joint_actions if joint else team.n_actions
    generator = np.random.default_rng(seed)
    n_networks = 1 if shared else team.n_agents
    seen = team.n_features * (team.n_agents if sees_all else 1)
    layers = [
        (generator.normal(size=(n_networks, *sizes)), generator.normal(size=(n_networks, sizes[1])))
        for sizes in ((seen, 5), (5, outputs))
    ]
    rows = 1 if shared else team.n_agents
    shift, scale = generator.normal(size=(2, rows, team.n_features))
    return Snapshot(team, layers, shift, scale)


def naive_logits(snapshot: Snapshot, observation: np.ndarray, agent: int) -> list[float]:
    """Logits of one access point, from observations (I, D), with lists and floats."""
    rows = len(snapshot.shift)

    def seen(i: int) -> list[float]:
        shift, scale = snapshot.shift[i % rows], snapshot.scale[i % rows]
        return [(float(x) - m) * f for x, m, f in zip(observation[i], shift, scale, strict=True)]

    values = seen(agent)
    if snapshot.layers[0][0].shape[1] != len(values):
        values = [value for i in range(len(observation)) for value in seen(i)]
    for depth, (weights, biases) in enumerate(snapshot.layers):
        if depth:
            values = [max(value, 0.0) for value in values]
        own = agent % len(weights)
        values = [
            bias + sum(value * row[out] for value, row in zip(values, weights[own], strict=True))
            for out, bias in enumerate(biases[own])
        ]
    return values


@pytest.mark.parametrize(
    ("shared", "sees_all"), [(True, False), (False, False), (False, True), (True, True)]
)
def test_logits_equal_those_of_a_plain_loop(shared: bool, sees_all: bool) -> None:
    team = Team(3, 4, 5)
    snapshot = made_up(team, shared=shared, sees_all=sees_all)
    observation = np.random.default_rng(1).normal(size=(6, 3, 4)).astype(np.float32)
    found = snapshot.logits(observation)
    for b in range(6):
        for agent in range(3):
            expected = naive_logits(snapshot, observation[b], agent)
            assert found[b, agent].tolist() == pytest.approx(expected, rel=1e-12)


def test_actions_are_drawn_with_their_probabilities_and_legal() -> None:
    team, n = Team(1, 2, 4), 40_000
    snapshot = made_up(team)
    observation = np.ones((n, 1, 2), np.float32)
    mask = np.ones((n, 1, 4), np.uint8)
    mask[..., 2] = 0
    uniform = np.random.default_rng(0).random((n, 1))
    drawn = snapshot.drawn(observation, mask, uniform)
    weights = [math.exp(x) * (a != 2) for a, x in enumerate(snapshot.logits(observation)[0, 0])]
    shares = np.bincount(drawn[:, 0], minlength=4) / n
    assert shares.tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.01)
    assert shares[2] == 0
    for extreme in (2.0**-24, 1 - 2.0**-24):  # the ends of what `Network.uniform` gives
        chosen = snapshot.drawn(observation[:1], mask[:1], np.array([[extreme]]))
        assert chosen[0, 0] != 2
    only = np.zeros((1, 1, 4), np.uint8)
    only[..., 3] = 1
    assert snapshot.drawn(observation[:1], only, np.array([[0.5]])).tolist() == [[3]]


def test_joint_actions_are_drawn_with_their_probabilities_and_legal() -> None:
    team, n = Team(2, 1, 3), 60_000
    snapshot = made_up(team, shared=True, sees_all=True, joint=True)
    assert snapshot.n_heads == 1
    observation = np.full((n, 2, 1), 0.3, np.float32)
    mask = np.ones((n, 2, 3), np.uint8)
    mask[:, 0, 1] = mask[:, 1, 2] = 0
    drawn = snapshot.drawn(observation, mask, np.random.default_rng(0).random((n, 1)))
    logits = snapshot.logits(observation)[0, 0]
    weights = {
        (a, b): math.exp(logits[3 * a + b]) * (a != 1) * (b != 2)
        for a in range(3)
        for b in range(3)
    }
    for (a, b), weight in weights.items():
        share = ((drawn == (a, b)).all(-1)).mean()
        assert share == pytest.approx(weight / sum(weights.values()), abs=0.01)


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_played_depends_on_neither_batch_nor_threads(network: str) -> None:
    config = NETWORKS[network]
    snapshot = snapshots(network)[-1][1]
    played = []
    for sizes in ([7], [1, 6], [2, 2, 3]):
        rows, first = [], 0
        for size in sizes:
            world = Network(config, size)
            world.reset(5 + first)
            snapshot.reset(world)
            steps = []
            for _ in range(12):
                uniform = world.uniform(snapshot.n_heads).astype(np.float64)
                actions = snapshot.drawn(world.observation, world.action_mask, uniform)
                world.step_actions(actions)
                logits = snapshot.logits(world.observation)
                steps.append(np.concatenate([actions, logits.reshape(size, -1)], 1))
            rows.append(np.stack(steps, 1))
            first += size
        played.append(np.concatenate(rows))
    assert all(one.tobytes() == played[0].tobytes() for one in played)


def test_recordings_are_the_same_on_any_engine_and_with_any_threads() -> None:
    snapshot = snapshots("paper")[2][1]
    steps = 40 * PAPER.episode_length
    threads = torch.get_num_threads()
    alone = collect(snapshot, PAPER, steps, 3)
    try:
        torch.set_num_threads(2)
        with_two = collect(snapshot, PAPER, steps, 3)
    finally:
        torch.set_num_threads(threads)
    assert_same(alone, with_two)
    with open_engine("local", 2, None, lambda *_: None) as engine:
        assert_same(alone, collect(snapshot, PAPER, steps, 3, engine=engine))


# --- Files ---


@pytest.mark.parametrize("network", NETWORKS)
def test_shipped_snapshots_go_from_random_to_trained(network: str) -> None:
    _, description = read_snapshots(network)
    assert description["steps"][0] < description["steps"][1] < description["steps"][-1]
    known = snapshots(network)
    assert len(known) == len(description["steps"]) >= 6
    assert [share for _, _, share in known] == description["shares"]
    assert len({name for name, _, _ in known}) == len(known)
    assert description["training"]["command"].startswith("python examples/benchmarks/")
    world = Network(NETWORKS[network], 16)
    world.reset(2**62)
    # Shares of the most probable actions, which training makes surer.
    surest = []
    for _, snapshot, _ in (known[0], known[-1]):
        logits = snapshot.logits(world.observation)
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        surest.append((1 / shares.sum(-1)).mean())
    assert surest[1] > 2 * surest[0]
    path = Path(__file__).parents[3] / "marl" / "policies" / f"replay_{network}.safetensors"
    assert path.stat().st_size < 150_000


def test_snapshots_are_no_graph_policies() -> None:
    assert not [name for name in shipped() if "replay" in name]


def file_of(
    path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]
) -> Path:
    """The shipped snapshots of ``paper``, changed and written with a right checksum."""
    tensors, description = read_snapshots("paper")
    change(tensors, description)
    write_snapshots(
        path, tensors, description["steps"], description["shares"], description["training"]
    )
    return path


def test_files_give_back_what_was_written(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.safetensors", lambda *_: None)
    found, expected = read_snapshots("paper", path), read_snapshots("paper")
    assert found[1] == expected[1]
    assert all(torch.equal(tensor, expected[0][name]) for name, tensor in found[0].items())


BREAKS: list[tuple[Callable[[Any, Any], object], str]] = [
    (lambda t, _: t["weights.1"].view(-1)[:1].fill_(float("nan")), "weights.1 must be finite"),
    (lambda t, _: t["scale"].view(-1)[:1].fill_(float("inf")), "scale must be finite"),
    (lambda t, _: t.pop("biases.2"), "tensors must be weights, biases, shift and scale"),
    (
        lambda t, _: t.update(more=torch.zeros(1)),
        "tensors must be weights, biases, shift and scale",
    ),
    (
        lambda t, _: t.update({"biases.0": t["biases.0"][..., 1:]}),
        "weights.0 must be torch.float16",
    ),
    (lambda t, _: t.update({"weights.0": t["weights.0"][:, :, 1:]}), "weights.0 must have"),
    (
        lambda t, _: t.update({"weights.0": t["weights.0"][:, [0, 0]]}),
        "weights.0 must be of 1 or 4",
    ),
    (lambda t, _: t.update({"shift": t["shift"][:, 1:]}), "shift must be torch.float32 of shape"),
    (lambda _, d: d["steps"].pop(), "steps and shares must be of the same number"),
    (lambda _, d: d["shares"].__setitem__(0, 0), "shares must be an integer of at least 1"),
    (lambda _, d: d["steps"].__setitem__(0, -1), "steps must be an integer of at least 0"),
]


@pytest.mark.parametrize(("change", "message"), BREAKS)
def test_files_that_hold_no_snapshots_are_refused_by_name(
    change: Callable[[Any, Any], object], message: str, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "a.safetensors", change)
    with pytest.raises(SnapshotError, match=re.escape(message)):
        snapshots("paper", path)


def test_altered_foreign_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.safetensors", lambda *_: None)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="its checksum does not match"):
        snapshots("paper", path)
    with pytest.raises(SnapshotError, match="No such file"):
        snapshots("paper", tmp_path / "none.safetensors")
    whole = file_of(tmp_path / "b.safetensors", lambda *_: None)
    with pytest.raises(SnapshotError, match="it holds no snapshots of wide"):
        snapshots("wide", whole)
    with pytest.raises(ValueError, match="unknown network 'papers'"):
        snapshots("papers")


def test_a_snapshot_refuses_a_network_of_other_sizes() -> None:
    other = Network(RRMConfig(), 1)
    other.reset(0)
    with pytest.raises(ValueError, match="the snapshot was trained for Team"):
        made_up(TEAM).reset(other)
