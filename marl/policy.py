"""Trained policies: schedulers for `rrm_env.evaluate` and actors for any parallel environment, without the training code."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.config import LearnerConfig
from marl.learner.heads import Heads, preference, without_divergence
from marl.learner.learner import Learner
from marl.learner.networks import Layers, Workspace, layer_sizes, multiply_adds
from marl.runs.checkpoint import read_tensors
from marl.runs.description import CHECKPOINT, RunError, describe
from marl.team import Team, team_of
from marl.torch_state import known_torch
from rrm_env import SILENT, Network


class UnfinishedRunWarning(UserWarning):
    """A policy was loaded from a run that has not done all its updates: it still trains, or was interrupted."""


class Policy:
    """One trained policy of I agents.

    Acting and checking change nothing that shows, so that several threads may use one policy, also in networks of different sizes.

    Args:
        config: the scheme it was trained by.
        team: sizes of the environment it was trained in.
        layers: one seed's critics and actor, (N, 1, K, ...).
        shift, scale: (1, 1, I, D), applied to observations.
        act_on: "actor" (Algorithm 3) or "critic" (Eq. 25: greedy on Q); the config's where None. dqn has only critics, bc only an actor.
        sample: draw from the actor instead of taking its most probable action.

    Raises:
        ValueError: an ``act_on`` or ``sample`` that the algorithm has no network for.
    """

    @known_torch
    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        layers: Layers,
        shift: Tensor,
        scale: Tensor,
        *,
        act_on: str | None = None,
        sample: bool = False,
    ) -> None:
        self.config, self.team, self.sample = config, team, sample
        self.act_on = act_on or {"dqn": "critic", "bc": "actor"}.get(
            config.algorithm, config.act_on
        )
        allowed = {"sac": ("actor", "critic"), "dqn": ("critic",), "bc": ("actor",)}[
            config.algorithm
        ]
        if self.act_on not in allowed:
            raise ValueError(
                f"act_on of algorithm {config.algorithm!r} must be one of {', '.join(allowed)}, got {self.act_on!r}"
            )
        if sample and self.act_on != "actor":
            raise ValueError(
                "sample needs act_on = 'actor': only an actor is a distribution to draw from"
            )
        self._heads = Heads(config.paradigm, team, config.common_features)
        chosen = slice(-1, None) if self.act_on == "actor" else slice(config.n_critics)
        self._layers = [
            (weights[chosen].contiguous(), biases[chosen].contiguous())
            for weights, biases in layers
        ]
        self._shift, self._scale = shift, scale
        self._scratch = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _scratch=threading.local())

    @classmethod
    @known_torch
    def load(
        cls, run: str | Path, seed: int = 0, *, act_on: str | None = None, sample: bool = False
    ) -> Policy:
        """The policy of a run's last checkpoint; ``seed`` counts the run's seeds from 0.

        Warns:
            UnfinishedRunWarning: the run has updates still to do.

        Raises:
            RunError: no run there, or one that cannot be read.
            ValueError: no such seed.
        """
        description = describe(run)
        n_seeds = len(description["seeds"])
        if not 0 <= seed < n_seeds:
            raise ValueError(f"seed must be from 0 to {n_seeds - 1} for {str(run)!r}, got {seed}")
        tensors = _last_checkpoint(run, description)
        return cls._of(run, description, tensors, seed, act_on=act_on, sample=sample)

    @classmethod
    @known_torch
    def of_learner(cls, learner: Learner, k: int) -> Policy:
        """The present policy of a learner's k-th seed; it owns its parameters."""
        trained, seed = slice(learner.n_trained), slice(k, k + 1)
        layers: Layers = [
            (weights[trained, seed].cpu().clone(), biases[trained, seed].cpu().clone())
            for weights, biases in learner.layers
        ]
        shift, scale = learner.shift[seed].cpu().clone(), learner.scale[seed].cpu().clone()
        return cls(learner.config, learner.team, layers, shift, scale)

    @classmethod
    def _of(
        cls,
        run: str | Path,
        description: dict[str, Any],
        tensors: Mapping[str, Tensor],
        seed: int,
        *,
        act_on: str | None,
        sample: bool,
    ) -> Policy:
        """The policy of one seed, from all tensors of a checkpoint; each must be what the description says."""
        config, team = LearnerConfig.from_dict(description["learner"]), Team(**description["team"])
        heads, shared = (
            Heads(config.paradigm, team, config.common_features),
            config.share_parameters,
        )
        n_critics, n_actors = (
            (config.n_critics if config.algorithm != "bc" else 0),
            int(config.algorithm != "dqn"),
        )
        lead = (
            2 * n_critics + n_actors,
            len(description["seeds"]),
            1 if shared else heads.n_heads,
        )  # target critics come last
        normaliser = len(description["seeds"]), 1, 1 if shared else team.n_agents, team.n_features

        def of_seed(
            name: str, shape: tuple[int, ...], which: slice | tuple[slice, slice]
        ) -> Tensor:
            tensor = tensors.get(name)
            found = (
                "nothing" if tensor is None else f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            )
            if tensor is None or tensor.dtype != torch.float32 or tensor.shape != shape:
                raise RunError(
                    f"{str(Path(run) / CHECKPOINT)!r}: {name} must be torch.float32 of shape {shape}, found {found}"
                )
            if not torch.isfinite(chosen := tensor[which].clone()).all():
                raise RunError(f"{str(Path(run) / CHECKPOINT)!r}: {name} must be finite")
            return chosen

        which = slice(n_critics + n_actors), slice(seed, seed + 1)
        layers = [
            (
                of_seed(f"layers.{depth}.weights", (*lead, n_inputs, n_outputs), which),
                of_seed(f"layers.{depth}.biases", (*lead, 1, n_outputs), which),
            )
            for depth, (n_inputs, n_outputs) in enumerate(
                layer_sizes(heads.n_inputs, config.hidden_sizes, heads.n_actions)
            )
        ]
        shift, scale = (
            of_seed(name, normaliser, slice(seed, seed + 1)) for name in ("shift", "scale")
        )
        return cls(config, team, layers, shift, scale, act_on=act_on, sample=sample)

    # --- Acting ---

    @known_torch
    @torch.no_grad()
    def actions(
        self,
        observation: NDArray[Any],
        mask: NDArray[Any],
        uniform: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int64]:
        """Legal actions (B, I) for observations (B, I, D) under masks (B, I, A).

        Args:
            observation: (B, I, D), as the environment gives them.
            mask: (B, I, A), likewise.
            uniform: (B, `n_uniform_of` I) numbers on (0, 1) that a sampling policy draws with.

        Raises:
            ValueError: another number of agents than the policy was trained for, if each has a network of its own, or no ``uniform``.
        """
        n_agents = len(observation[0])
        self.require(replace(self.team, n_agents=n_agents))
        heads = self._heads_of(n_agents)
        observed = torch.from_numpy(np.array(observation, np.float32)).unsqueeze(
            0
        )  # copied: torch warns of read-only arrays
        legal = torch.from_numpy(np.array(mask, np.uint8)).unsqueeze(0)
        workspace = self._workspace(heads.n_heads, len(observation))
        stacked = workspace.forward(heads.inputs((observed - self._shift) * self._scale))
        outputs = without_divergence(preference(stacked, mixes=heads.mixes)) + heads.bias(legal)
        if self.sample:
            if uniform is None:
                needed = len(observation), self.n_uniform_of(n_agents)
                raise ValueError(f"a sampling policy needs uniform numbers of shape {needed}")
            drawn = torch.from_numpy(np.ascontiguousarray(uniform)).view(
                len(observation), heads.n_heads, -1
            )
            drawn = drawn.clamp(
                2.0**-24, 1 - 2.0**-24
            )  # generators may give 0 or 1, whose logarithms are infinite
            outputs = outputs - (-drawn.log()).log().transpose(0, 1).unsqueeze(0)
        chosen: NDArray[np.int64] = heads.actions(outputs.argmax(-1))[0].numpy()
        return chosen

    @property
    def n_uniform(self) -> int:
        """Random numbers per decision of a sampling policy, in the environment it was trained in."""
        return self.n_uniform_of(self.team.n_agents)

    def n_uniform_of(self, n_agents: int) -> int:
        """Random numbers per decision of a sampling policy, for so many agents."""
        heads = self._heads_of(n_agents)
        return heads.n_heads * heads.n_actions

    def _heads_of(self, n_agents: int) -> Heads:
        """The heads for so many agents, which agents that share parameters may be."""
        if n_agents == self.team.n_agents:
            return self._heads
        return replace(self._heads, team=replace(self.team, n_agents=n_agents))

    def _workspace(self, n_heads: int, batch: int) -> Workspace:
        """The calling thread's own buffers."""
        kept: Workspace | None = getattr(self._scratch, "workspace", None)
        if kept is None or (kept.batch, kept.n_heads) != (batch, n_heads):
            kept = self._scratch.workspace = Workspace(self._layers, n_heads, batch)
        return kept

    def act(
        self, observations: Mapping[Any, Any], infos: Mapping[Any, Mapping[str, Any]]
    ) -> dict[Any, int]:
        """Actions for every agent of a parallel environment of equal agents, from what its ``reset`` or ``step`` returned."""
        observed = np.stack(
            [
                np.asarray(observation, np.float32).reshape(-1)
                for observation in observations.values()
            ]
        )
        everything = np.ones(self.team.n_actions, np.uint8)
        mask = np.stack(
            [
                np.asarray(infos.get(agent, {}).get("action_mask", everything))
                for agent in observations
            ]
        )
        drawn = (
            np.random.default_rng().random((1, self.n_uniform_of(len(observed))), np.float32)
            if self.sample
            else None
        )
        chosen = self.actions(observed[None], mask[None], drawn)
        return {agent: int(action) for agent, action in zip(observations, chosen[0], strict=True)}

    def execution_cost(self, message_bits: int = 0) -> dict[str, int]:
        """What one decision of all agents costs at run time, as many as in training: parameters and multiply-adds of all the networks
        that act, and bits exchanged.

        A centralised policy receives every agent's observation and returns its action, as 32-bit numbers. One that sees only common
        features runs at every agent. Decentralised ones exchange their environment's messages alone.

        Args:
            message_bits: bits of all messages of a decision (`RRMConfig.message_bits_per_step`).
        """
        agents, everywhere = self.team.n_agents, self.config.common_features > 0
        stacked = self._layers[0][0].shape[0] * (agents if everywhere else self._heads.n_heads)
        return {
            "parameters": sum(weights.numel() + biases.numel() for weights, biases in self._layers),
            "multiply_adds": stacked
            * multiply_adds(
                [(weights.shape[-2], weights.shape[-1]) for weights, _ in self._layers]
            ),
            "bits": 32 * agents * (self.team.n_features + 1)
            if self._heads.joint and not everywhere
            else message_bits,
        }

    def reset(self, network: Network) -> None:
        """Check that the network has the sizes of the one trained on; there is no past to forget.

        Raises:
            ValueError: it has others.
        """
        self.require(team_of(network.config))

    def require(self, team: Team) -> None:
        """Refuse an environment of other sizes than the one trained in (ValueError); agents that share parameters may be any number."""
        allowed = (
            replace(self.team, n_agents=team.n_agents)
            if self.config.share_parameters
            else self.team
        )
        if team != allowed:
            raise ValueError(f"the policy was trained for {self.team}, the environment has {team}")

    def schedule(self, network: Network) -> NDArray[np.int64]:
        """The UE each AP serves in this step: (B, I), one of its candidates or `SILENT`."""
        uniform = network.uniform(self.n_uniform_of(network.config.n_aps)) if self.sample else None
        chosen = self.actions(network.observation, network.action_mask, uniform)
        silent = np.full((*network.candidates.shape[:2], 1), SILENT, np.int64)
        served: NDArray[np.int64] = np.take_along_axis(
            np.concatenate([network.candidates, silent], -1), chosen[..., None], -1
        )[..., 0]
        return served


def _last_checkpoint(run: str | Path, description: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of a run's last checkpoint, with an `UnfinishedRunWarning` where updates are still to come."""
    tensors = read_tensors(Path(run) / CHECKPOINT, description)
    done, planned = tensors.get("updates"), description["training"]["updates"]
    if done is not None and done.numel() == 1 and int(done) < planned:
        warnings.warn(
            f"{str(run)!r} is not finished: its policies are of the checkpoint of update {int(done):,} of {planned:,}",
            UnfinishedRunWarning,
            stacklevel=4,  # of the caller, past the decorator of the function that loads
        )
    return tensors


@known_torch
def load_policies(
    run: str | Path, *, act_on: str | None = None, sample: bool = False
) -> list[Policy]:
    """The policies of all seeds of a run; warnings and errors as those of `Policy.load`."""
    description = describe(run)
    tensors = _last_checkpoint(run, description)
    return [
        Policy._of(run, description, tensors, seed, act_on=act_on, sample=sample)
        for seed in range(len(description["seeds"]))
    ]
