"""Files as they come: JSON and safetensors, read so that no content can do more than be refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rrm_env.config import shortened

MAX_TEXT = 2**26
"""Bytes of the longest JSON text that is read."""


def require_file(path: str | Path) -> None:
    """Refuse what is no regular file (OSError): opening a pipe may wait forever, reading a device may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, os.strerror(code) if stat.S_ISDIR(mode) else "No regular file", str(path))


def read_json(path: Path) -> Any:
    """The content of a JSON file, as `parse_json`.

    Raises:
        OSError: no regular file, or one that cannot be read.
        ValueError: longer than `MAX_TEXT`, or no JSON.
    """
    require_file(path)
    if (size := path.stat().st_size) > MAX_TEXT:
        raise ValueError(f"{size:,} bytes are too many, allowed: {MAX_TEXT:,}")
    return parse_json(path.read_bytes())


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


@contextmanager
def opened(path: str | Path, refusal: Callable[[str], ValueError]) -> Iterator[Any]:
    """A file as safetensors sees it, whose tensors stay memory-mapped; ``refusal`` makes an error of what speaks against the file."""
    try:
        require_file(path)
        with safe_open(path, "pt") as file:
            yield file
    except OSError as error:
        raise refusal(error.strerror or str(error)) from None
    except SafetensorError as error:
        raise refusal(shortened(str(error))) from None


def require_like(where: str, name: str, tensors: Mapping[str, Tensor], kind: torch.dtype, shape: tuple[int, ...]) -> None:
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
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[8 + length :]))
