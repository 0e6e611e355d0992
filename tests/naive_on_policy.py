"""Slow reference implementations of advantages and of PPO's loss, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]


def naive_advantages(
    reward: Row,
    value: Row,
    next_value: Row,
    terminated: Row,
    ended: Row,
    discount: float,
    decay: float,
) -> list[float]:
    """Advantages of one environment's steps, each as the sum of its definition."""
    errors = [
        reward[t] + (0 if terminated[t] else discount * next_value[t]) - value[t]
        for t in range(len(reward))
    ]
    advantages = []
    for t in range(len(errors)):
        total = 0.0
        for n in range(len(errors) - t):
            total += (discount * decay) ** n * errors[t + n]
            if ended[t + n]:
                break
        advantages.append(total)
    return advantages


def naive_log_policy(logits: Row, legal: Row, action: int) -> float:
    """The log-probability of an action under a softmax over legal actions."""
    weights = [math.exp(one) if ok else 0.0 for one, ok in zip(logits, legal, strict=True)]
    return math.log(weights[action] / sum(weights))


def naive_entropy(logits: Row, legal: Row) -> float:
    """The entropy of a softmax over legal actions."""
    shares = [
        math.exp(naive_log_policy(logits, legal, action)) for action, ok in enumerate(legal) if ok
    ]
    return -sum(share * math.log(share) for share in shares)


def naive_clipped(log_ratio: float, advantage: float, clip_range: float) -> float:
    """The loss of one action."""
    ratio = math.exp(log_ratio)
    if advantage >= 0:
        return -min(ratio, 1 + clip_range) * advantage
    return -max(ratio, 1 - clip_range) * advantage
