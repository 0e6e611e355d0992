"""How well access points can do on what they see: a search over policies for the score itself.

Decentralised learners stop far below centralised ones. The search shows whether the learner or its
information is the limit. It uses no rewards, critics or data.
``python examples/paper/information_limit.py`` searches, by the cross-entropy method, for the small
policy with the highest mean score over training episodes. Every access point runs this policy on
its own observation. The result of each search is evaluated on 256 unseen episodes. With turns by
load the same search has the information to coordinate, which shows what it can find. Writes
docs/results/information_limit.json. ``--quick`` does the same in miniature.

Reference: R. Rubinstein, "The cross-entropy method for combinatorial and continuous optimization",
Methodology and Computing in Applied Probability 1 (1999).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from study_options import StudyOptions, origin

from baselines.comparison import show, summarise
from rrm_env import SILENT, Evaluation, Network, RRMConfig, evaluate, metrics
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json

Floats = NDArray[np.float64]

ROWS: dict[str, dict[str, Any]] = {
    "own observations": {},
    "own observations, equal turns": {"turns": "equal"},
    "own observations, turns by load": {"turns": "by_load"},
}
"""Fields of the preset ``paper`` that each row changes."""


@dataclass(frozen=True)
class Effort:
    """Size of a search."""

    generations: int = 400
    population: int = 128
    """Policies tried per generation."""
    elite: int = 32
    """The best of them, which the next generation is drawn around."""
    episodes: int = 8
    """Fresh episodes per generation, the same for the whole population."""
    hidden: int = 8
    """Neurons of a policy's hidden layer."""


class LocalPolicies:
    """P policies side by side, each run by every access point on its own observation.

    Policy p plays episodes p E to (p + 1) E - 1 of a network of P E episodes. Actions are drawn
    from a softmax.

    Args:
        parameters: (P, `count`) of two layers, tanh between them.
        config: the network.
        hidden: neurons of the hidden layer.
        shift, scale: (D,) what observations are normalised with.
    """

    def __init__(
        self, parameters: Floats, config: RRMConfig, hidden: int, shift: Floats, scale: Floats
    ) -> None:
        shapes = self._shapes(config, hidden)
        bounds = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        self._layers = [
            (
                parameters[:, bounds[k] : bounds[k + 1]].reshape(-1, *shape) / np.sqrt(shape[0])
            ).astype(np.float32)
            for k, shape in enumerate(shapes)
        ]
        self._shift, self._scale = shift.astype(np.float32), scale.astype(np.float32)

    @staticmethod
    def _shapes(config: RRMConfig, hidden: int) -> tuple[tuple[int, int], ...]:
        # One more input of each layer, which is always 1, makes the bias.
        return (config.n_features + 1, hidden), (hidden + 1, config.n_actions)

    @classmethod
    def count(cls, config: RRMConfig, hidden: int) -> int:
        """Number of parameters of one policy."""
        return sum(int(np.prod(shape)) for shape in cls._shapes(config, hidden))

    def reset(self, network: Network) -> None:
        """Do nothing: the policies have no memory."""

    def schedule(self, network: Network) -> NDArray[np.int64]:
        """(P E, I) UEs that the access points serve."""
        n_policies, n_aps = len(self._layers[0]), network.config.n_aps
        seen = (network.observation - self._shift) * self._scale
        activations = seen.reshape(n_policies, -1, network.config.n_features)
        for depth, weights in enumerate(self._layers):
            activations = np.tanh(activations) if depth else activations
            activations = activations @ weights[:, :-1] + weights[:, -1:]
        preferences = activations.reshape(network.num_envs, n_aps, -1)
        drawn = network.uniform(preferences[0].size).reshape(preferences.shape)
        actions = (preferences - np.log(-np.log(drawn))).argmax(-1)[..., None]
        offered = np.concatenate(
            [network.candidates, np.full((network.num_envs, n_aps, 1), SILENT)], -1
        )
        return np.take_along_axis(offered, actions, -1)[..., 0].astype(np.int64)


def search(config: RRMConfig, effort: Effort, seed: int) -> LocalPolicies:
    """Search by the cross-entropy method: the policy at the centre of the last generation."""
    generator = np.random.default_rng(seed)
    shift, scale = _normaliser(config)
    network = Network(config, effort.population * effort.episodes)
    centre = np.zeros(LocalPolicies.count(config, effort.hidden))
    spread = np.ones_like(centre)
    for generation in range(effort.generations):
        tried = centre + spread * generator.standard_normal((effort.population, centre.size))
        episodes = np.arange(effort.episodes) + effort.episodes * (
            generation + effort.generations * seed
        )
        network.reset(np.tile(episodes, effort.population))
        policies = LocalPolicies(tried, config, effort.hidden, shift, scale)
        while not network.done:
            network.step(policies.schedule(network))
        rates = network.ue_rate_sum / config.episode_length
        scores = (
            metrics.score(rates, config.sum_weight, config.score_tail_weight)
            .reshape(effort.population, -1)
            .mean(-1)
        )
        best = tried[scores.argsort()[-effort.elite :]]
        centre = best.mean(0)
        # The spread follows slowly, because a spread that collapses early ends the search.
        spread = 0.8 * spread + 0.2 * best.std(0)
        if (generation + 1) % 25 == 0:
            print(
                f"generation {generation + 1}: "
                f"mean score {scores.mean():.3f}, best {scores.max():.3f}",
                flush=True,
            )
    return LocalPolicies(centre[None], config, effort.hidden, shift, scale)


def _normaliser(config: RRMConfig) -> tuple[Floats, Floats]:
    """(D,) mean and inverse standard deviation of observations while no access point transmits."""
    network = Network(config, 16)
    network.reset(0)
    seen = []
    while not network.done:
        seen.append(network.observation.reshape(-1, config.n_features).astype(np.float64))
        network.step(np.full((16, config.n_aps), SILENT))
    stacked = np.concatenate(seen)
    return stacked.mean(0), 1 / np.maximum(stacked.std(0), 0.1)


def main(options: StudyOptions) -> None:
    """Run the searches, evaluate what they found, and write the results."""
    options.check_only(ROWS)
    path = check_writable("results", options.results("information_limit.json"))
    effort = (
        Effort(generations=3, population=16, elite=4, episodes=4) if options.quick else Effort()
    )
    scale = options.scale
    found: dict[str, Evaluation] = {}
    for name in options.only or ROWS:
        config = RRMConfig(**ROWS[name])
        print(f"{name}:", flush=True)
        policies: Iterable[LocalPolicies] = (
            search(config, effort, seed) for seed in range(scale.seeds)
        )
        found[name] = Evaluation.stack(
            [evaluate(policy, config, scale.episodes) for policy in policies]
        )
    summary = summarise(found)
    if options.only:
        show(summary, f"{scale.seeds} searches, {scale.episodes} unseen episodes")
        return
    rows = {
        name: {
            "network": ROWS[name],
            **{kpi: summary[name][kpi] for kpi in metrics.LEARNERS_KPIS},
            "score_per_seed": evaluation.score.mean(-1).tolist(),
        }
        for name, evaluation in found.items()
    }
    result = {**origin(scale), "effort": vars(effort), "rows": rows}
    write_json(path, result)
    show(summary, f"{scale.seeds} searches, {scale.episodes} unseen episodes")
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(StudyOptions, description=__doc__))))
