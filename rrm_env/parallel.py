"""PettingZoo's parallel API for a network of one episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from rrm_env.checks import as_integer
from rrm_env.config import RRMConfig
from rrm_env.joint import joint_observation_space, of_slot
from rrm_env.network import Network
from rrm_env.refusals import (
    PLACES,
    FixedSettings,
    check_reset_options,
    is_option_of_api_tests,
    places_in,
)
from rrm_env.rendering import RENDERING, Renderer

Observations = dict[str, NDArray[np.float32]]
Infos = dict[str, dict[str, Any]]


class RRMParallelEnv(FixedSettings, ParallelEnv[str, NDArray[np.float32], int]):
    """The environment under PettingZoo's parallel API, with the access points as agents.

    Agents are ``ap_0`` ... ``ap_{I-1}``; `rrm_env.rrm_v0` describes spaces, rewards and options.

    Args:
        config: the network; the preset ``paper`` where None.
        render_mode: with ``rgb_array``, `render` returns the present picture; with ``human``, every
            reset and step shows one in a window.

    Raises:
        ValueError: another render mode.
        DependencyNotInstalled: a render mode without pygame, which the extra ``render`` installs.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "rrm_v0", "is_parallelizable": True, **RENDERING}

    def __init__(self, config: RRMConfig | None = None, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.network = Network(config)
        self.config = self.network.config
        self._renderer = Renderer(self.config, render_mode)
        self.possible_agents = [f"ap_{i}" for i in range(self.config.n_aps)]
        self.agents: list[str] = []
        low, high = self.network.observation_bounds
        self.observation_spaces = {
            agent: Box(low, high, dtype=np.float32) for agent in self.possible_agents
        }
        self.action_spaces = {
            agent: Discrete(self.config.n_actions) for agent in self.possible_agents
        }
        self.state_space = joint_observation_space(self.network)
        self._names = frozenset(self.possible_agents)
        self._actions = np.zeros((1, self.config.n_aps), np.int64)
        self._highest_action = self.config.n_actions - 1

    def observation_space(self, agent: str) -> Box:
        """Box (F,) of one agent's observation; the same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete[Any]:
        """Discrete (N L + 1): a candidate at a level, or silence; the same object at every call."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start an episode.

        Args:
            seed: fixes this episode and all that follow; None continues the chain of seeds.
            options: ``ap_positions`` (I, 2) and ``ue_positions`` (J, 2), metres, and
                ``association`` (J,), the access point of each user, for this episode
                (`Network.reset`); all can be left out. ``{"options": 1}`` is let through without
                an effect, because PettingZoo's own API tests pass it to every environment.

        Raises:
            TypeError, ValueError: another seed (`Network.reset`) or option.
        """
        if not is_option_of_api_tests(options):
            check_reset_options(options, PLACES)
        self.network.reset(seed, **places_in(options))
        self._renderer.observe(self.network)
        self.agents = self.possible_agents[:]
        return self._observations(), self._infos()

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Run one step of all agents.

        Args:
            actions: an integer 0 ... N L for every agent; a masked action means silence.

        Raises:
            RuntimeError: before `reset`, or after the episode's end.
            TypeError, ValueError: a missing or unknown agent, or an action that is no integer or
                out of range.
        """
        if not self.agents and not actions:  # PettingZoo's convention for an episode that is over
            return {}, {}, {}, {}, {}
        self._take(actions)
        network = self.network
        _, reward = network._step_checked(self._actions)
        self._renderer.observe(network)
        done, shared, acted = network.done, reward.item(), self.agents
        if done:
            self.agents = []
        return (
            self._observations(),
            dict.fromkeys(acted, shared),
            dict.fromkeys(acted, False),
            dict.fromkeys(acted, done),
            self._infos(done),
        )

    def state(self) -> NDArray[np.float32]:
        """(I, F) the observations of all agents."""
        stacked: NDArray[np.float32] = self.network.observation[0].copy()
        return stacked

    def render(self) -> NDArray[np.uint8] | None:
        """The picture (720, 1120, 3) of the last step; None in mode ``human``, which shows it."""
        return self._renderer.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()

    def _take(self, actions: dict[str, Any]) -> None:
        """Check the actions of a step and write them to `_actions`."""
        agents, row, highest = self.possible_agents, self._actions[0], self._highest_action
        if type(actions) is not dict and not isinstance(actions, Mapping):
            raise TypeError(f"actions must have one entry for each of {agents}, got {actions!r}")
        if actions.keys() != self._names:
            missing = [agent for agent in agents if agent not in actions]
            unknown = [agent for agent in actions if agent not in self._names]
            raise ValueError(
                f"actions must have one entry for each of {agents}; "
                f"missing {missing}, unknown {unknown}"
            )
        for i, agent in enumerate(agents):
            action = actions[agent]
            index = action if type(action) is int else as_integer(action)
            if index is None or not 0 <= index <= highest:
                error = TypeError if index is None else ValueError
                raise error(
                    f"action of {agent} must be an integer from 0 to {highest}, got {action!r}"
                )
            row[i] = index

    def _observations(self) -> Observations:
        rows = self.state()
        return {agent: rows[i] for i, agent in enumerate(self.possible_agents)}

    def _infos(self, done: bool = False) -> Infos:
        """Masks, candidates and, once the episode is over, its KPIs; every array is a copy's."""
        network = self.network
        masks, candidates = network.action_mask[0].copy(), network.candidates[0].copy()
        infos: Infos = {
            agent: {"action_mask": masks[i], "candidates": candidates[i]}
            for i, agent in enumerate(self.possible_agents)
        }
        if done:
            for info in infos.values():
                info |= of_slot(network.episode_infos)
        return infos
