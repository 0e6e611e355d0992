"""Training of prices by the dual function, which bounds what schedules reach."""

from __future__ import annotations

from typing import Any

import naive_graph
import numpy as np
import pytest
import torch
from graphs import random_parameters
from numpy.typing import NDArray

from baselines.debts import NOT_COUNTED, user_weights
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH, choose
from marl import GraphConfig, train_prices
from marl.graph import training
from marl.graph.network import (
    Inputs,
    Parameters,
    initialise,
    leave_out,
    log_prices,
)
from marl.graph.training import Gains, Progress
from rrm_env import SILENT, RRMConfig, metrics

CONFIG = GraphConfig(n_neighbours=2, n_interferers=2, width=8)
NETWORK = RRMConfig(n_aps=3, n_ues=20, episode_length=5, area_side_m=60.0)


@pytest.fixture(scope="module")
def context() -> Gains:
    return Gains.simulated(NETWORK, 2, 32)


def dual(parameters: Parameters, context: Gains, drawn: Any, *, counts_all: bool = True) -> Any:
    """The mean of D over the gains drawn for each network (S,), and its logarithm is the loss."""
    loss, found = context.loss(parameters, CONFIG, drawn, turn=0 if counts_all else 3)
    torch.testing.assert_close(loss, found.log())
    return found


# --- The loss ---


def doubled(parameters: Parameters, links: Links, counted: torch.Tensor) -> tuple[Any, Any]:
    """Prices (B, J) of one network in double precision, and the joint actions they choose."""
    inputs = Inputs(*(x.double() if x.is_floating_point() else x for x in Inputs.of(links, CONFIG)))
    exact = {name: tensor.detach().double() for name, tensor in parameters.items()}
    log_price = log_prices(exact, CONFIG, inputs, counted.double())[0].numpy()
    weight = user_weights(log_price, NETWORK.sum_weight, NETWORK.score_tail_weight)
    return weight, choose(links, weight)


@pytest.mark.parametrize("counts_all", [True, False])
def test_gradients_are_those_of_finite_differences(context: Gains, counts_all: bool) -> None:
    drawn = np.arange(8)
    links, generator = context.links.at(drawn), np.random.default_rng(0)
    parameters = random_parameters(CONFIG, [2], 0.3)
    inputs = Inputs.of(links, CONFIG)
    counted = leave_out(parameters, CONFIG, inputs, 0 if counts_all else context.left_out)
    for tensor in parameters.values():
        tensor.requires_grad_()
    found = dual(parameters, context, drawn, counts_all=counts_all)
    found.sum().backward()

    def value(moved: Parameters) -> tuple[float, NDArray[np.int64]]:
        weight, (served, rate) = doubled(moved, links, counted)
        weights = np.take_along_axis(weight, np.maximum(served, 0), axis=1)
        return float((weights * rate).sum(axis=1).mean()), served

    at, served = value(parameters)
    assert abs(found.item() - at) < 1e-5
    step = 1e-6
    for name, tensor in parameters.items():
        direction = torch.from_numpy(generator.normal(size=tensor.shape))
        ends = []
        for sign in (1, -1):
            moved = {key: x.detach().double() for key, x in parameters.items()}
            moved[name] = moved[name] + sign * step * direction
            end, chosen = value(moved)
            np.testing.assert_array_equal(chosen, served)
            ends.append(end)
        assert tensor.grad is not None
        along = float((tensor.grad * direction).sum())
        assert abs(along) > 1e-5 or name == "price.biases"  # which moves all prices alike
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * step), rtol=2e-3, atol=2e-6)


def exact_dual(links: Links, gain: Any, weight: Any, b: int) -> float:
    return naive_graph.Value(
        gain[b].tolist(), links.association[b].tolist(), 2, weight[b].tolist(), RAYLEIGH
    ).best()


def test_the_loss_is_a_bound_of_what_schedules_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    original = Links.of_gains

    def recorded(gain: Any, *rest: Any) -> Links:
        kept.append(gain)
        return original(gain, *rest)

    monkeypatch.setattr(Links, "of_gains", recorded)
    simulated = Gains.simulated(NETWORK, 2, 16)
    links, gain, episodes = simulated.links, kept[0], range(16)
    mu1, mu2, n_ues = NETWORK.sum_weight, NETWORK.score_tail_weight, NETWORK.n_ues

    # A schedule by mirror descent, with the rates as the search takes them; its second half counts.
    debt, total, mean_price = np.zeros((3, 16, n_ues))
    steps = 600
    for t in range(2 * steps):
        weight = user_weights(-0.05 * debt, mu1, mu2)
        served, rate = choose(links, weight)
        b, i = np.nonzero(served != SILENT)
        debt[b, served[b, i]] += rate[b, i]
        if t >= steps:
            total[b, served[b, i]] += rate[b, i] / steps
            mean_price += (weight - mu1) / mu2 / steps
    reached = mu1 * total.sum(axis=1) + mu2 * total.min(axis=1)

    def bound(price: Any, drawn: Any) -> float:
        log_price = torch.from_numpy(np.log(np.maximum(price, 1e-30))).float()
        monkeypatch.setattr(training, "log_prices", lambda *_: log_price[drawn].unsqueeze(0))
        return float(dual(initialise(CONFIG, [0]), simulated, drawn)[0])

    alone = np.array([bound(mean_price, np.array([b])) for b in episodes])
    exact = [exact_dual(links, gain, mu1 + mu2 * mean_price, b) for b in episodes]
    assert (alone <= np.array(exact) * (1 + 1e-5)).all()
    assert (alone / exact).mean() > 0.98  # the search's slack
    assert (reached <= exact).all()
    assert (reached <= alone * 1.01).all()
    assert (reached / exact).mean() > 0.87  # no empty claim: the bound is near
    np.testing.assert_allclose(bound(mean_price, np.arange(16)), alone.mean(), rtol=1e-5)
    generator = np.random.default_rng(0)
    for price in (np.full((16, n_ues), 1 / n_ues), generator.dirichlet(np.ones(n_ues), 16)):
        others = np.array([bound(price, np.array([b])) for b in episodes])
        assert (reached <= others * 1.01).all()
        assert others.mean() > 1.02 * alone.mean()


def test_users_left_out_of_the_tail_count_in_the_sum_alone(context: Gains) -> None:
    parameters, drawn = random_parameters(CONFIG, [0]), np.arange(4)
    links = context.links.at(drawn)
    assert context.left_out == metrics.n_below_tail(20) == 1
    counted = leave_out(parameters, CONFIG, Inputs.of(links, CONFIG), 1)
    log_price = log_prices(parameters, CONFIG, Inputs.of(links, CONFIG), counted)[0].numpy()
    assert ((log_price == np.float32(NOT_COUNTED)).sum(axis=1) == 1).all()
    weight = user_weights(log_price, NETWORK.sum_weight, NETWORK.score_tail_weight)
    served, rate = choose(links, weight)
    expected = (np.take_along_axis(weight, np.maximum(served, 0), 1) * rate).sum(axis=1).mean()
    found = dual(parameters, context, drawn, counts_all=False)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert abs(float(dual(parameters, context, drawn)[0]) - expected) > 1e-3


def test_each_seed_has_the_bound_of_its_own_network_and_episodes(context: Gains) -> None:
    drawn = np.array([3, 1, 2, 9, 8, 7])
    together = dual(random_parameters(CONFIG, [1, 2]), context, drawn)
    apart = [
        float(dual(random_parameters(CONFIG, [seed]), context, part)[0])
        for seed, part in ((1, drawn[:3]), (2, drawn[3:]))
    ]
    np.testing.assert_allclose(together.numpy(), apart, rtol=1e-5)


def test_contexts_are_gains_at_all_times_of_training_episodes() -> None:
    network = RRMConfig(n_aps=2, n_ues=6, episode_length=4, ue_speed_mps=30.0)
    found = Gains.simulated(network, 2, 40).links
    at_start = Gains.simulated(RRMConfig(**{**network.as_dict(), "episode_length": 1}), 2, 40).links
    np.testing.assert_array_equal(found.association, at_start.association)
    same = (found.own == at_start.own).all(axis=1)
    assert 3 <= same.sum() <= 20  # a quarter of them, about


# --- Training ---

TRAINING: dict[str, Any] = {"updates": 120, "batch_size": 16, "episodes": 64}


def trained(seeds: list[int], **changes: Any) -> Parameters:
    return train_prices([NETWORK], CONFIG, seeds, **{**TRAINING, **changes})


def test_a_short_training_lowers_the_bound_and_beats_equal_prices(context: Gains) -> None:
    reports: list[Progress] = []
    found = trained([0, 1], report=reports.append)
    assert [report.updates for report in reports] == list(range(6, 121, 6))
    first, last = reports[0].reached, reports[-1].reached
    assert len(first) == len(last) == 2
    assert all(after < 0.97 * before for before, after in zip(first, last, strict=True))
    assert not any(tensor.requires_grad for tensor in found.values())
    fresh = np.arange(32)
    equal = float(dual(initialise(CONFIG, [0]), context, fresh)[0])
    reached = dual(found, context, np.tile(fresh, 2))
    assert (reached < 0.97 * equal).all()


def test_training_is_reproducible_and_seeds_differ() -> None:
    one, again, other = trained([3], updates=20), trained([3], updates=20), trained([4], updates=20)
    for name, tensor in one.items():
        assert torch.equal(tensor, again[name])
        assert not torch.equal(tensor, other[name])


def test_seeds_train_together_as_each_alone() -> None:
    together = trained([3, 4], updates=30)
    for n, seed in enumerate((3, 4)):
        alone = trained([seed], updates=30)
        del alone["price.biases"]  # moves all prices alike: its gradient is noise of rounding
        for name, tensor in alone.items():
            torch.testing.assert_close(together[name][n], tensor[0], rtol=1e-3, atol=1e-4)


def test_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = Gains.loss

    def recorded(self: Any, parameters: Any, config: Any, drawn: Any, turn: int) -> Any:
        seen.append((self.network.n_aps, turn))
        return original(self, parameters, config, drawn, turn)

    monkeypatch.setattr(Gains, "loss", recorded)
    networks = [RRMConfig(n_aps=n, n_ues=8, episode_length=2) for n in (2, 3)]
    train_prices(networks, CONFIG, [0], updates=6, batch_size=2, episodes=4)
    assert seen == [(n, turn) for turn in range(3) for n in (2, 3)]
