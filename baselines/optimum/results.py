"""The optimum of evaluation episodes, from the disk where it is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.joint_actions import EXACT_APS
from baselines.optimum import cache
from baselines.optimum.choice import Floats, Integers, Search
from baselines.optimum.leveled import MAX_LISTED_POWERS, Leveled, is_listed
from baselines.optimum.listed import Listed
from baselines.optimum.motion import (
    MAX_BLOCKS,
    MAX_BLOCKS_GREEDY,
    MAX_BLOCKS_LARGE,
    along_the_motion,
    default_blocks,
    edges,
)
from baselines.optimum.moves import CLOSE
from baselines.optimum.program import Program
from baselines.optimum.searched import (
    MAX_SEARCHED_APS,
    BranchAndBound,
    Factors,
    Nearby,
    Thorough,
)
from baselines.optimum.solve import OBJECTIVES, Arrays, shapes, solve_episode
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, nearest
from rrm_env.evaluation import MAX_EPISODES, first_episode
from rrm_env.optional import required
from rrm_env.provenance import __version__
from rrm_env.references import OF_THE_VIEW
from rrm_env.trace_source import trace_of

INFORMATION = ("large_scale", "channel")
SEARCHES = ("auto", "exact", "greedy")
MAX_EXACT_APS = 16
"""Largest network in which ``auto`` searches for a bound."""
METHOD = 3
"""Raised when results change, so that those on the disk are computed anew."""
PROGRESS = 1e-3
"""As for `Program`, where the search proves nothing, up to 32 APs; in proportion beyond."""
BATCH_BYTES = 2**26
"""Gains of so many bytes are held at once."""

_WITHOUT_EFFECT = (*OF_THE_VIEW, "csi_delay")
"""Fields that change neither the channel nor the score."""


@dataclass(frozen=True, eq=False)
class Schedules:
    """The best schedule of each episode for one objective."""

    value: Floats
    """(episodes,) the objective that it reaches."""
    bound: Floats
    """(episodes,) what no schedule exceeds; infinite where that is unknown."""
    ue_rates: Floats
    """(episodes, J) mean rate of each user, bit/s/Hz."""
    ue_share: Floats
    """(episodes, J) share of time in which each user is served."""
    ap_share: Floats
    """(episodes, I) share of time in which each AP transmits."""
    set_share: Floats
    """(episodes, 2^I) share of time of each set of APs, whose bit k stands for AP k.

    It is (episodes, 0) for more than 10 APs.
    """
    left_out: Integers
    """(episodes, k) the users that Eq. 10 leaves out, -1 where leaving one out gains nothing."""

    @property
    def gap(self) -> Floats:
        """(episodes,) bound - value."""
        return self.bound - self.value


@dataclass(frozen=True, eq=False)
class Optimum:
    """What can be reached in each episode, for four objectives."""

    config: RRMConfig
    seed: int
    information: str
    """What the scheduler is assumed to know: ``large_scale`` gains, or the whole ``channel``."""
    blocks: int
    """Number of time blocks, within which gains are taken as constant."""
    score: Schedules
    """Eq. 11."""
    minimum_score: Schedules
    """Eq. 11 with the lowest rate of all users as the tail."""
    sum_rate: Schedules
    """Eq. 9, bit/s/Hz."""
    max_min: Schedules
    """The lowest rate of all users, bit/s/Hz."""

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.score.value)

    @property
    def is_bound(self) -> bool:
        """Whether it is an optimum, proven up to `Schedules.gap`, or only the best known."""
        return bool(np.isfinite(self.score.bound).all())


def optimum(
    config: RRMConfig | None = None,
    seed: int = 0,
    episodes: int = 128,
    *,
    information: str = "large_scale",
    search: str = "auto",
    blocks: int | None = None,
    cached: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Optimum:
    """The optimum of each evaluation episode, or the best known.

    The episodes are those of `rrm_env.evaluate` under the same config and seed. An expected score
    with the tail as minimum, sum rate or lowest rate above the bound is impossible for a scheduler
    of that information, whatever it does; Eq. 11's tail can exceed the rates' expectation by luck.

    Args:
        config: the network; the preset ``paper`` where None.
        seed: as for `evaluate`.
        episodes: as for `evaluate`.
        information: ``large_scale``: the scheduler knows all gains without fading, past reports and
            what it decided, but nothing of the present fading: Rayleigh fading that is fresh in
            each step and reported late (``fading="iid"``, ``csi_delay >= 1``), or none.
            ``channel``: it knows the gains of all steps with their fading, also the future ones,
            which bounds every scheduler, also with ``csi_delay = 0`` or ``fading="jakes"``.
        search: ``exact`` lists all sets of up to 10 APs and goes through those of up to 20 by
            branch and bound, whose time doubles with every AP; ``greedy`` is a local search without
            a bound; ``auto`` is exact up to 16 APs. With L > 1 power levels ``exact`` lists all
            powers of all APs, which takes up to 4,096 of them, (L + 1)^I. Otherwise schedules
            switch APs between their highest level and silence, and no bound is known: what they
            reach is a lower bound of the optimum with levels.
        blocks: time blocks within which gains are taken as constant, those of their middle step;
            where None, as many as it takes for users to move at most 0.25 m in one, but at most 40,
            and above 10 APs at most 10, or 5 with a greedy search. With ``channel`` every step is
            a block.
        cached: whether results are kept on the disk and read from there
            (`baselines.optimum.cache`).
        progress: called after every episode solved with 1, and once with the number of those that
            the disk had.

    Raises:
        TypeError, ValueError: an argument of another type or out of range; an information that the
            network does not fit; scipy is missing.
        RuntimeError: HiGHS found no solution.
    """
    config = RRMConfig() if config is None else config
    if not isinstance(config, RRMConfig):
        raise TypeError(f"config must be an RRMConfig, got {config!r}")
    episodes = bounded_integer("episodes", episodes, MAX_EPISODES)
    first = first_episode(seed)
    check(config, information, search)
    exact = search == "exact" or (search == "auto" and config.n_aps <= MAX_EXACT_APS)
    blocks = _blocks(config, information, blocks, exact=exact)
    subject = _subject(config, int(seed), information, exact, blocks)
    stored = cache.load(subject, shapes(config)) if cached else None
    known = 0 if stored is None else len(stored["score/value"])
    if progress is not None and known:
        progress(min(known, episodes))
    if known < episodes:
        require_solver()
        parts = [] if stored is None else [stored]
        per_batch = max(1, BATCH_BYTES // (8 * blocks * config.n_aps * config.n_ues))
        for start in range(known, episodes, per_batch):
            count = min(per_batch, episodes - start)
            parts += _solve(config, first + start, count, information, exact, blocks, progress)
        stored = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if cached:
            cache.store(subject, stored)
    assert stored is not None
    return _as_optimum(config, int(seed), information, blocks, stored, episodes)


def check(
    config: RRMConfig,
    information: str = "large_scale",
    search: str = "auto",
    instead: str = "information='channel'",
) -> None:
    """Refuse what has no bound, or none of this kind, as `optimum` does.

    Args:
        config: the network.
        information: as for `optimum`.
        search: as for `optimum`.
        instead: how the caller's users ask for the bound that also holds where the fading is known.

    Raises:
        ValueError: an information or search that is unknown, or that the network does not fit.
    """
    if information not in INFORMATION:
        raise ValueError(f"unknown information {nearest(str(information), INFORMATION)}")
    if search not in SEARCHES:
        raise ValueError(f"unknown search {nearest(str(search), SEARCHES)}")
    exceeded = (
        "schedulers can exceed the optimum that information='large_scale' stands for; "
        f"{instead} bounds them too"
    )
    if information == "large_scale" and config.fading in ("jakes", "trace"):
        raise ValueError(
            f"fading = {config.fading!r} has memory, so reports tell of the present fading, and "
            f"{exceeded}"
        )
    if information == "large_scale" and config.fading == "iid" and config.csi_delay == 0:
        raise ValueError(
            "csi_delay = 0 lets schedulers know the present fading, allowed: at least 1; "
            f"otherwise {exceeded}"
        )
    known = information == "channel" or config.fading == "none"
    if known and (config.n_aps > EXACT_APS or search == "greedy"):
        raise ValueError(
            "the optimum of channels without unknown fading lists all sets of APs: it needs n_aps "
            f"up to {EXACT_APS} and search 'auto' or 'exact', got n_aps = {config.n_aps} and "
            f"search = {search!r}"
        )
    if search == "exact" and config.n_power_levels > 1 and not is_listed(config):
        raise ValueError(
            f"search = 'exact' lists up to {MAX_LISTED_POWERS:,} powers of all APs, got n_aps = "
            f"{config.n_aps} with {config.n_power_levels} levels in power_levels_dbm; "
            "search='auto' finds the best schedule at the highest level known, without a bound"
        )
    if search == "exact" and config.n_aps > MAX_SEARCHED_APS:
        raise ValueError(
            f"search = 'exact' takes up to {MAX_SEARCHED_APS} APs, got n_aps = {config.n_aps}; "
            "search='greedy' finds the best schedule known, without a bound"
        )


def require_solver() -> None:
    """Refuse (ValueError) where scipy is missing or cannot be imported."""
    required("the optimum needs", "scipy.optimize", extra="optimum")


def _blocks(config: RRMConfig, information: str, blocks: int | None, *, exact: bool) -> int:
    """The number of time blocks, checked."""
    if information == "channel":
        if blocks not in (None, config.episode_length):
            raise ValueError(
                f"blocks must be None or episode_length = {config.episode_length} with "
                f"information = 'channel', got {blocks!r}"
            )
        return config.episode_length
    if blocks is None:
        large = MAX_BLOCKS_LARGE if exact else MAX_BLOCKS_GREEDY
        return default_blocks(config, MAX_BLOCKS if config.n_aps <= EXACT_APS else large)
    return bounded_integer("blocks", blocks, config.episode_length)


def _subject(
    config: RRMConfig, seed: int, information: str, exact: bool, blocks: int
) -> dict[str, Any]:
    """Everything on which the result of an episode depends."""
    fields = {name: v for name, v in config.as_dict().items() if name not in _WITHOUT_EFFECT}
    if config.trace is not None:  # its windows depend on csi_delay; its place on the disk is moot
        checksum = trace_of(config).checksum
        fields |= {"trace": None, "trace_checksum": checksum, "csi_delay": config.csi_delay}
    return {
        "config": fields,
        "seed": seed,
        "information": information,
        "search": "exact" if exact else "greedy",
        "blocks": blocks,
        "method": METHOD,
        "rrm_env": __version__,
    }


def _solve(
    config: RRMConfig,
    first_seed: int,
    count: int,
    information: str,
    exact: bool,
    blocks: int,
    progress: Callable[[int], None] | None,
) -> list[Arrays]:
    """The results of so many episodes, each with a first dimension of 1."""
    channel = information == "channel"
    gain, association = along_the_motion(config, first_seed, count, blocks, fading=channel)
    length = np.diff(edges(config, blocks)) / config.episode_length
    fades = config.fading == "iid" and not channel
    lists_powers = exact and config.n_power_levels > 1 and is_listed(config)
    solved = []
    for k in range(count):
        if lists_powers:
            powers = np.array(config.relative_powers)
            leveled = Leveled(gain[k], association[k], powers, fades=fades)
            program = Program(leveled, leveled, length)
        else:
            highest = gain[k] * max(config.relative_powers)
            search = _searches(highest, association[k], fades=fades, exact=exact)
            program = Program(*search[:2], length, *search[2:])
        found = solve_episode(config, program)
        if config.n_power_levels > 1 and not lists_powers:
            found |= {f"{name}/bound": np.array(math.inf) for name in OBJECTIVES}
        solved.append({name: array[None] for name, array in found.items()})
        if progress is not None:
            progress(1)
    return solved


def _searches(
    gain: Floats, association: Integers, *, fades: bool, exact: bool
) -> tuple[Search, Search, float, float]:
    """The fast search, the one that proves, and the program's tolerance and progress."""
    if exact and gain.shape[1] <= EXACT_APS:
        listed = Listed(gain, association, fades=fades)
        return listed, listed, 1e-7, 0.0
    factors = Factors(gain, association)
    if exact:
        return Nearby(factors), BranchAndBound(factors), 3 * CLOSE, 0.0
    progress = PROGRESS * max(1.0, gain.shape[1] / 32)
    return Nearby(factors), Thorough(factors), 2 * CLOSE, progress


def _as_optimum(
    config: RRMConfig, seed: int, information: str, blocks: int, stored: Arrays, episodes: int
) -> Optimum:
    """The first episodes of arrays by their names ``objective/part``."""
    parts = Schedules.__dataclass_fields__
    schedules = {
        name: Schedules(**{part: stored[f"{name}/{part}"][:episodes] for part in parts})
        for name in OBJECTIVES
    }
    return Optimum(config, seed, information, blocks, **schedules)
