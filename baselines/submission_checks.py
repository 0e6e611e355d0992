"""Checks of submissions to the leaderboard: can these rates be, and does the scheduler reach them?

Episodes are a function of their seeds, so whoever reads a submission can compute what each link
could have carried, and play the first episodes again.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.registry import REGISTRY, added_schedulers, parse_scheduler, split_options
from baselines.submission import (
    SEED,
    Submission,
    SubmissionError,
    file_checksum,
    read_submission,
)
from rrm_env import SILENT, Network, RRMConfig, evaluate, metrics
from rrm_env.evaluation import BATCH_SIZE, first_episode
from rrm_env.provenance import gives_same_bits
from rrm_env.references import reference

REPLAYED = 4
"""Episodes that are played again."""
LUCK = 1.05
"""What a mean score may have over the optimum: that is one in expectation, and a few episodes'
fading may be better than its mean."""
ROUNDING = 1e-5
"""Relative error of rates that are sums of float32."""
TOLERANCE = 1e-4
"""Difference of rates in bit/s/Hz that other processors and versions may cause."""

Floats = NDArray[np.float64]


def check(path: str | Path, replayed: int = REPLAYED) -> tuple[Submission, str]:
    """Check a submission, and play its first episodes again where its scheduler is installed.

    Args:
        path: its file.
        replayed: number of episodes to play again; 0 plays none.

    Returns:
        the submission, and a sentence on what was played again, or why nothing was.

    Raises:
        SubmissionError: it is not valid; the message names file, field, value and what is allowed.
    """
    submission = read_submission(path)
    try:
        check_possible(submission)
        return submission, check_reached(submission, replayed)
    except ValueError as error:
        raise SubmissionError(f"{str(path)!r}: {error}") from error


def check_possible(submission: Submission) -> None:
    """Refuse rates that no scheduler can reach in these episodes.

    A user gets at most what its link carries without interference in every step; the users of an
    access point together at most what the best of their links carries. The mean score is at most
    the network's optimum, where that is proven.

    Raises:
        ValueError: a rate, or the mean score, is too high.
    """
    rates = submission.ue_rates
    per_user, per_ap, association = _capacity(_physics(submission.config), submission.episodes)
    highest = per_user * (1 + ROUNDING)
    if (wrong := rates > highest).any():
        k, episode, user = np.argwhere(wrong)[0]
        raise ValueError(
            f"ue_rates[{k}], episode {episode}, user {user} = {rates[k, episode, user]:g} bit/s/Hz "
            f"must not exceed {per_user[episode, user]:g}, what its link carries when served alone "
            "in every step"
        )
    serves = association[..., None] == np.arange(submission.config.n_aps)
    together = np.einsum("seu,eua->sea", rates, serves)
    if (wrong := together > per_ap * (1 + ROUNDING)).any():
        k, episode, ap = np.argwhere(wrong)[0]
        raise ValueError(
            f"ue_rates[{k}], episode {episode}: the users of access point {ap} have "
            f"{together[k, episode, ap]:g} bit/s/Hz together, which must not exceed "
            f"{per_ap[episode, ap]:g}, since it serves one user in a step"
        )
    network = submission.network
    for name in network.optimum if network.is_bound else ():
        first = submission.kpi(name)[:, : network.optimum_episodes]
        if first.mean() > LUCK * network.optimum[name]:
            raise ValueError(
                f"ue_rates have a mean {metrics.KPIS[name].heading} of {first.mean():.3f} in the "
                f"first {first.shape[1]} episodes, allowed: up to {LUCK} times the optimum of "
                f"{network.optimum[name]:.3f}, which no scheduler exceeds that decides from past "
                "reports"
            )


def check_reached(submission: Submission, replayed: int = REPLAYED) -> str:
    """Play the first episodes again, and refuse a submission whose rates differ.

    Where this process gives the same bits (`rrm_env.provenance.gives_same_bits`), all rates must
    agree to the bit. Elsewhere the last bits of a channel may differ, and a decision may then fall
    otherwise: so in more than half of the episodes all rates must agree within `TOLERANCE`.

    Raises:
        ValueError: they differ.
    """
    replayed = min(replayed, submission.episodes)
    if replayed < 1:
        return "no episode was played again"
    scheduler, reason = _scheduler_of(submission)
    if scheduler is None:
        return f"no episode was played again: {reason}"
    found = evaluate(scheduler, submission.config, replayed, SEED).ue_rates
    stated = submission.ue_rates[0, :replayed]
    same = gives_same_bits(submission.origin)
    if same:
        agrees = (found.astype(np.float32) == stated.astype(np.float32)).all(axis=1)
        enough = bool(agrees.all())
    else:
        agrees = (np.abs(found - stated) <= TOLERANCE).all(axis=1)
        enough = 2 * int(agrees.sum()) > replayed
    if not enough:
        episode = int(np.argmin(agrees))
        user = int(np.argmax(np.abs(found[episode] - stated[episode])))
        how = "to the bit" if same else f"within {TOLERANCE:g}, in more than half of the episodes"
        raise ValueError(
            f"ue_rates[0], episode {episode}, user {user} = {stated[episode, user]:g} bit/s/Hz, "
            f"but {submission.policy['scheduler']} reaches {found[episode, user]:g} there; they "
            f"must agree {how}"
        )
    return f"{replayed} episodes played again: the same {'bits' if same else 'rates'}"


def _scheduler_of(submission: Submission) -> tuple[Any, str]:
    """The scheduler, or None and why it cannot be played here."""
    if "scheduler" not in submission.policy:
        return None, "it is of a trained policy, whose files are not part of it"
    text, files = submission.policy["scheduler"], submission.policy["files"]
    name, options = split_options(text)
    if name not in REGISTRY and name not in added_schedulers():
        return None, f"scheduler {name} is not installed"
    given = {key: Path(value) for key, value in options if value is not None}
    for key, digest in files.items():
        path = given.get(key)
        if path is None:
            raise ValueError(f"policy: files names {key!r}, which {text!r} does not give")
        if not path.is_file() or file_checksum(path) != digest:
            return None, f"the file {key} = {str(path)!r} is not here, or another one"
    if name in REGISTRY:
        return parse_scheduler(text), ""
    try:
        return parse_scheduler(text), ""
    except ValueError as error:
        return None, str(error)


def _physics(config: RRMConfig) -> RRMConfig:
    """The network with the views of its reference, so that all views share one computation."""
    return replace(reference(config).network, episode_length=config.episode_length)


@functools.lru_cache(maxsize=8)
def _capacity(config: RRMConfig, episodes: int) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """What links carry at most, with nobody else transmitting, bit/s/Hz.

    Returns:
        (episodes, J) each user if it is served in every step; (episodes, I) each access point if
        it serves its best user in every step; (episodes, J) the access point of each user.
    """
    parts = []
    for start in range(0, episodes, BATCH_SIZE):
        network = Network(config, min(BATCH_SIZE, episodes - start))
        network.reset(first_episode(SEED) + start)
        association = network.association.copy()
        per_user = np.zeros((network.num_envs, config.n_ues))
        per_ap = np.zeros((network.num_envs, config.n_aps))
        serves = association[:, None] == np.arange(config.n_aps)[:, None]
        nobody = np.full((network.num_envs, config.n_aps), SILENT)
        while not network.done:
            own = np.take_along_axis(network.gain, association[:, None], axis=1)[:, 0]
            rate = np.log2(1 + own.astype(np.float64))
            per_user += rate
            per_ap += np.where(serves, rate[:, None], 0).max(axis=2)
            network.step(nobody)
        steps = config.episode_length
        parts.append((per_user / steps, per_ap / steps, association))
    users, aps, associations = (np.concatenate(part) for part in zip(*parts, strict=True))
    return users, aps, associations
