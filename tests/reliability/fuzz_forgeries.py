"""Forgeries: files under checksums that fit, or of formats that have none, which only validation of their content refuses."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np
import torch
from fuzz_mutations import CANARY, Harmful, edit_json, split_header
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from marl import Dataset
from marl.data.storage import checksum

# --- Tensors ---


def _signed_dataset(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], description: str
) -> bytes:
    order = [name for name in Dataset.__dataclass_fields__ if name in tensors]
    digest = checksum({name: tensors[name] for name in order}, description)
    return save(dict(tensors), {**metadata, "description": description, "checksum": digest})


def _metadata(content: bytes) -> dict[str, str]:
    metadata: dict[str, str] = split_header(content)[0].get("__metadata__", {})
    return metadata


def forge_description(rng: Random, content: bytes, _: bytes) -> bytes:
    """A dataset that describes itself otherwise, under a checksum that fits."""
    metadata = _metadata(content)
    return _signed_dataset(
        load(content), metadata, edit_json(rng, json.loads(metadata["description"]))
    )


def edit_value(rng: Random, tensors: dict[str, Tensor]) -> None:
    """Change one of the tensors: a value, its shape, its type, or whether it is there."""
    name = rng.choice([*tensors])
    tensor = tensors[name].clone()
    what = rng.randrange(6)
    if what < 3 and tensor.numel():
        place = rng.randrange(tensor.numel())
        values = (
            (torch.nan, torch.inf, -torch.inf, 3e38, -1e30, 1e-45, 0.5)
            if tensor.is_floating_point()
            else (0, 1, 2, 3, 7, 100, 127)
        )
        value = rng.choice(values if tensor.dtype == torch.uint8 else (*values, -1, -100))
        if tensor.dtype in (torch.int32, torch.int64):
            value = rng.choice((value, 2**31 - 1, -(2**31)))
        tensor.reshape(-1)[place] = value
    elif what == 3:
        shorter = [tensor[:0], tensor[:1], torch.cat([tensor, tensor])] if tensor.ndim else []
        tensor = rng.choice((*shorter, tensor.unsqueeze(-1), tensor.flatten()))
    elif what == 4:
        tensor = tensor.to(
            rng.choice(
                (
                    torch.float64,
                    torch.float16,
                    torch.bfloat16,
                    torch.int64,
                    torch.int32,
                    torch.uint8,
                    torch.bool,
                )
            )
        )
    else:
        del tensors[name]
        return
    tensors[name] = tensor.contiguous()


def forge_tensors(rng: Random, content: bytes, _: bytes) -> bytes:
    """A dataset with values, shapes or types that no recording has, under a checksum that fits."""
    tensors, metadata = load(content), _metadata(content)
    edit_value(rng, tensors)
    return _signed_dataset(tensors, metadata, metadata["description"])


def _signed_run(tensors: Mapping[str, Tensor], text: str) -> bytes:
    return save(
        dict(tensors),
        {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)},
    )


def _text_of(content: bytes) -> str:
    return _metadata(content)["description"]


def forge_checkpoint(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint with tensors that no training leaves, under a checksum that fits."""
    tensors = load(content)
    edit_value(rng, tensors)
    return _signed_run(tensors, _text_of(content))


def forge_owner(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint that says it is of another run, under a checksum that fits."""
    return _signed_run(load(content), edit_json(rng, json.loads(_text_of(content))))


def unsigned(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint as older versions wrote it, without a checksum, with a tensor changed."""
    tensors = load(content)
    edit_value(rng, tensors)
    return save(tensors)


# --- Arrays ---


def forge_arrays(rng: Random, content: bytes, _: bytes) -> bytes:
    """Arrays of other values, shapes and types, objects among them, compressed beyond measure, or under headers that lie."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice([*arrays])
    what = rng.randrange(7)
    if what == 4:
        arrays[rng.choice((name, "more"))] = np.zeros((rng.choice((1, 3)) * 2**20, 24), np.float32)
        return _zipped(arrays, np.savez_compressed)
    if what == 5:
        return _zip_with_header(rng, arrays, name)
    if what == 6:
        return _edit_entry(rng, _zipped(arrays))
    arrays[name] = _other_array(rng, arrays[name], what)
    return _zipped(arrays)


def _zipped(
    arrays: Mapping[str, NDArray[Any]], save_arrays: Callable[..., None] = np.savez
) -> bytes:
    buffer = io.BytesIO()
    save_arrays(buffer, **arrays)
    return buffer.getvalue()


def _other_array(rng: Random, array: NDArray[Any], what: int) -> Any:
    if what == 0:
        return array.astype(
            rng.choice(
                ("f8", "f2", "c16", "U5", "S3", "O", "M8[s]", "V8", "i1", "u8", "?", "i4,f4")
            ),
            casting="unsafe",
        )
    if what == 1:
        return rng.choice((array[:0], array[:1], array[0], array.T, array[None], np.float32(1)))
    if what == 2:
        changed = array.astype(np.float64)
        changed.flat[rng.randrange(array.size)] = rng.choice(
            (np.nan, np.inf, -1, 1e300, 0.5, 2**53, 1e9)
        )
        return changed
    return np.array([Harmful()] * len(array), object)


def _zip_with_header(rng: Random, arrays: Mapping[str, NDArray[Any]], name: str) -> bytes:
    """One array under a header that announces more than there is, or objects, or that Python's parser chokes on."""
    header = rng.choice(
        (
            {"descr": "<f4", "fortran_order": False, "shape": (10**12, 24)},
            {"descr": "<f4", "fortran_order": True, "shape": (-1,)},
            {"descr": "|O", "fortran_order": False, "shape": (3,)},
            {"descr": [("a", "<f4", (10**9,))], "fortran_order": False, "shape": (1,)},
        )
    )
    lying, buffer = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_2_0(lying, header)
    nested = b"\x93NUMPY\x01\x00\xf0\x0f" + (b"(" * 4079 + b"\n")
    payload = nested if rng.random() < 0.3 else lying.getvalue() + bytes(8)
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, value in arrays.items():
            inner = io.BytesIO()
            np.save(inner, value)
            archive.writestr(f"{key}.npy", payload if key == name else inner.getvalue())
    return buffer.getvalue()


def _edit_entry(rng: Random, content: bytes) -> bytes:
    """Other flags or another method of an entry, in both of its places."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        changed[changed.find(mark) + offset + rng.choice((0, 2))] = rng.choice((1, 9, 12, 14, 95))
    return bytes(changed)


def forge_minari(rng: Random, content: bytes, _: bytes) -> bytes:
    """An HDF5 file with arrays of other values, types and sizes, or links to elsewhere."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "a") as file:
        episode = file[rng.choice([*file])]
        names = [
            "observations",
            "actions",
            "rewards",
            "terminations",
            "truncations",
            "infos/action_mask",
            "infos/behaviour",
            "infos/cut",
        ]
        name = rng.choice([name for name in names if name in episode])
        values = episode[name][()]
        del episode[name]
        what = rng.randrange(7)
        if what == 0:
            values.flat[rng.randrange(values.size)] = rng.choice((0, 1, 3, 100))
        if what == 1:
            values = rng.choice(
                (values[:0], values[:-1], values.ravel(), values[None], np.array(3))
            )
        if what == 2:
            values = values.astype(rng.choice(("f8", "f2", "i1", "S3", "c16")))
        if what < 3:
            episode[name] = values
        elif what == 3:
            episode[name] = h5py.ExternalLink("/etc/passwd", "/a")
        elif what == 4:
            episode[name] = h5py.SoftLink(rng.choice(("/", "/missing", f"{episode.name}/{name}")))
        elif what == 5:
            episode.create_dataset(
                name, (rng.choice((10**7, 10**12)), 50), values.dtype, chunks=(1000, 50)
            )
        else:
            episode[name] = rng.choice((file, episode))
    return buffer.getvalue()


def call_something(rng: Random, content: bytes, _: bytes) -> bytes:
    """Minari metadata that would have code called to make the environment."""
    described = json.loads(content)
    described.pop(rng.choice(("observation_space", "action_space", "rrm_env", "data_format")), None)
    spec = (
        json.loads(described["env_spec"])
        if "env_spec" in described
        else {"id": "rrm/rrm-v0", "additional_wrappers": []}
    )
    spec |= {
        "entry_point": "os:mkdir",
        "kwargs": rng.choice(({"path": CANARY}, {"n_aps": 10**6}, {"csi_delay": 1000}, [], None)),
    }
    return json.dumps({**described, "env_spec": json.dumps(spec)}).encode()
