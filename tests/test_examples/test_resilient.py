"""Schedulers on channels from elsewhere: the network that plays them, and the script around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import naive
import numpy as np
import pytest
import torch
from folders import examples

from baselines.registry import parse_scheduler
from rrm_env import SILENT, Network, RRMConfig

SMALL = RRMConfig(n_aps=3, n_ues=7, n_candidates=2, episode_length=12, fading="jakes")
READ = (
    "t",
    "gain",
    "reported_gain",
    "large_scale_gain",
    "association",
    "reported_rate",
    "average_rate",
    "pf_ratio",
    "candidates",
    "action_mask",
    "observation",
    "ue_rate_sum",
    "silent_steps",
    "served",
)
"""What policies read of a network."""


@pytest.fixture(scope="module", name="recorded")
def recorded_network() -> Iterator[ModuleType]:
    """examples/benchmarks/recorded_network.py."""
    with examples():
        import recorded_network

        yield recorded_network


@pytest.fixture(scope="module", name="script")
def resilient() -> Iterator[ModuleType]:
    """examples/benchmarks/resilient.py."""
    with examples():
        import resilient

        yield resilient


@pytest.fixture(scope="module", name="peer")
def resilient_peer() -> Iterator[ModuleType]:
    """examples/benchmarks/resilient_peer.py."""
    with examples():
        import resilient_peer

        yield resilient_peer


# --- The network on recorded channels ---


@pytest.mark.parametrize(
    "name", ["long_memory", "fluid", "fluid:counted=everybody", "itlinq", "random_walk", "tdm"]
)
@pytest.mark.parametrize("fields", [{"csi_delay": 0}, {"csi_delay": 1, "average": "episode"}])
def test_recorded_channels_of_a_network_give_its_bits(
    recorded: ModuleType, name: str, fields: dict[str, Any]
) -> None:
    config = replace(SMALL, **fields)
    network = Network(config, 3)
    network.reset(5)
    copy = recorded.RecordedNetwork(config, *recorded.record(network))
    first, second = parse_scheduler(name), parse_scheduler(name)
    for _ in range(2):  # the recorded episodes can be played again
        network.reset(5)
        copy.reset(5)
        first.reset(network)
        second.reset(copy)
        while not network.done:
            for attribute in READ:
                expected, found = getattr(network, attribute), getattr(copy, attribute)
                np.testing.assert_array_equal(found, expected, attribute)
            served = first.schedule(network)
            np.testing.assert_array_equal(second.schedule(copy), served)
            for expected, found in zip(network.step(served), copy.step(served), strict=True):
                np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(copy.ue_rate_sum, network.ue_rate_sum)
        assert copy.done


def channels(config: RRMConfig, before: int, episodes: int = 2) -> tuple[Any, Any]:
    """Random gains of the steps before and of the episode, and their constant means."""
    generator = np.random.default_rng(3)
    slow = 10 ** generator.uniform(-1, 3, (episodes, config.n_aps, config.n_ues))
    fading = generator.exponential(size=(before + config.episode_length, *slow.shape))
    return (slow * fading).astype(np.float32), slow.astype(np.float32)


def test_the_warm_up_moves_averages_and_nothing_else(recorded: ModuleType) -> None:
    config, before = replace(SMALL, csi_delay=0), 9
    gain, slow = channels(config, before)
    network = recorded.RecordedNetwork(
        config, gain, slow, lambda t, who: recorded.round_robin(t, who, config.n_aps)
    )
    network.reset()
    assert network.t == 0
    assert not network.ue_rate_sum.any()
    assert not network.silent_steps.any()
    assert (network.served == SILENT).all()
    np.testing.assert_array_equal(network.gain, gain[before])
    for b in range(2):
        association = naive.associate(slow[b].tolist())
        assert network.association[b].tolist() == association
        average = [config.min_average_rate] * config.n_ues
        for t in range(-before, 0):
            served = [SILENT] * config.n_aps
            for ap in range(config.n_aps):
                own = [ue for ue in range(config.n_ues) if association[ue] == ap]
                if own:
                    served[ap] = own[t % len(own)]
            rates = naive.rates(gain[t + before, b].tolist(), served)
            average = [
                naive.updated_average(old, new, config.rate_ema, config.min_average_rate)
                for old, new in zip(average, rates, strict=True)
            ]
        assert network.average_rate[b] == pytest.approx(average, rel=1e-5)
        ratios = (network.reported_rate[b] / network.average_rate[b]).tolist()
        for ap in range(config.n_aps):
            best = naive.candidates(ratios, association, ap, config.n_candidates)
            assert network.candidates[b, ap].tolist() == best


def test_the_mean_since_the_episode_began_knows_no_warm_up(recorded: ModuleType) -> None:
    config = replace(SMALL, csi_delay=0, average="episode")
    gain, slow = channels(config, 9)
    network = recorded.RecordedNetwork(
        config, gain, slow, lambda t, who: recorded.round_robin(t, who, config.n_aps)
    )
    network.reset()
    expected = np.maximum(network.reported_rate, np.float32(config.min_average_rate))
    np.testing.assert_array_equal(network.average_rate, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gain, slow: (gain[:11], slow), r"gain must have shape \(at least 12, B, 3, 7\)"),
        (lambda gain, slow: (gain[..., :6], slow), "gain must have shape"),
        (lambda gain, slow: (gain[0], slow), "gain must have 4 dimensions"),
        (lambda gain, slow: (gain * 0, slow), "gain must hold positive finite numbers"),
        (lambda gain, slow: (gain, slow * np.nan), "large_scale_gain must hold positive finite"),
        (lambda gain, slow: (gain, slow[:1]), "large_scale_gain must have shape"),
    ],
)
def test_bad_channels_are_refused(
    recorded: ModuleType, change: Callable[..., tuple[Any, Any]], message: str
) -> None:
    config = replace(SMALL, csi_delay=0)
    with pytest.raises(ValueError, match=message):
        recorded.RecordedNetwork(config, *change(*channels(config, 0)))


def test_observed_gains_are_refused(recorded: ModuleType) -> None:
    config = replace(SMALL, csi_delay=0, measurements="large_scale")
    with pytest.raises(ValueError, match="measurements must be 'none'"):
        recorded.RecordedNetwork(config, *channels(config, 0))


# --- The script ---


def test_the_miniature_needs_none_of_their_code(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    script.main(script.Options(quick=True, json=path))
    assert "present fading" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [row["policy"] for row in found["policies"]] == [name for name, _ in script.OURS]
    assert found["networks"] == 2
    assert all(0 < row["mean_power"] <= 1 for row in found["policies"])


def test_rates_of_their_code_are_compared_by_network(script: ModuleType) -> None:
    generator = np.random.default_rng(0)
    rates = generator.uniform(1, 2, (6, 40))
    found = {"rates/FR": rates, "rates/GNN one/as trained": rates + 0.25}
    found["power/GNN one/as trained"] = np.full((6, 8, 2), 0.5)
    rows = script.theirs({key.replace("GNN ", ""): value for key, value in found.items()})
    assert [row["policy"] for row in rows] == ["full reuse, best PF ratio", "GNN one, as trained"]
    assert rows[0]["pooled_tail_rate"]["mean"] == pytest.approx(np.percentile(rates, 5))
    assert rows[0]["mean_rate"]["mean"] == pytest.approx(rates.mean())
    assert rows[1]["mean_power"] == rows[1]["share_above_half"] == 0.5
    script.compared(rows, "full reuse, best PF ratio")
    for kpi in ("mean_rate", "pooled_tail_rate"):
        gain = rows[1][f"{kpi}_minus_reference"]
        assert list(gain.values()) == pytest.approx([0.25] * 3)  # paired, so without spread


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--code must name a clone"),
        ({"code": Path("nowhere")}, "--code must hold main_eval.py, got nowhere"),
        ({"quick": True, "networks": 0}, "--networks must be at least 1, got 0"),
        ({"quick": True, "models": ("none.pt",)}, "--models must be NAME=FILE"),
    ],
)
def test_bad_options_are_refused(script: ModuleType, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script.Options(**values)


# --- How their policies play ---


def test_powers_and_steps_of_a_policy(peer: ModuleType) -> None:
    """A stand-in for their modules: 2 access points, 2 users, rates are powers times channels."""
    warm_up, steps = 3, 2

    def calc_rates(power: Any, chosen: Any, channel: Any, _: float) -> Any:
        return power.view(-1, 1) * chosen * channel[:, 0, 0]

    class Net:
        P_max = 2.0

        def __call__(self, features: Any, edges: Any, weights: Any, users: Any) -> Any:
            return torch.tensor([[0.9], [0.3]]), torch.tensor([[0.6], [0.4]])

    graphs = SimpleNamespace(
        transmitters_index=torch.tensor([0, 1]),
        y=torch.ones(2, 1),
        num_graphs=1,
        init_long_term_avg_rates=torch.ones(2, 1),
        weighted_adjacency=torch.arange(1.0, 6.0).expand(1, 1, 1, 5),
        edge_index=[0, 0],
        edge_weight=[0, 0],
    )
    args = SimpleNamespace(warmup_steps=warm_up, T=warm_up + steps, m=2, n=2, beta_rate=0.5)
    utils = SimpleNamespace(
        calc_rates=calc_rates,
        sample_selected_receivers=lambda *_: torch.ones(2, 1),
        scatter=lambda values, *_, **__: values,
    )
    powers = {"as trained": (0.9, 0.3), "earlier": (0.9, 0.3), "likeliest user": (0.9, 0.3)}
    powers |= {"on/off": (0.0, 0.0), "on/off in proportion": (2.0, 0.0)}
    assert set(powers) == set(peer.KINDS)
    for kind, power in powers.items():
        rates, used = peer.play(Net(), graphs, args, 1.0, kind, utils)
        channel = (1 + 2) / 2 if kind == "earlier" else (4 + 5) / 2
        assert rates == pytest.approx(np.array([[each * channel for each in power]]))
        assert used[..., 0] == pytest.approx(np.array([power]) / 2)
        assert not used[..., 1].any()  # no power is above 1, half of the maximum


def test_the_likeliest_user_of_each_access_point(peer: ModuleType) -> None:
    users, gamma = torch.tensor([0, 1, 0, 1]), torch.tensor([[0.3], [0.9], [0.7], [0.1]])

    def scatter(values: Any, index: Any, dim: int, reduce: str) -> Any:
        assert (dim, reduce) == (0, "max")
        return torch.stack([values[index == k].amax(0) for k in range(2)])

    chosen = peer.likeliest(gamma, users, SimpleNamespace(scatter=scatter))
    assert chosen.flatten().tolist() == [0, 1, 1, 0]
