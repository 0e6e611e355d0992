"""Independent PPO in one file: a start for algorithms of your own.

``python examples/own_ippo.py`` trains for about a minute on one core, and evaluates the policy on
unseen episodes as the package's own are evaluated. All access points share one network, and each
acts on its own observation. docs/train_your_own.md says what matters.

J. Schulman et al., "Proximal policy optimization algorithms", arXiv 1707.06347; C. Schroeder de
Witt et al., "Is independent learning all you need in the StarCraft multi-agent challenge?", arXiv
2011.09533.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

import rrm_env
from rrm_env.exit_status import status_of

B = 64
"""Episodes side by side."""
T = 50
"""Steps between updates."""
REWARD_SCALE = 0.05
DISCOUNT, LAMBDA = 0.5, 0.9
CLIP, ENTROPY = 0.2, 0.01
EPOCHS, PARTS = 4, 4
"""Passes over the steps of an update, and the parts of each."""


def main() -> None:
    """Train, and evaluate on unseen episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=150, help="default: %(default)s")
    parser.add_argument(
        "--episodes", type=int, default=64, help="unseen episodes; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    config = rrm_env.RRMConfig(turns="by_load")
    envs = gymnasium.make_vec("rrm/rrm-v0", num_envs=B, config=config)
    n_aps, n_actions = config.n_aps, config.n_actions
    body = nn.Sequential(nn.Linear(config.n_features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    actor, critic = nn.Linear(64, n_actions), nn.Linear(64, 1)
    networks = nn.ModuleList([body, actor, critic])
    optimiser = torch.optim.Adam(networks.parameters(), lr=1e-3)

    def policy(observation: Any, mask: Any) -> tuple[Any, torch.Tensor]:
        """The distribution over legal actions, and the value, of every access point."""
        hidden = body(torch.as_tensor(observation))
        logits = actor(hidden).masked_fill(torch.as_tensor(mask) == 0, -1e9)
        return torch.distributions.Categorical(logits=logits), critic(hidden)[..., 0]

    observation, infos = envs.reset(seed=options.seed)
    scores: list[float] = []
    for update in range(options.updates):
        steps: list[tuple[Any, ...]] = []
        for _ in range(T):
            mask = infos["action_mask"]
            with torch.no_grad():
                drawn, value = policy(observation, mask)
                action = drawn.sample()
            following, reward, _, truncated, infos = envs.step(action.numpy())
            bootstrap = np.zeros((B, n_aps), np.float32)
            if truncated.all():
                # The episodes were cut, not lost: what follows is worth what the critic says of
                # their true last observations.
                final = infos["final_info"]
                scores.append(final["score"].mean())
                with torch.no_grad():
                    bootstrap = policy(infos["final_obs"], final["action_mask"])[1].numpy()
            paid = REWARD_SCALE * reward[:, None] + DISCOUNT * bootstrap
            steps.append(
                (observation, mask, action, drawn.log_prob(action), value, paid, truncated)
            )
            observation = following
        with torch.no_grad():
            later = policy(observation, infos["action_mask"])[1]
        advantage, advantages = torch.zeros(B, n_aps), list[torch.Tensor]()
        for *_, value, paid, truncated in reversed(steps):
            goes_on = torch.as_tensor(~truncated, dtype=torch.float32)[:, None]
            error = torch.as_tensor(paid, dtype=torch.float32) + DISCOUNT * goes_on * later - value
            advantage = error + DISCOUNT * LAMBDA * goes_on * advantage
            advantages.insert(0, advantage)
            later = value
        seen, masks, actions, old, values = (
            torch.stack([torch.as_tensor(step[k]) for step in steps]) for k in range(5)
        )
        gained = torch.stack(advantages)
        targets = gained + values
        gained = (gained - gained.mean()) / (gained.std() + 1e-8)
        for _ in range(EPOCHS):
            for part in torch.randperm(T).chunk(PARTS):
                now, value = policy(seen[part], masks[part])
                ratio = (now.log_prob(actions[part]) - old[part]).exp()
                clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
                loss = -torch.min(ratio * gained[part], clipped * gained[part]).mean()
                loss = loss + 0.5 * (value - targets[part]).square().mean()
                loss = loss - ENTROPY * now.entropy().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(networks.parameters(), 0.5)
                optimiser.step()
        if update % 10 == 9:
            print(f"update {update + 1}: score {np.mean(scores[-2:]):.3f}", flush=True)

    def act(observation: Any, mask: Any) -> Any:
        """The most probable action of every access point."""
        with torch.no_grad():  # a network's arrays are read-only, which torch does not take
            return policy(observation.copy(), mask.copy())[0].probs.argmax(-1).numpy()

    found = rrm_env.evaluate(rrm_env.from_actions(act), config, options.episodes)
    print(
        f"unseen episodes: score {found.score.mean():.2f}, worst user {found.worst_rate.mean():.2f}"
    )


if __name__ == "__main__":
    sys.exit(status_of(main))
