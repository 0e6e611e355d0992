"""Where transitions come from: the vectorised network, or any parallel environment through SuperSuit, behind one face."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.spaces.utils import flatdim, flatten
from numpy.typing import NDArray
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from baselines.registry import split_options
from marl.team import Team, team_of
from rrm_env import Network, RRMConfig
from rrm_env.optional import attempt, required

EPISODES_PER_SEED = 2**32
"""Episode seeds a training seed s owns: from s * EPISODES_PER_SEED on. With s below 2^30 none is an evaluation's."""

MakeEnv = Callable[[], "ParallelEnv[Any, Any, Any]"]


def make_env(text: str) -> MakeEnv:
    """A maker of parallel environments from a module's name and options, such as ``mpe2.simple_spread_v3:max_cycles=50``.

    Raises:
        ValueError: no such module, one without ``parallel_env``, or an option that is no FIELD=VALUE.
    """
    name, options = split_options(text)
    module, why = attempt(name)
    if module is None:
        raise ValueError(f"env = {name!r} cannot be imported: {why}")
    if not hasattr(module, "parallel_env"):
        raise ValueError(
            f"env = {name!r} must be a module with parallel_env(), as PettingZoo's have"
        )
    arguments = {}
    for key, value in options:
        if value is None:
            raise ValueError(f"env: expected FIELD=VALUE after a colon, got {key!r}")
        try:
            arguments[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[key] = value
    return lambda: module.parallel_env(**arguments)


class Outcome(NamedTuple):
    """What a step of B environments led to; where an episode ended, its last observation, not the next episode's first."""

    reward: NDArray[np.float32]
    """(B,), shared by the team."""
    next_observation: NDArray[np.float32]
    next_mask: NDArray[np.uint8]
    terminated: NDArray[np.uint8]
    truncated: NDArray[np.uint8]


class Source(Protocol):
    """B environments side by side that start anew by themselves."""

    team: Team
    observation: NDArray[np.float32]
    """(B, I, D)."""
    mask: NDArray[np.uint8]
    """(B, I, A)."""

    def reset(self, seed: int, first_episode: int) -> None:
        """Start the episodes first_episode ... first_episode + B - 1 of a training seed."""

    def step(self, actions: NDArray[Any]) -> Outcome:
        """All B environments take legal actions (B, I)."""


class NetworkSource:
    """B episodes of the network.

    Args:
        config: the network.
        num_envs: B.
        stride: by how much the episodes of a slot are apart; B where None. More leaves room for other sources' slots.
    """

    def __init__(self, config: RRMConfig, num_envs: int, stride: int | None = None) -> None:
        self.network = Network(config, num_envs)
        self._stride = num_envs if stride is None else stride
        self.team = team_of(config)
        self.finished_ue_rates = np.empty((0, config.n_ues))
        """(B, J) bit/s/Hz of the episodes that ended last."""
        self._next = 0

    def reset(self, seed: int, first_episode: int) -> None:
        """As `Source`."""
        self._next = seed * EPISODES_PER_SEED + first_episode
        self._start()

    def step(self, actions: NDArray[Any]) -> Outcome:
        """As `Source`; every episode ends by truncation."""
        _, reward = self.network.step_actions(actions)
        observation, mask = (
            self.network.observation.copy(),
            self.network.action_mask.view(np.uint8).copy(),
        )
        ended = np.full(len(reward), self.network.done, np.uint8)
        outcome = Outcome(reward, observation, mask, np.zeros_like(ended), ended)
        if self.network.done:
            self.finished_ue_rates = self.network.ue_rate_sum / self.network.config.episode_length
            self._start()
        else:
            self.observation, self.mask = observation, mask
        return outcome

    def _start(self) -> None:
        self.network.reset(self._next)
        self._next += self._stride
        self.observation, self.mask = (
            self.network.observation.copy(),
            self.network.action_mask.view(np.uint8).copy(),
        )


class ParallelSource:
    """B copies of a parallel environment with discrete actions, through SuperSuit's vector wrappers.

    Rewards are averaged over agents. All agents must live as long as the episode.

    Args:
        make: makes one environment.
        num_envs: B.
        evaluates: take seeds from 2^30 on, which training never takes.

    Raises:
        ValueError: SuperSuit is missing or cannot be imported.
    """

    def __init__(self, make: MakeEnv, num_envs: int, *, evaluates: bool = False) -> None:
        supersuit = required("other environments than the network need", "supersuit", extra="marl")
        env = UniformAgents(make())
        self.team, self._num_envs = env.team, num_envs
        self._first_seed = 2**30 if evaluates else 0
        self._envs = supersuit.concat_vec_envs_v1(
            supersuit.pettingzoo_env_to_vec_env_v1(env), num_envs, base_class="gymnasium"
        )

    def reset(self, seed: int, first_episode: int) -> None:
        """As `Source`; many environments take only seeds of 32 bits, so far-apart training seeds may share episodes."""
        observation, _ = self._envs.reset(
            seed=self._first_seed + (seed * 2**16 + first_episode) % (2**30 - self._num_envs)
        )
        self.observation, self.mask = self._split(observation)

    def step(self, actions: NDArray[Any]) -> Outcome:
        """As `Source`."""
        observation, reward, terminated, truncated, infos = self._envs.step(actions.reshape(-1))
        final = observation.copy()
        for row, info in enumerate(infos):
            if "terminal_observation" in info:
                final[row] = info["terminal_observation"]
        self.observation, self.mask = self._split(observation)
        shape = self._num_envs, self.team.n_agents
        ended = terminated.reshape(shape).astype(bool)
        over = ended | truncated.reshape(shape).astype(bool)
        return Outcome(
            reward.reshape(shape).mean(1, dtype=np.float32),
            *self._split(final),
            ended.all(1).astype(np.uint8),
            (over.all(1) & ~ended.all(1)).astype(np.uint8),
        )

    def _split(
        self, observation: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        rows = observation.reshape(self._num_envs, self.team.n_agents, -1)
        features = self.team.n_features
        return np.ascontiguousarray(rows[..., :features]), rows[..., features:].astype(np.uint8)


class UniformAgents(BaseParallelWrapper[Any, Any, Any]):
    """Gives all agents one observation and one action space: flat observations padded with zeros, followed by the action mask.

    The mask comes from ``infos[agent]["action_mask"]`` or ``observation["action_mask"]`` where the environment has one; actions that
    an agent lacks are illegal. In the observation it survives vector wrappers that lose a last step's infos.

    Raises:
        TypeError: an agent whose actions are not discrete from 0 on.
    """

    def __init__(self, env: ParallelEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        agents = env.possible_agents
        for agent in agents:
            space = env.action_space(agent)
            if not isinstance(space, Discrete) or space.start != 0:
                raise TypeError(
                    f"agent {agent!r} must have a Discrete action space from 0 on, got {space}"
                )
        features = max(flatdim(self._bare(env.observation_space(agent))) for agent in agents)
        self.team = Team(
            len(agents), features, max(int(env.action_space(agent).n) for agent in agents)
        )
        self._observation_space = Box(
            -np.inf, np.inf, (features + self.team.n_actions,), np.float32
        )
        self._action_space = Discrete(self.team.n_actions)

    def observation_space(self, agent: Any) -> Space[Any]:  # noqa: ARG002 - PettingZoo fixes it
        """The same for all agents."""
        return self._observation_space

    def action_space(self, agent: Any) -> Space[Any]:  # noqa: ARG002 - PettingZoo fixes it
        """The same for all agents."""
        return self._action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict[str, Any]]]:
        """As PettingZoo's."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._alike(observations, infos), infos

    def step(self, actions: dict[Any, Any]) -> Any:
        """As PettingZoo's."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        return self._alike(observations, infos), rewards, terminations, truncations, infos

    def row(self, agent: Any, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """(D + A,) one agent's observation, padding and mask."""
        space, (features, n_actions) = (
            self.env.observation_space(agent),
            (self.team.n_features, self.team.n_actions),
        )
        mask = info.get("action_mask")
        if isinstance(observation, dict) and "action_mask" in observation:
            mask, observation = observation["action_mask"], observation["observation"]
        row = np.zeros(features + n_actions, np.float32)
        flat = np.asarray(flatten(self._bare(space), observation), np.float32)
        row[: len(flat)] = flat
        row[features : features + int(self.env.action_space(agent).n)] = 1 if mask is None else mask
        return row

    @staticmethod
    def _bare(space: Any) -> Any:
        """The observation's space without the mask."""
        return (
            space["observation"]
            if hasattr(space, "keys") and "action_mask" in space.keys()  # noqa: SIM118 - not a dict
            else space
        )

    def _alike(
        self, observations: dict[Any, Any], infos: dict[Any, dict[str, Any]]
    ) -> dict[Any, Any]:
        return {
            agent: self.row(agent, observation, infos.get(agent, {}))
            for agent, observation in observations.items()
        }
