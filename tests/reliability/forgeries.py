"""Hypothesis strategies for forged files, which only validation of their content refuses.

Their checksums fit, or their format has none. Mutations have the form that `damage` describes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from damage import CANARY, Harmful, edit_json, pick, place, split_header
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from marl import Dataset
from marl.data.storage import checksum

# --- Tensors ---


def _metadata(content: bytes) -> dict[str, str]:
    metadata: dict[str, str] = split_header(content)[0].get("__metadata__", {})
    return metadata


def _signed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], text: str) -> bytes:
    """Return a dataset, checkpoint or replay of this description, with a checksum that fits."""
    fields = Dataset.__dataclass_fields__ if "kind" in metadata else sorted(tensors)
    ordered = {name: tensors[name] for name in fields if name in tensors}
    digest = checksum(ordered, text)
    return save(dict(tensors), {**metadata, "description": text, "checksum": digest})


def forge_description(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Change what a dataset or checkpoint says of itself."""
    metadata = _metadata(content)
    return _signed(load(content), metadata, edit_json(draw, json.loads(metadata["description"])))


def forge_tensors(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Change a tensor, to what no recording and no training leaves."""
    metadata = _metadata(content)
    return _signed(_edited(draw, content), metadata, metadata["description"])


def unsigned(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Change a tensor and remove description and checksum."""
    return save(_edited(draw, content))


def _edited(draw: st.DrawFn, content: bytes) -> dict[str, Tensor]:
    """Change a value, the shape or the type of one of the tensors, or remove it."""
    tensors = dict(sorted(load(content).items()))  # safetensors gives them in any order
    name = pick(draw, *tensors)
    tensor = tensors.pop(name).clone()
    what = place(draw, 6)
    if what < 3 and tensor.numel():
        values: tuple[float, ...] = (0, 1, 2, 3, 7, 100, 127)
        if tensor.is_floating_point():
            values = torch.nan, torch.inf, -torch.inf, 3e38, -1e30, 1e-45, 0.5
        if tensor.dtype != torch.uint8:
            values += (-1, -100)
        if tensor.dtype in (torch.int32, torch.int64):
            values += (2**31 - 1, -(2**31))
        tensor.reshape(-1)[place(draw, tensor.numel())] = pick(draw, *values)
    elif what == 3:
        longer = [tensor[:0], tensor[:1], torch.cat([tensor, tensor])] if tensor.ndim else []
        tensor = pick(draw, *longer, tensor.unsqueeze(-1), tensor.flatten())
    elif what == 4:
        others = "float64 float16 bfloat16 int64 int32 uint8 bool"
        tensor = tensor.to(getattr(torch, pick(draw, *others.split())))
    else:
        return tensors
    return {**tensors, name: tensor.contiguous()}


# --- d3rlpy's arrays ---


def forge_arrays(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Make arrays of other values, shapes and types, or huge ones, or ones with false headers."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = pick(draw, *arrays)
    what = place(draw, 7)
    if what == 4:
        size = pick(draw, 1, 3) * 2**20
        huge = {pick(draw, name, "more"): np.zeros((size, 24), np.float32)}
        return _zipped({**arrays, **huge}, np.savez_compressed)
    if what == 5:
        return _zip_with_header(draw, arrays, name)
    if what == 6:
        return _edit_entry(draw, _zipped(arrays))
    return _zipped({**arrays, name: _other_array(draw, arrays[name], what)})


def _zipped(
    arrays: Mapping[str, NDArray[Any]], save_arrays: Callable[..., None] = np.savez
) -> bytes:
    buffer = io.BytesIO()
    save_arrays(buffer, **arrays)
    return buffer.getvalue()


def _other_array(draw: st.DrawFn, array: NDArray[Any], what: int) -> Any:
    if what == 0:
        kinds = "f8 f2 c16 U5 S3 O M8[s] V8 i1 u8 ? i4,f4"
        return array.astype(pick(draw, *kinds.split()), casting="unsafe")
    if what == 1:
        return pick(draw, array[:0], array[:1], array[0], array.T, array[None], np.float32(1))
    if what == 2:
        changed = array.astype(np.float64)
        value = pick(draw, np.nan, np.inf, -1, 1e300, 0.5, 2**53, 1e9)
        changed.flat[place(draw, array.size)] = value
        return changed
    return np.array([Harmful()] * len(array), object)


def _zip_with_header(draw: st.DrawFn, arrays: Mapping[str, NDArray[Any]], name: str) -> bytes:
    """Announce more than there is, or objects, or nest a header beyond what Python parses."""
    descr, shape = pick(
        draw,
        ("<f4", (10**12, 24)),
        ("<f4", (-1,)),
        ("|O", (3,)),
        ([("a", "<f4", (10**9,))], (1,)),
    )
    lying, buffer = io.BytesIO(), io.BytesIO()
    header = {"descr": descr, "fortran_order": shape == (-1,), "shape": shape}
    np.lib.format.write_array_header_2_0(lying, header)
    nested = b"\x93NUMPY\x01\x00\xf0\x0f" + (b"(" * 4079 + b"\n")
    payload = pick(draw, lying.getvalue() + bytes(8), lying.getvalue() + bytes(8), nested)
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, value in arrays.items():
            inner = io.BytesIO()
            np.save(inner, value)
            archive.writestr(f"{key}.npy", payload if key == name else inner.getvalue())
    return buffer.getvalue()


def _edit_entry(draw: st.DrawFn, content: bytes) -> bytes:
    """Change flags or compression method of an entry, in both places where they stand."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        changed[changed.find(mark) + offset + pick(draw, 0, 2)] = pick(draw, 1, 9, 12, 14, 95)
    return bytes(changed)


# --- Minari ---


def forge_minari(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Make an HDF5 file with arrays of other values, types and sizes, or links to elsewhere."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "a") as file:
        episode = file[pick(draw, *file)]
        names = ["observations", "actions", "rewards", "terminations", "truncations"]
        names += ["infos/action_mask", "infos/behaviour", "infos/cut"]
        name = pick(draw, *(name for name in names if name in episode))
        values = episode[name][()]
        del episode[name]
        what = place(draw, 7)
        if what == 0:
            values.flat[place(draw, values.size)] = pick(draw, 0, 1, 3, 100)
        if what == 1:
            other = values[:0], values[:-1], values.ravel(), values[None], np.array(3)
            values = pick(draw, *other)
        if what == 2:
            values = values.astype(pick(draw, "f8", "f2", "i1", "S3", "c16"))
        if what < 3:
            episode[name] = values
        elif what == 3:
            episode[name] = h5py.ExternalLink("/etc/passwd", "/a")
        elif what == 4:
            target = pick(draw, "/", "/missing", f"{episode.name}/{name}")
            episode[name] = h5py.SoftLink(target)
        elif what == 5:
            shape = pick(draw, 10**7, 10**12), 50
            episode.create_dataset(name, shape, values.dtype, chunks=(1000, 50))
        else:
            episode[name] = pick(draw, file, episode)
    return buffer.getvalue()


def call_something(draw: st.DrawFn, content: bytes, _: bytes) -> bytes:
    """Write Minari metadata that would have code called to make the environment."""
    described = json.loads(content)
    fields = "observation_space", "action_space", "rrm_env", "data_format"
    described.pop(pick(draw, *fields), None)
    spec = json.loads(described.get("env_spec", '{"id": "rrm/rrm-v0", "additional_wrappers": []}'))
    kwargs = pick(draw, {"path": CANARY}, {"n_aps": 10**6}, {"csi_delay": 1000}, [], None)
    spec |= {"entry_point": "os:mkdir", "kwargs": kwargs}
    return json.dumps({**described, "env_spec": json.dumps(spec)}).encode()
