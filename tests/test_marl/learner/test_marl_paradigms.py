"""How paradigms number and mask joint actions; illegal actions never enter a loss."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from worlds import (
    FORMS,
    SCHEMES,
    copies,
    make_learner,
    outputs,
    random_batch,
    random_mask,
    roles_of_actions,
    scatter_parameters,
)

from marl import Heads, Learner, Policy, Team
from marl.config import Algorithm, Paradigm
from marl.learner.heads import ILLEGAL, MAX_JOINT_ACTIONS
from marl.team import team_of
from rrm_env import RRMConfig

teams = st.builds(
    Team, n_agents=st.integers(1, 4), n_features=st.integers(1, 3), n_actions=st.integers(1, 4)
)
paradigms: st.SearchStrategy[Paradigm] = st.sampled_from(["c", "i", "ctde"])
seeds = st.integers(0, 2**32)
TEAM = Team(3, 4, 3)
FAR = 1e6
"""A value so large that it would show in any result that it entered."""


# --- Numbering ---


@given(paradigms, teams, seeds)
def test_actions_and_chosen_are_inverse(paradigm: Paradigm, team: Team, seed: int) -> None:
    heads, generator = Heads(paradigm, team), torch.Generator().manual_seed(seed)
    action = torch.randint(team.n_actions, (2, 5, team.n_agents), generator=generator)
    chosen = torch.randint(heads.n_actions, (2, heads.n_heads, 5), generator=generator)
    assert heads.chosen(action).shape == chosen.shape
    assert torch.equal(heads.actions(heads.chosen(action)), action)
    assert torch.equal(heads.chosen(heads.actions(chosen)), chosen)


@given(teams)
def test_joint_actions_are_numbered_as_products_are_listed(team: Team) -> None:
    heads, listed = Heads("c", team), list(product(range(team.n_actions), repeat=team.n_agents))
    assert heads.n_actions == len(listed)
    assert heads.actions(torch.arange(len(listed)).view(1, 1, -1))[0].tolist() == [
        list(action) for action in listed
    ]


@given(teams, seeds)
def test_joint_masks_allow_what_every_agent_allows(team: Team, seed: int) -> None:
    heads = Heads("c", team)
    mask = random_mask(torch.Generator().manual_seed(seed), 2, 3, team.n_agents, team.n_actions)
    bias, log_legal = heads.bias(mask), heads.log_legal(mask)
    for s, b in np.ndindex(2, 3):
        legal = [
            all(mask[s, b, i, a] for i, a in enumerate(action))
            for action in product(range(team.n_actions), repeat=team.n_agents)
        ]
        assert (bias[s, 0, b] == 0).tolist() == legal
        assert (bias[s, 0, b][~torch.tensor(legal)] <= ILLEGAL).all()
        assert float(log_legal[s, 0, b]) == pytest.approx(np.log(sum(legal)), abs=1e-6)


@given(st.sampled_from(["i", "ctde"]), teams, seeds)
def test_masks_of_separate_heads_are_their_agents(
    paradigm: Paradigm, team: Team, seed: int
) -> None:
    heads = Heads(paradigm, team)
    mask = random_mask(torch.Generator().manual_seed(seed), 2, 3, team.n_agents, team.n_actions)
    bias, log_legal = heads.bias(mask), heads.log_legal(mask)
    for s, b, i in np.ndindex(2, 3, team.n_agents):
        assert bias[s, i, b].tolist() == [0 if legal else ILLEGAL for legal in mask[s, b, i]]
        assert float(log_legal[s, i, b]) == pytest.approx(
            np.log(int(mask[s, b, i].sum())), abs=1e-6
        )


@given(paradigms, teams)
def test_heads_see_all_observations_or_their_agents_own(paradigm: Paradigm, team: Team) -> None:
    heads, observation = Heads(paradigm, team), torch.randn(2, 5, team.n_agents, team.n_features)
    inputs = heads.inputs(observation)
    assert inputs.shape == (2, heads.n_heads, 5, heads.n_inputs)
    for s, k, b in np.ndindex(2, heads.n_heads, 5):
        assert torch.equal(
            inputs[s, k, b],
            observation[s, b].flatten() if paradigm == "c" else observation[s, b, k],
        )


@given(st.sampled_from(["i", "ctde"]), teams)
def test_heads_that_observe_all_see_the_observations_of_all_agents(
    paradigm: Paradigm, team: Team
) -> None:
    heads = Heads(paradigm, team, observes="all")
    observation = torch.randn(2, 5, team.n_agents, team.n_features)
    inputs = heads.inputs(observation)
    assert inputs.shape == (2, team.n_agents, 5, heads.n_inputs)
    for s, k, b in np.ndindex(2, heads.n_heads, 5):
        assert torch.equal(inputs[s, k, b], observation[s, b].flatten())


def test_a_joint_action_space_that_is_too_large_is_refused_with_its_size_and_an_alternative() -> (
    None
):
    with pytest.raises(
        ValueError,
        match=r"4\^10 = 1,048,576 joint actions of 10 agents .*"
        r"allowed: up to 16,384\. Use .*'ctde' or 'i'",
    ):
        Heads("c", Team(10, 6, 4))
    assert Heads("c", Team(7, 6, 4)).n_actions == MAX_JOINT_ACTIONS
    assert Heads("ctde", Team(10, 6, 4)).n_heads == 10


# --- Illegal actions ---


def tempted(paradigm: Paradigm, algorithm: Algorithm, seed: int = 0, **changes: Any) -> Learner:
    """A learner of two seeds whose networks differ and strongly prefer each agent's action 0."""
    learner = make_learner(paradigm, algorithm, TEAM, seeds=(3, 4), **changes)
    scatter_parameters(learner, seed)
    for role in roles_of_actions(learner):
        learner.layers[-1][1][role][..., favourites(learner.heads)] += FAR
    return learner


def favourites(heads: Heads) -> Tensor:
    """Which actions of a head (M,) contain action 0 of any agent."""
    every = torch.arange(heads.n_actions).expand(1, heads.n_heads, -1)
    return (heads.actions(every)[0] == 0).any(-1)


def without_favourites(seed: int, *shape: int) -> Tensor:
    """A mask (..., I, A) that forbids action 0 and more."""
    allowed = random_mask(
        torch.Generator().manual_seed(seed), *shape, TEAM.n_agents, TEAM.n_actions - 1
    )
    return torch.cat([torch.zeros_like(allowed[..., :1]), allowed], -1)


def acting(learner: Learner, k: int, **options: Any) -> Policy:
    """The k-th seed's policy, made to act as the options say."""
    trained, own = slice(learner.roles.trained), slice(k, k + 1)
    layers = [(weights[trained, own], biases[trained, own]) for weights, biases in learner.layers]
    return Policy(
        learner.config, learner.team, layers, learner.shift[own], learner.scale[own], **options
    )


def is_legal(mask: Tensor, action: Tensor) -> bool:
    return bool(mask.gather(-1, action.unsqueeze(-1)).all())


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
@settings(max_examples=10)
@given(seed=seeds, epsilon=st.sampled_from([0.0, 0.5, 1.0]))
def test_exploration_and_policies_take_legal_actions_only(
    paradigm: Paradigm, algorithm: Algorithm, seed: int, epsilon: float
) -> None:
    learner, mask = tempted(paradigm, algorithm, seed), without_favourites(seed, 2, 20)
    observation = torch.randn(2, 20, TEAM.n_agents, TEAM.n_features)
    assert is_legal(mask, learner.explore(observation, mask, torch.tensor(seed), epsilon))
    uniform = np.random.default_rng(seed).random((20, 3**TEAM.n_agents), np.float32)
    for k, (act_on, sample) in product(
        range(2), [("actor", False), ("actor", True), ("critic", False)]
    ):
        if act_on not in {"sac": ("actor", "critic"), "dqn": ("critic",)}.get(
            algorithm, ("actor",)
        ):
            continue
        policy = acting(learner, k, act_on=act_on, sample=sample)
        chosen = policy.actions(
            observation[k].numpy(), mask[k].numpy(), uniform[:, : policy.n_uniform]
        )
        assert is_legal(mask[k], torch.from_numpy(chosen))


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_a_sampling_policy_takes_legal_actions_even_where_a_number_is_zero(
    paradigm: Paradigm,
) -> None:
    """Numpy's generators, which `Policy.act` and `episode_returns` draw from, can return 0."""
    learner, mask = (
        make_learner(paradigm, "bc", TEAM),
        torch.zeros(1, TEAM.n_agents, TEAM.n_actions, dtype=torch.uint8),
    )
    mask[..., -1] = 1
    sampler = acting(learner, 0, sample=True)
    uniform = np.full((1, sampler.n_uniform), 0.5, np.float32)
    uniform[:, learner.heads.bias(mask.unsqueeze(0)).flatten().numpy() == 0] = 0
    assert is_legal(
        mask,
        torch.from_numpy(
            sampler.actions(
                np.zeros((1, TEAM.n_agents, TEAM.n_features), np.float32), mask.numpy(), uniform
            )
        ),
    )


@pytest.mark.parametrize(("paradigm", "algorithm", "options"), FORMS)
def test_illegal_actions_are_neither_bootstrapped_from_nor_penalised(
    paradigm: Paradigm, algorithm: Algorithm, options: dict[str, Any]
) -> None:
    batch = random_batch(TEAM, 2, 16)
    mask, next_mask = without_favourites(0, 2, 16), without_favourites(1, 2, 16)
    action = mask.flatten(0, 2).float().multinomial(1).view(2, 16, TEAM.n_agents)
    batch = batch._replace(mask=mask, next_mask=next_mask, action=action)
    learner, calm = (tempted(paradigm, algorithm, **options) for _ in range(2))
    favourite = favourites(learner.heads)
    for role in roles_of_actions(calm):
        calm.layers[-1][1][role][..., favourite] = 0
    of_actions = [role for role in roles_of_actions(learner) if role < learner.roles.trained]
    before = copies(learner)
    for one in (learner, calm):
        one.update(batch)
    assert torch.equal(learner.sums, calm.sums)
    for name, tensor in learner.tensors().items():
        other = calm.tensors()[name]
        if name.startswith("layers.1"):
            trained, old = tensor[of_actions], before[name][of_actions]
            assert torch.equal(trained[..., favourite], old[..., favourite])
            assert (trained[..., ~favourite] != old[..., ~favourite]).any()
            tensor, other = tensor[..., ~favourite], other[..., ~favourite]
        assert torch.equal(tensor, other), name


# --- What is chosen ---


def observed(learner: Learner, n: int) -> tuple[Tensor, Tensor]:
    """The same observation n times, and a mask that forbids the first agent its second action."""
    observation = torch.randn(
        1, 1, TEAM.n_agents, TEAM.n_features, generator=torch.Generator().manual_seed(5)
    )
    mask = torch.ones(1, 1, TEAM.n_agents, TEAM.n_actions, dtype=torch.uint8)
    mask[..., 0, 1] = 0
    return observation.expand(len(learner.seeds), n, -1, -1), mask.expand(
        len(learner.seeds), n, -1, -1
    )


def assert_drawn_from(heads: Heads, actions: Tensor, policy: Tensor) -> None:
    """Actions (B, I) are independent draws from the policy (K, M)."""
    chosen = heads.chosen(actions.unsqueeze(0))[0]
    for k in range(heads.n_heads):
        counts, share = (
            chosen[k].bincount(minlength=heads.n_actions).numpy(),
            policy[k].double().numpy(),
        )
        possible = share > 0
        assert counts[possible].sum() == len(actions)
        if possible.sum() > 1:
            assert (
                stats.chisquare(
                    counts[possible], len(actions) * share[possible] / share.sum()
                ).pvalue
                > 1e-3
            )


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
def test_full_exploration_is_uniform_over_legal_actions(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    learner = make_learner(paradigm, algorithm, TEAM)
    observation, mask = observed(learner, 4000)
    legal = (learner.heads.bias(mask)[0, :, 0] == 0).float()
    assert_drawn_from(
        learner.heads,
        learner.explore(observation, mask, torch.tensor(0), 1.0)[0],
        legal / legal.sum(-1, keepdim=True),
    )


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
@pytest.mark.parametrize("algorithm", ["sac", "bc", "iql"])
def test_actors_are_sampled_as_they_say(paradigm: Paradigm, algorithm: Algorithm) -> None:
    learner = make_learner(paradigm, algorithm, TEAM, n_critics=2)
    scatter_parameters(learner)
    for tensor in learner.layers[-1]:
        tensor *= 0.3
    observation, mask = observed(learner, 4000)
    policy = (
        outputs(learner, observation)[learner.roles.trained - 1, 0] + learner.heads.bias(mask)[0]
    ).softmax(-1)[:, 0]
    assert_drawn_from(
        learner.heads, learner.explore(observation, mask, torch.tensor(0), 0.0)[0], policy
    )
    sampler = acting(learner, 0, sample=True)
    uniform = np.random.default_rng(0).random((4000, sampler.n_uniform), np.float32)
    drawn = sampler.actions(observation[0].numpy(), mask[0].numpy(), uniform)
    assert_drawn_from(learner.heads, torch.from_numpy(drawn), policy)


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_dqn_explores_greedily_on_its_critics_and_at_random_with_probability_epsilon(
    paradigm: Paradigm,
) -> None:
    learner = make_learner(paradigm, "dqn", TEAM)
    scatter_parameters(learner)
    observation, mask = observed(learner, 4000)
    critics = outputs(learner, observation)[:2, 0]
    values = (
        (critics.mean(0) if paradigm == "ctde" else critics.amin(0)) + learner.heads.bias(mask)[0]
    )[:, 0]
    greedy = torch.nn.functional.one_hot(values.argmax(-1), learner.heads.n_actions).float()
    legal = (learner.heads.bias(mask)[0, :, 0] == 0).float()
    for epsilon in (0.0, 0.3):
        policy = (1 - epsilon) * greedy + epsilon * legal / legal.sum(-1, keepdim=True)
        assert_drawn_from(
            learner.heads, learner.explore(observation, mask, torch.tensor(0), epsilon)[0], policy
        )
    chosen = Policy.of_learner(learner, 0).actions(observation[0].numpy(), mask[0].numpy())
    assert_drawn_from(learner.heads, torch.from_numpy(chosen), greedy)


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_a_sampled_decision_depends_on_its_own_numbers_alone(paradigm: Paradigm) -> None:
    sampler, batch = (
        acting(make_learner(paradigm, "bc", TEAM), 0, sample=True),
        random_batch(TEAM, 1, 20),
    )
    observation, mask = batch.observation[0].numpy(), batch.mask[0].numpy()
    uniform = np.random.default_rng(0).random((20, sampler.n_uniform), np.float32)
    together = sampler.actions(observation, mask, uniform)
    for b in range(20):
        one = slice(b, b + 1)
        assert np.array_equal(
            sampler.actions(observation[one], mask[one], uniform[one]), together[one]
        )


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
def test_exploration_repeats_and_differs_between_steps_and_seeds_whatever_stands_beside(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    learner, alone = (
        make_learner(paradigm, algorithm, TEAM, seeds=seeds) for seeds in ((1, 2), (2,))
    )
    observation, mask = observed(learner, 50)
    first, again, later = (
        learner.explore(observation, mask, torch.tensor(step), 1.0) for step in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first[0], first[1])
    for epsilon in (0.0, 0.5, 1.0):
        beside = learner.explore(observation, mask, torch.tensor(7), epsilon)
        assert torch.equal(
            alone.explore(observation[1:], mask[1:], torch.tensor(7), epsilon), beside[1:]
        )


def test_teams_of_networks_are_as_large_as_their_observations() -> None:
    assert team_of(RRMConfig(n_aps=3, n_candidates=2)) == Team(3, 4, 3)
