"""The optimum with power levels: proven where all powers are listed, else a lower bound."""

from __future__ import annotations

from typing import Any

import naive_optimum
import naive_power
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs, seeds
from test_optimum import Listing, assert_equal, best

from baselines.optimum import optimum
from baselines.optimum.leveled import is_listed
from baselines.optimum.motion import along_the_motion, edges
from baselines.scale import ScoreScale, quick_optimum
from rrm_env import RRMConfig
from rrm_env.evaluation import first_episode

pytest.importorskip("scipy.optimize")

small: dict[str, Any] = {
    "n_aps": st.sampled_from([1, 2, 3]),
    "n_ues": st.sampled_from([1, 2, 3]),
    "episode_length": st.sampled_from([1, 4]),
    "fading": st.sampled_from(["iid", "none"]),
    "csi_delay": 1,
    "tx_power_dbm": 10.0,
    "power_levels_dbm": st.sampled_from([(10.0, 2.0), (0.0, -9.0, 4.0), (7.0,)]),
}


def listing(config: RRMConfig, seed: int, blocks: int) -> Listing:
    """All joint actions of users and levels in an episode, in plain Python."""
    gain, association = along_the_motion(config, first_episode(seed), 1, blocks)
    assert config.power_levels_dbm is not None
    powers = [naive_power.relative(x, config.tx_power_dbm) for x in config.power_levels_dbm]
    users = association[0].tolist()
    slots = [[j for j, ap in enumerate(users) if ap == i] for i in range(config.n_aps)]
    actions = list(naive_power.joint_actions(slots, powers))
    rates = [
        [
            naive_optimum.rates_of(
                served,
                [[p * g for g in row] for p, row in zip(at, block, strict=True)],
                fades=config.fading == "iid",
            )
            for served, at in actions
        ]
        for block in gain[0].tolist()
    ]
    return Listing(np.array(rates), np.diff(edges(config, blocks)) / config.episode_length)


@settings(max_examples=16)
@given(st.data(), seeds.filter(lambda seed: seed < 2**20))
def test_equals_a_program_over_all_users_and_levels(data: st.DataObject, seed: int) -> None:
    fixed = {
        name: data.draw(value) if isinstance(value, st.SearchStrategy) else value
        for name, value in small.items()
    }
    config = data.draw(configs(**fixed))
    every = listing(config, seed, 1)
    found = optimum(config, seed, 1, blocks=1, cached=False)
    mu1, mu2 = config.sum_weight, config.score_tail_weight
    assert_equal(found.minimum_score, best(every, mu1, mu2))
    assert_equal(found.score, best(every, mu1, mu2))
    assert_equal(found.sum_rate, best(every, 1.0, 0.0))
    assert_equal(found.max_min, best(every, 0.0, 1.0))
    assert found.is_bound


def test_levels_raise_the_optimum_and_switching_is_a_lower_bound_of_it() -> None:
    options: dict[str, Any] = {"n_aps": 3, "n_ues": 8, "episode_length": 20}
    plain = optimum(RRMConfig(**options), episodes=3, cached=False)
    leveled = optimum(RRMConfig(**options, power_levels_dbm=(10.0, 0.0)), episodes=3, cached=False)
    assert plain.is_bound
    assert leveled.is_bound
    assert (leveled.max_min.value > plain.max_min.value * 1.001).any()
    for name in ("minimum_score", "sum_rate", "max_min"):
        with_levels, without = getattr(leveled, name), getattr(plain, name)
        assert (with_levels.value >= without.value * (1 - 1e-6)).all()
    low = optimum(RRMConfig(**options, power_levels_dbm=(0.0,)), episodes=3, cached=False)
    assert low.is_bound
    assert (low.sum_rate.value < plain.sum_rate.value).all()


def test_what_cannot_be_listed_is_the_best_known_at_the_highest_level() -> None:
    levels = tuple(range(-5, 11))
    config = RRMConfig(n_aps=4, n_ues=8, episode_length=4, power_levels_dbm=levels)
    assert not is_listed(config)
    found = optimum(config, episodes=2, cached=False)
    plain = RRMConfig(n_aps=4, n_ues=8, episode_length=4)
    assert not found.is_bound
    np.testing.assert_array_equal(
        found.score.value, optimum(plain, episodes=2, cached=False).score.value
    )
    scale = ScoreScale(found, np.zeros(2))
    assert scale.name == "best known"
    assert "between their highest power level and silence" in scale.notes[0]
    assert scale.as_dict()["is_bound"] is False
    assert quick_optimum(config, 0) is None
    with pytest.raises(ValueError, match="search = 'exact' lists up to 4,096 powers of all APs"):
        optimum(config, episodes=1, search="exact", cached=False)


def test_the_channel_known_beforehand_has_an_optimum_with_levels_too() -> None:
    options: dict[str, Any] = {"n_aps": 2, "n_ues": 4, "episode_length": 10, "fading": "jakes"}
    leveled = RRMConfig(**options, power_levels_dbm=(10.0, 0.0))
    found = optimum(leveled, information="channel", episodes=2, cached=False)
    plain = optimum(RRMConfig(**options), information="channel", episodes=2, cached=False)
    assert found.is_bound
    assert (found.max_min.value >= plain.max_min.value * (1 - 1e-6)).all()
    assert (found.max_min.value > plain.max_min.value * 1.001).any()
