"""Decision problems small enough to solve exactly in numpy, and learners and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl import Learner, LearnerConfig, Team
from marl.config import ACT_AND_LEARN, Algorithm, Paradigm
from marl.data.transitions import Transitions
from marl.learner.stacked import StackedLearner
from marl.sources import Outcome

Floats = NDArray[np.float64]
Backup = Callable[[Floats], Floats]
"""A function that returns V (X,) of Q (X, M), which is -inf where an action is illegal."""
SCHEMES: list[tuple[Paradigm, Algorithm]] = [
    scheme
    for scheme in product(get_args(Paradigm), get_args(Algorithm))
    if scheme[1] not in ACT_AND_LEARN
]
"""The schemes of `Learner`; ppo has a learner of its own."""
VARIANTS: list[tuple[Paradigm, Algorithm, dict[str, Any]]] = [
    ("ctde", "dqn", {"mixing": "weighted", "cql_reduction": "weighted", "observes": "all"}),
    ("ctde", "dqn", {"mixing": "monotone", "mixing_width": 4}),
    ("ctde", "omiga", {"mixing": "weighted"}),
    ("i", "sac", {"cql_reduction": "weighted"}),
    ("i", "iql", {"observes": "all", "normalise_rewards": True}),
    ("i", "bc", {"observes": "sequence"}),
]
"""Paradigm, algorithm and options that change which tensors a learner has."""
FORMS: list[tuple[Paradigm, Algorithm, dict[str, Any]]] = [
    *((paradigm, algorithm, {}) for paradigm, algorithm in SCHEMES),
    *VARIANTS,
]
"""All schemes and variants."""
DISCOUNT = 0.8


# --- Exact solutions ---


@dataclass(frozen=True)
class Problem:
    """What a single decision maker faces: X states, M actions."""

    reward: Floats
    """(X, M), the expected reward."""
    onward: Floats
    """(X, M, X), probabilities of the next state; 1 minus their sum is that of termination."""
    legal: NDArray[np.bool_]
    """(X, M), whether an action is legal."""

    def solve(self, backup: Backup) -> Floats:
        """The Q (X, M) with Q = reward + discount E[V(next)] and V = backup(Q); illegal: -inf."""
        q = np.where(self.legal, 0.0, -np.inf)
        for _ in range(300):
            q = np.where(self.legal, self.reward + DISCOUNT * self.onward @ backup(q), -np.inf)
        return q


def hard(q: Floats) -> Floats:
    """The hard value max_a Q."""
    return np.asarray(q.max(-1))


def soft(temperature: float, *, entropy: bool = True) -> Backup:
    """The soft value V = temperature * log sum exp(Q / temperature).

    Without `entropy` it is E[Q] under softmax(Q / temperature).
    """

    def backup(q: Floats) -> Floats:
        weights = np.exp((q - q.max(-1, keepdims=True)) / temperature)
        if entropy:
            return np.asarray(q.max(-1) + temperature * np.log(weights.sum(-1)))
        return np.asarray((weights * np.where(weights > 0, q, 0)).sum(-1) / weights.sum(-1))

    return backup


@dataclass(frozen=True)
class World:
    """A team's problem with X states and two equally likely successors of each joint action.

    Joint actions are in the order of `itertools.product`.
    """

    reward: Floats
    """(X, A^I)."""
    successors: NDArray[np.int64]
    """(X, A^I, 2)."""
    terminates: NDArray[np.bool_]
    """(X, A^I)."""
    legal: NDArray[np.bool_]
    """(X, I, A)."""
    features: Floats
    """(X, I, D) what each agent sees."""

    @property
    def team(self) -> Team:
        """The sizes a learner needs."""
        return Team(self.features.shape[1], self.features.shape[2], self.legal.shape[2])

    @property
    def joint(self) -> list[tuple[int, ...]]:
        """All joint actions, in the order of columns."""
        return list(product(range(self.team.n_actions), repeat=self.team.n_agents))

    def legal_joint(self) -> NDArray[np.bool_]:
        """(X, A^I)."""
        return np.array(
            [
                [all(mask[i, a] for i, a in enumerate(action)) for action in self.joint]
                for mask in self.legal
            ]
        )

    def central(self) -> Problem:
        """The problem of one decision maker who chooses joint actions."""
        onward = np.eye(len(self.reward))[self.successors].mean(-2) * ~self.terminates[..., None]
        return Problem(self.reward, onward, self.legal_joint())

    def seen_by(self, agent: int) -> Problem:
        """The problem of one agent while the others draw uniformly from their legal actions."""
        whole, own = self.central(), np.array([action[agent] for action in self.joint])
        columns = []
        for a in range(self.team.n_actions):
            weights = whole.legal * (own == a)
            weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1)
            columns.append(
                ((weights * whole.reward).sum(-1), (weights[..., None] * whole.onward).sum(1))
            )
        reward, onward = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
        return Problem(reward, onward, self.legal[:, agent])

    def transitions(self, keep: Callable[[tuple[int, ...]], bool] | None = None) -> Transitions:
        """Every (state, legal joint action, successor) once, as one full batch (1, n, ...).

        Joint actions for which `keep` is false are left out.
        """
        legal = self.legal_joint()
        rows = [
            (x, j, following)
            for x, j in np.ndindex(*legal.shape)
            if legal[x, j] and (keep is None or keep(self.joint[j]))
            for following in self.successors[x, j]
        ]
        return self._batch(rows)

    def recorded(self, counts: Mapping[tuple[int, tuple[int, ...]], int]) -> Transitions:
        """Each (state, joint action) as often as `counts` says, as one batch (1, n, ...)."""
        return self._batch(
            [
                (x, self.joint.index(action), self.successors[x, self.joint.index(action), 0])
                for (x, action), count in counts.items()
                for _ in range(count)
            ]
        )

    def _batch(self, rows: list[tuple[Any, Any, Any]]) -> Transitions:
        """Transitions of (state, index of the joint action, next state), (1, n, ...)."""
        x, j, following = np.array(rows).T
        fields = (
            (self.features[x], np.float32),
            (self.legal[x], np.uint8),
            (np.array(self.joint)[j], np.int64),
            (self.reward[x, j], np.float32),
            (self.features[following], np.float32),
            (self.legal[following], np.uint8),
            (self.terminates[x, j], np.float32),
        )
        return Transitions(
            *(torch.from_numpy(values.astype(kind)).unsqueeze(0) for values, kind in fields)
        )


def random_world(seed: int, n_states: int = 4, n_actions: int = 3) -> World:
    """Two agents that both see the state.

    In state 0 the last action of the first agent is illegal, in state 1 the first of the second.
    """
    generator, n_joint = np.random.default_rng(seed), n_actions**2
    legal = np.ones((n_states, 2, n_actions), bool)
    legal[0, 0, -1] = legal[1, 1, 0] = False
    return World(
        reward=generator.normal(size=(n_states, n_joint)),
        successors=generator.integers(n_states, size=(n_states, n_joint, 2)),
        terminates=generator.random((n_states, n_joint)) < 0.2,
        legal=legal,
        features=np.eye(n_states)[:, None].repeat(2, 1),
    )


def additive_world(seed: int, n_local: int = 3, n_actions: int = 3) -> World:
    """Two agents in separate worlds, of which each sees its own; the reward is the sum of both."""
    generator = np.random.default_rng(seed)
    reward, follows = (
        generator.normal(size=(2, n_local, n_actions)),
        generator.integers(n_local, size=(2, n_local, n_actions)),
    )
    states, joint = (
        list(product(range(n_local), repeat=2)),
        list(product(range(n_actions), repeat=2)),
    )
    local_legal = np.ones((2, n_local, n_actions), bool)
    local_legal[0, 0, -1] = local_legal[1, 1, 0] = False
    successors = [
        [follows[0, x, a] * n_local + follows[1, y, b] for a, b in joint] for x, y in states
    ]
    return World(
        reward=np.array([[reward[0, x, a] + reward[1, y, b] for a, b in joint] for x, y in states]),
        successors=np.array(successors)[..., None].repeat(2, -1),
        terminates=np.zeros((len(states), len(joint)), bool),
        legal=np.array([[local_legal[0, x], local_legal[1, y]] for x, y in states]),
        features=np.array([[np.eye(n_local)[x], np.eye(n_local)[y]] for x, y in states]),
    )


class WorldSource:
    """A world as a `Source`: E copies, in which an episode is cut after ``length`` steps."""

    def __init__(self, world: World, num_envs: int, length: int) -> None:
        self.team, self._world, self._length = world.team, world, length
        self._state, self._age = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self._generator = np.random.default_rng()
        self._places = world.team.n_actions ** np.arange(world.team.n_agents)[::-1]
        self._legal = world.legal_joint()

    def reset(self, seed: int, first_episode: int) -> None:
        """As `Source.reset`."""
        self._generator = np.random.default_rng([seed, first_episode])
        self._begin(np.ones(len(self._state), bool))

    def _begin(self, where: NDArray[np.bool_]) -> None:
        """Begin an episode in a random state, in some of the copies."""
        drawn = self._generator.integers(len(self._world.reward), size=len(where))
        self._state, self._age = np.where(where, drawn, self._state), np.where(where, 0, self._age)
        self.observation, self.mask = self._seen(self._state)

    def _seen(self, state: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        return self._world.features[state].astype(np.float32), self._world.legal[state].astype(
            np.uint8
        )

    def step(self, actions: NDArray[Any]) -> Outcome:
        """As `Source.step`."""
        x, world = self._state, self._world
        joint = actions @ self._places  # the order of `World.joint`
        assert self._legal[x, joint].all()
        drawn = self._generator.integers(2, size=len(x))
        following, terminated = world.successors[x, joint, drawn], world.terminates[x, joint]
        self._state, self._age = following, self._age + 1
        truncated = (self._age == self._length) & ~terminated
        seen, mask = self._seen(following)
        self._begin(terminated | truncated)
        reward = world.reward[x, joint].astype(np.float32)
        return Outcome(reward, seen, mask, terminated.astype(np.uint8), truncated.astype(np.uint8))


def team_choice() -> World:
    """Two agents that both see which of two states it is, and need to choose alike.

    In state 0 both may take 1 at once, or nothing now and 3 in state 1, after which the episode
    ends. What earns nothing costs 5. In state 1 the second agent may not choose action 1.
    """
    reward = np.full((2, 9), -5.0)
    reward[0, [0, 4, 8]] = 1, 0, -1
    reward[1, [0, 8]] = 3, -1
    terminates = np.ones((2, 9), bool)
    terminates[0, 4] = False
    legal = np.ones((2, 2, 3), bool)
    legal[1, 1, 1] = False
    return World(
        reward=reward,
        successors=np.ones((2, 9, 2), np.int64),
        terminates=terminates,
        legal=legal,
        features=np.eye(2)[:, None].repeat(2, 1),
    )


# --- Learners ---


def make_learner(
    paradigm: Paradigm,
    algorithm: Algorithm,
    team: Team,
    seeds: Sequence[int] = (0,),
    **changes: Any,
) -> Learner:
    """A small learner; `changes` go to its config, but for ``device``."""
    device = changes.pop("device", "cpu")
    values = {"hidden_sizes": (8,), "batch_size": 16, "normalise_observations": False, **changes}
    return Learner(
        LearnerConfig(paradigm=paradigm, algorithm=algorithm, **values), team, seeds, device
    )


def outputs(learner: Learner, observation: Tensor, action: Tensor | None = None) -> Tensor:
    """Outputs (N, S, K, B, M) of all networks, layer by layer; arguments as `Heads.inputs`."""
    values = learner.head_inputs(observation, action)
    for depth, (weights, biases) in enumerate(learner.layers):
        values = values.clamp_min(0) @ weights + biases if depth else values @ weights + biases
    return values


def head_tables(learner: Learner, world: World) -> Tensor:
    """Outputs (N, K, X, M) of the networks of the first seed in every state of a world."""
    return outputs(learner, torch.from_numpy(world.features).float().unsqueeze(0))[:, 0]


def joint_table(learner: Learner, world: World) -> Floats:
    """Q (X, A^I) of the first critic: of a centralised learner, or of one whose heads add up."""
    heads = head_tables(learner, world)[0].numpy().astype(float)
    if learner.heads.joint:
        return np.asarray(heads[0])
    return np.stack(
        [sum(heads[i, :, a] for i, a in enumerate(action)) for action in world.joint], -1
    )


def random_mask(generator: torch.Generator, *shape: int) -> Tensor:
    """A mask under which every agent has a legal action."""
    mask = torch.rand(shape, generator=generator) < 0.6
    always = torch.randint(shape[-1], (*shape[:-1], 1), generator=generator)
    return mask.scatter(-1, always, True).to(torch.uint8)


def random_batch(team: Team, n_seeds: int, n: int, seed: int = 0) -> Transitions:
    """A batch (S, n) of transitions with legal actions, one in four of them terminal."""
    generator, lead = torch.Generator().manual_seed(seed), (n_seeds, n)
    mask, next_mask = (
        random_mask(generator, *lead, team.n_agents, team.n_actions) for _ in range(2)
    )
    return Transitions(
        observation=torch.randn(*lead, team.n_agents, team.n_features, generator=generator),
        mask=mask,
        action=mask.flatten(0, 2)
        .float()
        .multinomial(1, generator=generator)
        .view(*lead, team.n_agents),
        reward=torch.randn(*lead, generator=generator),
        next_observation=torch.randn(*lead, team.n_agents, team.n_features, generator=generator),
        next_mask=next_mask,
        terminated=(torch.rand(*lead, generator=generator) < 0.25).float(),
    )


def stored(team: Team, n: int, seed: int = 0) -> Transitions:
    """`random_batch` as it is stored, (n, ...)."""
    return Transitions(*(field[0] for field in random_batch(team, 1, n, seed)))


def copies(learner: StackedLearner) -> dict[str, Tensor]:
    """Copies of the tensors of a learner."""
    return {name: tensor.clone() for name, tensor in learner.tensors().items()}


def roles_of_actions(learner: Learner) -> list[int]:
    """The networks whose outputs belong to actions: all but those of a state's value."""
    roles = learner.roles
    of_value = [*range(roles.critics, roles.critics + roles.value)]
    of_value += [roles.trained + role for role in of_value]
    return [role for role in range(roles.total) if role not in of_value]


def scatter_parameters(learner: Learner, seed: int = 0) -> None:
    """Give every network, target networks too, different parameters."""
    generator = torch.Generator().manual_seed(seed)
    for layer in learner.layers + (learner.mixing.layers if learner.mixing else []):
        for tensor in layer:
            tensor.copy_(0.7 * torch.randn(tensor.shape, generator=generator))
