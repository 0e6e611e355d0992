"""Learners of PPO: losses, gradients, seeds, values, divergence, saving and exact worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from forward import logits_of, through, values_of
from naive_on_policy import naive_clipped, naive_entropy, naive_log_policy
from toys import PARADIGMS, assert_equal_learners
from worlds import (
    DISCOUNT,
    World,
    WorldSource,
    additive_world,
    copies,
    hard,
    random_batch,
    random_world,
)

from marl import DivergenceError, Learner, LearnerConfig, Policy, Team, TrainingConfig
from marl.config import Paradigm
from marl.learner.on_policy import PARTS, OnPolicyLearner, Rollout
from marl.training.rollouts import RolloutStore

TEAM = Team(2, 3, 3)
SEEDS = (0, 1, 2**30 - 1)
FORMS = [*((paradigm, False) for paradigm in PARADIGMS), ("i", True), ("ctde", True)]
"""Paradigm, and whether agents share parameters."""


def made(
    paradigm: str, seeds: Sequence[int] = SEEDS, team: Team = TEAM, **changes: Any
) -> OnPolicyLearner:
    """A small learner."""
    values = {"hidden_sizes": (8,), "batch_size": 16, "normalise_observations": False, **changes}
    config = LearnerConfig.from_dict({"paradigm": paradigm, "algorithm": "ppo", **values})
    return OnPolicyLearner(config, team, seeds)


def rollout(learner: OnPolicyLearner, n: int = 16, seed: int = 0) -> Rollout:
    """A rollout of n steps, (S, n), that some policy may have taken."""
    batch = random_batch(learner.team, len(learner.seeds), n, seed)
    generator = torch.Generator().manual_seed(seed)
    lead = len(learner.seeds), n
    return Rollout(
        batch.observation,
        batch.mask,
        batch.action,
        -torch.rand(*lead, learner.heads.n_heads, generator=generator) - 0.5,
        torch.randn(*lead, learner.n_critic_heads, generator=generator),
        torch.randn(*lead, learner.n_critic_heads, generator=generator),
    )


# --- One update ---


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_loss_parts_equal_their_formulas(paradigm: str) -> None:
    learner = made(paradigm, clip_range=0.3)
    learner.value_mean.fill_(2.0)
    learner.value_deviation.fill_(3.0)
    batch = rollout(learner)
    heads = learner.heads
    logits, values = logits_of(learner, batch.observation), values_of(learner, batch.observation)
    legal, chosen = heads.bias(batch.mask) == 0, heads.chosen(batch.action)
    learner.update(batch)
    found = dict(zip(PARTS, learner.sums, strict=True))
    n = batch.action.shape[1]
    for s in range(len(SEEDS)):
        policy = entropy = clipped = 0.0
        for k in range(heads.n_heads):
            v = k if learner.n_critic_heads > 1 else 0
            for b in range(n):
                row = logits[s, k, b].tolist(), legal[s, k, b].tolist()
                log_ratio = naive_log_policy(*row, int(chosen[s, k, b])) - float(
                    batch.log_probability[s, b, k]
                )
                policy += naive_clipped(log_ratio, float(batch.advantage[s, b, v]), 0.3) / n
                entropy += naive_entropy(*row) / n / heads.n_heads
                clipped += (abs(np.exp(log_ratio) - 1) > 0.3) / n / heads.n_heads
        errors = (values[s] - batch.target[s].T) / 3.0
        value = float((0.5 * errors**2).mean(-1).sum())
        assert float(found["policy_loss"][s]) == pytest.approx(policy, rel=1e-4)
        assert float(found["entropy"][s]) == pytest.approx(entropy, rel=1e-4)
        assert float(found["clipped"][s]) == pytest.approx(clipped, rel=1e-4)
        assert float(found["value_loss"][s]) == pytest.approx(value, rel=1e-4)
        assert float(found["value"][s]) == pytest.approx(float(values[s].mean()), rel=1e-4)


@pytest.mark.parametrize(("paradigm", "shared"), FORMS)
def test_gradients_equal_finite_differences(paradigm: str, shared: bool) -> None:
    learner = made(paradigm, (3,), share_parameters=shared, entropy_weight=0.5)
    batch = rollout(learner)

    actors, critics = (
        [(weights.double(), biases.double()) for weights, biases in networks]
        for networks in (learner.layers, learner.critics)
    )

    def loss() -> float:
        logits = through(actors, learner.head_inputs(batch.observation).double())
        values = through(critics, learner.critic_inputs(batch.observation).double())
        return float(learner._losses(logits, values[..., 0], batch)[0])

    learner.update(batch)
    gradients = [*learner._actor.gradients, *learner._critic.gradients]
    for layer, own in zip([*actors, *critics], gradients, strict=True):
        for tensor, gradient in zip(layer, own, strict=True):
            flat = tensor.view(-1)
            for index in {0, len(flat) // 2, len(flat) - 1}:
                before, h, around = float(flat[index]), 1e-6, []
                for moved in (before - h, before + h):
                    flat[index] = moved
                    around.append(loss())
                flat[index] = before
                slope = (around[1] - around[0]) / (2 * h)
                assert float(gradient.view(-1)[index]) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("paradigm", "shared"), FORMS)
def test_an_update_moves_every_parameter(paradigm: str, shared: bool) -> None:
    learner = made(paradigm, batch_size=256, share_parameters=shared)
    for networks in (learner.layers, learner.critics):
        networks[0][1].add_(4)  # so that no hidden unit is always off
    before = copies(learner)
    learner.update(rollout(learner, 256))
    for name, tensor in learner.tensors().items():
        if name.startswith(("layers", "critics")):
            assert (tensor != before[name]).all(), name
    assert int(learner.updates) == 1


def test_illegal_actions_are_never_drawn_and_get_no_gradient() -> None:
    learner = made("i", (0,), hidden_sizes=())
    batch = rollout(learner)
    batch.mask[..., 0] = 0
    batch.mask[..., 1:] = 1
    batch = batch._replace(action=batch.action.clamp_min(1))
    learner.update(batch)
    weights, biases = learner._actor.gradients[0]
    assert not weights[..., 0].any()
    assert not biases[..., 0].any()
    assert weights[..., 1].any()
    learner.layers[0][1][..., 0] = 50
    for step in range(20):
        for epsilon in (0.0, 1.0):
            actions = learner.explore(batch.observation, batch.mask, torch.tensor(step), epsilon)
            assert (actions > 0).all()


@pytest.mark.parametrize(("n_seeds", "size"), [(3, 15), (2, 16)])
def test_a_batch_of_another_size_is_refused(n_seeds: int, size: int) -> None:
    learner = made("c")
    other = rollout(made("c", SEEDS[:n_seeds]), size)
    with pytest.raises(ValueError, match=r"batch must hold \(seeds, batch_size\) = \(3, 16\)"):
        learner.update(other)


def test_the_other_learner_refuses_ppo() -> None:
    with pytest.raises(ValueError, match="algorithm = 'ppo' has a learner of its own"):
        Learner(LearnerConfig(algorithm="ppo"), TEAM, (0,))


# --- Seeds, values, saving ---


@pytest.mark.parametrize(("paradigm", "shared"), FORMS)
def test_stacked_seeds_learn_what_each_learns_alone(paradigm: str, shared: bool) -> None:
    together = made(paradigm, share_parameters=shared)
    batches = [rollout(together, seed=k) for k in range(4)]
    for batch in batches:
        together.update(batch)
    for s, seed in enumerate(SEEDS):
        alone = made(paradigm, (seed,), share_parameters=shared)
        for batch in batches:
            alone.update(Rollout(*(field[s : s + 1] for field in batch)))
        for name, tensor in alone.tensors().items():
            if name.startswith(("layers", "critics")):
                torch.testing.assert_close(
                    together.tensors()[name][:, s], tensor[:, 0], rtol=1e-4, atol=1e-6
                )
        assert torch.equal(
            together.order(50, torch.tensor(3))[s], alone.order(50, torch.tensor(3))[0]
        )


def test_orders_are_permutations_that_differ_by_seed_and_epoch() -> None:
    learner = made("i")
    orders = [learner.order(100, torch.tensor(epoch)) for epoch in range(3)]
    for order in orders:
        assert (order.sort(-1).values == torch.arange(100)).all()
    rows = {tuple(row.tolist()) for order in orders for row in order}
    assert len(rows) == 9


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_critics_that_are_scaled_anew_keep_their_values(paradigm: str) -> None:
    learner = made(paradigm)
    observation = rollout(learner).observation
    generator = torch.Generator().manual_seed(0)
    for k in range(3):
        before = values_of(learner, observation)
        target = 40 + 5 * torch.randn(len(SEEDS), learner.n_critic_heads, 200, generator=generator)
        learner._scale_values(target)
        torch.testing.assert_close(values_of(learner, observation), before, rtol=1e-3, atol=1e-3)
        if k == 0:  # nothing was known before
            torch.testing.assert_close(learner.value_mean, target.mean((1, 2)))
            torch.testing.assert_close(
                learner.value_deviation, target.std((1, 2), correction=0), rtol=1e-4, atol=0
            )
        learner.updates += 1


@pytest.mark.parametrize(("paradigm", "shared"), FORMS)
def test_a_loaded_learner_continues_to_the_bit(paradigm: str, shared: bool) -> None:
    learner = made(paradigm, share_parameters=shared)
    learner._scale_values(torch.randn(len(SEEDS), learner.n_critic_heads, 50))
    learner.update(rollout(learner))
    saved = copies(learner)
    other = made(paradigm, share_parameters=shared)
    other.load(saved)
    for k in range(2):
        for one in (learner, other):
            one.update(rollout(one, seed=k))
    assert_equal_learners(learner, other)
    with pytest.raises(ValueError, match=r"critics\.0\.weights must .*, found nothing"):
        other.load({name: saved[name] for name in saved if name != "critics.0.weights"})


@pytest.mark.parametrize(("paradigm", "shared"), FORMS)
def test_a_policy_takes_the_most_probable_action_of_its_seed(paradigm: str, shared: bool) -> None:
    learner = made(paradigm, share_parameters=shared)
    batch = rollout(learner, 30)
    best = (logits_of(learner, batch.observation) + learner.heads.bias(batch.mask)).argmax(-1)
    greedy = learner.heads.actions(best)
    for k in range(len(SEEDS)):
        policy = Policy.of_learner(learner, k)
        chosen = policy.actions(batch.observation[k].numpy(), batch.mask[k].numpy())
        assert np.array_equal(chosen, greedy[k])


@pytest.mark.parametrize(
    ("field", "part"), [("advantage", "policy_loss"), ("target", "value_loss")]
)
def test_divergence_is_reported_and_harms_no_other_seed(field: str, part: str) -> None:
    learner, healthy = made("i"), made("i")
    for update in range(3):
        batch = rollout(learner, seed=update)
        healthy.update(batch)
        if update == 1:
            getattr(batch, field)[1, 3] = float("nan")
        learner.update(batch)
    with pytest.raises(DivergenceError, match=f"^update 2: {part} of seed 1 diverged"):
        learner.check()
    healthy.check()
    for own, other in zip(learner.layers, healthy.layers, strict=True):
        assert torch.equal(own[0][:, [0, 2]], other[0][:, [0, 2]])


# --- Exact worlds ---


def learned(paradigm: Paradigm, world: World, length: int, rollouts: int) -> OnPolicyLearner:
    """A tabular learner after so many rollouts of episodes that are cut after ``length`` steps."""
    learner = made(
        paradigm,
        (0,),
        world.team,
        hidden_sizes=(),
        batch_size=160,
        rollout_steps=20,
        discount=DISCOUNT,
        reward_scale=1.0,
        learning_starts=0,
        actor_learning_rate=0.05,
        critic_learning_rate=0.05,
        entropy_weight=0.003,
    )
    envs = 16
    store = RolloutStore(
        learner, TrainingConfig(envs_per_seed=envs), lambda: WorldSource(world, envs, length)
    )
    store.restart(0)
    updates = rollouts * 8
    for update in range(updates):
        if update == updates * 3 // 4:  # to let the values settle
            for group in learner._optimiser.groups:
                group.rate /= 10
        store.before_update(update)
        store.update()
    learner.check()
    return learner


def policy_table(learner: OnPolicyLearner, world: World) -> np.ndarray:
    """Probabilities (X, A^I) of joint actions in every state."""
    features = torch.from_numpy(world.features).float().unsqueeze(0)
    legal = torch.from_numpy(world.legal.astype(np.uint8)).unsqueeze(0)
    logits = logits_of(learner, features) + learner.heads.bias(legal)
    shares = logits.softmax(-1)[0].double().numpy()
    if learner.heads.joint:
        return np.asarray(shares[0])
    return np.stack(
        [np.prod([shares[i, :, a] for i, a in enumerate(joint)], 0) for joint in world.joint], -1
    )


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_policies_are_best_and_values_exact_although_episodes_are_cut(paradigm: Paradigm) -> None:
    """Without bootstrapping at cuts, values of episodes of two steps would be much smaller."""
    world = random_world(0) if paradigm == "c" else additive_world(0)
    learner, problem = learned(paradigm, world, 2, 40), world.central()
    share = policy_table(learner, world)
    onward = (share[..., None] * problem.onward).sum(1)
    gained = np.where(problem.legal, share * problem.reward, 0).sum(1)
    value = np.linalg.solve(np.eye(len(gained)) - DISCOUNT * onward, gained)
    best = problem.solve(hard).max(-1)
    assert (best - value).max() < 0.2
    features = torch.from_numpy(world.features).float().unsqueeze(0)
    if paradigm != "i":  # an independent critic sees only a part of the state
        found = values_of(learner, features)[0, 0].numpy()
        np.testing.assert_allclose(found, value, rtol=0, atol=0.35)
