"""Checks of a local Minari dataset's files before Minari reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from marl.data.storage import parse_json, read_json, require_file
from marl.exchange.d3rlpy import check_expansion
from rrm_env.checks import bounded_integer, shown


def check_minari_files(name: str) -> None:
    """Check that reading a dataset calls nothing, stays in its folder and fits into memory.

    Minari would make an environment that the files name, allocate what they announce, and follow
    links to other files.

    Args:
        name: the dataset's id. One without a folder is left to Minari's own error.

    Raises:
        ValueError: the files do more than hold arrays.
    """
    import h5py
    from minari.storage import get_dataset_path

    folder = get_dataset_path(name) / "data"
    if not folder.is_dir():
        return
    metadata = read_json(folder / "metadata.json")
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata.json must be a mapping of names, got {shown(metadata)}")
    for key in ("observation_space", "action_space"):
        space = metadata.get(key)
        if not isinstance(space, str):  # Minari would take it from the environment, and make that
            raise ValueError(f"metadata.json must give {key} as a text, got {shown(space)}")
        _check_types(parse_json(space))
    total = metadata.get("total_episodes")
    episodes = bounded_integer("total_episodes", total, 2**31 - 1, lowest=0)
    if not episodes or metadata.get("data_format") != "hdf5":
        return
    file = folder / "main_data.hdf5"
    require_file(file)
    with h5py.File(file) as content:
        check_expansion(_unpacked_size(content, set()), file.stat().st_size)
        if episodes > len(content):
            raise ValueError(
                f"metadata.json announces {episodes} episodes, main_data.hdf5 has {len(content)}"
            )


def _check_types(space: Any) -> None:
    """Check that all types in a space's JSON are numeric: one U100000000 takes 400 MB."""
    if isinstance(space, dict):
        if "dtype" in space and np.dtype(space["dtype"]).kind not in "biuf":
            raise ValueError(
                f"dtype of a space must be one of numbers, got {shown(space['dtype'])}"
            )
        for part in space.values():
            _check_types(part)
    elif isinstance(space, list):
        for part in space:
            _check_types(part)


def _unpacked_size(group: Any, seen: set[int]) -> int:
    """Bytes of all arrays in a group of an HDF5 file.

    Args:
        group: the group.
        seen: addresses of what was counted so far, to which this group's are added.

    Raises:
        ValueError: something in the group is a link, is in another file, or was counted before.
    """
    import h5py

    total = 0
    for name in group:
        part = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        elsewhere = isinstance(part, h5py.Dataset) and (part.external or part.is_virtual)
        if part is None or elsewhere or (address := h5py.h5o.get_info(part.id).addr) in seen:
            raise ValueError(
                f"{group.name}/{name} must be in the file itself and in one place, not a link"
            )
        seen.add(address)
        if isinstance(part, h5py.Group):
            total += _unpacked_size(part, seen)
        elif isinstance(part, h5py.Dataset):
            total += part.nbytes
    return total
