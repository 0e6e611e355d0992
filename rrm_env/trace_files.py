"""Trace files: .npz and .h5, read and written; .mat, read."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.checks import nearest, shown
from rrm_env.files import check_writable, write_whole, write_whole_at
from rrm_env.optional import required

Arrays = dict[str, NDArray[Any]]

ARRAYS = ("gain", "large_scale_gain", "ap_positions", "ue_positions", "association")
"""Arrays of a trace."""
DESCRIBED = ("unit", "step_duration_s", "name", "checksum")
"""What else a file holds."""
MAPPED = 2**20
"""Bytes from which an array of a file is memory-mapped."""


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a file, and what else it says of them; nothing is checked but the names.

    Raises:
        ValueError: no such file, another ending, a file of another kind, names that no trace has,
            or no gain.
    """
    place = Path(path)
    readers = {".npz": _read_npz, ".h5": _read_hdf5, ".hdf5": _read_hdf5, ".mat": _read_mat}
    if place.suffix not in readers:
        raise ValueError(f"{place}: a trace is a file {', '.join(readers)}; got {place.suffix!r}")
    if not place.is_file():
        raise ValueError(f"there is no trace {str(place)!r}")
    try:
        found = readers[place.suffix](place)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    except Exception as error:  # wrong bytes may make a reader raise anything
        reason = str(error) or type(error).__name__
        raise ValueError(f"{place} is no {place.suffix} file, or damaged: {reason}") from None
    for name in found:
        if name not in (*ARRAYS, *DESCRIBED):
            raise ValueError(f"{place}: unknown array {nearest(name, (*ARRAYS, *DESCRIBED))}")
    if "gain" not in found:
        held = ", ".join(found) or "nothing"
        raise ValueError(f"{place}: gain is missing; the file holds {held}")
    arrays = {name: found[name] for name in ARRAYS if name in found}
    return arrays, {name: _scalar(found[name]) for name in DESCRIBED if name in found}


def completed(
    path: str | os.PathLike[str],
    described: dict[str, Any],
    unit: str | None,
    step_duration_s: float | None,
) -> dict[str, Any]:
    """What a file says, with unit and step duration from the caller where it does not.

    Raises:
        ValueError: one is not known, or known from both and different.
    """
    known = dict(described)
    for name, given in (("unit", unit), ("step_duration_s", step_duration_s)):
        if given is not None and known.get(name, given) != given:
            raise ValueError(
                f"{name} = {given!r} contradicts {os.fspath(path)}, which says {known[name]!r}"
            )
        if given is not None:
            known[name] = given
        if name not in known:
            raise ValueError(
                f"{os.fspath(path)}: {name} is missing; store it beside gain, or write a new file: "
                f"Trace.load(path, {name}=...).save('trace.npz')"
            )
    return known


def write(path: str | os.PathLike[str], arrays: Arrays, described: dict[str, Any]) -> None:
    """Write a file whole or not at all; arrays may be memory-mapped.

    Raises:
        ValueError: another ending, or a path that cannot be written.
        OSError: the system refuses to store the file.
    """
    place = Path(path)
    if place.suffix not in (".npz", ".h5", ".hdf5"):
        raise ValueError(f"a trace is written as .npz, .h5 or .hdf5; got {str(place)!r}")
    check_writable("path", place)
    if place.suffix == ".npz":
        contents: dict[str, Any] = {**arrays, **described}
        write_whole(place, lambda file: np.savez(file, **contents))
    else:
        write_whole_at(place, lambda temporary: _write_hdf5(temporary, arrays, described))


def _scalar(value: Any) -> Any:
    """A text or a number from an array of one element."""
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(
            f"unit, step_duration_s and name must be single values, got {shown(value)}"
        )
    item = array.reshape(()).item()
    return item.decode() if isinstance(item, bytes) else item


# --- NumPy archives ---


def _read_npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        mapped = {
            entry.filename.removesuffix(".npy"): _map_member(path, entry)
            for entry in members
            if entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= MAPPED
        }
    with np.load(path, allow_pickle=False) as held:
        return {name: mapped[name] if name in mapped else held[name] for name in held.files}


def _map_member(path: Path, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """The array of an uncompressed member, memory-mapped where it lies in the archive."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
        name, extra = (int.from_bytes(header[k : k + 2], "little") for k in (26, 28))
        file.seek(entry.header_offset + 30 + name + extra)
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0}
        reader = readers.get(version, np.lib.format.read_array_header_2_0)
        shape, in_columns, kind = reader(file)
        if kind.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        start, order = file.tell(), "F" if in_columns else "C"
    return _mapped(path, kind, start, shape, order)


def _mapped(
    path: Path, kind: np.dtype[Any], start: int, shape: tuple[int, ...], order: str = "C"
) -> NDArray[Any]:
    if path.stat().st_size < start + kind.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError("the file is cut short")
    found: NDArray[Any] = np.memmap(path, kind, "r", start, shape, "F" if order == "F" else "C")
    return found


# --- HDF5 and MATLAB ---


def _hdf5() -> Any:
    return required("traces in HDF5 need", "h5py", extra="traces")


def _read_hdf5(path: Path) -> dict[str, Any]:
    with _hdf5().File(path, "r") as file:
        found: dict[str, Any] = dict(file.attrs)
        for name, held in file.items():
            start: Any = held.id.get_offset() if held.chunks is None and held.shape else None
            mapped = start is not None and held.nbytes >= MAPPED and held.dtype.kind in "fiu"
            found[name] = _mapped(path, held.dtype, int(start), held.shape) if mapped else held[()]
    return found


def _write_hdf5(path: Path, arrays: Arrays, described: dict[str, Any]) -> None:
    with _hdf5().File(path, "w", locking=False) as file:
        for name, array in arrays.items():
            held = file.create_dataset(name, array.shape, array.dtype)
            for place in range(len(array)):
                held[place] = array[place]
        file.attrs.update(described)


def _read_mat(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        is_hdf5 = b"MATLAB 7.3" in file.read(128)
    if is_hdf5:
        return {name: _from_matlab(value) for name, value in _read_hdf5(path).items()}
    loaded = required("traces in MATLAB files need", "scipy.io", extra="traces").loadmat(path)
    return {
        name: value.reshape(()) if value.size == 1 and name != "gain" else value
        for name, value in loaded.items()
        if not name.startswith("__")
    }


def _from_matlab(value: Any) -> Any:
    """An array of a MATLAB 7.3 file, which stores dimensions in reverse and texts as codes."""
    array = np.asarray(value)
    if array.dtype == np.uint16:
        return "".join(map(chr, array.ravel()))
    return array.reshape(()) if array.size == 1 else array.T
