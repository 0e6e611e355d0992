"""Trained policies: loading, choosing actions, and the cost of a decision."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from toys import (
    PARADIGMS,
    SMALL,
    checkpoint,
    made_up,
    random_policy,
    small_learner,
    trained,
)

from baselines import RandomWalk
from marl import (
    Learner,
    LearnerConfig,
    Policy,
    RunError,
    Team,
    UnfinishedRunWarning,
    collect,
    load_policies,
)
from marl.runs.checkpoint import save_tensors
from marl.runs.description import describe
from marl.team import team_of

TEAM = team_of(SMALL)
WAYS = {
    "sac": ("actor", "critic"),
    "dqn": ("critic",),
    "bc": ("actor",),
    "iql": ("actor",),
    "omiga": ("actor",),
}
SCHEMES = [(paradigm, algorithm) for paradigm in PARADIGMS for algorithm in WAYS]

Situations = tuple[NDArray[np.float32], NDArray[np.uint8]]


def situations(team: Team, n: int = 40, seed: int = 0) -> Situations:
    """Random observations (n, I, D) and masks (n, I, A)."""
    generator = np.random.default_rng(seed)
    mask = (generator.random((n, team.n_agents, team.n_actions)) < 0.6).astype(np.uint8)
    np.put_along_axis(mask, generator.integers(team.n_actions, size=(n, team.n_agents, 1)), 1, -1)
    return generator.normal(size=(n, team.n_agents, team.n_features)).astype(np.float32), mask


@pytest.fixture(scope="module", params=SCHEMES, ids=lambda scheme: "-".join(scheme))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds, a few updates after its start."""
    paradigm, algorithm = request.param
    folder = tmp_path_factory.mktemp("runs") / "run"
    learner = {
        "paradigm": paradigm,
        "algorithm": algorithm,
        "hidden_sizes": (16, 12),
        "actor_learning_rate": 0.01,
    }
    dataset = collect(RandomWalk(silence=True), SMALL, 100, seed=3)
    trained(
        folder, learner, {"updates": 5, "evaluation_episodes": 1}, seeds=(4, 9), dataset=dataset
    )
    tensors = checkpoint(folder)  # online, every seed has a normaliser of its own
    tensors["shift"][1], tensors["scale"][1] = tensors["shift"][1] + 0.7, tensors["scale"][1] * 1.3
    save_tensors(folder, describe(folder), tensors, None, 5)
    return folder


def description(run: Path) -> dict[str, Any]:
    """The description of the run."""
    described: dict[str, Any] = json.loads((run / "config.json").read_text())
    return described


def preferences(
    run: Path, k: int, use: str, observation: NDArray[Any]
) -> list[NDArray[np.float64]]:
    """Values or logits of every head for one team's observations (I, D), layer by layer."""
    tensors = {name: tensor.double().numpy() for name, tensor in checkpoint(run).items()}
    config = LearnerConfig.from_dict(description(run)["learner"])
    n_critics = {"bc": 0}.get(config.algorithm, config.n_critics)
    actor = n_critics + (config.algorithm in ("iql", "omiga"))
    roles = [actor] if use == "actor" else range(n_critics)
    normal = (observation - tensors["shift"][k, 0]) * tensors["scale"][k, 0]
    inputs = [normal.reshape(-1)] if config.paradigm == "c" else list(normal)
    heads = []
    for head, features in enumerate(inputs):
        outputs = []
        for role in roles:
            values = features
            for depth in range(3):
                weights, biases = (
                    tensors[f"layers.{depth}.{kind}"][role, k, head]
                    for kind in ("weights", "biases")
                )
                values = values @ weights + biases[0]
                values = np.maximum(values, 0) if depth < 2 else values
            outputs.append(values)
        heads.append((np.mean if config.paradigm == "ctde" else np.min)(outputs, axis=0))
    return heads


def best_legal(heads: list[NDArray[np.float64]], mask: NDArray[np.uint8]) -> tuple[int, ...]:
    """The legal actions of the highest preference.

    One head chooses a joint action; several heads choose one action each.
    """
    agents, actions = mask.shape
    if len(heads) == 1:
        joint = list(itertools.product(range(actions), repeat=agents))
        legal = [
            choice for choice in joint if all(mask[i, action] for i, action in enumerate(choice))
        ]
        return max(legal, key=lambda choice: float(heads[0][joint.index(choice)]))
    return tuple(
        int(np.where(legal == 1, values, -np.inf).argmax())
        for values, legal in zip(heads, mask, strict=True)
    )


# --- Loading and choosing ---


def test_loaded_policies_are_the_learner_s_own(run: Path) -> None:
    described = description(run)
    learner = Learner(
        LearnerConfig.from_dict(described["learner"]), Team(**described["team"]), described["seeds"]
    )
    learner.load(checkpoint(run))
    observation, mask = situations(TEAM)
    chosen = [policy.actions(observation, mask).tolist() for policy in load_policies(run)]
    assert chosen == [
        Policy.of_learner(learner, k).actions(observation, mask).tolist() for k in range(2)
    ]
    assert chosen[0] == Policy.load(run).actions(observation, mask).tolist()
    assert chosen[0] != chosen[1]


def test_actions_are_the_best_legal_ones_of_the_networks_asked_for(run: Path) -> None:
    observation, mask = situations(TEAM)
    for k, use in itertools.product(range(2), WAYS[description(run)["learner"]["algorithm"]]):
        chosen = Policy.load(run, k, act_on=use).actions(observation, mask)
        expected = [
            best_legal(preferences(run, k, use, row), legal)
            for row, legal in zip(observation, mask, strict=True)
        ]
        assert chosen.tolist() == [list(choice) for choice in expected]
        assert chosen.dtype == np.int64


def test_sampling_follows_the_actor_s_probabilities_over_legal_actions(run: Path) -> None:
    if description(run)["learner"]["algorithm"] == "dqn":
        with pytest.raises(ValueError, match="sample needs act_on = 'actor'"):
            Policy.load(run, sample=True)
        return
    policy, n = Policy.load(run, 1, sample=True), 4000
    observation, _ = situations(TEAM, 1)
    mask = np.array([[[1, 0, 1], [1, 1, 1]]], np.uint8)
    uniform = (
        np.random.default_rng(5).uniform(1e-6, 1 - 1e-6, (n, policy.n_uniform)).astype(np.float32)
    )
    drawn = policy.actions(observation.repeat(n, 0), mask.repeat(n, 0), uniform)
    heads = preferences(run, 1, "actor", observation[0])
    weights = [np.exp(head) for head in heads]
    joint = weights[0].reshape(3, 3) if len(heads) == 1 else np.multiply.outer(*weights)
    joint = joint * np.multiply.outer(*mask[0])
    counts = np.zeros((3, 3))
    np.add.at(counts, tuple(drawn.T), 1)
    assert (counts[joint == 0] == 0).all()
    legal = joint > 0
    # By chance one correct policy in 1000 would fail; the seed is fixed.
    assert stats.chisquare(counts[legal], n * joint[legal] / joint.sum()).pvalue > 1e-3


def test_act_on_follows_the_config_unless_told_otherwise() -> None:
    learner = LearnerConfig(hidden_sizes=(16,), act_on="critic")
    assert random_policy(TEAM, learner).act_on == "critic"
    assert random_policy(TEAM, learner, act_on="actor").act_on == "actor"
    assert random_policy(TEAM, LearnerConfig(hidden_sizes=(16,))).act_on == "actor"


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        ("bc", {"act_on": "critic"}, "act_on of algorithm 'bc' must be one of actor, got 'critic'"),
        (
            "dqn",
            {"act_on": "actor"},
            "act_on of algorithm 'dqn' must be one of critic, got 'actor'",
        ),
        (
            "sac",
            {"act_on": "both"},
            "act_on of algorithm 'sac' must be one of actor, critic, got 'both'",
        ),
        ("sac", {"act_on": "critic", "sample": True}, "sample needs act_on = 'actor'"),
        ("dqn", {"sample": True}, "sample needs act_on = 'actor'"),
    ],
)
def test_networks_that_an_algorithm_lacks_are_refused(
    algorithm: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        random_policy(TEAM, LearnerConfig(algorithm=algorithm, hidden_sizes=(16,)), **options)


def test_sampling_needs_numbers_to_draw_with() -> None:
    policy = random_policy(TEAM, sample=True)
    with pytest.raises(
        ValueError, match=re.escape(f"needs uniform numbers of shape (7, {policy.n_uniform})")
    ):
        policy.actions(*situations(TEAM, 7))


def test_policy_of_a_learner_does_not_learn_on() -> None:
    learner = Learner(small_learner(actor_learning_rate=0.1), Team(2, 3, 4), [0])
    policy, (observation, mask) = Policy.of_learner(learner, 0), situations(Team(2, 3, 4), 200)
    before = policy.actions(observation, mask).tolist()
    stored = made_up(30).transitions()
    for _ in range(20):
        learner.update_from(stored, torch.tensor(30), torch.zeros(1, dtype=torch.int64))
    assert policy.actions(observation, mask).tolist() == before
    assert Policy.of_learner(learner, 0).actions(observation, mask).tolist() != before


def test_missing_runs_and_seeds_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=re.escape(f"{str(tmp_path / 'none')!r} holds no run")):
        load_policies(tmp_path / "none")
    for seed in (-1, 2):
        with pytest.raises(
            ValueError, match=re.escape(f"seed must be from 0 to 1 for {str(run)!r}, got {seed}")
        ):
            Policy.load(run, seed)


# --- What a decision costs ---


@pytest.mark.parametrize(
    ("paradigm", "options", "use", "parameters", "multiply_adds", "bits"),
    [
        # One network of 2 * 3 inputs, 5 neurons and 4^2 joint actions. For every agent, 3 features
        # and an action are exchanged, of 32 bits each.
        ("c", {}, "actor", 6 * 5 + 5 + 5 * 16 + 16, 6 * 5 + 5 * 16, 2 * (3 + 1) * 32),
        ("c", {}, "critic", 2 * (6 * 5 + 5 + 5 * 16 + 16), 2 * (6 * 5 + 5 * 16), 2 * (3 + 1) * 32),
        # Two networks of 3 inputs, 5 neurons and 4 actions, which talk to nobody.
        ("ctde", {}, "actor", 2 * (3 * 5 + 5 + 5 * 4 + 4), 2 * (3 * 5 + 5 * 4), 0),
        ("i", {}, "actor", 2 * (3 * 5 + 5 + 5 * 4 + 4), 2 * (3 * 5 + 5 * 4), 0),
        (
            "ctde",
            {"algorithm": "dqn", "n_critics": 3},
            "critic",
            3 * 2 * (3 * 5 + 5 + 5 * 4 + 4),
            3 * 2 * (3 * 5 + 5 * 4),
            0,
        ),
        # Two networks of 2 * 3 inputs at a centre, which tells every agent its action.
        (
            "i",
            {"observes": "all"},
            "actor",
            2 * (6 * 5 + 5 + 5 * 4 + 4),
            2 * (6 * 5 + 5 * 4),
            2 * (3 + 1) * 32,
        ),
        ("c", {"hidden_sizes": ()}, "actor", 6 * 16 + 16, 6 * 16, 2 * (3 + 1) * 32),
    ],
)
def test_execution_cost_is_that_of_the_networks_that_act(
    paradigm: str, options: dict[str, Any], use: str, parameters: int, multiply_adds: int, bits: int
) -> None:
    config = LearnerConfig(**{"paradigm": paradigm, "hidden_sizes": (5,), **options})
    policy = random_policy(Team(2, 3, 4), config, act_on=use)
    assert policy.execution_cost() == {
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "bits": bits,
    }


def test_policies_of_a_run_that_still_trains_say_of_which_update_they_are(tmp_path: Path) -> None:
    unfinished: list[str] = []

    def load(updates: int, record: dict[str, Any]) -> None:
        if updates == 15:  # after the checkpoint of update 10
            for loading in (Policy.load, load_policies):
                with pytest.warns(
                    UnfinishedRunWarning, match=r"is not finished: .* update 10 of 20$"
                ) as said:
                    loading(tmp_path / "run")
                unfinished.append(said[0].filename)

    run = trained(
        tmp_path / "run",
        training={"updates": 20, "log_every": 5, "checkpoint_every": 10},
        report=load,
    )
    assert unfinished == [__file__] * 2  # the warning points at who loads
    load_policies(run)
