"""Schedulers whose plan all access points compute from numbers that they exchange."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.scheduler import Baseline, Served, candidates_alone
from rrm_env import SILENT, Network, RRMConfig
from rrm_env.checks import bounded_integer, nearest, shown
from rrm_env.compiling import compiled

COUNTED = ("tail", "everybody")
"""Whose rates the tail of the score counts: all but those that Eq. 10 leaves out, or all."""
MAX_STEPS = 2**31 - 2
GAIN_RANGE_DB, RATE_RANGE_DB = (-40.0, 100.0), (-30.0, 20.0)
"""Of exchanged gains over noise, and of exchanged mean rates over 1 bit/s/Hz."""
FLOAT_BITS = 32
"""Of a number that is exchanged as it is."""


class Exchanging(Baseline):
    """A scheduler with a plan that is common knowledge, from gains and rates that APs exchange.

    Args:
        counted: one of `COUNTED`.
        exchange_steps: steps between exchanges of gains and rates; 0 exchanges gains alone, once
            per episode.
        own_rates: whether an AP that transmits between exchanges chooses among its users by what
            they really got.
        bits: of each exchanged number; 0 exchanges them as they are.

    Raises:
        TypeError, ValueError: another value of an option.
    """

    def __init__(self, counted: str, exchange_steps: int, own_rates: bool, bits: int) -> None:
        if counted not in COUNTED:
            raise ValueError(f"unknown counted {nearest(str(counted), COUNTED)}")
        if not isinstance(own_rates, bool):
            raise TypeError(f"own_rates must be True or False, got {shown(own_rates)}")
        self.counted, self.own_rates = counted, own_rates
        self.exchange_steps = bounded_integer("exchange_steps", exchange_steps, MAX_STEPS, 0)
        self.bits = bounded_integer("bits", bits, FLOAT_BITS, 0)

    def bits_per_decision(self, config: RRMConfig) -> float:
        """Bits that all APs send in an episode over I T, the decisions of all APs.

        In every exchange each AP sends its users' gains, and from the second one on their rates. A
        number that all other APs need is sent once. Who serves whom, and who is whose neighbour, is
        not counted, as in `RRMConfig.message_bits_per_step`.
        """
        length, every = config.episode_length, self.exchange_steps
        exchanges = -(-length // every) if every else 1
        numbers = config.n_ues * (exchanges * self._gains_per_user(config) + exchanges - 1)
        return numbers * (self.bits or FLOAT_BITS) / (config.n_aps * length)

    @abstractmethod
    def _gains_per_user(self, config: RRMConfig) -> int:
        """Gains of each user that its AP sends in an exchange."""

    def schedule(self, network: Network) -> Served:
        """(B, I) the users served."""
        return self._decide(network, np.ones(network.association.shape, np.bool_))

    def schedule_candidates(self, network: Network) -> Served:
        """Like `schedule`, among the candidates alone, though planned for all users.

        Who is a candidate is taken as known to the plan.
        """
        return self._decide(network, candidates_alone(network))

    @abstractmethod
    def _decide(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        """(B, I) the users served, of those that are allowed (B, J)."""


def quantised_gains(gains: NDArray[Any], bits: int) -> NDArray[Any]:
    """Gains over noise rounded to 2^bits levels in steps of equal dB, from -40 to 100 dB."""
    return _quantised(gains, bits, GAIN_RANGE_DB)


def quantised_rates(rates: NDArray[Any], bits: int) -> NDArray[Any]:
    """Mean rates rounded to 2^bits levels in steps of equal dB, from 0.001 to 100 bit/s/Hz."""
    return _quantised(rates, bits, RATE_RANGE_DB)


def _quantised(values: NDArray[Any], bits: int, span_db: tuple[float, float]) -> NDArray[Any]:
    low, high = span_db
    step = (high - low) / (2**bits - 1)
    with np.errstate(divide="ignore"):
        level = np.rint((np.clip(10 * np.log10(values), low, high) - low) / step)
    rounded: NDArray[Any] = np.exp(math.log(10) / 10 * (low + level * step)).astype(values.dtype)
    return rounded


@compiled(nogil=True, error_model="numpy")
def expect(expected: Any, served: Any, rate: Any) -> None:
    """Write the rates (B, I) of those served to `expected` (B, J)."""
    for b in range(served.shape[0]):
        for i in range(served.shape[1]):
            if served[b, i] != SILENT:
                expected[b, served[b, i]] = rate[b, i]
