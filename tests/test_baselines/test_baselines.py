"""Every baseline against its reference implementation, and what each promises.

That is turns, silence, optimality, uniform draws and legal actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from strategies import configs, reset_network, seeds

from baselines import (
    REGISTRY,
    TDM,
    WMMSE,
    FPLinQ,
    Greedy,
    GreedyMaxWeight,
    ITLinQ,
    MaxWeight,
    NetworkTDM,
    PowerControl,
    ProportionalFair,
    RandomWalk,
    Reuse,
    TurnTaking,
)
from baselines.registry import COMPARED, parse_scheduler, split_options
from baselines.scheduler import Baseline
from rrm_env import SILENT, Network, RRMConfig, Scheduler, evaluate, parallel_env

small = configs(
    n_aps=st.sampled_from([1, 2, 3, 4]),
    n_ues=st.sampled_from([1, 6, 11, 16]),
    n_candidates=st.sampled_from([1, 2, 3]),
    episode_length=st.sampled_from([2, 6, 10]),
)
SHORT = RRMConfig(episode_length=25)
CANDIDATE_BASED = sorted(set(REGISTRY) - {"tdm", "network_tdm", "long_memory", "debts", "fluid"})
TEN_TO_THE_30 = 300.0
"""A tolerance in dB far above, and negated far below, any ratio of gains in these networks."""


def play(scheduler: Baseline, network: Network) -> Iterator[list[list[int]]]:
    """The decision of each step of an episode, given out before it is carried out."""
    scheduler.reset(network)
    while not network.done:
        served = scheduler.schedule(network)
        assert served.dtype == np.int64
        yield served.tolist()
        network.step(served)


def slots(network: Network) -> list[list[int]]:
    """Candidates of the first episode of a batch."""
    chosen: list[list[int]] = network.candidates[0].tolist()
    return chosen


def leader(network: Network) -> int:
    """The candidate of the highest PF ratio in the network, ties to the lower AP."""
    firsts = [own[0] for own in slots(network) if own[0] != SILENT]
    return max(firsts, key=lambda ue: float(network.pf_ratio[0, ue]))


# --- Against the naive twins ---


@given(small, seeds)
def test_greedy_serves_the_best_reported_channel(config: RRMConfig, seed: int) -> None:
    network = reset_network(config, seed)
    for served in play(Greedy(), network):
        assert served == [naive.greedy(slots(network), network.reported_sinr[0].tolist())]


def test_greedy_breaks_ties_by_pf_ratio() -> None:
    network = reset_network(SHORT, 6, 4)
    network._state.reported_sinr[:] = 5
    assert np.array_equal(Greedy().schedule(network), network.candidates[..., 0])


@given(small, seeds)
def test_proportional_fair_serves_the_first_candidates(config: RRMConfig, seed: int) -> None:
    network = reset_network(config, seed)
    for served in play(ProportionalFair(), network):
        assert served == [naive.proportional_fair(slots(network))]


@given(configs(n_ues=st.sampled_from([1, 3, 7, 12])), seeds)
def test_tdm_takes_turns_in_order_of_index(config: RRMConfig, seed: int) -> None:
    network, everywhere = reset_network(config, seed), reset_network(config, seed)
    association = network.association[0].tolist()
    for t, served in enumerate(play(TDM(), network)):
        assert served == [naive.tdm(association, config.n_aps, t)]
    for t, served in enumerate(play(NetworkTDM(), everywhere)):
        assert served == [naive.network_tdm(association, config.n_aps, t)]


@given(small, seeds, st.floats(-30, 60), st.floats(0, 1))
def test_itlinq_equals_its_reference(
    config: RRMConfig, seed: int, tolerance_db: float, exponent: float
) -> None:
    network = reset_network(config, seed)
    for served in play(ITLinQ(tolerance_db, exponent), network):
        gain, ratios = network.reported_gain[0].tolist(), network.pf_ratio[0].tolist()
        assert served == [naive.itlinq(slots(network), ratios, gain, tolerance_db, exponent)]


@settings(max_examples=30)
@given(
    small,
    seeds,
    st.sampled_from(["reported", "large_scale"]),
    st.sampled_from([None, 0.0, 1.5, 3.0]),
)
def test_max_weight_reaches_the_best_of_all_joint_actions(
    config: RRMConfig, seed: int, csi: str, exponent: float | None
) -> None:
    network = reset_network(config, seed)
    for served in play(MaxWeight(csi, exponent), network):
        gain = (network.reported_gain if csi == "reported" else network.large_scale_gain)[
            0
        ].tolist()
        averages = network.average_rate[0].tolist()
        assert all(
            ue == SILENT or ue in own for ue, own in zip(served[0], slots(network), strict=True)
        )
        # Values, not choices: near-ties may fall either way. Both sides compute in float64.
        power = config.fairness_exponent if exponent is None else exponent
        best = naive.max_weight(slots(network), gain, averages, power)
        assert naive.weighted_sum(served[0], gain, averages, power) == pytest.approx(best, rel=1e-9)


@given(small, seeds, st.integers(0, 2**32 - 1))
def test_random_walk_takes_the_candidate_its_draw_falls_on(
    config: RRMConfig, seed: int, stream: int
) -> None:
    network = reset_network(config, seed)
    for t, served in enumerate(play(RandomWalk(stream), network)):
        draws = naive.policy_uniforms(seed, t, stream, config.n_aps)
        legal = [[ue for ue in own if ue != SILENT] for own in slots(network)]
        assert served == [
            [
                own[int(draw * len(own))] if own else SILENT
                for own, draw in zip(legal, draws, strict=True)
            ]
        ]


# --- What each promises ---


def test_tdm_serves_every_user_of_an_ap_once_per_rotation() -> None:
    network = reset_network(RRMConfig(episode_length=60), 1, 8)
    decisions = np.array(list(play(TDM(), network)))
    for b, i in np.ndindex(8, 4):
        own = np.flatnonzero(network.association[b] == i).tolist()
        turns = decisions[:, b, i].tolist()
        if not own:
            assert set(turns) == {SILENT}
            continue
        for start in range(0, 60 - len(own), len(own)):
            assert sorted(turns[start : start + len(own)]) == own


def test_network_tdm_lets_one_ap_transmit_and_serves_all_users_in_turn() -> None:
    network = reset_network(RRMConfig(episode_length=60), 2, 8)
    decisions = np.array(list(play(NetworkTDM(), network)))
    assert ((decisions != SILENT).sum(axis=2) == 1).all()
    for start in range(0, 60, 20):
        assert (
            np.sort(decisions[start : start + 20].max(axis=2), axis=0) == np.arange(20)[:, None]
        ).all()


@given(configs(), seeds)
def test_itlinq_with_boundless_tolerance_is_proportional_fair(config: RRMConfig, seed: int) -> None:
    network = reset_network(config, seed, 2)
    for served in play(ITLinQ(TEN_TO_THE_30), network):
        assert served == ProportionalFair().schedule(network).tolist()


@given(configs(), seeds)
def test_itlinq_without_tolerance_lets_only_the_best_pf_ratio_transmit(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed)
    for served in play(ITLinQ(-TEN_TO_THE_30), network):
        assert [ue for ue in served[0] if ue != SILENT] == [leader(network)]


@given(configs(), seeds, st.floats(-30, 60), st.floats(0, 1))
def test_the_first_ap_of_itlinq_always_transmits(
    config: RRMConfig, seed: int, tolerance_db: float, exponent: float
) -> None:
    network = reset_network(config, seed)
    for served in play(ITLinQ(tolerance_db, exponent), network):
        assert leader(network) in served[0]


def test_max_weight_refuses_more_joint_actions_than_it_can_search() -> None:
    config = RRMConfig.preset("dense", episode_length=1)
    with pytest.raises(ValueError, match="n_aps = 16 with 4 actions each have 4,294,967,296"):
        evaluate(MaxWeight(), config, episodes=1)
    env = parallel_env(n_aps=11, min_ap_distance_m=1, n_candidates=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"at most 1,048,576 joint actions.*have 4,194,304"):
        MaxWeight().act(env)
    with pytest.raises(ValueError, match="GreedyMaxWeight"):
        MaxWeight().reset(env.network)
    evaluate(MaxWeight(), RRMConfig(n_aps=10, min_ap_distance_m=1, episode_length=1), episodes=1)


def test_random_walk_is_uniform_over_legal_candidates_and_over_aps() -> None:
    network, chosen, legal = reset_network(RRMConfig(n_ues=12, episode_length=50), 3, 256), [], []
    for served in play(RandomWalk(), network):
        chosen.append((network.candidates == np.array(served)[..., None]).argmax(axis=2))
        legal.append(network.action_mask[..., :-1].sum(axis=2))
    choice, n_legal = np.array(chosen), np.array(legal)
    for n in (2, 3):
        # 0.001: by chance one correct scheduler in 500 would fail; the seed is fixed.
        assert stats.chisquare(np.bincount(choice[n_legal == n], minlength=n)).pvalue > 1e-3
    for first, second in [(0, 1), (0, 2), (2, 3)]:
        both = choice[(n_legal[..., first] == 3) & (n_legal[..., second] == 3)]
        pairs = np.bincount(3 * both[:, first] + both[:, second], minlength=9)
        assert stats.chisquare(pairs).pvalue > 1e-3


def test_random_walk_does_not_depend_on_the_batch_but_on_its_seed() -> None:
    network, single = reset_network(SHORT, 4, 8), reset_network(SHORT, 9)
    batch, alone = (
        np.array(list(play(RandomWalk(7), network))),
        np.array(list(play(RandomWalk(7), single))),
    )
    assert np.array_equal(batch[:, 5], alone[:, 0])
    other = np.array(list(play(RandomWalk(8), reset_network(SHORT, 9))))
    assert not np.array_equal(other, alone)


@given(configs(), seeds, st.integers(0, 2**32 - 1))
def test_random_walk_with_silence_takes_the_action_its_draw_falls_on(
    config: RRMConfig, seed: int, stream: int
) -> None:
    network = reset_network(config, seed)
    for t, served in enumerate(play(RandomWalk(stream, silence=True), network)):
        draws = naive.policy_uniforms(seed, t, stream, config.n_aps)
        legal = [[*(ue for ue in own if ue != SILENT), SILENT] for own in slots(network)]
        assert served == [
            [own[int(draw * len(own))] for own, draw in zip(legal, draws, strict=True)]
        ]


def test_random_walk_with_silence_is_uniform_over_legal_actions() -> None:
    network, silent, n_legal = reset_network(RRMConfig(n_ues=9, episode_length=50), 3, 256), [], []
    for served in play(RandomWalk(silence=True), network):
        silent.append(np.array(served) == SILENT)
        n_legal.append(network.action_mask.sum(axis=2))
    for n in (1, 2, 3, 4):
        share = np.array(silent)[np.array(n_legal) == n]
        assert len(share) > 1000
        assert share.mean() == pytest.approx(1 / n, abs=4 * np.sqrt((n - 1) / n**2 / len(share)))


def test_random_walk_is_never_silent_with_candidates_unless_told_to() -> None:
    assert RandomWalk().silence is False
    network = reset_network(SHORT, 4, 8)
    for plain, told in zip(
        play(RandomWalk(7), network),
        play(RandomWalk(7, silence=False), reset_network(SHORT, 4, 8)),
        strict=True,
    ):
        assert plain == told
        assert ((np.array(plain) == SILENT) == (network.candidates[..., 0] == SILENT)).all()
    for value in (1, "true", None):
        with pytest.raises(TypeError, match=f"silence must be True or False, got {value!r}"):
            RandomWalk(silence=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "silence"), [("true", True), ("True", True), ("false", False), ("FALSE", False)]
)
def test_truth_values_are_options_of_schedulers(text: str, silence: bool) -> None:
    scheduler = parse_scheduler(f"random_walk:silence={text}:seed=3")
    assert isinstance(scheduler, RandomWalk)
    assert (scheduler.silence, scheduler.seed) == (silence, 3)
    for wrong in ("1", "yes", ""):
        with pytest.raises(ValueError, match=f"silence of random_walk must be bool, got '{wrong}'"):
            parse_scheduler(f"random_walk:silence={wrong}")


# --- All of them ---


def test_the_registry_holds_every_baseline_by_its_name() -> None:
    classical = [
        "random_walk",
        "greedy",
        "tdm",
        "network_tdm",
        "proportional_fair",
        "itlinq",
        "max_weight",
    ]
    compared = [*classical, "greedy_max_weight", "turn_taking"]
    assert list(COMPARED) == compared
    others = ["reuse", "power_control", "fplinq", "wmmse", "long_memory", "debts", "fluid"]
    assert list(REGISTRY) == [*compared, *others]
    assert all(isinstance(REGISTRY[name](), Scheduler) for name in REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
def test_evaluations_are_deterministic_and_a_scheduler_forgets_the_last_one(name: str) -> None:
    scheduler = REGISTRY[name]()
    first, second, fresh = (
        evaluate(s, SHORT, episodes=4, batch_size=2)
        for s in (scheduler, scheduler, REGISTRY[name]())
    )
    assert np.array_equal(first.ue_rates, second.ue_rates)
    assert np.array_equal(first.ue_rates, fresh.ue_rates)


def acted(
    scheduler: Baseline, env: Any, seed: int
) -> Iterator[tuple[NDArray[np.int32], list[int]]]:
    """Candidates (I, N) and the UEs served through `act`, before each step of an episode."""
    _, infos = env.reset(seed=seed)
    while env.agents:
        actions = scheduler.act(env)
        assert list(actions) == env.possible_agents
        assert all(
            type(action) is int and infos[agent]["action_mask"][action] == 1
            for agent, action in actions.items()
        )
        candidates = np.array([info["candidates"] for info in infos.values()])
        served = [
            int(row[action]) if action < len(row) else SILENT
            for row, action in zip(candidates, actions.values(), strict=True)
        ]
        yield candidates, served
        _, _, _, _, infos = env.step(actions)


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("settings", [{"n_ues": 20}, {"n_ues": 5}])
def test_actions_are_legal_all_episode_and_repeat_at_its_next_playing(
    name: str, settings: dict[str, Any]
) -> None:
    env, scheduler = parallel_env(episode_length=25, **settings), REGISTRY[name]()
    first, again = ([served for _, served in acted(scheduler, env, 3)] for _ in range(2))
    assert len(first) == 25
    assert first == again


@pytest.mark.parametrize("name", CANDIDATE_BASED)
def test_actions_serve_what_the_schedule_serves(name: str) -> None:
    env, scheduler = parallel_env(episode_length=25, n_ues=10), REGISTRY[name]()
    for _, served in acted(scheduler, env, 5):
        assert [served] == scheduler.schedule(env.unwrapped.network).tolist()


@given(configs(episode_length=st.sampled_from([1, 9, 20])), seeds)
def test_tdm_under_act_serves_the_candidate_that_waited_longest(
    config: RRMConfig, seed: int
) -> None:
    env = parallel_env(**config.as_dict())
    last_served = [-1] * config.n_ues
    for t, (candidates, served) in enumerate(acted(TDM(), env, seed)):
        assert served == [naive.longest_waiting(own, last_served) for own in candidates.tolist()]
        for ue in served:
            last_served[ue] = t if ue != SILENT else last_served[ue]
    last_served = [-1] * config.n_ues
    for t, (candidates, served) in enumerate(acted(NetworkTDM(), env, seed)):
        turn = naive.longest_waiting(candidates.ravel().tolist(), last_served)
        assert served == [turn if turn in own else SILENT for own in candidates.tolist()]
        last_served[turn] = t


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (RandomWalk, {"seed": -1}, "seed"),
        (RandomWalk, {"seed": 2**32}, "seed"),
        (ITLinQ, {"tolerance_db": float("nan")}, "tolerance_db"),
        (ITLinQ, {"tolerance_db": float("inf")}, "tolerance_db"),
        (ITLinQ, {"tolerance_db": -float("inf")}, "tolerance_db"),
        (ITLinQ, {"exponent": -0.1}, "exponent"),
        (ITLinQ, {"exponent": 1.1}, "exponent"),
        (ITLinQ, {"exponent": float("nan")}, "exponent"),
        (MaxWeight, {"csi": "perfect"}, "csi"),
        (MaxWeight, {"csi": None}, "csi"),
        (MaxWeight, {"exponent": -0.1}, "exponent"),
        (MaxWeight, {"exponent": 10.1}, "exponent"),
        (MaxWeight, {"exponent": float("nan")}, "exponent"),
        (GreedyMaxWeight, {"csi": "perfect"}, "csi"),
        (GreedyMaxWeight, {"exponent": -0.1}, "exponent"),
        (GreedyMaxWeight, {"starts": 0}, "starts"),
        (PowerControl, {"csi": ["reported"]}, "csi"),
        (PowerControl, {"exponent": 10.1}, "exponent"),
        (FPLinQ, {"csi": "perfect"}, "csi"),
        (FPLinQ, {"exponent": -0.1}, "exponent"),
        (FPLinQ, {"iterations": 0}, "iterations"),
        (WMMSE, {"csi": None}, "csi"),
        (WMMSE, {"exponent": float("nan")}, "exponent"),
        (WMMSE, {"iterations": 100_001}, "iterations"),
        (Reuse, {"groups": -1}, "groups"),
    ],
)
def test_bad_constructor_arguments_are_refused_by_name(
    kind: type[Baseline], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be .*, got"):
        kind(**arguments)


@pytest.mark.parametrize(
    ("kind", "name", "allowed"),
    [
        (PowerControl, "users", "all_on, alone"),
        (FPLinQ, "users", "iterated, all_on"),
        (Reuse, "turns", "equal, by_load"),
        (TurnTaking, "turns", "equal, by_load"),
    ],
)
@pytest.mark.parametrize("value", ["none", None, ["all_on"]])
def test_unknown_choices_are_refused_with_those_allowed(
    kind: type[Baseline], name: str, allowed: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^unknown {name} .*; allowed: .*{allowed}$"):
        kind(**{name: value})


def test_options_of_schedulers_and_environments_are_split_alike() -> None:
    assert split_options("tdm") == ("tdm", [])
    assert split_options("itlinq:tolerance_db=0:exponent=0.5") == (
        "itlinq",
        [("tolerance_db", "0"), ("exponent", "0.5")],
    )
    assert split_options("mpe2.simple:a=b=c:flag:empty=") == (
        "mpe2.simple",
        [("a", "b=c"), ("flag", None), ("empty", "")],
    )


def test_a_scheduler_that_serves_other_users_is_named_by_act() -> None:
    class Stranger(Baseline):
        def schedule(self, network: Network) -> NDArray[np.int64]:
            return np.full((network.num_envs, network.config.n_aps), 99)

    env = parallel_env()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"schedule_candidates must serve .* got UE 99$"):
        Stranger().act(env)
