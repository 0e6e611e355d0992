"""Whole episodes against a naive simulation of the same channels, and KPIs against naive KPIs."""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from strategies import configs, random_service, reset_network, seeds

from baselines import TDM, ProportionalFair, RandomWalk
from baselines.scheduler import Baseline
from rrm_env import EVALUATION_SEEDS, SILENT, Network, RRMConfig, evaluate, metrics

RTOL = 1e-5
SMALL = RRMConfig(n_aps=3, n_ues=21, episode_length=12)
EPISODES = {
    **{
        f"{fading} delay {delay}": RRMConfig(fading=fading, csi_delay=delay, episode_length=20)
        for fading in ("iid", "jakes")
        for delay in (0, 2)
    },
    "correlated": RRMConfig.preset("correlated", episode_length=20),
    "no fading": RRMConfig(fading="none", episode_length=20),
    "more candidates than users": RRMConfig(
        n_aps=5, n_ues=3, n_candidates=4, episode_length=20, csi_delay=3
    ),
    "fast users": RRMConfig(
        ue_speed_mps=50, area_side_m=30, min_ap_distance_m=5, episode_length=20
    ),
    "mean since the start": RRMConfig(
        average="episode", average_prior_steps=2, pf_exponent=4, episode_length=20
    ),
    "silent past": RRMConfig(rate_ema=1.0, min_average_rate=0.1, episode_length=20),
}


def close(actual: Any, expected: Any, atol: float = 0.0, rtol: float = RTOL) -> None:
    """Equal shapes, and values to `rtol` or `atol`."""
    np.testing.assert_allclose(
        np.asarray(actual, float), np.asarray(expected, float), rtol=rtol, atol=atol, strict=True
    )


class NaiveChannel:
    """Large-scale gain and fading of one episode from its seed, given where the users are."""

    def __init__(self, config: RRMConfig, seed: int) -> None:
        self.config, self.seed, c = config, seed, config
        self.links = [(i, j) for i in range(c.n_aps) for j in range(c.n_ues)]
        self.noise = naive.noise_dbm(c.noise_psd_dbm_hz, c.bandwidth_hz, c.noise_figure_db)
        self.shadowing = {
            (i, j): naive.shadowing_db(seed, i, j, c.shadowing_std_db) for i, j in self.links
        }
        self.turns = naive.doppler_hz(c.ue_speed_mps, c.carrier_hz) * c.step_duration_s
        jakes = self.links if c.fading == "jakes" else []
        self.waves = {
            (i, j): naive.plane_waves(seed, i * c.n_ues + j, self.turns) for i, j in jakes
        }

    def large_scale(
        self, aps: NDArray[np.float64], ues: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(I, J) gain without fading."""
        c, loss = self.config, {}
        for i, j in self.links:
            distance = math.dist(aps[i], ues[j])
            slopes = c.path_loss_intercept_db, c.path_loss_slope_db, c.wall_loss_db
            loss[i, j] = naive.path_loss_db(distance, c.min_ue_distance_m, *slopes)
        gains = [
            naive.large_scale_gain(c.tx_power_dbm, self.noise, loss[link], self.shadowing[link])
            for link in self.links
        ]
        return np.reshape(gains, (c.n_aps, c.n_ues))

    def fading(self, t: int) -> NDArray[np.float64]:
        """(2, I, J) |h|^2 at step t, and how far a float32 simulation may be off.

        Sums of waves are off by a share of what the amplitudes add up to, since waves may cancel:
        1e-6 from float32 sines,
        and from each step's phase advance 5e-7 of its turns.
        """
        c = self.config
        if c.fading == "none":
            power, slack = [1.0] * len(self.links), [0.0] * len(self.links)
        elif c.fading == "iid":
            power, slack = (
                [naive.iid_fading(self.seed, i, j, t) for i, j in self.links],
                [0.0] * len(self.links),
            )
        else:
            power = [naive.jakes_fading(self.waves[link], t) for link in self.links]
            off = 1e-6 + 2 * math.pi * 5e-7 * self.turns * abs(t)
            slack = [2 * off * sum(a for a, _, _ in self.waves[link]) ** 2 for link in self.links]
        return np.reshape([power, slack], (2, c.n_aps, c.n_ues))

    def check(self, gain: NDArray[np.float32], large_scale: NDArray[np.float64], t: int) -> None:
        """The recorded channel of step t is the large-scale gain times the fading of its seed."""
        power, slack = self.fading(t)
        assert (abs(gain - large_scale * power) <= large_scale * (RTOL * power + slack)).all()


class NaiveEpisode:
    """What the network derives from its channels: averages, and all that the APs decide on."""

    def __init__(self, network: Network) -> None:
        self.config = network.config
        self.association = naive.associate(network.large_scale_gain[0].tolist())
        self.averages = [
            max(naive.rate(x), self.config.min_average_rate) for x in self.reported_sinr(network)
        ]
        self.totals = [0.0] * self.config.n_ues
        self.silences = 0

    def reported_sinr(self, network: Network) -> list[float]:
        """Reference SINR of the recorded report."""
        return naive.reference_sinr(network.reported_gain[0].tolist(), self.association)

    def check_decision(self, network: Network) -> None:
        """Reports, ratios, candidates, masks and observations before a step."""
        c, sinr = self.config, self.reported_sinr(network)
        ratios = [
            naive.pf_ratio(naive.rate(x), average, c.pf_exponent)
            for x, average in zip(sinr, self.averages, strict=True)
        ]
        close(network.reported_sinr[0], sinr)
        close(network.reported_rate[0], [naive.rate(x) for x in sinr])
        close(network.average_rate[0], self.averages)
        of_power = RTOL * max(1, c.pf_exponent)  # a power multiplies relative errors
        close(network.pf_ratio[0], ratios, rtol=of_power)
        slots = network.candidates[0].tolist()
        for i, own in enumerate(slots):
            assert own == naive.candidates(
                network.pf_ratio[0].tolist(), self.association, i, c.n_candidates
            )
            best = naive.candidates(
                ratios, self.association, i, c.n_candidates
            )  # near-ties may come in another order
            close(
                [ratios[ue] for ue in own if ue != -1],
                [ratios[ue] for ue in best if ue != -1],
                rtol=of_power,
            )
        assert network.action_mask[0].tolist() == [
            [int(ue != -1) for ue in own] + [1] for own in slots
        ]
        seen = [naive.observation(own, sinr, self.averages, c.min_average_rate) for own in slots]
        close(network.observation[0], seen, atol=RTOL)

    def step_and_check(self, network: Network, served: NDArray[np.int64]) -> None:
        """Rates, reward, averages and totals of a step."""
        c, chosen = self.config, served[0].tolist()
        rates = naive.rates(network.gain[0].tolist(), chosen)
        reward = naive.reward(rates, self.averages, c.fairness_exponent)
        actual_rates, actual_reward = network.step(served)
        close(actual_rates[0], rates)
        close(actual_reward[0], reward)
        eta = naive.newest_weight(network.t, c.average, c.rate_ema, c.average_prior_steps)
        pairs = zip(self.averages, rates, strict=True)
        self.averages = [
            naive.updated_average(average, rate, eta, c.min_average_rate) for average, rate in pairs
        ]
        self.totals = [total + rate for total, rate in zip(self.totals, rates, strict=True)]
        self.silences += chosen.count(naive.SILENT)
        close(network.ue_rate_sum[0], self.totals)
        assert network.silent_steps[0] == self.silences
        assert network.served[0].tolist() == chosen


def check_episode(config: RRMConfig, seed: int) -> None:
    """A whole episode under a random policy."""
    network, generator = reset_network(config, seed), np.random.default_rng(seed)
    channel, episode, recorded = NaiveChannel(config, seed), NaiveEpisode(network), {}
    assert network.association[0].tolist() == episode.association
    aps = network.ap_positions[0]
    at_start = channel.large_scale(aps, network.ue_positions[0])
    assert (network.served == SILENT).all()
    for t in range(config.episode_length + 1):
        assert network.t == t
        large_scale = channel.large_scale(aps, network.ue_positions[0])
        close(network.large_scale_gain[0], large_scale)
        channel.check(network.gain[0], large_scale, t)
        recorded[t], measured_at = network.gain[0].copy(), t - config.csi_delay
        if measured_at < 0:
            channel.check(network.reported_gain[0], at_start, measured_at)
        else:
            assert np.array_equal(network.reported_gain[0], recorded[measured_at])
        episode.check_decision(network)
        assert network.done == (t == config.episode_length)
        if not network.done:
            episode.step_and_check(network, random_service(network, generator))


@pytest.mark.parametrize("name", EPISODES)
def test_an_episode_equals_the_naive_simulation(name: str) -> None:
    check_episode(EPISODES[name], 2**40 + 7)


@settings(max_examples=25)
@given(
    configs(n_ues=st.sampled_from([1, 3, 7, 12]), episode_length=st.sampled_from([2, 6, 12])), seeds
)
def test_random_episodes_equal_the_naive_simulation(config: RRMConfig, seed: int) -> None:
    check_episode(config, seed)


@settings(max_examples=25)
@given(configs(fading="none", n_candidates=1), seeds)
def test_users_walk_straight_and_turn_only_at_the_border(config: RRMConfig, seed: int) -> None:
    network, side, step = reset_network(config, seed), config.area_side_m, config.step_length_m
    distances = config.n_aps, config.n_ues, side, config.min_ap_distance_m, config.min_ue_distance_m
    aps, positions = naive.deploy(seed, *distances)
    headings = [naive.heading(seed, j) for j in range(config.n_ues)]
    velocities = [(step * math.cos(a), step * math.sin(a)) for a in headings]
    close(network.ap_positions[0], aps)
    for _ in range(config.episode_length):
        close(network.ue_positions[0], positions, atol=1e-9 * side)
        network.step(np.full((1, config.n_aps), -1))
        for j in range(config.n_ues):
            (x, vx), (y, vy) = (
                naive.reflect(positions[j][k], velocities[j][k], side) for k in range(2)
            )
            positions[j], velocities[j] = (x, y), (vx, vy)


# --- Evaluation ---


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 4), st.integers(1, 60)),
        elements=st.sampled_from([0.0, 0.5]) | st.floats(1e-6, 30),
    )
)
def test_metrics_equal_the_naive_kpis(ue_rates: NDArray[np.float64]) -> None:
    rows = ue_rates.tolist()
    close(metrics.sum_rate(ue_rates), [naive.sum_rate(row) for row in rows])
    assert metrics.tail_rate(ue_rates).tolist() == [naive.tail_rate(row) for row in rows]
    assert metrics.worst_rate(ue_rates).tolist() == [naive.worst_rate(row) for row in rows]
    close(metrics.score(ue_rates, 0.05, 3), [naive.score(row, 0.05, 3) for row in rows])
    close(
        metrics.minimum_score(ue_rates, 0.05, 3),
        [naive.minimum_score(row, 0.05, 3) for row in rows],
    )
    close(metrics.fairness(ue_rates), [naive.jain(row) for row in rows])
    close(
        metrics.pooled_tail_rate(ue_rates),
        naive.percentile([rate for row in rows for rate in row], 0.05),
        atol=1e-12,
    )


def test_the_tail_of_twenty_users_is_the_second_lowest() -> None:
    assert metrics.tail_rate(np.arange(20.0)[None])[0] == 1
    assert metrics.tail_rate(np.arange(19.0)[None])[0] == 0
    assert metrics.tail_rate(np.arange(40.0)[None])[0] == 2


def test_bootstrap_intervals_agree_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).exponential(size=2000)
    half_width = 1.96 * values.std() / math.sqrt(2000)
    # 10,000 resamples put the ends of a 95 % interval within about 3 % of its half width.
    close(
        metrics.mean_interval(values),
        [values.mean() - half_width, values.mean() + half_width],
        atol=0.1 * half_width,
    )
    low, high = metrics.pooled_tail_interval(values.reshape(100, 20))
    assert low < metrics.pooled_tail_rate(values) < high
    assert high - low < 0.05


def test_an_evaluation_reports_the_naive_kpis_of_its_episodes() -> None:
    config, totals, silences, returns = SMALL, [], [], []
    evaluation = evaluate(ProportionalFair(), config, episodes=3, seed=5)
    for k in range(3):
        network = reset_network(config, EVALUATION_SEEDS + 5 * 2**32 + k)
        episode = NaiveEpisode(network)
        returns.append(0.0)
        while not network.done:
            served = np.array([naive.proportional_fair(network.candidates[0].tolist())])
            returns[-1] += naive.reward(
                naive.rates(network.gain[0].tolist(), served[0].tolist()),
                network.average_rate[0].tolist(),
                config.fairness_exponent,
            )
            episode.step_and_check(network, served)
        totals.append([total / config.episode_length for total in episode.totals])
        silences.append(episode.silences / (config.n_aps * config.episode_length))
    close(evaluation.ue_rates, totals)
    close(evaluation.silent_share, silences)
    close(evaluation.returns, returns)
    close(evaluation.sum_rate, [naive.sum_rate(row) for row in totals])
    close(evaluation.tail_rate, [naive.tail_rate(row) for row in totals])
    assert evaluation.worst_rate.tolist() == [
        naive.worst_rate(row) for row in evaluation.ue_rates.tolist()
    ]
    close(evaluation.score, [naive.score(row, 1 / config.n_ues, 3) for row in totals])
    close(evaluation.fairness, [naive.jain(row) for row in totals])
    close(
        evaluation.pooled_tail_rate,
        naive.percentile([rate for row in totals for rate in row], 0.05),
        atol=1e-12,
    )


@pytest.mark.parametrize("scheduler", [ProportionalFair(), RandomWalk(3), TDM()])
def test_evaluations_extend_and_do_not_depend_on_batches_or_threads(scheduler: Baseline) -> None:
    whole = evaluate(scheduler, SMALL, episodes=16, seed=2)
    assert len(np.unique(whole.ue_rates, axis=0)) == 16
    assert np.array_equal(
        evaluate(scheduler, SMALL, episodes=8, seed=2).ue_rates, whole.ue_rates[:8]
    )
    for batch_size, num_threads in [(1, 1), (5, 1), (16, 2), (7, 3)]:
        again = evaluate(
            scheduler, SMALL, episodes=16, seed=2, batch_size=batch_size, num_threads=num_threads
        )
        assert np.array_equal(again.ue_rates, whole.ue_rates)
        assert np.array_equal(again.silent_share, whole.silent_share)


def test_evaluation_seeds_share_no_episode() -> None:
    first, second = (
        evaluate(ProportionalFair(), SMALL, episodes=8, seed=seed).ue_rates for seed in (0, 1)
    )
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 16


def test_evaluations_compare_by_identity_since_they_hold_arrays() -> None:
    first, second = (evaluate(TDM(), SMALL, episodes=2) for _ in range(2))
    assert first != second
    assert len({first, second}) == 2


def test_kpis_of_an_evaluation_by_name() -> None:
    evaluation = evaluate(TDM(), SMALL, episodes=2)
    for name in metrics.KPIS:
        assert evaluation.kpi(name).tolist() == getattr(evaluation, name).tolist()
    with pytest.raises(KeyError, match="sum_rates"):
        evaluation.kpi("sum_rates")
