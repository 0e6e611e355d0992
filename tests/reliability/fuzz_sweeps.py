"""Damages sweeps declared in TOML, in their bytes and in their structure, and reads what comes of them; no cell is run."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from random import Random

from marl.sweep.grid import Sweep
from marl.sweep.points import OPTIONS

_VALUES = (
    *(
        "true",
        "false",
        '""',
        '"é"',
        "'x'",
        "0",
        "1",
        "3",
        "-1",
        "-0.0",
        "0.5",
        "nan",
        "inf",
        "1e400",
        "0x10",
        "1979-05-27",
        "07:32:00",
    ),
    *(
        "[]",
        "[[]]",
        "[1, 2]",
        "[1, 1]",
        "[1, 'a']",
        "[nan, nan]",
        "{}",
        "{ n_ues = 10 }",
        "{ a = { b = [1] } }",
        "[{}, {}]",
        "[[8], [8, 8]]",
    ),
    *(
        "9" * 30,
        "9" * 5000,
        "[" * 3000 + "]" * 3000,
        "{a=" * 3000,
        '"' + "x" * 5000 + '"',
        '"\\u0000"',
        '"c"',
        '"sac"',
        '"bc"',
        '"missing"',
    ),
    *(
        '"mpe2.nothing"',
        '["c", "i"]',
        '["max_weight", "itlinq"]',
        '"itlinq:tolerance_db=0"',
        '"wide"',
        '"cuda"',
        "[0.1, 1e300]",
    ),
)
_LONG = f"[{', '.join(map(str, range(100_000)))}]"
"""An axis far beyond what a grid may have."""
_HEADINGS = (
    "[collect]",
    "[train]",
    "[evaluate]",
    "[[train]]",
    "[train.set]",
    "[collect.set]",
    "[other]",
    "[]",
    "[train",
    "[seeds]",
)


def judge_sweep(rng: Random) -> tuple[str, str]:
    """What came of a damaged sweep: an error that names the file, or a grid all of whose cells have names."""
    lines = _valid(rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _damage_structure(rng, lines)
    content = "\n".join(lines).encode()
    if rng.random() < 0.3:
        content = _damage_bytes(rng, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.toml"
        path.write_bytes(content)
        try:
            sweep = Sweep.read(path)
            names = {cell.name for point in sweep.points for cell in sweep.cells(point)}
        except (TypeError, ValueError) as error:
            message = str(error)
            if (
                not issubclass(type(error), (TypeError, ValueError))
                or str(path) not in message
                or len(message) > 3000
            ):
                return (
                    "finding",
                    f"refused without naming the file, or at length: {traceback.format_exc()[:5000]}",
                )
            return "refused", message
    return ("fine", "") if names else ("finding", "a sweep without cells")


def _valid(rng: Random) -> list[str]:
    """Lines of a sweep that is valid and small."""
    collect = [
        "[collect]",
        'scheduler = "max_weight"',
        "transitions = [40, 200]",
        "seed = 1",
        "set = { n_ues = 10 }",
    ]
    train = [
        "[train]",
        'paradigm = ["c", "ctde"]',
        "updates = 30",
        "log_every = 10",
        "evaluate_every = 10",
        "checkpoint_every = 10",
    ]
    train += rng.choice(([], ["hidden_sizes = [[8], [16, 16]]"], ["discount = [0.5, 0.9]"]))
    evaluate = ["[evaluate]", "episodes = 2", 'schedulers = "max_weight,itlinq"']
    return [
        "seeds = 2",
        "seeds_per_cell = 1",
        *(collect if rng.random() < 0.8 else []),
        *train,
        *evaluate,
    ]


def _damage_structure(rng: Random, lines: list[str]) -> None:
    k, value = rng.randrange(len(lines)), _LONG if rng.random() < 0.01 else rng.choice(_VALUES)
    option = rng.choice(
        [name for section in OPTIONS.values() for name in section]
        + ["seeds", "seeds_per_cell", "colour", "a.b", '""', "é"]
    )
    kind = rng.randrange(7)
    if kind == 0 and len(lines) > 1:
        del lines[k]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[k])
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[k], lines[other] = lines[other], lines[k]
    elif kind == 3:
        lines[k] = rng.choice(_HEADINGS)
    elif kind == 4:
        lines.insert(k + 1, f"{option} = {value}")
    elif kind == 5:
        lines[k] = f"{lines[k].partition('=')[0]}= {value}"
    else:
        lines[k] = f"{option} = {lines[k].partition('=')[2]}"


def _damage_bytes(rng: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 10))):
        k = rng.randrange(len(damaged) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            damaged[k : k + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            damaged[k:k] = rng.choice(
                (
                    b"\xff\xfe",
                    b"\x00",
                    b"\n",
                    b'"',
                    b"'''",
                    b"[",
                    b"=",
                    b"#",
                    "é".encode(),
                    b"\xef\xbb\xbf",
                    b"\r",
                )
            )
        elif kind == 2:
            del damaged[k : k + rng.randrange(1, 20)]
        else:
            damaged[k:k] = damaged[: rng.randrange(50)]
    return bytes(damaged)
