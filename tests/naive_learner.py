"""A slow reference implementation of a learner's loss, with gradients by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from marl import Learner
from marl.data.transitions import Transitions


class NaiveLearner:
    """The s-th seed of a learner, in float64.

    `parameters` are the leaves to differentiate by, indexed by role and head in each layer. Roles
    are numbered as `Learner` documents: critics, the actor, target critics.
    """

    def __init__(self, learner: Learner, s: int) -> None:
        self.config, self.team, self._s = learner.config, learner.team, s
        self.joint = list(product(range(self.team.n_actions), repeat=self.team.n_agents))
        self.n_heads = 1 if self.config.paradigm == "c" else self.team.n_agents
        self.shift, self.scale = learner.shift[s, 0].double(), learner.scale[s, 0].double()
        self.log_temperature = learner.log_temperature.detach()[s].double().requires_grad_()
        self.parameters = [
            [layer[0].detach()[:, s].double(), layer[1].detach()[:, s, :, 0].double()]
            for layer in learner.layers
        ]
        self.n = self.config.n_critics
        self.mixing = [
            [weights.detach()[:, s, 0].double(), biases.detach()[:, s, 0, 0].double()]
            for weights, biases in (learner.mixing.layers if learner.mixing else [])
        ]
        for layer in self.parameters + self.mixing:
            for tensor in layer:
                tensor.requires_grad_()
        self.critics = range(0 if self.config.algorithm == "bc" else self.config.n_critics)
        self.value = len(self.critics)
        has_behaviour = self.config.cql_reduction == "weighted" and self.config.cql_alpha > 0
        self.actor = self.value + {
            "iql": 1,
            "omiga": 1,
            "sac": has_behaviour,
            "dqn": has_behaviour,
        }.get(self.config.algorithm, 0)
        n_trained = self.actor + (self.config.algorithm != "dqn")
        self.targets = [n_trained + c for c in self.critics]

    def loss(self, batch: Transitions) -> Tensor:
        """The mean over the batch of all that is minimised."""
        rows = [
            Transitions(*(field[self._s, b] for field in batch))
            for b in range(batch.reward.shape[1])
        ]
        return torch.stack([self._row_loss(row) for row in rows]).mean()

    def _row_loss(self, row: Transitions) -> Tensor:
        config, zero = self.config, torch.zeros((), dtype=torch.float64)
        if config.algorithm == "bc":
            return sum(
                (-self._log_policy(k, row)[self._place(k, row)] for k in range(self.n_heads)), zero
            )
        groups = (
            [list(range(self.n_heads))]
            if config.paradigm == "ctde"
            else [[k] for k in range(self.n_heads)]
        )
        after = row._replace(observation=row.next_observation, mask=row.next_mask)
        if config.algorithm == "omiga":
            return sum((self._local_loss(group, row) for group in groups), zero)
        if config.algorithm == "iql":
            return sum((self._implicit_loss(group, row) for group in groups), zero)
        total = zero
        for c in self.critics:
            for group in groups:
                nexts = torch.stack([self._next_values(k, row) for k in group], -1)
                targets = (
                    [self._mixed(self.n + c, list(nexts[c]), after) for c in self.critics]
                    if config.paradigm == "ctde"
                    else [nexts.min()]
                )
                follows = torch.stack(targets).min().detach()
                target = config.reward_scale * row.reward + (
                    0 if row.terminated else config.discount * follows
                )
                taken = [self._taken(c, k, row) for k in group]
                total = total + self._td(self._mixed(c, taken, row) - target)
            total = total + config.cql_alpha * self._penalty(c, row)
        if config.cql_reduction == "weighted" and config.cql_alpha > 0:
            total = total - sum(
                (
                    self._q(self.value, k, row).log_softmax(0)[self._place(k, row)]
                    for k in range(self.n_heads)
                ),
                zero,
            )
        if config.algorithm == "sac":
            total = total + sum((self._actor_loss(k, row) for k in range(self.n_heads)), zero)
        return total

    def _penalty(self, c: int, row: Transitions) -> Tensor:
        """The conservative penalty of a critic, each head beside the data's actions of others."""
        config = self.config
        taken = [self._taken(c, k, row) for k in range(self.n_heads)]
        penalties, divergences = [], []
        for k in range(self.n_heads):
            values = self._q(c, k, row)
            if config.paradigm == "ctde":
                others = [[*taken[:k], value, *taken[k + 1 :]] for value in values]
                values = torch.stack([self._mixed(c, joint, row) for joint in others])
            own = values[self._place(k, row)]
            penalties.append(torch.logsumexp(values, 0) - own)
            if config.cql_reduction == "weighted" and config.cql_alpha > 0:
                greedy = values.detach().log_softmax(0)
                cloned = self._q(self.value, k, row).detach().log_softmax(0)
                divergences.append((greedy.exp() * (greedy - cloned)).sum())
        if divergences:
            shares = (config.deviation_weight * torch.stack(divergences)).softmax(0)
        else:
            shares = torch.full((self.n_heads,), 1.0, dtype=torch.float64)
            shares = shares if config.cql_reduction == "sum" else shares / self.n_heads
        return (shares * torch.stack(penalties)).sum()

    def _mixed(self, role: int, values: list[Tensor], row: Transitions) -> Tensor:
        """The mixed value; `role` counts mixing networks of critics and then of targets."""
        if self.config.mixing == "sum":
            return torch.stack(values).sum()
        out = self._normal(row).flatten()
        for depth, (weights, biases) in enumerate(self.mixing):
            out = (out.relu() if depth else out) @ weights[role] + biases[role]
        n, width = len(values), self.config.mixing_width
        if self.config.mixing == "weighted":
            shares = [(1 + out[k]).abs() * value for k, value in enumerate(values)]
            return torch.stack(shares).sum() + out[n]
        total = out[-1]
        for e in range(width):
            hidden = out[n * width + e]
            for k, value in enumerate(values):
                hidden = hidden + out[k * width + e].abs() * value
            hidden = hidden if hidden.detach() > 0 else hidden.exp() - 1
            total = total + out[(n + 1) * width + e].abs() * hidden
        return total

    def _normal(self, row: Transitions) -> Tensor:
        """Normalised observations (I, D)."""
        return (row.observation.double() - self.shift) * self.scale

    def _local_loss(self, group: list[int], row: Transitions) -> Tensor:
        """Loss of OMIGA of heads whose values are mixed."""
        config, eta = self.config, self.config.advantage_weight
        after = row._replace(observation=row.next_observation, mask=row.next_mask)
        # Target critics come before the target of the value.
        target_value = self.targets[-1] + 1
        values = [self._outputs(target_value, k, after).mean() for k in group]
        follows = min(float(self._mixed(self.n + c, values, after).detach()) for c in self.critics)
        target = config.reward_scale * row.reward + (
            0 if row.terminated else config.discount * follows
        )
        total = torch.zeros((), dtype=torch.float64)
        for c in self.critics:
            taken = [self._taken(c, k, row) for k in group]
            total = total + self._td(self._mixed(c, taken, row) - target)
        for place, k in enumerate(group):
            taken, shares = [], []
            for c in self.critics:
                ones = [
                    torch.eye(len(group), dtype=torch.float64)[place][j] for j in range(len(group))
                ]
                nothing = [torch.zeros((), dtype=torch.float64) for _ in group]
                slope = self._mixed(self.n + c, ones, row) - self._mixed(self.n + c, nothing, row)
                shares.append(slope.detach())
                taken.append((slope * self._taken(self.targets[c], k, row)).detach())
            value = self._value(k, row)
            share = torch.stack(shares).mean()
            q = torch.stack(taken)
            gap = (q.mean() if config.paradigm == "ctde" else q.min()) - share * value
            top = math.log(config.largest_weight)
            exponent = eta * gap
            grown = (
                exponent.exp()
                if exponent.detach() < top
                else config.largest_weight * (1 + exponent - top)
            )
            weight = math.exp(min(float(exponent.detach()), top))
            cloning = self._log_policy(k, row)[self._place(k, row)]
            total = total + grown + eta * share * value - weight * cloning
        return total

    def _implicit_loss(self, group: list[int], row: Transitions) -> Tensor:
        """Loss of implicit Q-learning of heads whose values are added."""
        config, zero = self.config, torch.zeros((), dtype=torch.float64)
        after = row._replace(observation=row.next_observation, mask=row.next_mask)
        follows = sum((self._value(k, after) for k in group), zero).detach()
        target = config.reward_scale * row.reward + (
            0 if row.terminated else config.discount * follows
        )
        total = sum(
            (
                self._td(sum((self._taken(c, k, row) for k in group), zero) - target)
                for c in self.critics
            ),
            zero,
        )
        best = min(
            float(sum((self._taken(c, k, row) for k in group), zero).detach()) for c in self.targets
        )
        advantage = best - sum((self._value(k, row) for k in group), zero)
        share = config.expectile if advantage.detach() > 0 else 1 - config.expectile
        weight = min(
            math.exp(min(config.advantage_weight * float(advantage.detach()), 700)),
            config.largest_weight,
        )
        cloning = sum((self._log_policy(k, row)[self._place(k, row)] for k in group), zero)
        return total + share * advantage**2 - weight * cloning

    def _value(self, k: int, row: Transitions) -> Tensor:
        """The value of a head's state."""
        return self._outputs(self.value, k, row).mean()

    def _td(self, error: Tensor) -> Tensor:
        if self.config.td_loss == "huber" and abs(error) > 1:
            return error.abs() - 0.5
        return error**2 / 2

    def _actor_loss(self, k: int, row: Transitions) -> Tensor:
        log_policy, temperature = self._log_policy(k, row), self.log_temperature[k].exp()
        q = self._preference(self.critics, k, row).detach()
        loss = (log_policy.exp() * (temperature.detach() * log_policy - q)).sum()
        if self.config.automatic_temperature:
            entropy = -(log_policy.exp() * log_policy).sum().detach()
            loss = loss + temperature * (
                entropy - self.config.entropy_ratio * torch.tensor(float(len(log_policy))).log()
            )
        cloning = -log_policy[self._place(k, row)]
        return loss + self.config.cloning_weight * cloning

    def _next_values(self, k: int, row: Transitions) -> Tensor:
        """Values of a head's next state, one for each target critic.

        Outside ctde there is one value: that of the smallest critic of each action.
        """
        after = row._replace(observation=row.next_observation, mask=row.next_mask)
        judged = torch.stack([self._q(c, k, after) for c in self.targets])
        if self.config.paradigm != "ctde":
            judged = judged.min(0, keepdim=True).values
        if self.config.algorithm == "sac":
            log_policy = self._log_policy(k, after)
            entropy = -(log_policy.exp() * log_policy).sum()
            return (log_policy.exp() * judged).sum(-1) + (
                self.log_temperature[k].exp() * entropy if self.config.soft_backup else 0
            )
        choosers = self.critics if self.config.double_q else self.targets
        return judged[:, self._preference(choosers, k, after).argmax()]

    def _preference(self, roles: Sequence[int], k: int, row: Transitions) -> Tensor:
        """The values that actions are chosen by.

        They are those of the smallest critic; in ctde, where only sums over heads have a meaning,
        the mean over the critics.
        """
        values = torch.stack([self._q(c, k, row) for c in roles])
        return values.mean(0) if self.config.paradigm == "ctde" else values.min(0).values

    # --- Networks ---

    def _q(self, role: int, k: int, row: Transitions) -> Tensor:
        """Outputs of a network for its legal actions alone."""
        return self._outputs(role, k, row)[self._legal(k, row)]

    def _outputs(self, role: int, k: int, row: Transitions) -> Tensor:
        """All outputs of a network."""
        everything = self.config.paradigm == "c" or self.config.observes != "own"
        seen = self._normal(row)[slice(None) if everything else k].flatten()
        if self.config.observes == "sequence":
            for agent in range(self.team.n_agents - 1):
                for a in range(self.team.n_actions):
                    was_chosen = agent < k and int(row.action[agent]) == a
                    seen = torch.cat([seen, torch.tensor([float(was_chosen)]).double()])
        for depth, (weights, biases) in enumerate(self.parameters):
            seen = (seen.relu() if depth else seen) @ weights[role, k] + biases[role, k]
        return seen

    def _log_policy(self, k: int, row: Transitions) -> Tensor:
        return self._q(self.actor, k, row).log_softmax(0)

    def _taken(self, c: int, k: int, row: Transitions) -> Tensor:
        return self._q(c, k, row)[self._place(k, row)]

    def _legal(self, k: int, row: Transitions) -> list[int]:
        if self.config.paradigm == "c":
            return [
                j
                for j, action in enumerate(self.joint)
                if all(row.mask[i, a] for i, a in enumerate(action))
            ]
        return [a for a in range(self.team.n_actions) if row.mask[k, a]]

    def _place(self, k: int, row: Transitions) -> int:
        """Where the chosen action stands among the legal ones."""
        chosen = (
            self.joint.index(tuple(row.action.tolist()))
            if self.config.paradigm == "c"
            else int(row.action[k])
        )
        return self._legal(k, row).index(chosen)
