"""Golden episodes: one episode of each preset, whose numbers the environment's version promises.

``python tests/golden.py`` plays them and compares them with ``golden_episodes.json`` beside this
file. ``--write`` writes that file again, which is right in three cases and refused in all others:
a preset was added, a processor or versions of libraries that give other bits
(`rrm_env.provenance.gives_same_bits`) changed the last of them, or the physics changed and
`rrm_env.rrm_v0.ENV_ID` names a new version of the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rrm_env import PRESETS, RRMConfig
from rrm_env.files import write_json
from rrm_env.provenance import gives_same_bits, machine, versions
from rrm_env.rrm_v0 import ENV_ID

FILE = Path(__file__).with_name("golden_episodes.json")
SEED = 1
TOLERANCE = 1e-5
"""Difference, relative above 1, of numbers on processors that need not give the same bits."""
SHARE_OF_TURNS = 0.02
"""Share of steps whose observation may differ there: a last bit may exchange two candidates."""
RULE = (
    f"{ENV_ID} promises the episodes of {FILE.name}. Physics that give other numbers, or other "
    "bits with the same libraries, are a new version of the environment: give ENV_ID in "
    "rrm_env/rrm_v0.py the next number, then run python tests/golden.py --write."
)


def played(preset: str) -> dict[str, Any]:
    """The golden episode of a preset.

    Returns:
        ``checksum``: SHA-256 of the bits of all observations, masks, candidates, rewards and KPIs;
        ``rewards`` (T,) of the steps; ``observations`` (T + 1,), the mean of each; ``kpis``, those
        of the episode by name, and ``ue_rates`` (J,) in bit/s/Hz.
    """
    env = gymnasium.make(ENV_ID, preset=preset)
    config = RRMConfig.preset(preset)
    digest = hashlib.sha256()
    observation, info = env.reset(seed=SEED)
    rewards: list[float] = []
    means: list[float] = []
    while True:
        for name, dtype in (("action_mask", "<i1"), ("candidates", "<i4")):
            digest.update(np.asarray(info[name], dtype).tobytes())
        digest.update(np.asarray(observation, "<f4").tobytes())
        means.append(float(observation.astype(np.float64).mean()))
        if len(rewards) == config.episode_length:
            break
        action = decision(info["candidates"], len(rewards), config)
        observation, reward, _, _, info = env.step(action)
        rewards.append(float(reward))
        digest.update(np.asarray(reward, "<f8").tobytes())
    kpis = {name: value for name, value in info.items() if isinstance(value, float)}
    ue_rates = np.asarray(info["ue_rates"], "<f8")
    digest.update(np.asarray([*kpis.values()], "<f8").tobytes() + ue_rates.tobytes())
    env.close()
    return {
        "checksum": digest.hexdigest(),
        "rewards": _rounded(rewards),
        "observations": _rounded(means),
        "kpis": dict(zip(kpis, _rounded([*kpis.values()]), strict=True)),
        "ue_rates": _rounded(ue_rates.tolist()),
    }


def decision(candidates: NDArray[Any], t: int, config: RRMConfig) -> NDArray[np.int64]:
    """(I,) actions of step t that depend on which users are candidates, but not on their order.

    So a last bit that exchanges two candidates changes no reward. All access points are silent at
    t = 0, when the order is decided by rounding alone, and each in one of four steps after that.
    They serve their candidates by turns, from the lowest index, at all power levels by turns.

    Args:
        candidates: (I, N) users, -1 where there is none.
        t: the step.
        config: the network.
    """
    actions = np.full(config.n_aps, config.n_actions - 1)
    for ap, row in enumerate(candidates):
        users = np.sort(row[row >= 0])
        if t > 0 and users.size and (t + ap) % 4 != 3:
            slot = int(np.flatnonzero(row == users[t // 4 % users.size])[0])
            actions[ap] = slot * config.n_power_levels + (t + ap) % config.n_power_levels
    return actions


def differences(
    golden: Mapping[str, Any], found: Mapping[str, Any], *, same_bits: bool
) -> list[str]:
    """What differs between two results of `played`, a sentence each.

    Args:
        golden: what is promised.
        found: what was played.
        same_bits: whether the bits must agree too.
    """
    wrong = []
    for name in ("rewards", "ue_rates", "observations"):
        apart = _apart(golden[name], found[name])
        allowed = int(SHARE_OF_TURNS * len(apart)) if name == "observations" else 0
        if (count := int((apart > TOLERANCE).sum())) > allowed:
            first = int(np.argmax(apart > TOLERANCE))
            wrong.append(
                f"{name}[{first}] is {found[name][first]:.9g}, promised {golden[name][first]:.9g}; "
                f"{count} of {len(apart)} differ by more than {TOLERANCE:g}, allowed: {allowed}"
            )
    names = [*golden["kpis"]]
    if names != [*found["kpis"]]:
        return [*wrong, f"the KPIs are {', '.join(found['kpis'])}, promised {', '.join(names)}"]
    wrong += [
        f"{name} is {found['kpis'][name]:.9g}, promised {golden['kpis'][name]:.9g}"
        for name, apart in zip(names, _apart(*map(_kpis, (golden, found))), strict=True)
        if apart > TOLERANCE
    ]
    if same_bits and golden["checksum"] != found["checksum"]:
        wrong.append("the bits differ, on a processor and with versions that give the same bits")
    return wrong


def largest_difference(golden: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """The largest difference of the numbers of two results of `played`, relative above 1."""
    parts = [_apart(golden[name], found[name]) for name in ("rewards", "ue_rates", "observations")]
    return float(np.concatenate([*parts, _apart(*map(_kpis, (golden, found)))]).max())


def stored() -> dict[str, Any]:
    """The content of the file: ``environment``, ``processor``, ``versions`` and ``episodes``."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def content_of(episodes: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds where this process played the episodes."""
    return {
        "environment": ENV_ID,
        "seed": SEED,
        "processor": str(machine()["processor"]),
        "versions": versions(),
        "episodes": dict(episodes),
    }


def broken_promises(golden: Mapping[str, Any], episodes: Mapping[str, Any]) -> list[str]:
    """What of the file's episodes this version of the environment promised and does not keep."""
    if golden["environment"] != ENV_ID:
        return []
    same_bits = gives_same_bits(golden)
    return [
        f"{preset}: {text}"
        for preset, promised in golden["episodes"].items()
        for text in (
            differences(promised, episodes[preset], same_bits=same_bits)
            if preset in episodes
            else ["the preset is gone"]
        )
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: 1 where the episodes are not those promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the file again")
    write = parser.parse_args(arguments).write
    episodes = {preset: played(preset) for preset in PRESETS}
    golden = stored() if FILE.exists() else {**content_of({}), "environment": "none yet"}
    for preset in (name for name in episodes if name in golden["episodes"]):
        promised, found = golden["episodes"][preset], episodes[preset]
        same = promised["checksum"] == found["checksum"]
        apart = largest_difference(promised, found)
        print(f"{preset}: {'the same bits' if same else f'other bits, apart by {apart:.1e}'}")
    broken = broken_promises(golden, episodes)
    if broken:
        print("\n".join([*broken, RULE]), file=sys.stderr)
        return 1
    if write:
        write_json(FILE, content_of(episodes))
        print(f"wrote {FILE}")
    return 0


def _rounded(values: list[float]) -> list[float]:
    """Nine digits, a hundred times finer than the tolerance."""
    return [float(f"{value:.9g}") for value in values]


def _apart(golden: list[float], found: list[float]) -> NDArray[np.float64]:
    """Differences of numbers, relative where they exceed 1; infinite where their counts differ."""
    if len(golden) != len(found):
        return np.full(1, np.inf)
    promised = np.asarray(golden, np.float64)
    difference: NDArray[np.float64] = np.abs(promised - found) / np.maximum(1, np.abs(promised))
    return np.where(np.isnan(difference), np.inf, difference)


def _kpis(episode: Mapping[str, Any]) -> list[float]:
    return [*episode["kpis"].values()]


if __name__ == "__main__":
    sys.exit(main())
