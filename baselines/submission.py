"""Submissions to the leaderboard: files that state what a scheduler reached, and can be checked.

A submission is one JSON file. It holds the network, the rates of all users in all episodes, what is
known of the scheduler, and a SHA-256 checksum of all of it. KPIs follow from the rates.
`read_submission` refuses files that contradict themselves; `baselines.submission_checks` refuses
rates that cannot be, or that a scheduler of the package does not reach.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.registry import split_options
from rrm_env import Evaluation, RRMConfig, metrics
from rrm_env.checks import bounded_integer, bounded_number, nearest, shown
from rrm_env.files import check_replaceable, write_json
from rrm_env.provenance import machine, revision, versions
from rrm_env.references import Reference, reference

FORMAT = "rrm_env submission, version 1"
SEED = 0
"""The evaluation seed of all submissions."""
EPISODES, MAX_RATES = 256, 10_240
"""Episodes of a submission: fewer in networks whose episodes and users exceed so many rates."""
MAX_BYTES = 8_000_000
"""Size of the largest file that is read."""
MAX_TRAINING_SEEDS = 100
MAX_BITS = 1e12

LENGTHS = {"name": 60, "author": 100, "description": 600, "information": 200}
"""Texts of a submission, and how many characters each may have."""

_RATE = "<f4"
"""Rates are stored as float32, little-endian."""
_CLOSE = 1e-9
"""Relative difference up to which stated KPIs follow from the rates."""

Floats = NDArray[np.float64]


class SubmissionError(ValueError):
    """A file is no valid submission; the message names the file, the field and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What the submitter says of the scheduler."""

    name: str
    """Its name in the table."""
    author: str = "not stated"
    """Who submits it."""
    description: str = "not stated"
    """What it does, and where it is published."""
    information: str = "not stated"
    """What its decisions depend on."""
    bits: float | None = None
    """Bits that all access points together exchange for one joint decision; None: not stated."""

    def __post_init__(self) -> None:
        for name, length in LENGTHS.items():
            _check_line(name, getattr(self, name), length)
        if self.bits is not None:
            object.__setattr__(self, "bits", bounded_number("bits", self.bits, 0, MAX_BITS))

    @classmethod
    def parse(cls, texts: Iterable[str], **defaults: Any) -> About:
        """What texts such as ``author=A. Name`` say; later ones win over defaults.

        Raises:
            TypeError, ValueError: no such field, or a value that it does not take.
        """
        known = [item.name for item in fields(cls)]
        given: dict[str, Any] = dict(defaults)
        for text in texts:
            name, separator, value = text.partition("=")
            if not separator:
                raise ValueError(f"about must be FIELD=TEXT, got {shown(text)}")
            if name not in known:
                raise ValueError(f"unknown field of about: {nearest(name, known)}")
            given[name] = _number(value) if name == "bits" else value
        return cls(**given)


@dataclass(frozen=True, eq=False)
class Submission:
    """What a valid file holds."""

    path: Path
    network: Reference
    """The network of the leaderboard, with the ends of its scale."""
    about: About
    policy: Mapping[str, Any]
    """``scheduler`` (name and options) and ``files`` (SHA-256 by option), or ``scheme``, ``seeds``
    and ``checkpoint`` (SHA-256) of a training run."""
    config: RRMConfig
    ue_rates: Floats
    """(training seeds, episodes, J) rates averaged over episodes, bit/s/Hz."""
    origin: Mapping[str, Any]
    """``revision``, ``processor`` and ``versions``."""

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return int(self.ue_rates.shape[1])

    def kpi(self, name: str) -> Floats:
        """(training seeds, episodes) a KPI of `rrm_env.metrics.KPIS`."""
        return metrics.KPIS[name].value(self.ue_rates, self.config)


def demanded_episodes(config: RRMConfig) -> int:
    """Number of episodes of a submission, 64 in the preset ``dense``."""
    return min(EPISODES, max(1, MAX_RATES // config.n_ues))


def demanded(config: RRMConfig, episodes: int | None, seed: int) -> Reference:
    """The leaderboard's network of a configuration, if a submission may be made like this.

    Args:
        config: the network; what is observed, chosen among and paid for may differ.
        episodes: number of episodes; None: as many as are demanded.
        seed: the evaluation seed.

    Raises:
        TypeError, ValueError: no such network, or another number of episodes or seed.
    """
    network = reference(config)
    if seed != SEED:
        raise ValueError(f"a submission needs seed = {SEED}, got {shown(seed)}")
    if episodes not in (None, needed := demanded_episodes(config)):
        raise ValueError(
            f"a submission for network {network.name} needs episodes = {needed}, "
            f"got {shown(episodes)}"
        )
    return network


def scheduler_policy(text: str) -> dict[str, Any]:
    """How a submission states a scheduler; files that its options name are stated by SHA-256.

    Args:
        text: name and options, as for `baselines.registry.parse_scheduler`.
    """
    _, options = split_options(text)
    files = {
        key: file_checksum(Path(value))
        for key, value in options
        if value and Path(value).suffix and Path(value).is_file()
    }
    return {"scheduler": text, "files": files}


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def submission_of(
    evaluation: Evaluation, about: About, policy: Mapping[str, Any], *distributions: str
) -> dict[str, Any]:
    """The content of a submission.

    Args:
        evaluation: of the demanded episodes; several training seeds may be stacked.
        about: what is said of the scheduler.
        policy: what `Submission.policy` holds.
        *distributions: further ones whose versions matter.

    Raises:
        TypeError, ValueError: as `demanded`.
    """
    network = demanded(evaluation.config, evaluation.episodes, evaluation.seed)
    rates = evaluation.ue_rates
    stored = (rates[None] if rates.ndim == 2 else rates).astype(_RATE)
    content = {
        "format": FORMAT,
        "network": network.name,
        "config": evaluation.config.as_dict(),
        "seed": SEED,
        "episodes": evaluation.episodes,
        **asdict(about),
        "policy": dict(policy),
        "ue_rates": [base64.b64encode(of_seed.tobytes()).decode() for of_seed in stored],
        "kpis": means(stored.astype(np.float64), evaluation.config),
        "revision": revision() or "unknown",
        "processor": str(machine()["processor"]),
        "versions": versions(*distributions),
    }
    # JSON has no tuples; what is signed is what a reader finds.
    content = json.loads(json.dumps(content))
    return {**content, "checksum": checksum(content)}


def means(ue_rates: Floats, config: RRMConfig) -> dict[str, float]:
    """The mean of every KPI over training seeds and episodes.

    Args:
        ue_rates: (training seeds, episodes, J) bit/s/Hz.
        config: the network.
    """
    return {name: float(kpi.value(ue_rates, config).mean()) for name, kpi in metrics.KPIS.items()}


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of everything but ``checksum``: JSON with sorted names, no blanks, only ASCII."""
    signed = {name: value for name, value in content.items() if name != "checksum"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_submission_path(name: str, path: str | Path) -> Path:
    """The path, if a submission can be written there; only a submission is replaced.

    Raises:
        ValueError: as `rrm_env.files.check_replaceable`.
    """
    return check_replaceable(name, path, "submission", _holds_submission)


def write_submission(path: Path, content: Mapping[str, Any]) -> None:
    """Write a submission, whole or not at all (WriteError: the system refuses)."""
    write_json(path, content)


def read_submission(path: str | Path) -> Submission:
    """A submission whose parts fit together.

    Raises:
        SubmissionError: it cannot be read, lacks a field or has one that is not allowed, its
            checksum or KPIs do not match, or its network, seed or episodes are not those of the
            leaderboard.
    """
    path = Path(path)
    try:
        return _read(path, _parsed(path))
    except (TypeError, ValueError) as error:
        raise SubmissionError(f"{str(path)!r}: {error}") from error


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has {len(content):,} bytes, allowed: up to {MAX_BYTES:,}")
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"it must hold an object, got {shown(found)}")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


_FIELDS = (
    "format",
    "network",
    "config",
    "seed",
    "episodes",
    *(item.name for item in fields(About)),
    "policy",
    "ue_rates",
    "kpis",
    "revision",
    "processor",
    "versions",
    "checksum",
)


def _read(path: Path, content: Mapping[str, Any]) -> Submission:
    if content.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, got {shown(content.get('format'))}")
    if missing := [name for name in _FIELDS if name not in content]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if unknown := [name for name in content if name not in _FIELDS]:
        raise ValueError(f"unknown field {nearest(unknown[0], _FIELDS)}")
    if content["checksum"] != (expected := checksum(content)):
        raise ValueError(
            f"checksum = {shown(content['checksum'])} does not match the content, which has "
            f"{expected}: the file was changed after it was written"
        )
    about = About(**{item.name: content[item.name] for item in fields(About)})
    config = RRMConfig(**_mapping("config", content["config"]))
    seed = bounded_integer("seed", content["seed"], lowest=0)
    episodes = bounded_integer("episodes", content["episodes"])
    network = demanded(config, episodes, seed)
    if content["network"] != network.name:
        raise ValueError(
            f"network must be {network.name!r}, which config describes, "
            f"got {shown(content['network'])}"
        )
    policy = _checked_policy(_mapping("policy", content["policy"]))
    ue_rates = _decoded(content["ue_rates"], episodes, config.n_ues)
    n_seeds = len(policy.get("seeds", (0,)))
    if len(ue_rates) != n_seeds:
        raise ValueError(
            f"ue_rates must hold one text for each of {n_seeds} training seeds, got {len(ue_rates)}"
        )
    _check_kpis(_mapping("kpis", content["kpis"]), means(ue_rates, config))
    for name in ("revision", "processor"):
        _check_line(name, content[name], 200)
    for name, value in _mapping("versions", content["versions"]).items():
        _check_line(f"versions: {name}", value, 100)
    origin = {name: content[name] for name in ("revision", "processor", "versions")}
    return Submission(path, network, about, policy, config, ue_rates, origin)


def _checked_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The policy, if its fields are those of a scheduler or of a training run."""
    of_scheduler, of_run = {"scheduler", "files"}, {"scheme", "seeds", "checkpoint"}
    if policy.keys() not in (of_scheduler, of_run):
        raise ValueError(
            f"policy must have {', '.join(sorted(of_scheduler))}, or {', '.join(sorted(of_run))}, "
            f"got {shown([*policy])}"
        )
    if "scheduler" in policy:
        _check_line("policy: scheduler", policy["scheduler"], 1000)
        for name, value in _mapping("policy: files", policy["files"]).items():
            _check_digest(f"policy: files: {name}", value)
        return dict(policy)
    _check_line("policy: scheme", policy["scheme"], 200)
    _check_digest("policy: checkpoint", policy["checkpoint"])
    seeds = policy["seeds"]
    if not isinstance(seeds, list) or not 1 <= len(seeds) <= MAX_TRAINING_SEEDS:
        raise ValueError(
            f"policy: seeds must be a list of 1 to {MAX_TRAINING_SEEDS}, got {shown(seeds)}"
        )
    if len({bounded_integer("policy: seeds", seed, 2**63 - 1, 0) for seed in seeds}) < len(seeds):
        raise ValueError(f"policy: seeds must be all different, got {shown(seeds)}")
    return dict(policy)


def _decoded(texts: Any, episodes: int, n_ues: int) -> Floats:
    """(training seeds, episodes, J) the rates, finite and not negative."""
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TRAINING_SEEDS:
        raise ValueError(
            f"ue_rates must be a list of 1 to {MAX_TRAINING_SEEDS} texts, got {shown(texts)}"
        )
    size = episodes * n_ues * np.dtype(_RATE).itemsize
    rates = []
    for k, text in enumerate(texts):
        try:
            content = base64.b64decode(text, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ValueError(f"ue_rates[{k}] must be base64, got {shown(text)}") from None
        if len(content) != size:
            raise ValueError(
                f"ue_rates[{k}] must be base64 of {size:,} bytes, float32 of {episodes} episodes "
                f"and {n_ues} users, got {len(content):,}"
            )
        rates.append(np.frombuffer(content, _RATE).reshape(episodes, n_ues).astype(np.float64))
    found = np.stack(rates)
    if (wrong := ~(np.isfinite(found) & (found >= 0))).any():
        k, episode, user = np.argwhere(wrong)[0]
        raise ValueError(
            f"ue_rates[{k}], episode {episode}, user {user} = {found[k, episode, user]:g} must be "
            "finite and at least 0"
        )
    return found


def _check_kpis(stated: Mapping[str, Any], found: Mapping[str, float]) -> None:
    if stated.keys() != found.keys():
        raise ValueError(f"kpis must have {', '.join(found)}, got {shown([*stated])}")
    for name, value in found.items():
        number = bounded_number(f"kpis: {name}", stated[name], -1e300, 1e300)
        if not math.isclose(number, value, rel_tol=_CLOSE, abs_tol=_CLOSE):
            raise ValueError(
                f"kpis: {name} = {number:g} does not follow from ue_rates, whose mean is {value:g}"
            )


def _check_line(name: str, value: Any, length: int) -> None:
    """Refuse what is no text of one line, of 1 to ``length`` characters."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shown(value)}")
    if not 1 <= len(value) <= length:
        raise ValueError(f"{name} must have 1 to {length} characters, got {len(value)}")
    if not value.isprintable() or value != value.strip():
        raise ValueError(
            f"{name} must be one line of printable characters, without blanks around it, "
            f"got {shown(value)}"
        )


def _check_digest(name: str, value: Any) -> None:
    digits = set("0123456789abcdef")
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= digits:
        raise ValueError(f"{name} must be a SHA-256 in 64 hexadecimal digits, got {shown(value)}")


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be an object, got {shown(value)}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"bits must be a number, got {shown(text)}") from None


def _holds_submission(path: Path) -> bool:
    try:
        return _parsed(path).get("format") == FORMAT
    except ValueError:
        return False
