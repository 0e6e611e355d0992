"""What the fuzzers do to files: bytes, JSON and safetensors headers changed at random, and descriptions forged behind a valid checksum.

A mutation takes a generator, the file's bytes and those of another file of its kind, and returns new bytes; equal generators make equal
files.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

CANARY = "canary"
"""The file that code hidden in mutated files would make."""

Mutation = Callable[[Random, bytes, bytes], bytes]


# --- Bytes ---


def _place(rng: Random, content: bytes, longest: int = 64) -> tuple[int, int]:
    """Start and stop of a stretch; half of them begin near the front, where headers are."""
    front = min(len(content), 512)
    start = rng.randrange(max(front if rng.random() < 0.5 else len(content), 1))
    return start, min(len(content), start + rng.randint(1, longest))


def _flip_bits(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        start, _ = _place(rng, content)
        changed[start] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(rng: Random, content: bytes) -> bytes:
    start, stop = _place(rng, content)
    return content[:start] + rng.randbytes(stop - start) + content[stop:]


def _zero(rng: Random, content: bytes) -> bytes:
    start, stop = _place(rng, content, rng.choice((8, 512, 4096)))
    return content[:start] + bytes(stop - start) + content[stop:]


def _delete(rng: Random, content: bytes) -> bytes:
    start, stop = _place(rng, content)
    return content[:start] + content[stop:]


def _duplicate(rng: Random, content: bytes) -> bytes:
    start, stop = _place(rng, content)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 50)) + content[stop:]


def _swap(rng: Random, content: bytes) -> bytes:
    length = rng.randint(1, 32)
    first, second = sorted(rng.randrange(max(len(content) - length, 1)) for _ in range(2))
    if second < first + length:
        return _flip_bits(rng, content)
    middle = content[first + length : second]
    return (
        content[:first]
        + content[second : second + length]
        + middle
        + content[first : first + length]
        + content[second + length :]
    )


def _truncate(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _append(rng: Random, content: bytes) -> bytes:
    return content + rng.choice((b"\0", b"\n", b"}", rng.randbytes(rng.randint(1, 100)), content))


def _splice(rng: Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


def _noise(rng: Random, content: bytes) -> bytes:
    return rng.choice(
        (
            b"",
            rng.randbytes(rng.randint(1, 200)),
            b"\0" * len(content),
            rng.randbytes(len(content)),
            b"PK\3\4",
            b"\x89HDF\r\n",
        )
    )


class Harmful:
    """Unpickled, it makes the canary."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(CANARY),)


def _pickled(rng: Random, *_: bytes) -> bytes:
    """What `pickle` and `torch.save` write, with code in it."""
    if rng.random() < 0.5:
        return pickle.dumps(Harmful())
    buffer = io.BytesIO()
    torch.save(
        {"observation": torch.zeros(3), "code": Harmful()},
        buffer,
        _use_new_zipfile_serialization=rng.random() < 0.5,
    )
    return buffer.getvalue()


def _alone(change: Callable[[Random, bytes], bytes]) -> Mutation:
    """A mutation that needs no other file."""
    return lambda rng, content, _: change(rng, content)


BYTES: dict[str, Mutation] = {
    "bits flipped": _alone(_flip_bits),
    "bytes overwritten": _alone(_overwrite),
    "bytes zeroed": _alone(_zero),
    "bytes deleted": _alone(_delete),
    "bytes duplicated": _alone(_duplicate),
    "stretches swapped": _alone(_swap),
    "truncated": _alone(_truncate),
    "bytes appended": _alone(_append),
    "two files spliced": _splice,
    "something else": _alone(_noise),
    "pickled code": _pickled,
}


# --- JSON ---

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 10**6, 2**31, 2**63, 2**64, 10**30, 10**400, -(2**70), 1e308, "", "x", "nan",
    "network", "parallel", "[/bold]", "\x1b[2J", "\ud800", "__import__('pathlib').Path('canary').touch()", [], {}, [[]], [1, [2]],
    {"kind": "network"}, [None] * 50, "a" * 10_000,
)  # fmt: skip
_NAN, _DEEP = "*nan*", "*deep*"
_LITERALS = {
    _NAN: ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000),
    _DEEP: ("[" * 900 + "]" * 900, "[" * 50_000, '{"a":' * 50_000),
}


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else ()
    )
    return [place for key in keys for place in ((content, key), *_places(content[key]))]


def edit_json(rng: Random, content: Any) -> str:
    """A JSON text like ``content`` with one to three changes; rarely no JSON any more."""
    changed = {"": copy.deepcopy(content)}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(changed)
        container, key = rng.choice(places[1:] or places)
        what = rng.random()
        if what < 0.5:
            container[key] = copy.deepcopy(rng.choice((*_VALUES, _NAN, _DEEP)))
        elif what < 0.6 and isinstance(container[key], (int, float)):
            container[key] = container[key] * rng.choice((-1, 2, 1000, 10**15)) + rng.choice((0, 1))
        elif what < 0.75 and places[1:]:
            del container[key]
        elif what < 0.85 and isinstance(container, dict) and key:
            container[rng.choice((f"{key}x", key.upper(), "", "n_aps", "hidden_sizes"))] = (
                container[key]
            )
        elif places[1:]:
            source, name = rng.choice(places[1:])
            container[key] = copy.deepcopy(source[name])
        if not changed:
            changed = {"": None}
    text = json.dumps(changed.get(""))
    for mark, literals in _LITERALS.items():
        text = text.replace(f'"{mark}"', rng.choice(literals))
    if rng.random() < 0.05 and text.startswith("{") and isinstance(content, dict) and content:
        text = f'{{"{rng.choice([*content])}": {json.dumps(rng.choice(_VALUES))}, {text[1:]}'
    return text


def _json_edited(rng: Random, content: bytes) -> bytes:
    return edit_json(rng, json.loads(content)).encode()


# --- Headers of safetensors files ---


def split_header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_header(header: str | bytes, data: bytes) -> bytes:
    """A safetensors file."""
    encoded = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def _edit_tensor(rng: Random, content: bytes) -> bytes:
    """Another type, shape or place of a tensor."""
    header, data = split_header(content)
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    start, stop = entry["data_offsets"]
    field, values = rng.choice(
        (
            ("dtype", ("F32", "I32", "F64", "F16", "BF16", "U8", "I8", "BOOL", "I64", "U64", "F8_E4M3", "F4", "C64", "float", "", 3, None)),
            ("shape", (entry["shape"][::-1], [*entry["shape"], 1], entry["shape"][1:], [], [0], [-1], [2**62, 4], [2**64], [1.5], None, "3",
                       [[3]])),
            (
                "data_offsets",
                ([stop, start], [0, stop], [start, stop + 4], [start + 1, stop + 1], [0, 0], [-4, stop], [start, 2**63], [start], None,
                 [start, 2**64], [start + 0.5, stop]),
            ),
        )
    )  # fmt: skip
    entry[field] = rng.choice(values)
    return join_header(json.dumps(header), data)


def _edit_header(rng: Random, content: bytes) -> bytes:
    """Tensors missing, renamed, exchanged or made up; metadata of other types; anything else in the header."""
    header, data = split_header(content)
    names = [key for key in header if key != "__metadata__"]
    one, two = rng.choice(names), rng.choice(names)
    what = rng.randrange(7)
    if what == 0:
        del header[one]
    elif what == 1:
        header[rng.choice((f"{one}x", "", "__metadata__", "a" * 1000))] = header.pop(one)
    elif what == 2:
        header[one], header[two] = header[two], header[one]
    elif what == 3:
        header["made_up"] = dict(header[one])
    elif what == 4:
        header["__metadata__"] = rng.choice(
            (None, [], {}, "x", {"kind": 3}, {"kind": None}, {"kind": {"a": "b"}}, {"format": "pt"})
        )
    elif what == 5:
        metadata = header.get("__metadata__") or {"kind": "rrm_env transitions"}
        header["__metadata__"] = {
            **metadata,
            rng.choice([*metadata]): rng.choice(("", "x", 1, None, "\x00", "9" * 64)),
        }
    else:
        return join_header(edit_json(rng, header), data)
    return join_header(json.dumps(header), data)


def _break_header(rng: Random, content: bytes) -> bytes:
    """A length that lies, text that is no UTF-8, keys given twice, deep nesting."""
    header, data = split_header(content)
    text = json.dumps(header).encode()
    what = rng.randrange(5)
    if what == 0:
        length = rng.choice(
            (
                0,
                1,
                7,
                len(text) - 1,
                len(text) + 1,
                len(content),
                10**8,
                2**31,
                2**63 - 1,
                2**64 - 1,
            )
        )
        return struct.pack("<Q", length) + text + data
    if what == 1:
        start = rng.randrange(1, len(text))
        return join_header(
            text[:start]
            + rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0"))
            + text[start:],
            data,
        )
    if what == 2:
        return join_header(
            b'{"reward":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' + text[1:], data
        )
    if what == 3:
        return join_header(
            b'{"deep":' + rng.choice((b"[", b'{"a":')) * rng.choice((100, 100_000)) + text[1:], data
        )
    return join_header(b" " * rng.choice((1, 8, 1000)) + text + b" " * rng.choice((0, 1, 8)), data)


JSON: dict[str, Mutation] = {"JSON edited": _alone(_json_edited)}
HEADERS: dict[str, Mutation] = {
    "tensor's header edited": _alone(_edit_tensor),
    "header edited": _alone(_edit_header),
    "header broken": _alone(_break_header),
}
