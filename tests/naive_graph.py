"""Reference implementation of the graph policy, in plain Python: lists, floats and `math`.

Everything is about one episode. Gains are `gain[ap][user]`, received power over noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SILENT = -1
ACTIVITY = 0.3
"""Share of the time in which APs that are no neighbours are taken to transmit."""
AUDIBLE = 0.01
"""Share of a user's noise below which the search ignores what one AP changes."""


# --- Links ---


def neighbours(
    gain: Sequence[Sequence[float]], association: Sequence[int], n_neighbours: int
) -> list[list[int]]:
    """For each AP the others that disturb its users the most, strongest first."""
    n_aps, found = len(gain), []
    for ap in range(n_aps):
        share = [0.0] * n_aps
        for user, own_ap in enumerate(association):
            if own_ap == ap:
                own = gain[ap][user]
                for other in range(n_aps):
                    share[other] += gain[other][user] / (1 + own + gain[other][user])
        others = [other for other in range(n_aps) if other != ap]
        others.sort(key=lambda other: (-share[other], other))
        found.append(others[:n_neighbours])
    return found


def links(
    gain: Sequence[Sequence[float]], association: Sequence[int], known: Sequence[Sequence[int]]
) -> tuple[list[float], list[list[float]], list[float]]:
    """Gains of each user: its AP's, those of its AP's neighbours, and the sum of all others."""
    own, cross, rest = [], [], []
    for user, ap in enumerate(association):
        own.append(gain[ap][user])
        cross.append([gain[other][user] for other in known[ap]])
        far = [x for x in range(len(gain)) if x != ap and x not in known[ap]]
        rest.append(math.fsum(gain[other][user] for other in far))
    return own, cross, rest


# --- The value of joint actions ---


class Value:
    """Weighted rates of joint actions, as the search takes them.

    Args:
        gain: of each AP at each user.
        association: the users' APs.
        n_neighbours: K.
        weight: of the users.
        fading: the factor f.
    """

    def __init__(
        self,
        gain: Sequence[Sequence[float]],
        association: Sequence[int],
        n_neighbours: int,
        weight: Sequence[float],
        fading: float,
    ) -> None:
        self.association, self.weight, self.fading = association, weight, fading
        self.neighbours = neighbours(gain, association, n_neighbours)
        self.own, self.cross, self.rest = links(gain, association, self.neighbours)

    def noise(self, user: int, on: Sequence[bool]) -> float:
        """Noise and interference at a user whose AP transmits beside those that are on."""
        known = zip(self.neighbours[self.association[user]], self.cross[user], strict=True)
        near = math.fsum(gain for other, gain in known if on[other])
        return 1 + self.fading * (ACTIVITY * self.rest[user] + near)

    def rate(self, user: int, on: Sequence[bool]) -> float:
        """log2(1 + f g / (1 + f (0.3 rest + sum of the neighbours that are on)))."""
        return math.log2(1 + self.fading * self.own[user] / self.noise(user, on))

    def of_action(self, served: Sequence[int]) -> float:
        """The sum of the weighted rates of the users served."""
        on = [user != SILENT for user in served]
        return math.fsum(self.weight[x] * self.rate(x, on) for x in served if x != SILENT)

    def best_users(self, on: Sequence[bool]) -> list[int]:
        """The users of highest weighted rate where the APs that are on transmit."""
        served = [SILENT] * len(on)
        for ap in range(len(on)):
            if on[ap]:
                own = [user for user, x in enumerate(self.association) if x == ap]
                own = [user for user in own if self.weight[user] > 0]
                values = {user: self.weight[user] * self.rate(user, on) for user in own}
                served[ap] = max(values, key=lambda user: values[user], default=SILENT)
        return served

    def of_set(self, on: Sequence[bool]) -> float:
        """The value of the best joint action in which no other APs transmit."""
        return self.of_action(self.best_users(on))

    def best(self) -> float:
        """The value of the best joint action of all."""
        return max(self.of_set(on) for on in sets(len(self.neighbours)))

    def slack(self, changed: int, on: Sequence[bool]) -> float:
        """What one AP's change may bring to users whose noise it changes by less than `AUDIBLE`."""
        total = 0.0
        for ap, known in enumerate(self.neighbours):
            if on[ap] and changed in known:
                place = known.index(changed)
                own = [user for user, x in enumerate(self.association) if x == ap]
                changes = [self.fading * self.cross[x][place] / self.noise(x, on) for x in own]
                faint = [
                    self.weight[user]
                    for user, c in zip(own, changes, strict=True)
                    if c < 1.1 * AUDIBLE
                ]
                total += max(faint, default=0) * math.log2(1 / (1 - AUDIBLE))
        return total


def sets(n_aps: int) -> Iterator[tuple[bool, ...]]:
    """All sets of APs, as who transmits."""
    return itertools.product((False, True), repeat=n_aps)


# --- Prices ---


def layer(parameters: Mapping[str, Any], name: str, x: Sequence[float]) -> list[float]:
    """The outputs of one layer of one network."""
    weights, biases = parameters[f"{name}.weights"], parameters[f"{name}.biases"][0]
    return [
        biases[n] + math.fsum(x[m] * weights[m][n] for m in range(len(x)))
        for n in range(len(biases))
    ]


def relu(x: Sequence[float]) -> list[float]:
    return [max(value, 0.0) for value in x]


def mean(rows: Sequence[Sequence[float]], width: int) -> list[float]:
    """The mean of vectors, 0 where there are none."""
    return [math.fsum(row[n] for row in rows) / max(len(rows), 1) for n in range(width)]


def log_prices(
    parameters: Mapping[str, Any],
    sizes: Mapping[str, int],
    gain: Sequence[Sequence[float]],
    association: Sequence[int],
    counted: Sequence[bool],
    fading: float,
) -> list[float]:
    """The logarithm of the price of each user, that of users not counted left as it is.

    Args:
        parameters: of one network, as nested lists.
        sizes: those of the network, `GraphConfig.as_dict`.
        gain: of each AP at each user.
        association: the users' APs.
        counted: whether the tail counts a user.
        fading: the factor f.
    """
    known = neighbours(gain, association, sizes["n_neighbours"])
    own, cross, rest = links(gain, association, known)
    n_users, n_aps, width = len(own), len(gain), sizes["width"]
    of_ap = [[x for x in range(n_users) if association[x] == ap] for ap in range(n_aps)]
    counted_share = sum(counted) / n_users
    h = []
    for user in range(n_users):
        listed = sorted(cross[user] + [0.0] * sizes["n_neighbours"], reverse=True)
        listed, weaker = listed[: sizes["n_interferers"]], listed[sizes["n_interferers"] :]
        others = math.fsum(weaker) + rest[user]
        all_on = math.log2(1 + fading * own[user] / (1 + fading * (math.fsum(listed) + others)))
        x = [
            math.log10(1 + own[user]) - 2,
            math.log10(all_on + 1e-3),
            math.log(len(of_ap[association[user]])) - 1.5,
            math.log10(1 + others),
            *(math.log10(1 + g) - 1 for g in listed),
            float(counted[user]),
            counted_share,
        ]
        h.append(relu(layer(parameters, "user.1", relu(layer(parameters, "user.0", x)))))
    for n in range(sizes["rounds"]):
        a = []
        for users in of_ap:
            x = [*mean([h[user] for user in users], width), math.log(max(len(users), 1)) - 1.5]
            a.append(relu(layer(parameters, f"ap.{n}", x)))
        everybody, joined = mean(h, width), []
        for user in range(n_users):
            ap, heard = association[user], [0.0] * width
            for other, g in zip(known[ap], cross[user], strict=True):
                share = g / (1 + own[user] + g)
                heard = [value + share * more for value, more in zip(heard, a[other], strict=True)]
            x = [*h[user], *a[ap], *heard, *everybody]
            joined.append(relu(layer(parameters, f"join.{n}", x)))
        h = joined
    return [layer(parameters, "price", h[user])[0] for user in range(n_users)]


# --- Debts of rate ---


def round_robin(
    gain: Sequence[Sequence[float]], association: Sequence[int], fading: float
) -> float:
    """The mean rate of the users where all APs transmit, each to its users in turn."""
    rates = []
    for user, ap in enumerate(association):
        interference = math.fsum(gain[x][user] for x in range(len(gain)) if x != ap)
        rate = math.log2(1 + fading * gain[ap][user] / (1 + fading * interference))
        rates.append(rate / sum(x == ap for x in association))
    return math.fsum(rates) / len(rates)


def debts(
    rate_sum: Sequence[float], level: float, steps: int, length: int, debt_weight: float
) -> list[float]:
    """debt_weight S_j / (r sqrt(T - t + T / 10))."""
    return [debt_weight * x / (level * math.sqrt(length - steps + length / 10)) for x in rate_sum]


def weights(log_price: Sequence[float], sum_weight: float, tail_weight: float) -> list[float]:
    """mu1 + mu2 times the price of each user over the sum of prices."""
    top = max(log_price)
    price = [math.exp(x - top) for x in log_price]
    return [sum_weight + tail_weight * x / math.fsum(price) for x in price]
