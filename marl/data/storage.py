"""Reading untrusted JSON and safetensors files, and writing files with reproducible bytes.

A file is read once, through one handle, and never memory-mapped, so that later changes of the file
cannot alter content that was already verified.
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
"""Length limit of JSON texts in bytes; longer ones are refused."""


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    The kind is checked after opening, so that nothing can replace the file between check and use.

    Raises:
        OSError: the path is not a regular file, or cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        _require_regular(os.fstat(file.fileno()).st_mode, path)
        yield file


def require_file(path: str | Path) -> None:
    """Raise OSError unless the path is a regular file.

    Opening a pipe may wait forever, and reading a device may never end.
    """
    _require_regular(os.stat(path).st_mode, path)


def _require_regular(mode: int, path: str | Path) -> None:
    """Raise OSError unless ``mode`` is of a regular file."""
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "No regular file", str(path))


def read_json(path: Path) -> Any:
    """The content of a JSON file, as `parse_json` returns it.

    Raises:
        OSError: the path is not a regular file, or cannot be read.
        ValueError: the file is longer than `MAX_TEXT`, or is not JSON.
    """
    with opened(path) as file:
        content = file.read(MAX_TEXT + 1)
        if len(content) > MAX_TEXT:
            raise ValueError(
                f"{os.fstat(file.fileno()).st_size:,} bytes are too many, allowed: {MAX_TEXT:,}"
            )
    return parse_json(content)


def dump_json(content: Any, indent: int | None = None) -> str:
    """The text of `json.dumps`, if `parse_json` can read it.

    Raises:
        TypeError, ValueError: JSON cannot represent the content, or UTF-8 cannot encode a text.
    """
    text = json.dumps(content, indent=indent)
    parse_json(text)
    return text


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text, if it can be written as JSON again.

    Raises:
        ValueError: the text is not JSON in UTF-8, is nested too deeply, or has half of a surrogate
            pair.
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
    """Tensors and metadata of a safetensors file; the tensors own their memory.

    Args:
        path: the file.
        refusal: makes the error to raise from the reason why the file is refused.

    Raises:
        ValueError: the error that ``refusal`` makes, if the path is not a readable safetensors file
            or the file needs more memory than is free.
    """
    try:
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            _require_memory(size)
            content = file.read(size)  # the file may grow meanwhile
        return load(content), _header(content).get("__metadata__") or {}
    except OSError as error:
        raise refusal(error.strerror or str(error)) from None
    except KeyError as error:  # safetensors has types that torch lacks
        raise refusal(f"tensors of type {shortened(str(error))} are not read") from None
    except (SafetensorError, ValueError) as error:
        raise refusal(shortened(str(error))) from None


def _require_memory(size: int) -> None:
    """Raise ValueError unless a file's content fits in memory twice: as read and as tensors."""
    free = free_bytes(torch.device("cpu"))
    if free is not None and 2 * size > free:
        needed = f"{2 * size / 2**20:,.1f} MiB of memory while it is read"
        raise ValueError(f"its {size:,} bytes need {needed}, {free / 2**20:,.1f} MiB are free")


def _header(content: bytes) -> dict[str, Any]:
    """The JSON header of a safetensors file."""
    header: dict[str, Any] = parse_json(content[8 : _header_end(content)])
    return header


def _header_end(content: bytes) -> int:
    """The offset at which the header of a safetensors file ends and the tensors begin."""
    return 8 + int.from_bytes(content[:8], "little")


def require_like(
    where: str, name: str, tensors: Mapping[str, Tensor], kind: torch.dtype, shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless ``tensors`` holds a tensor with this name, type and shape.

    ``where`` names the holder of the tensors in the message.
    """
    expected = f"{kind} of shape {shape}"
    found = "nothing"
    if name in tensors:
        found = f"{tensors[name].dtype} of shape {tuple(tensors[name].shape)}"
    if found != expected:
        raise ValueError(f"{where}: {name} must be {expected}, found {found}")


def checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    """SHA-256, in hexadecimal, of a text and of tensors in the order in which they are given.

    Names, types, shapes and bytes of the tensors count; the tensors must be contiguous.
    """
    digest = hashlib.sha256(description.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def serialised(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, which are the same for the same content."""
    content = save(dict(tensors), dict(metadata))
    # The library orders metadata by a hash that differs between processes, so they are sorted here.
    header = _header(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # keeps the tensors aligned
    tensor_bytes = memoryview(content)[_header_end(content) :]
    return b"".join((len(text).to_bytes(8, "little"), text, tensor_bytes))


def described(tensors: Mapping[str, Tensor], text: str) -> bytes:
    """A safetensors file that holds tensors, a description and the checksum of both."""
    return serialised(tensors, {"description": text, "checksum": checksum(tensors, text)})


def read_described(
    path: str | Path, what: str, refusal: type[ValueError]
) -> tuple[dict[str, Tensor], str]:
    """The tensors, sorted by name, and the description of a file that `described` made.

    Args:
        path: the file.
        what: what the file should hold, for messages.
        refusal: raised where the file cannot be read or was altered.
    """
    where = repr(str(path))
    content, metadata = read_safetensors(path, lambda reason: refusal(f"{where}: {reason}"))
    tensors = dict(sorted(content.items()))
    text = metadata.get("description", "")
    if metadata.get("checksum") != checksum(tensors, text):
        raise refusal(f"{where}: it holds no {what}, or its checksum does not match")
    return tensors, text


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process can still allocate on a device; None if the system cannot tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
