"""Reading untrusted JSON and safetensors files, so that no content can do more than be refused.

A file is read once, through one handle, and never mapped: what was verified stays what it was, whatever happens to the file later.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rrm_env.checks import shortened
from rrm_env.limits import available_memory

MAX_TEXT = 2**26
"""Bytes of the longest JSON text that is read."""


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading (OSError for another kind).

    The kind is that of what was opened, so that nothing can take the file's place in between.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        _require_regular(os.fstat(file.fileno()).st_mode, path)
        yield file


def require_file(path: str | Path) -> None:
    """Refuse what is no regular file (OSError): opening a pipe may wait forever, reading a device may never end."""
    _require_regular(os.stat(path).st_mode, path)


def _require_regular(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(
            code, os.strerror(code) if stat.S_ISDIR(mode) else "No regular file", str(path)
        )


def read_json(path: Path) -> Any:
    """The content of a JSON file, as `parse_json`.

    Raises:
        OSError: no regular file, or one that cannot be read.
        ValueError: longer than `MAX_TEXT`, or no JSON.
    """
    with opened(path) as file:
        content = file.read(MAX_TEXT + 1)
        if len(content) > MAX_TEXT:
            raise ValueError(
                f"{os.fstat(file.fileno()).st_size:,} bytes are too many, allowed: {MAX_TEXT:,}"
            )
    return parse_json(content)


def dump_json(content: Any, indent: int | None = None) -> str:
    """A JSON text that `parse_json` reads; the same as `json.dumps` gives.

    Raises:
        TypeError, ValueError: the content is none that JSON has, or a text of it is none that UTF-8 can hold.
    """
    text = json.dumps(content, indent=indent)
    parse_json(text)
    return text


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says; only what can be printed and written as JSON again passes.

    Raises:
        ValueError: no JSON in UTF-8, nested too deeply, or with half of a surrogate pair.
    """
    try:
        content = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(str(error)) from None
    return content


def read_safetensors(
    path: str | Path, refusal: Callable[[str], ValueError]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, which own their memory, and metadata of a safetensors file.

    Args:
        path: the file.
        refusal: makes an error of what speaks against the file.

    Raises:
        ValueError: what ``refusal`` makes of a file that is none, or that takes more memory than is free.
    """
    try:
        with opened(path) as file:
            _require_memory(size := os.fstat(file.fileno()).st_size)
            content = file.read(size)  # and no more, should the file grow meanwhile
        return load(content), _header(content).get("__metadata__") or {}
    except OSError as error:
        raise refusal(error.strerror or str(error)) from None
    except KeyError as error:  # safetensors has types that torch lacks
        raise refusal(f"tensors of type {shortened(str(error))} are not read") from None
    except (SafetensorError, ValueError) as error:
        raise refusal(shortened(str(error))) from None


def _require_memory(size: int) -> None:
    """Refuse a file whose content does not fit in the free memory (ValueError), twice: as read, and as tensors."""
    free = free_bytes(torch.device("cpu"))
    if free is not None and 2 * size > free:
        needed = f"{2 * size / 2**20:,.1f} MiB of memory while it is read"
        raise ValueError(f"its {size:,} bytes need {needed}, {free / 2**20:,.1f} MiB are free")


def _header(content: bytes) -> dict[str, Any]:
    """What a safetensors file says before its tensors."""
    header: dict[str, Any] = parse_json(content[8 : _header_end(content)])
    return header


def _header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def require_like(
    where: str, name: str, tensors: Mapping[str, Tensor], kind: torch.dtype, shape: tuple[int, ...]
) -> None:
    """Refuse a tensor of another type or shape, or none (ValueError); ``where`` says what should hold it."""
    expected, found = f"{kind} of shape {shape}", "nothing"
    if name in tensors:
        found = f"{tensors[name].dtype} of shape {tuple(tensors[name].shape)}"
    if found != expected:
        raise ValueError(f"{where}: {name} must be {expected}, found {found}")


def checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    """SHA-256 of a text and of names, types, shapes and bytes of contiguous tensors, in the order in which they are given."""
    digest = hashlib.sha256(description.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def serialised(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the same bytes for the same content: the library leaves metadata in the order of a hash that differs between
    processes.
    """
    content = save(dict(tensors), dict(metadata))
    header = _header(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return b"".join(
        (len(text).to_bytes(8, "little"), text, memoryview(content)[_header_end(content) :])
    )


def free_bytes(device: torch.device) -> int | None:
    """Memory on a device that this process can still take; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
