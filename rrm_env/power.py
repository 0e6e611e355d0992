"""Power levels: decisions that name them, and how actions number candidates and levels.

With N candidates and L levels, action a < N L serves candidate a // L at level a % L, and action
N L is silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env.config import RRMConfig
from rrm_env.kernels import SILENT

if TYPE_CHECKING:
    from rrm_env.network import Network


class PoweredDecision(NamedTuple):
    """The decision of B networks for one step, with the powers of the transmissions."""

    served: NDArray[Any]
    """(B, I) integers, the UE each AP serves, one of its own, or `SILENT`."""
    level: NDArray[Any]
    """(B, I) integers, indices of `RRMConfig.power_levels_dbm`; ignored where the AP is silent."""


Decision: TypeAlias = NDArray[Any] | Any
"""Users (B, I), or a `PoweredDecision`; users alone stand for the level of highest power.

It is typed so that whoever knows that a scheduler returns users need not ask for the other kind.
"""


def parted(decision: ArrayLike | PoweredDecision, config: RRMConfig) -> PoweredDecision:
    """A decision with its levels: those of highest power where it names none."""
    if isinstance(decision, PoweredDecision):
        return decision
    served = np.asarray(decision)
    return PoweredDecision(served, np.full(served.shape, config.highest_level))


def action_of(slot: NDArray[np.int64], level: NDArray[Any], config: RRMConfig) -> NDArray[np.int64]:
    """The action that serves candidates 0 ... N - 1 at levels; the slot N is silence."""
    levels, silence = config.n_power_levels, config.n_actions - 1
    action: NDArray[np.int64] = np.where(
        slot == config.n_candidates, silence, slot * levels + level
    )
    return action


def actions_of(network: Network, decision: ArrayLike | PoweredDecision) -> NDArray[np.int64]:
    """(B, I) the actions that stand for a decision.

    Raises:
        ValueError: an AP serves a UE that is none of its candidates.
    """
    served, level = parted(decision, network.config)
    matches = network.candidates == served[..., None]
    foreign = (served != SILENT) & ~matches.any(-1)
    if foreign.any():
        slot, ap = np.argwhere(foreign)[0]
        raise ValueError(
            f"served[{slot}, {ap}] = {served[slot, ap]} is no candidate of AP {ap}; "
            "datasets hold candidates' indices and silence"
        )
    slots = np.where(served == SILENT, network.config.n_candidates, matches.argmax(-1))
    return action_of(slots, level, network.config)


def decision_of(network: Network, actions: NDArray[Any]) -> Decision:
    """The decision that actions (B, I) stand for; in a network of one level, the users alone."""
    levels = network.config.n_power_levels
    silent = np.full((*network.candidates.shape[:2], 1), SILENT, np.int64)
    options = np.concatenate([network.candidates, silent], -1)
    served: NDArray[np.int64]
    slots = actions if levels == 1 else actions // levels
    served = np.take_along_axis(options, slots[..., None], -1)[..., 0]
    return served if levels == 1 else PoweredDecision(served, actions % levels)
