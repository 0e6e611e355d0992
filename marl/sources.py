"""Vectorised environments with one API: the network, or any parallel environment by SuperSuit."""

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
"""Number of episode seeds that belong to one training seed.

Training seed s owns the episode seeds from s * EPISODES_PER_SEED on. Evaluations use none of them
as long as s is below 2^30.
"""

MakeEnv = Callable[[], "ParallelEnv[Any, Any, Any]"]
"""A function that makes one parallel environment."""


def make_env(text: str) -> MakeEnv:
    """A function that makes a parallel environment, from the name of its module and options.

    Args:
        text: such as ``mpe2.simple_spread_v3:max_cycles=50``. Values are read as Python literals
            where possible, otherwise as text.

    Raises:
        ValueError: the module cannot be imported or has no ``parallel_env``, or an option is not
            FIELD=VALUE.
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
    """The result of one step of B environments.

    Where an episode ended, observation and mask are its last ones, not the first of the next.
    """

    reward: NDArray[np.float32]
    """(B,), shared by the team."""
    next_observation: NDArray[np.float32]
    """(B, I, D)."""
    next_mask: NDArray[np.uint8]
    """(B, I, A), 1 where an action is legal."""
    terminated: NDArray[np.uint8]
    """(B,), 1 where the episode ended by the environment's rules."""
    truncated: NDArray[np.uint8]
    """(B,), 1 where the episode was cut, by a time limit for example."""


class Source(Protocol):
    """B environments that are stepped together and start a new episode when one ends."""

    team: Team
    """Sizes of one environment."""
    observation: NDArray[np.float32]
    """(B, I, D), the present observations."""
    mask: NDArray[np.uint8]
    """(B, I, A), 1 where an action is legal."""

    def reset(self, seed: int, first_episode: int) -> None:
        """Start the episodes first_episode ... first_episode + B - 1 of a training seed."""

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one step with legal actions (B, I)."""


class NetworkSource:
    """The network as a `Source`, with B episodes that start and end together.

    Args:
        config: the network.
        num_envs: B.
        stride: difference between the numbers of successive episodes of one slot; B where None. A
            larger one leaves the episodes between them to the slots of other sources.
    """

    def __init__(self, config: RRMConfig, num_envs: int, stride: int | None = None) -> None:
        self.network = Network(config, num_envs)
        self._stride = num_envs if stride is None else stride
        self.team = team_of(config)
        self.finished_ue_rates = np.empty((0, config.n_ues))
        """(B, J) mean rates in bit/s/Hz of the B episodes that ended last; (0, J) before that."""
        self._next_seed = 0

    def reset(self, seed: int, first_episode: int) -> None:
        """Start episodes, as `Source.reset`."""
        self._next_seed = seed * EPISODES_PER_SEED + first_episode
        self._start()

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one step, as `Source.step`; every episode ends by truncation."""
        _, reward = self.network.step_actions(actions)
        observation, mask = self._observed()
        ended = np.full(len(reward), self.network.done, np.uint8)
        outcome = Outcome(reward, observation, mask, np.zeros_like(ended), ended)
        if self.network.done:
            self.finished_ue_rates = self.network.ue_rate_sum / self.network.config.episode_length
            self._start()
        else:
            self.observation, self.mask = observation, mask
        return outcome

    def _start(self) -> None:
        """Start the next B episodes."""
        self.network.reset(self._next_seed)
        self._next_seed += self._stride
        self.observation, self.mask = self._observed()

    def _observed(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Copies of the network's observation and mask, which its next step overwrites."""
        return self.network.observation.copy(), self.network.action_mask.view(np.uint8).copy()


class ParallelSource:
    """A parallel environment with discrete actions as a `Source`, by SuperSuit's vector wrappers.

    Rewards are averaged over agents. All agents must stay until the episode ends.

    Args:
        make: makes one environment.
        num_envs: B.
        evaluates: use seeds from 2^30 on, which training never uses.

    Raises:
        ValueError: SuperSuit is missing or cannot be imported.
        TypeError: an agent has other actions than `UniformAgents` allows.
    """

    def __init__(self, make: MakeEnv, num_envs: int, *, evaluates: bool = False) -> None:
        supersuit = required("other environments than the network need", "supersuit", extra="marl")
        env = UniformAgents(make())
        self.team = env.team
        self._num_envs = num_envs
        self._first_seed = 2**30 if evaluates else 0
        self._envs = supersuit.concat_vec_envs_v1(
            supersuit.pettingzoo_env_to_vec_env_v1(env), num_envs, base_class="gymnasium"
        )

    def reset(self, seed: int, first_episode: int) -> None:
        """Start episodes, as `Source.reset`.

        Many environments accept only seeds below 2^32. Training seeds that are far apart may
        therefore share episodes.
        """
        offset = (seed * 2**16 + first_episode) % (2**30 - self._num_envs)
        observation, _ = self._envs.reset(seed=self._first_seed + offset)
        self.observation, self.mask = self._split(observation)

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one step, as `Source.step`."""
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
        """Observations (B, I, D) and masks (B, I, A) of the rows of `UniformAgents`."""
        rows = observation.reshape(self._num_envs, self.team.n_agents, -1)
        features = self.team.n_features
        return np.ascontiguousarray(rows[..., :features]), rows[..., features:].astype(np.uint8)


class UniformAgents(BaseParallelWrapper[Any, Any, Any]):
    """A wrapper that gives all agents the same observation space and the same action space.

    An observation becomes a flat array, padded with zeros to D features and followed by the action
    mask, because vector wrappers lose the infos of an episode's last step. The mask comes from
    ``infos[agent]["action_mask"]`` or ``observation["action_mask"]`` where the environment has one.
    Actions that only other agents have are illegal.

    Args:
        env: the environment to wrap.

    Raises:
        TypeError: the actions of an agent are not discrete, or do not start at 0.
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
        spaces = [self._without_mask(env.observation_space(agent)) for agent in agents]
        n_features = max(flatdim(space) for space in spaces)
        n_actions = max(int(env.action_space(agent).n) for agent in agents)
        self.team = Team(len(agents), n_features, n_actions)
        self._observation_space = Box(-np.inf, np.inf, (n_features + n_actions,), np.float32)
        self._action_space = Discrete(n_actions)

    def observation_space(self, agent: Any) -> Space[Any]:  # noqa: ARG002 - PettingZoo fixes it
        """The observation space, the same for all agents."""
        return self._observation_space

    def action_space(self, agent: Any) -> Space[Any]:  # noqa: ARG002 - PettingZoo fixes it
        """The action space, the same for all agents."""
        return self._action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict[str, Any]]]:
        """Start an episode, as `pettingzoo.ParallelEnv.reset`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._rows(observations, infos), infos

    def step(self, actions: dict[Any, Any]) -> Any:
        """Take one step, as `pettingzoo.ParallelEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        return self._rows(observations, infos), rewards, terminations, truncations, infos

    def row(self, agent: Any, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """One agent's observation, padding and action mask, (D + A,)."""
        mask = info.get("action_mask")
        if isinstance(observation, dict) and "action_mask" in observation:
            mask, observation = observation["action_mask"], observation["observation"]
        space = self._without_mask(self.env.observation_space(agent))
        flat = np.asarray(flatten(space, observation), np.float32)
        row = np.zeros(self.team.n_features + self.team.n_actions, np.float32)
        row[: len(flat)] = flat
        own_actions = row[self.team.n_features :][: int(self.env.action_space(agent).n)]
        own_actions[:] = 1 if mask is None else mask
        return row

    @staticmethod
    def _without_mask(space: Any) -> Any:
        """The observation's own space, without the mask that may stand beside it."""
        if hasattr(space, "keys") and "action_mask" in space.keys():  # noqa: SIM118 - not a dict
            return space["observation"]
        return space

    def _rows(
        self, observations: dict[Any, Any], infos: dict[Any, dict[str, Any]]
    ) -> dict[Any, Any]:
        """The rows of all agents that were observed."""
        return {
            agent: self.row(agent, observation, infos.get(agent, {}))
            for agent, observation in observations.items()
        }
