"""Trained policies: schedulers for `rrm_env.evaluate` and actors for any parallel environment."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.config import LearnerConfig
from marl.learner.heads import Heads, preference, without_divergence
from marl.learner.networks import Layers, Workspace, layer_sizes, multiply_adds
from marl.learner.roles import WAYS_TO_ACT, roles_of
from marl.runs.checkpoint import read_tensors
from marl.runs.description import CHECKPOINT, RunError, describe
from marl.team import Team, check_common_features, team_of
from marl.torch_state import known_torch
from rrm_env import Network
from rrm_env.power import Decision, decision_of

if TYPE_CHECKING:
    from marl.learner.stacked import StackedLearner


class UnfinishedRunWarning(UserWarning):
    """A policy was loaded from a run that still trains or was interrupted."""


class Policy:
    """One trained policy of I agents.

    Several threads may use one policy at the same time, also in networks of different sizes.

    Shapes: B batch, I agents, D features of an observation, A actions per agent, K heads with M
    actions each, and N networks, which are the critics and then the actor.

    Args:
        config: the scheme that the policy was trained by.
        team: sizes of the environment that the policy was trained in.
        layers: networks of one seed; per layer weights (N, 1, K, inputs, outputs) and biases
            (N, 1, K, 1, outputs).
        shift, scale: (1, 1, I, D), or (1, 1, 1, D) with shared parameters; networks see
            (observation - shift) * scale.
        act_on: "actor" (Algorithm 3) or "critic" (Eq. 25: greedy on Q); the config's where None.
            dqn has only critics, bc and ppo have only actors that act.
        sample: draw actions from the actor instead of taking the most probable ones.

    Raises:
        ValueError: the algorithm has no network for ``act_on`` or ``sample``.
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
        allowed = WAYS_TO_ACT[config.algorithm]
        default = config.act_on if config.act_on in allowed else allowed[0]
        self.act_on = act_on or default
        if self.act_on not in allowed:
            raise ValueError(
                f"act_on of algorithm {config.algorithm!r} must be one of {', '.join(allowed)}, "
                f"got {self.act_on!r}"
            )
        if sample and self.act_on != "actor":
            raise ValueError(
                "sample needs act_on = 'actor': only an actor is a distribution to draw from"
            )
        self._heads = Heads.of(config, team)
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
        """The policy of a run's last checkpoint.

        Args:
            run: the run's folder.
            seed: index of one of the run's seeds, counted from 0.
            act_on: as in `Policy`.
            sample: as in `Policy`.

        Warns:
            UnfinishedRunWarning: the run has not done all its updates.

        Raises:
            RunError: the folder holds no run, or one that cannot be read.
            ValueError: the run has no such seed, or ``act_on`` or ``sample`` is not possible.
        """
        description = describe(run)
        n_seeds = len(description["seeds"])
        if not 0 <= seed < n_seeds:
            raise ValueError(f"seed must be from 0 to {n_seeds - 1} for {str(run)!r}, got {seed}")
        tensors = _last_checkpoint(run, description)
        return cls._of(run, description, tensors, seed, act_on=act_on, sample=sample)

    @classmethod
    @known_torch
    def of_learner(cls, learner: StackedLearner, k: int) -> Policy:
        """A copy of the present policy of a learner's seed, by its index ``k``."""
        trained = slice(learner.roles.trained)
        seed = slice(k, k + 1)
        layers: Layers = [
            (weights[trained, seed].cpu().clone(), biases[trained, seed].cpu().clone())
            for weights, biases in learner.layers
        ]
        shift = learner.shift[seed].cpu().clone()
        scale = learner.scale[seed].cpu().clone()
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
        """The policy of the seed with index ``seed``, from all tensors of a checkpoint.

        Raises:
            RunError: a tensor is missing, has another shape or type than the description demands,
                or holds numbers of this seed that are not finite.
        """
        config = LearnerConfig.from_dict(description["learner"])
        team = Team(**description["team"])
        heads = Heads.of(config, team)
        roles = roles_of(config)
        n_seeds = len(description["seeds"])
        n_heads = 1 if config.share_parameters else heads.n_heads
        n_normalisers = 1 if config.share_parameters else team.n_agents
        where = repr(str(Path(run) / CHECKPOINT))

        def checked(
            name: str, shape: tuple[int, ...], which: slice | tuple[slice, slice]
        ) -> Tensor:
            """The part ``which`` of a tensor that must have ``shape``."""
            tensor, found = tensors.get(name), "nothing"
            if tensor is not None:
                found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            if tensor is None or tensor.dtype != torch.float32 or tensor.shape != shape:
                raise RunError(
                    f"{where}: {name} must be torch.float32 of shape {shape}, found {found}"
                )
            if not torch.isfinite(chosen := tensor[which].clone()).all():
                raise RunError(f"{where}: {name} must be finite")
            return chosen

        seeds = slice(seed, seed + 1)
        acting = slice(roles.trained), seeds
        layers: Layers = []
        sizes = layer_sizes(heads.n_inputs, config.hidden_sizes, heads.n_actions)
        for depth, (n_inputs, n_outputs) in enumerate(sizes):
            stack = roles.total, n_seeds, n_heads
            weights = checked(f"layers.{depth}.weights", (*stack, n_inputs, n_outputs), acting)
            biases = checked(f"layers.{depth}.biases", (*stack, 1, n_outputs), acting)
            layers.append((weights, biases))
        normaliser = n_seeds, 1, n_normalisers, team.n_features
        shift = checked("shift", normaliser, seeds)
        scale = checked("scale", normaliser, seeds)
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
            observation: (B, I, D), as the environment gives them, not normalised.
            mask: (B, I, A), 1 where an action is legal.
            uniform: (B, `n_uniform_of` I) numbers from a uniform distribution on (0, 1), with which
                a sampling policy draws.

        Raises:
            ValueError: the policy was trained for another number of agents and does not share
                parameters, or it samples and ``uniform`` is missing.
        """
        n_agents = len(observation[0])
        self.require(replace(self.team, n_agents=n_agents))
        heads = self._heads_of(n_agents)
        # The arrays are copied, since torch warns of read-only ones.
        observed = torch.from_numpy(np.array(observation, np.float32)).unsqueeze(0)
        legal = torch.from_numpy(np.array(mask, np.uint8)).unsqueeze(0)
        observed = (observed - self._shift) * self._scale
        # What is added to the preferences of actions, (1, K, B, M).
        added = heads.bias(legal)
        if self.sample:
            if uniform is None:
                needed = len(observation), self.n_uniform_of(n_agents)
                raise ValueError(f"a sampling policy needs uniform numbers of shape {needed}")
            drawn = torch.from_numpy(np.ascontiguousarray(uniform))
            drawn = drawn.view(len(observation), heads.n_heads, -1)
            # Generators may give 0 or 1, whose Gumbel noise would be infinite.
            drawn = drawn.clamp(2.0**-24, 1 - 2.0**-24)
            added = added - (-drawn.log()).log().transpose(0, 1).unsqueeze(0)
        chosen: NDArray[np.int64] = self._chosen(heads, observed, added)[0].numpy()
        return chosen

    def _chosen(self, heads: Heads, observed: Tensor, added: Tensor) -> Tensor:
        """The actions (1, B, I) of highest preference plus what is ``added`` (1, K, B, M).

        Heads that choose in sequence run one after the other.
        """
        workspace = self._workspace(heads.n_heads, observed.shape[1])

        def best(action: Tensor | None = None) -> Tensor:
            stacked = workspace.forward(heads.inputs(observed, action))
            preferred = without_divergence(preference(stacked, mixes=heads.mixes))
            return heads.actions((preferred + added).argmax(-1))

        if not heads.in_sequence:
            return best()
        action = torch.zeros(observed.shape[:-1], dtype=torch.int64)
        for agent in range(heads.team.n_agents):
            action[..., agent] = best(action)[..., agent]
        return action

    @property
    def n_uniform(self) -> int:
        """Random numbers that `actions` needs per decision, for the agents of the training."""
        return self.n_uniform_of(self.team.n_agents)

    def n_uniform_of(self, n_agents: int) -> int:
        """Random numbers that `actions` needs per decision if the policy samples, K * M."""
        heads = self._heads_of(n_agents)
        return heads.n_heads * heads.n_actions

    def _heads_of(self, n_agents: int) -> Heads:
        """The heads for a number of agents, which may differ where agents share parameters."""
        if n_agents == self.team.n_agents:
            return self._heads
        return replace(self._heads, team=replace(self.team, n_agents=n_agents))

    def _workspace(self, n_heads: int, batch: int) -> Workspace:
        """Buffers for a forward pass, which belong to the calling thread."""
        workspace: Workspace | None = getattr(self._scratch, "workspace", None)
        if workspace is None or (workspace.batch, workspace.n_heads) != (batch, n_heads):
            workspace = self._scratch.workspace = Workspace(self._layers, n_heads, batch)
        return workspace

    def act(
        self, observations: Mapping[Any, Any], infos: Mapping[Any, Mapping[str, Any]]
    ) -> dict[Any, int]:
        """Actions of all agents of a parallel environment whose agents have equal spaces.

        A sampling policy draws them from a generator without a fixed seed.

        Args:
            observations: (D,) by agent, as ``reset`` or ``step`` returned them.
            infos: by agent, as returned with them; ``action_mask`` (A,) is used where it is given.

        Raises:
            ValueError: as `actions`.
        """
        observed = np.stack(
            [np.asarray(value, np.float32).reshape(-1) for value in observations.values()]
        )
        all_legal = np.ones(self.team.n_actions, np.uint8)
        masks = [infos.get(agent, {}).get("action_mask", all_legal) for agent in observations]
        mask = np.stack([np.asarray(one) for one in masks])
        drawn = None
        if self.sample:
            needed = 1, self.n_uniform_of(len(observed))
            drawn = np.random.default_rng().random(needed, np.float32)
        chosen = self.actions(observed[None], mask[None], drawn)
        return {agent: int(action) for agent, action in zip(observations, chosen[0], strict=True)}

    def execution_cost(self, message_bits: int = 0) -> dict[str, int]:
        """Cost of one decision of all agents at run time, for as many agents as in training.

        A policy that sees the observations of all agents receives every agent's observation and
        returns its action, as 32-bit numbers. If it sees only common features, it runs at every
        agent instead. Decentralised policies exchange only the messages of their environment.

        Args:
            message_bits: bits of all messages of a decision (`RRMConfig.message_bits_per_step`).

        Returns:
            ``parameters`` and ``multiply_adds`` of all the networks that act, and the ``bits``
            exchanged.
        """
        agents = self.team.n_agents
        at_every_agent = self.config.common_features > 0
        copies = agents if at_every_agent else self._heads.n_heads
        n_networks = self._layers[0][0].shape[0] * copies
        sizes = [(weights.shape[-2], weights.shape[-1]) for weights, _ in self._layers]
        return {
            "parameters": sum(weights.numel() + biases.numel() for weights, biases in self._layers),
            "multiply_adds": n_networks * multiply_adds(sizes),
            "bits": 32 * agents * (self.team.n_features + 1)
            if self._heads.sees_all
            else message_bits,
        }

    def reset(self, network: Network) -> None:
        """Start an episode: check the network, since the policy itself has no memory.

        Raises:
            ValueError: as `require`, or the policy sees common features of which the network has
                none.
        """
        self.require(team_of(network.config))
        check_common_features(self.config.common_features, network.config)

    def require(self, team: Team) -> None:
        """Check that the policy can act in an environment of these sizes.

        Raises:
            ValueError: the policy was trained for other sizes; the number of agents may differ if
                they share parameters.
        """
        allowed = self.team
        if self.config.share_parameters:
            allowed = replace(self.team, n_agents=team.n_agents)
        if team != allowed:
            raise ValueError(f"the policy was trained for {self.team}, the environment has {team}")

    def schedule(self, network: Network) -> Decision:
        """The UE that each AP serves in this step, (B, I): one of its candidates or `SILENT`.

        In a network of several power levels, a `PoweredDecision`.
        """
        uniform = None
        if self.sample:
            uniform = network.uniform(self.n_uniform_of(network.config.n_aps))
        chosen = self.actions(network.observation, network.action_mask, uniform)
        return decision_of(network, chosen)


def _last_checkpoint(run: str | Path, description: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of a run's last checkpoint; warns if the run has not done all its updates."""
    tensors = read_tensors(Path(run) / CHECKPOINT, description)
    done, planned = tensors.get("updates"), description["training"]["updates"]
    if done is not None and done.numel() == 1 and int(done) < planned:
        warnings.warn(
            f"{str(run)!r} is not finished: its policies are of the checkpoint of update "
            f"{int(done):,} of {planned:,}",
            UnfinishedRunWarning,
            stacklevel=4,  # names the line that calls `load`, past the decorator of `load`
        )
    return tensors


@known_torch
def load_policies(
    run: str | Path, *, act_on: str | None = None, sample: bool = False
) -> list[Policy]:
    """The policies of all seeds of a run, in their order; arguments and errors as `Policy.load`."""
    description = describe(run)
    tensors = _last_checkpoint(run, description)
    return [
        Policy._of(run, description, tensors, seed, act_on=act_on, sample=sample)
        for seed in range(len(description["seeds"]))
    ]
