"""How the values of several heads become the values that are trained.

Shapes: C critics, S seeds, K heads, B batch, M actions per head, E hidden units, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.learner.heads import Heads
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes, roles

HIDDEN_SIZES = (64,)
"""Hidden layers of the networks that compute parameters of a mixture from the state."""
_SEED_OF_MIXING = 0x5DEECE66D
"""Combined with a learner's seed, so that mixing networks draw numbers of their own."""


class Mix:
    """The values of heads as they are (independent and centralised learners)."""

    mixes = False
    """Whether the values of heads are combined into one."""
    weights: Tensor | float = 1.0
    """Slope of the mixed value by the value of each head, (C, S, K, B) or a number."""

    def __call__(self, values: Tensor) -> Tensor:
        """The values that are trained, from those of heads (C, S, K, B).

        They are (C, S, K, B), or (C, S, 1, B) where heads are mixed.
        """
        return values

    def counterfactual(self, q: Tensor, taken: Tensor, bias: Tensor) -> Tensor:
        """The mixed value of each action of one head beside the data's actions of the others.

        It may lack a summand that is the same for all actions of a head.

        Args:
            q: (C, S, K, B, M), with ``bias`` added to them.
            taken: (C, S, K, B), the values of the data's actions.
            bias: (S, K, B, M), `Heads.bias`.

        Returns:
            (C, S, K, B, M), very low where an action is illegal, whatever its value.
        """
        del taken, bias
        return q


class Total(Mix):
    """The sum over heads, for CTDE (Eqs. 23, 24).

    This is value decomposition (P. Sunehag et al., "Value-decomposition networks for cooperative
    multi-agent learning", AAMAS 2018).
    """

    mixes = True

    def __call__(self, values: Tensor) -> Tensor:
        """The sum over heads (C, S, 1, B)."""
        return values.sum(-2, keepdim=True)


class Weighted(Mix):
    """The sum over heads of w(s) Q, plus b(s), with weights w(s) that are not negative.

    The mixture of ICQ-MA (Y. Yang et al., arXiv 2106.03400) and OMIGA (X. Wang et al., arXiv
    2307.11620). Here the weights are |1 + x| for outputs x of a network, so that they start near 1.

    Args:
        parameters: (C, S, 1, B, K + 1), outputs of a network for the state.
    """

    mixes = True

    def __init__(self, parameters: Tensor) -> None:
        self.weights: Tensor = (1 + parameters[:, :, 0, :, :-1]).abs().transpose(-1, -2)
        self._offset = parameters[..., -1]

    def __call__(self, values: Tensor) -> Tensor:
        """The weighted sum over heads (C, S, 1, B)."""
        return (self.weights * values).sum(-2, keepdim=True) + self._offset

    def counterfactual(self, q: Tensor, taken: Tensor, bias: Tensor) -> Tensor:
        """The head's own summand."""
        del taken
        return self.weights.unsqueeze(-1) * torch.where(bias == 0, q, 0) + bias


class Monotone(Mix):
    """A network of one hidden layer over the heads' values, with weights that are not negative.

    |W2(s)| elu(|W1(s)| Q + b1(s)) + b2(s): the mixture of QMIX (T. Rashid et al., arXiv
    1803.11485). As it rises in the value of each head, the best action of each head is the best
    joint action.

    Args:
        parameters: (C, S, 1, B, (K + 2) E + 1), outputs of a network for the state.
        n_heads: K.
        width: E.
    """

    mixes = True

    def __init__(self, parameters: Tensor, n_heads: int, width: int) -> None:
        sizes = [n_heads * width, width, width, 1]
        parts: tuple[Tensor, ...] = torch.split(parameters[:, :, 0], sizes, -1)
        first, self._bias, last, self._offset = parts
        self._first: Tensor = first.abs().reshape(*first.shape[:-1], n_heads, width)
        self._last: Tensor = last.abs()

    def _hidden(self, values: Tensor) -> Tensor:
        """The hidden units before their activation, (C, S, B, E), from values (C, S, K, B)."""
        return (self._first * values.transpose(-1, -2).unsqueeze(-1)).sum(-2) + self._bias

    def __call__(self, values: Tensor) -> Tensor:
        """The mixed value (C, S, 1, B)."""
        hidden = torch.nn.functional.elu(self._hidden(values))
        return ((hidden * self._last).sum(-1) + self._offset.squeeze(-1)).unsqueeze(-2)

    def counterfactual(self, q: Tensor, taken: Tensor, bias: Tensor) -> Tensor:
        """The mixed value with one head's value replaced."""
        change = torch.where(bias == 0, q - taken.unsqueeze(-1), 0)
        change = change.transpose(2, 3).unsqueeze(-1)  # (C, S, B, K, M, 1)
        hidden = self._hidden(taken)[..., None, None, :] + self._first.unsqueeze(-2) * change
        mixed = torch.nn.functional.elu(hidden) @ self._last[..., None, :, None]
        return (mixed.squeeze(-1) + self._offset.unsqueeze(-1)).transpose(2, 3) + bias


apart, total = Mix(), Total()
"""The mixtures that have no parameters."""


class MixingNetworks:
    """Networks that compute the parameters of the mixture from the state.

    The state is the observations of all agents. There is one network for each critic and each
    target critic.

    Args:
        config: its ``mixing`` is not sum.
        heads: the heads to be mixed.
        seeds: S seeds.
        device: where they are.
        judging: whether target networks are asked about s, too, and not only about s'.
    """

    def __init__(
        self,
        config: LearnerConfig,
        heads: Heads,
        seeds: Sequence[int],
        device: torch.device,
        *,
        judging: bool,
    ) -> None:
        self._kind, self._n_heads, self._width = config.mixing, heads.n_heads, config.mixing_width
        n, k = config.n_critics, heads.n_heads
        n_outputs = k + 1 if self._kind == "weighted" else (k + 2) * self._width + 1
        n_inputs = heads.team.n_agents * heads.team.n_features
        sizes = layer_sizes(n_inputs, HIDDEN_SIZES, n_outputs)
        initial = initialise(sizes, n, [seed ^ _SEED_OF_MIXING for seed in seeds], 1)
        self.layers: Layers = [
            (torch.cat([weights] * 2).to(device), torch.cat([biases] * 2).to(device))
            for weights, biases in initial
        ]
        batch = config.batch_size
        self._trained = Workspace(roles(self.layers, slice(n)), 1, batch, trains=True)
        targets = roles(self.layers, slice(n, None))
        self._on_next = Workspace(targets, 1, batch)
        self._judging = Workspace(targets, 1, batch) if judging else None
        self.n = n

    def _mix(self, parameters: Tensor) -> Mix:
        if self._kind == "weighted":
            return Weighted(parameters)
        return Monotone(parameters, self._n_heads, self._width)

    def forward(self, state: Tensor, next_state: Tensor) -> tuple[Tensor, Mix, Mix, Mix]:
        """The mixtures of a batch, from states s and s', (S, 1, B, I D).

        Returns:
            the trained networks' outputs, by which losses are differentiated; their mixture on s;
            and those of the target networks on s (the trained ones', unless ``judging``) and s'.
        """
        parameters = self._trained.forward(state).requires_grad_()
        present = self._mix(parameters)
        judged = present if self._judging is None else self._mix(self._judging.forward(state))
        return parameters, present, judged, self._mix(self._on_next.forward(next_state))

    def backward(self, signal: Tensor) -> None:
        """Compute the gradients of the parameters; arguments as `Workspace.backward`."""
        self._trained.backward(signal)

    @property
    def gradients(self) -> Layers:
        """The gradients that the last `backward` computed."""
        return self._trained.gradients
