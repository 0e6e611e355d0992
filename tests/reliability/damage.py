"""Hypothesis strategies for damaged files: bytes, JSON and safetensors headers.

A mutation is a function of Hypothesis's ``draw``, the bytes of a valid file and those of another
file of its kind; it returns the bytes of a damaged file. `forgeries` has the mutations that make
checksums fit.
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
from hypothesis import strategies as st

CANARY = "canary"
"""The file that code hidden in damaged files would make."""


class Bytes(bytes):
    """Bytes that failing examples show by their number."""

    def __repr__(self) -> str:
        return f"<{len(self):,} bytes>"


Mutation = Callable[[st.DrawFn, bytes, bytes], bytes]


def pick(draw: st.DrawFn, *values: Any) -> Any:
    """Draw one of the values; a failing example is shrunk towards the first."""
    return values[place(draw, len(values))]


def place(draw: st.DrawFn, size: int) -> int:
    """Draw an index into a sequence of this size, 0 if it is empty.

    Hypothesis prefers small integers, which would leave the far end of a file unharmed; it draws
    fractions almost uniformly.
    """
    if size <= 64:
        return draw(st.integers(0, max(size - 1, 0)))
    return int(draw(st.floats(0, 1, exclude_max=True)) * size)


def random_bytes(draw: st.DrawFn, size: int) -> bytes:
    """Draw bytes from a seed: there may be more than Hypothesis would draw one by one."""
    return Random(draw(st.integers(0, 2**32))).randbytes(size)


def edit_list(draw: st.DrawFn, items: list[Any], others: st.SearchStrategy[Any]) -> None:
    """Remove, copy or exchange items, or put one of the others between them or in one's place."""
    one, two = place(draw, len(items)), place(draw, len(items))
    what = pick(draw, "remove", "copy", "exchange", "insert", "replace", "replace")
    if what == "insert" or not items:
        items.insert(one, draw(others))
    elif what == "remove":
        del items[one]
    elif what == "copy":
        items.insert(two, items[one])
    elif what == "exchange":
        items[one], items[two] = items[two], items[one]
    else:
        items[one] = draw(others)


# --- Bytes ---


def _start(draw: st.DrawFn, content: bytes) -> int:
    """Half of all places are near the front, where headers are."""
    return place(draw, pick(draw, min(len(content), 512), len(content)))


def _replaced(
    new: Callable[[st.DrawFn, bytes], bytes], longest: tuple[int, ...] = (64,)
) -> Mutation:
    """A mutation that replaces a stretch of bytes."""

    def mutation(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
        start = _start(draw, content)
        stop = start + draw(st.integers(1, pick(draw, *longest)))
        return content[:start] + new(draw, content[start:stop]) + content[stop:]

    return mutation


def _flip_bits(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    for _n in range(pick(draw, 1, 1, 1, 2, 8)):
        changed[_start(draw, content)] ^= 1 << place(draw, 8)
    return bytes(changed)


def _swap(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    length = draw(st.integers(1, 32))
    first = place(draw, len(content) - 2 * length)
    second = first + length + place(draw, len(content) - first - 2 * length)
    one, other = content[first : first + length], content[second : second + length]
    between = content[first + length : second]
    return content[:first] + other + between + one + content[second + length :]


def _truncate(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    return content[: place(draw, len(content))]


def _append(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    some = draw(st.binary(min_size=1, max_size=100))
    return content + bytes(pick(draw, b"\0", b"\n", b"}", some, content))


def _splice(draw: st.DrawFn, content: bytes, other: bytes) -> bytes:
    return content[: place(draw, len(content))] + other[place(draw, len(other)) :]


def _something_else(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    size = len(content)
    few = random_bytes(draw, draw(st.integers(1, 200)))
    as_many = random_bytes(draw, size)
    return bytes(pick(draw, b"", few, bytes(size), as_many, b"PK\3\4", b"\x89HDF\r\n"))


class Harmful:
    """Makes the canary when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(CANARY),)


def _pickled(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Return what `pickle` and `torch.save` write with code in it."""
    tail = content[: pick(draw, 0, 0, 8, len(content))]
    if draw(st.booleans()):
        return pickle.dumps(Harmful(), pick(draw, 4, 0, 1, 2, 3, 5)) + tail
    buffer, tensors = io.BytesIO(), {"observation": torch.zeros(3), "code": Harmful()}
    torch.save(tensors, buffer, _use_new_zipfile_serialization=draw(st.booleans()))
    return buffer.getvalue() + tail


BYTES: dict[str, Mutation] = {
    "bits flipped": _flip_bits,
    "bytes overwritten": _replaced(
        lambda draw, old: draw(st.binary(min_size=len(old), max_size=len(old)))
    ),
    "bytes zeroed": _replaced(lambda _, old: bytes(len(old)), longest=(8, 512, 4096)),
    "bytes deleted": _replaced(lambda *_: b""),
    "bytes duplicated": _replaced(lambda draw, old: old * int(pick(draw, 2, 2, 51))),
    "stretches swapped": _swap,
    "truncated": _truncate,
    "bytes appended": _append,
    "two files spliced": _splice,
    "something else": _something_else,
    "pickled code": _pickled,
}


# --- JSON ---

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 10**6, 2**31, 2**63, 2**64, 10**30,
    10**400, -(2**70), 1e308, "", "x", "nan", "network", "parallel", "[/bold]", "\x1b[2J", "\ud800",
    "__import__('pathlib').Path('canary').touch()", [], {}, [[]], [1, [2]], {"kind": "network"},
    {"kind": 3}, {"format": "pt"}, "\x00", "9" * 64, [None] * 50, "a" * 10_000,
)  # fmt: skip
_LITERALS = {
    "*nan*": ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000),
    "*deep*": ("[" * 900 + "]" * 900, "[" * 50_000, '{"a":' * 50_000),
}
"""Texts that `json.dumps` does not write, by the string that stands for them."""


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys: list[Any] = (
        list(content) if isinstance(content, dict)
        else list(range(len(content))) if isinstance(content, list)
        else []
    )  # fmt: skip
    return [spot for key in keys for spot in ((content, key), *_places(content[key]))]


def edit_json(draw: st.DrawFn, content: Any) -> str:
    """Return a JSON text like ``content`` with one to three changes; rarely it is no JSON."""
    changed = {"": copy.deepcopy(content)}
    for _ in range(pick(draw, 1, 1, 1, 2, 3)):
        _edit_place(draw, _places(changed))
        if not changed:
            changed = {"": None}
    text = json.dumps(changed.get(""))
    for mark, literals in _LITERALS.items():
        if f'"{mark}"' in text:
            text = text.replace(f'"{mark}"', pick(draw, *literals))
    if text.startswith("{") and isinstance(content, dict) and content and place(draw, 20) == 19:
        twice = json.dumps(pick(draw, *content))
        text = f"{{{twice}: {json.dumps(pick(draw, *_VALUES))}, {text[1:]}"
    return text


def _edit_place(draw: st.DrawFn, places: list[tuple[Any, Any]]) -> None:
    inner = places[1:] or places
    (container, key), (source, name) = pick(draw, *inner), pick(draw, *inner)
    what = place(draw, 20)
    if what < 10:
        container[key] = copy.deepcopy(pick(draw, *_VALUES, *_LITERALS))
    elif what < 12 and isinstance(container[key], (int, float)):
        factor, more = pick(draw, -1, 2, 1000, 10**15), pick(draw, 0, 1)
        container[key] = container[key] * factor + more
    elif what < 15 and places[1:]:
        del container[key]
    elif what < 17 and isinstance(container, dict) and key:
        new = pick(draw, f"{key}x", key.upper(), "", "n_aps", "hidden_sizes", "__metadata__")
        container[new] = container.pop(key) if draw(st.booleans()) else container[key]
    else:
        one, two = copy.deepcopy(container[key]), copy.deepcopy(source[name])
        if what == 19:
            source[name] = one
        container[key] = two


JSON: dict[str, Mutation] = {
    "JSON edited": lambda draw, content, _: edit_json(draw, json.loads(content)).encode()
}


# --- Headers of safetensors files ---


def split_header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_header(header: dict[str, Any] | str | bytes, data: bytes) -> bytes:
    """Return a safetensors file."""
    text = json.dumps(header) if isinstance(header, dict) else header
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded + data


def _edit_tensor(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Change the type, shape or place of a tensor."""
    header, data = split_header(content)
    entry = header[pick(draw, *(key for key in header if key != "__metadata__"))]
    (start, stop), shape = entry["data_offsets"], entry["shape"]
    values = {
        "dtype": ("F32", "I32", "F64", "F16", "BF16", "U8", "I8", "BOOL", "I64", "U64", "F8_E4M3",
                  "F4", "C64", "float", "", 3, None),
        "shape": (shape[::-1], [*shape, 1], shape[1:], [], [0], [-1], [2**62, 4], [2**64], [1.5],
                  None, "3", [[3]]),
        "data_offsets": ([stop, start], [0, stop], [start, stop + 4], [start + 1, stop + 1],
                         [0, 0], [-4, stop], [start, 2**63], [start], None, [start, 2**64],
                         [start + 0.5, stop]),
    }  # fmt: skip
    field = pick(draw, *values)
    entry[field] = pick(draw, *values[field])
    return join_header(header, data)


def _edit_header(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Remove, rename, exchange or invent tensors, change metadata or anything else."""
    header, data = split_header(content)
    return join_header(edit_json(draw, header), data)


def _break_header(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Make a length that lies, text that is no UTF-8, keys given twice, or deep nesting."""
    header, data = split_header(content)
    text = json.dumps(header).encode()
    what = place(draw, 5)
    if what == 0:
        near = len(text) - 1, len(text) + 1, len(content)
        length = pick(draw, 0, 1, 7, *near, 10**8, 2**31, 2**63 - 1, 2**64 - 1)
        return struct.pack("<Q", length) + text + data
    if what == 1:
        start = 1 + place(draw, len(text) - 1)
        bad = bytes(pick(draw, b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0"))
        return join_header(text[:start] + bad + text[start:], data)
    if what == 2:
        twice = b'{"reward":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        return join_header(twice + text[1:], data)
    if what == 3:
        nested = pick(draw, b"[", b'{"a":') * pick(draw, 100, 100_000)
        return join_header(b'{"deep":' + nested + text[1:], data)
    return join_header(b" " * pick(draw, 1, 8, 1000) + text + b" " * pick(draw, 0, 1, 8), data)


HEADERS: dict[str, Mutation] = {
    "tensor's header edited": _edit_tensor,
    "header edited": _edit_header,
    "header broken": _break_header,
}
