"""The configuration of a network and its presets."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from rrm_env.checks import nearest, shown
from rrm_env.fields import (
    Numbers,
    Positions,
    allowed_of,
    bounded,
    checked,
    choice,
    numbers_of,
    parsed,
    text_of,
)
from rrm_env.keywords import ConfigFields, Unpack
from rrm_env.places import check_places, is_placed

SPEED_OF_LIGHT_MPS = 299_792_458.0
FADING_MODELS = ("iid", "jakes", "none", "trace")
PROPAGATION_MODELS = ("log_distance", "inh_office", "umi", "uma")
LINE_OF_SIGHT = ("drawn", "always", "never")
AP_DEPLOYMENTS = ("uniform", "hexagonal")
UE_DEPLOYMENTS = ("uniform", "hot_spots")
WRAP_AROUND = ("none", "torus")
ASSOCIATIONS = ("rsrp", "given")
TRACE_SPLITS = ("auto", "time", "place", "none")
MAX_POWER_LEVELS = 64
AVERAGES = ("ema", "episode")
TURNS = ("none", "equal", "by_load")
MESSAGES = ("none", "best", "all")
SENDERS = ("all", "neighbours")
MEASUREMENTS = ("none", "large_scale", "neighbours")
CLOCKS = ("none", "elapsed")
REWARDS = ("weighted_rate", "utility")

_NOT_WITH_TRACE = (
    "propagation",
    "los",
    "ap_height_m",
    "ue_height_m",
    "ap_deployment",
    "wrap_around",
    "ue_deployment",
    "ap_positions",
    "ue_positions",
    "given_association",
    "inter_site_distance_m",
)

PRESETS: dict[str, ConfigFields] = {
    "paper": {},
    "correlated": {"step_duration_s": 0.001, "fading": "jakes"},
    "wide": {
        "n_aps": 8,
        "n_ues": 40,
        "area_side_m": 500.0,
        "min_ap_distance_m": 35.0,
        "min_ue_distance_m": 10.0,
    },
    "dense": {"n_aps": 16, "n_ues": 160, "area_side_m": 200.0},
    "resilient": {
        "n_aps": 8,
        "n_ues": 40,
        "n_candidates": 40,
        "episode_length": 100,
        "area_side_m": 500.0,
        "min_ap_distance_m": 35.0,
        "min_ue_distance_m": 10.0,
        "step_duration_s": 0.001,
        "power_levels_dbm": (10.0, 4.0, -2.0, -8.0),
        "path_loss_intercept_db": 10.8,
        "path_loss_slope_db": 35.2,
        "wall_loss_db": 0.0,
        "fading": "jakes",
        "csi_delay": 0,
    },
}
"""Fields in which each preset differs from the defaults."""

_Class = TypeVar("_Class")


def _names_checked(config_class: type[_Class]) -> type[_Class]:
    """Let a dataclass of settings refuse unknown fields with the nearest valid name.

    `inspect.signature` and `help` still show the fields with their types and defaults.
    """
    generated = config_class.__init__

    @functools.wraps(generated)
    def __init__(self: _Class, **values: Any) -> None:  # noqa: N807 - it replaces the generated one
        check_names(values)
        generated(self, **values)

    vars(__init__)["__signature__"] = inspect.signature(generated, eval_str=True)
    type.__setattr__(config_class, "__init__", __init__)
    return config_class


@_names_checked
@dataclass(frozen=True, kw_only=True)
class RRMConfig:
    """Everything that defines a network. Immutable; checked when made; units are in the names.

    Defaults are the preset ``paper``. Change single fields with `dataclasses.replace`, or start
    from a preset: ``RRMConfig.preset("dense", csi_delay=0)``.

    Raises:
        TypeError: an unknown field (the error names the nearest one), or a value of another type.
        ValueError: a value out of range, or values that contradict each other.
    """

    n_aps: int = bounded(4, "access points", 1, 1024)
    n_ues: int = bounded(20, "users", 1, 1_000_000)
    n_candidates: int = bounded(3, "users each access point chooses among", 1, 1024)
    episode_length: int = bounded(200, "steps per episode", 1, 2**31 - 2)
    area_side_m: float = bounded(100.0, "side of the square", 0, 1e6, above=True)
    min_ap_distance_m: float = bounded(
        10.0, "d0: access points are farther apart than this", 0, 1e6
    )
    min_ue_distance_m: float = bounded(
        1.0,
        "d1: users start farther than this from every access point; "
        "path loss never takes a distance below it",
        1e-3,
        1e6,
    )
    ue_speed_mps: float = bounded(1.0, "speed of every user", 0, 1e5)
    step_duration_s: float = bounded(0.05, "duration of a step", 0, 1e4, above=True)
    carrier_hz: float = bounded(2.4e9, "carrier frequency", 0, 1e13, above=True)
    tx_power_dbm: float = bounded(10.0, "transmit power of an access point that serves", -100, 100)
    noise_psd_dbm_hz: float = bounded(-174.0, "noise power spectral density", -250, 0)
    bandwidth_hz: float = bounded(10e6, "bandwidth", 1, 1e12)
    noise_figure_db: float = bounded(0.0, "noise figure of the users", 0, 100)
    path_loss_intercept_db: float = bounded(15.3, "path loss at 1 m", -100, 200)
    path_loss_slope_db: float = bounded(37.6, "path loss per decade of distance", 0, 100)
    wall_loss_db: float = bounded(10.0, "loss added to every link", 0, 200)
    shadowing_std_db: float = bounded(
        7.0,
        "standard deviation of log-normal shadowing; the models of TR 38.901 have their own, and 0 "
        "turns it off there too",
        0,
        20,
    )
    fading: str = choice(
        "iid",
        FADING_MODELS,
        "small-scale fading: iid (Rayleigh, fresh each step), "
        "jakes (Rayleigh, correlated by Doppler), none, or trace, that of the trace's gains",
    )
    csi_delay: int = bounded(1, "age in steps of the channel report that decisions see", 0, 1000)
    rate_ema: float = bounded(
        0.05, "eta: weight of the newest rate in a user's average, with average = ema", 1e-6, 1
    )
    average: str = choice(
        "ema",
        AVERAGES,
        "a user's long-term average: ema, an exponential average, which forgets, or episode, the "
        "mean rate since the episode began",
    )
    average_prior_steps: float = bounded(
        5.0,
        "steps that the average before the first step counts for, with average = episode",
        0.1,
        1e6,
    )
    min_average_rate: float = bounded(
        0.01, "bit/s/Hz below which no average falls, so weights stay bounded", 1e-6, 10
    )
    pf_exponent: float = bounded(
        1.0, "exponent of the weight in the PF ratio, which orders candidates", 0, 10
    )
    fairness_exponent: float = bounded(0.8, "lambda: exponent of the weight in the reward", 0, 2)
    reward: str = choice(
        "weighted_rate",
        REWARDS,
        "weighted_rate (Eq. 16), or utility: the growth of the users' utility of C~, "
        "which also charges for those not served",
    )
    measurements: str = choice(
        "none",
        MEASUREMENTS,
        "what an access point observes of its candidates' links, as phones report for handover: "
        "none, their large_scale gain from all access points, or their gain from their own access "
        "point, from its neighbours and from the rest together",
    )
    n_neighbours: int = bounded(
        8,
        "k: neighbours of each access point, those that disturb its users most, for "
        "measurements = neighbours and message_range = neighbours",
        1,
        64,
    )
    turns: str = choice(
        "none",
        TURNS,
        "what an access point observes of turns: none, or whether this step is its turn in a "
        "fixed rotation, equal or by_load: in proportion to the users of each access point",
    )
    clock: str = choice(
        "none",
        CLOCKS,
        "what an access point observes of the time: none, or the share of the episode that has "
        "elapsed",
    )
    messages: str = choice(
        "none",
        MESSAGES,
        "what all access points send to others in every step, appended to the receivers' "
        "observations: none, what they observe of their best candidate, or of all candidates",
    )
    message_range: str = choice(
        "all",
        SENDERS,
        "whose messages an access point observes: those of all access points, its own too, or of "
        "its neighbours",
    )
    message_bits: int = bounded(16, "bits of each number in a message", 1, 24)
    score_sum_weight: float | None = bounded(
        None, "mu1: weight of the sum rate in the score; None is 1 / n_ues", 0, 1e6, none=True
    )
    score_tail_weight: float = bounded(
        3.0, "mu2: weight of the 5-percentile rate in the score", 0, 1e6
    )
    power_levels_dbm: Numbers | None = numbers_of(
        "transmit powers that an access point chooses among, none above tx_power_dbm, at which "
        "pilots are sent; None is tx_power_dbm alone",
        low=-200,
        high=100,
        dimensions=(1,),
    )
    propagation: str = choice(
        "log_distance",
        PROPAGATION_MODELS,
        "path loss and shadowing: log_distance (Eq. 4), or inh_office, umi or uma of TR 38.901",
    )
    los: str = choice(
        "drawn",
        LINE_OF_SIGHT,
        "line of sight in the models of TR 38.901: drawn by its probability, always or never",
    )
    ap_height_m: float | None = bounded(
        None, "height of access points; None is the model's", 0, 1000, none=True
    )
    ue_height_m: float | None = bounded(
        None, "height of users; None is the model's", 0, 1000, none=True
    )
    ap_deployment: str = choice(
        "uniform",
        AP_DEPLOYMENTS,
        "positions of access points: uniform in the square, or hexagonal, a grid of sites",
    )
    inter_site_distance_m: float | None = bounded(
        None,
        "distance of neighbouring sites, with ap_deployment = hexagonal; None is the largest with "
        "which all cells fit into the square",
        0,
        1e6,
        above=True,
        none=True,
    )
    wrap_around: str = choice(
        "none",
        WRAP_AROUND,
        "distances: none, or torus, in which users who leave the area enter on its other side",
    )
    ue_deployment: str = choice(
        "uniform", UE_DEPLOYMENTS, "positions of users: uniform, or a share of them in hot_spots"
    )
    n_hot_spots: int = bounded(4, "hot spots, with ue_deployment = hot_spots", 1, 1024)
    hot_spot_radius_m: float = bounded(10.0, "radius of a hot spot", 0, 1e6, above=True)
    hot_spot_share: float = bounded(0.5, "share of the users that start in hot spots", 0, 1)
    ap_positions: Positions | None = numbers_of(
        "positions of the access points, (n_aps, 2) in metres, or (K, n_aps, 2): K deployments, of "
        "which the episode's seed draws one; None draws positions by ap_deployment",
        low=0,
        high=1e6,
        dimensions=(2, 3),
    )
    ue_positions: Positions | None = numbers_of(
        "positions of the users at the start, likewise, (n_ues, 2) or (K, n_ues, 2)",
        low=0,
        high=1e6,
        dimensions=(2, 3),
    )
    association: str = choice(
        "rsrp",
        ASSOCIATIONS,
        "a user's access point: that of highest received power at the start (rsrp), or given, by "
        "given_association or by the trace",
    )
    given_association: tuple[Any, ...] | None = numbers_of(
        "access point of each user, with association = given: (n_ues,) or (K, n_ues) integers",
        low=0,
        high=1023,
        dimensions=(1, 2),
    )
    association_bias_db: Numbers | None = numbers_of(
        "added to the received power of each access point where users choose theirs, n_aps numbers",
        low=-100,
        high=100,
        dimensions=(1,),
    )
    trace: str | None = text_of("file of the recorded channels that the episodes play")
    trace_checksum: str | None = text_of("SHA-256 of the trace; another file is refused")
    trace_split: str = choice(
        "auto",
        TRACE_SPLITS,
        "what keeps training and evaluation apart in a trace: time, place (its first dimension), "
        "auto, which is place where there are three or more, or none: both play all of it",
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, checked(item, getattr(self, item.name)))
        self._check_together()

    def _check_together(self) -> None:
        self._check_trace()
        self._check_power_levels()
        if self.step_length_m > self.area_side_m:
            raise ValueError(
                f"ue_speed_mps * step_duration_s = {self.step_length_m:g} m must not exceed "
                f"area_side_m = {self.area_side_m:g} m"
            )
        if abs(self.link_budget_db) > 150:
            raise ValueError(
                f"the received SNR at 1 m is {self.link_budget_db:g} dB, allowed: -150 to 150; "
                "it is tx_power_dbm - (noise_psd_dbm_hz + 10 log10 bandwidth_hz + noise_figure_db)"
                " - path_loss_intercept_db - wall_loss_db"
            )
        nearest_db = self.link_budget_db - self.path_loss_slope_db * min(
            0.0, math.log10(self.min_ue_distance_m)
        )
        highest_db = nearest_db + 7 * self.shadowing_std_db
        if highest_db > 330:
            raise ValueError(
                f"the received SNR at min_ue_distance_m = {self.min_ue_distance_m:g} reaches "
                f"{highest_db:g} dB with shadowing of 7 shadowing_std_db, allowed: up to 330, "
                "which float32 still holds; raise min_ue_distance_m or lower path_loss_slope_db"
            )
        if self.fading == "jakes" and self.doppler_hz * self.step_duration_s > 1e6:
            raise ValueError(
                "ue_speed_mps * carrier_hz / c * step_duration_s = "
                f"{self.doppler_hz * self.step_duration_s:g} Doppler turns per step, "
                "allowed with fading = 'jakes': up to 1e6"
            )
        # Discs of diameter d0 around the APs cannot cover more of the square, widened by d0, than
        # the hexagonal packing does.
        d0, side = self.min_ap_distance_m, self.area_side_m
        drawn = self.ap_positions is None and self.ap_deployment == "uniform"
        if drawn and self.n_aps * d0**2 > 2 / math.sqrt(3) * (side + d0) ** 2:
            packing = 2 / math.sqrt(3) * (side / d0 + 1) ** 2
            raise ValueError(
                f"min_ap_distance_m = {d0:g} admits no deployment of n_aps = {self.n_aps} in a "
                f"square of area_side_m = {side:g}: at most {int(packing)} fit"
            )
        if self.min_ue_distance_m >= math.sqrt(2) * side:
            raise ValueError(
                f"min_ue_distance_m = {self.min_ue_distance_m:g} leaves users no place in a square "
                f"of area_side_m = {side:g}; allowed: below {math.sqrt(2) * side:g}"
            )
        check_places(self)

    def _check_trace(self) -> None:
        """Refuse fields that contradict `trace`."""
        if self.trace is None:
            for name, value in (("fading", self.fading), ("trace_checksum", self.trace_checksum)):
                if value is not None and (name != "fading" or value == "trace"):
                    raise ValueError(f"{name} = {value!r} needs a trace, got trace = None")
            return
        defaults = {item.name: item.default for item in fields(self)}
        for name in _NOT_WITH_TRACE:
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name} = {shown(getattr(self, name))} does not go with a trace, which gives "
                    f"positions and gains; allowed: {defaults[name]!r}"
                )

    def _check_power_levels(self) -> None:
        levels = self.power_levels_dbm or ()
        if len(levels) > MAX_POWER_LEVELS:
            raise ValueError(
                f"power_levels_dbm must hold 1 to {MAX_POWER_LEVELS} levels, got {len(levels)}"
            )
        for k, level in enumerate(levels):
            if level > self.tx_power_dbm:
                raise ValueError(
                    f"power_levels_dbm[{k}] = {level:g} must not exceed tx_power_dbm = "
                    f"{self.tx_power_dbm:g}, at which pilots are sent"
                )
            if level in levels[:k]:
                raise ValueError(
                    f"power_levels_dbm must hold different levels, got {level:g} at "
                    f"{levels.index(level)} and {k}"
                )

    @classmethod
    def preset(cls, name: str = "paper", **overrides: Unpack[ConfigFields]) -> RRMConfig:
        """One of `PRESETS`, with fields overridden.

        With ``trace`` the file's sizes, step duration, fading, association and checksum replace the
        preset's.

        Raises:
            ValueError: an unknown preset; the error names the nearest one.
            TypeError, ValueError: fields that `RRMConfig` refuses.
        """
        if not isinstance(name, str) or name not in PRESETS:
            text = name if isinstance(name, str) else shown(name)
            raise ValueError(f"unknown preset {nearest(text, PRESETS)}")
        return changed(PRESETS[name], overrides)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain Python values; ``RRMConfig(**config.as_dict()) == config``."""
        return asdict(self)

    @property
    def channel_is_given(self) -> bool:
        """Whether large-scale gains come from a `rrm_env.source.Source`, not from the kernels."""
        return self.trace is not None or is_placed(self)

    @property
    def n_actions(self) -> int:
        """Actions of one access point: a candidate at a power level each, and silence."""
        return self.n_candidates * self.n_power_levels + 1

    @property
    def n_power_levels(self) -> int:
        """L: powers at which an access point can transmit."""
        return 1 if self.power_levels_dbm is None else len(self.power_levels_dbm)

    @property
    def relative_powers(self) -> tuple[float, ...]:
        """The power of each level over `tx_power_dbm`, linear, at most 1."""
        levels = (self.tx_power_dbm,) if self.power_levels_dbm is None else self.power_levels_dbm
        return tuple(10 ** ((level - self.tx_power_dbm) / 10) for level in levels)

    @property
    def highest_level(self) -> int:
        """The index of the level of highest power, at which decisions without levels are played."""
        powers = self.relative_powers
        return powers.index(max(powers))

    @property
    def full_power(self) -> bool:
        """Whether every transmission has `tx_power_dbm`, as there is no other level."""
        return self.power_levels_dbm in (None, (self.tx_power_dbm,))

    @property
    def n_joint_actions(self) -> int:
        """Joint actions of all access points (Eq. 26 sums over them)."""
        return int(self.n_actions**self.n_aps)

    @property
    def n_candidate_features(self) -> int:
        """Numbers that an access point observes of one candidate: SINR, weight, measurements."""
        gains = {"none": 0, "large_scale": self.n_aps, "neighbours": self.n_neighbours + 2}
        return 2 + gains[self.measurements]

    @property
    def has_neighbours(self) -> bool:
        """Whether an option needs the neighbours of access points, so that they are computed."""
        return "neighbours" in (self.measurements, self.message_range)

    @property
    def n_message_features(self) -> int:
        """Numbers that one access point sends in a step."""
        candidates = {"none": 0, "best": 1, "all": self.n_candidates}[self.messages]
        return candidates * self.n_candidate_features

    @property
    def n_messages(self) -> int:
        """Access points whose messages one access point observes in a step."""
        return self.n_aps if self.message_range == "all" else self.n_neighbours

    @property
    def n_features(self) -> int:
        """Numbers in one access point's observation: of candidates, neighbours, time, messages.

        It depends on `n_aps` with ``measurements="large_scale"``, and with messages to all.
        """
        return (
            self.n_candidates * self.n_candidate_features
            + self.n_neighbours * (self.measurements == "neighbours")
            + (self.turns != "none")
            + (self.clock != "none")
            + self.n_messages * self.n_message_features
        )

    @property
    def message_bits_per_step(self) -> int:
        """Bits that all access points together send to each other per decision.

        A message counts once, however many access points receive it (broadcast), so
        `message_range` does not change the number. Measurements and the clock cost nothing: they
        are of an access point's own users and stay there. What is exchanged once per episode is not
        counted: which users, and which neighbours, each access point has.
        """
        return self.n_aps * self.n_message_features * self.message_bits

    @property
    def noise_dbm(self) -> float:
        """Noise power over the bandwidth."""
        return self.noise_psd_dbm_hz + 10 * math.log10(self.bandwidth_hz) + self.noise_figure_db

    @property
    def link_budget_db(self) -> float:
        """SNR at 1 m from an access point, without shadowing and fading (Eq. 4 at d = 1 m)."""
        return self.tx_power_dbm - self.noise_dbm - self.path_loss_intercept_db - self.wall_loss_db

    @property
    def step_length_m(self) -> float:
        """Distance a user moves per step."""
        return self.ue_speed_mps * self.step_duration_s

    @property
    def doppler_hz(self) -> float:
        """Maximum Doppler shift, speed * carrier / c."""
        return self.ue_speed_mps * self.carrier_hz / SPEED_OF_LIGHT_MPS

    @property
    def sum_weight(self) -> float:
        """mu1 of the score (Eq. 11): `score_sum_weight`, or 1 / J where that is None."""
        return 1 / self.n_ues if self.score_sum_weight is None else self.score_sum_weight


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> RRMConfig:
    """A configuration of these fields after changes; a trace among them brings its own fields.

    Raises:
        TypeError, ValueError: a trace that cannot be read; what `RRMConfig` refuses.
    """
    of_trace: Mapping[str, Any] = {}
    if isinstance(changes.get("trace"), str):
        from rrm_env.trace_source import open_trace  # most configurations need no files

        of_trace = open_trace(changes["trace"]).config_fields
    return RRMConfig(**{**values, **of_trace, **changes})


def check_names(values: Mapping[str, Any]) -> None:
    """Refuse keys that are not fields of `RRMConfig`, with the nearest valid name (TypeError)."""
    known = [item.name for item in fields(RRMConfig)]
    for name in values:
        if name not in known:
            raise TypeError(f"unknown config field {nearest(name, known)}")


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Fields of `RRMConfig` from texts such as ``"n_aps=8"``, for command lines.

    Raises:
        ValueError: no ``=``, a value that is not of the field's type, or a field given twice.
        TypeError: an unknown field.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"expected FIELD=VALUE, got {assignment!r}")
        check_names({name: text})
        if name in settings:
            raise ValueError(f"{name} is given twice: {shown(settings[name])} and {shown(text)}")
        item = next(item for item in fields(RRMConfig) if item.name == name)
        settings[name] = parsed(item, text)
    return settings


def field_table() -> str:
    """Markdown table of every field of `RRMConfig`: type, default, allowed values, meaning."""
    lines = ["| option | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for item in fields(RRMConfig):
        kind = str(item.type).replace("|", "or")
        about = allowed_of(item), item.metadata["doc"]
        cells = (f"`{item.name}`", kind, f"`{item.default!r}`", *about)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
