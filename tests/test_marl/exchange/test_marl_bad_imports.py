"""Damaged and forged arrays and Minari datasets are refused by name, as fuzzing found them."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import SMALL, edit_json

from baselines import RandomWalk
from marl import DatasetError, collect
from marl.exchange.d3rlpy import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.exchange.minari import from_minari, to_minari

# --- Arrays ---


def npz(path: Path, **members: bytes) -> Path:
    """Write an .npz file of these raw members; a dataset provides the missing ones."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in mdp_arrays(collect(RandomWalk(), SMALL, 20)).items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", members.get(name, buffer.getvalue()))
    return path


def header_of(descr: Any, shape: tuple[int, ...]) -> bytes:
    """The beginning of an .npy file, and eight bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue() + bytes(8)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (header_of("<f4", (10**12, 8)), "observations.npy ends before its shape"),
        (header_of("|O", (3,)), "observations.npy must hold numbers, got object"),
        (header_of([("a", "<f4", (10**6,))], (1,)), "observations.npy must hold numbers"),
        (header_of("<f4", (1,)), "observations.npy goes on after its shape (1,)"),
        (b"\x93NUMPY\x01\x00\xf0\x0f" + b"(" * 4079 + b"\n", "cannot be read as an .npz file"),
        (b"", "cannot be read as an .npz file"),
        (bytes(3 * 10**8), "bytes announce arrays of"),
    ],
    ids=["lie", "objects", "structure", "rest", "nested", "empty", "bomb"],
)
def test_arrays_that_lie_or_expand_are_refused_before_anything_is_allocated(
    member: bytes, message: str, tmp_path: Path
) -> None:
    path = npz(tmp_path / "data.npz", observations=member)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        read_mdp_arrays(path)
    assert str(path) in str(caught.value)


def test_only_the_arrays_asked_for_are_unpacked(tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(3 * 10**8))
    assert len(from_mdp_arrays(read_mdp_arrays(path), SMALL)) == 18


def test_values_that_are_no_numbers_or_too_large_are_refused_by_name() -> None:
    arrays_of = mdp_arrays(collect(RandomWalk(), SMALL, 20))
    for change, message in (
        ({"rewards": arrays_of["rewards"].astype("U5")}, "rewards must hold numbers, got <U5"),
        (
            {"rewards": arrays_of["rewards"].astype(complex)},
            "rewards must hold numbers, got complex128",
        ),
        ({"rewards": np.full((20, 1), 1e300)}, "reward must be finite, got inf"),
        ({"actions": np.full((20, 1), np.nan)}, "actions must be whole numbers"),
    ):
        with pytest.raises(DatasetError, match=re.escape(message)):
            from_mdp_arrays({**arrays_of, **change}, SMALL)


# --- Minari ---

needs_minari = pytest.mark.skipif(importlib.util.find_spec("minari") is None, reason="needs Minari")


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a Minari dataset; the present folder is one where code would leave a mark."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    to_minari(collect(RandomWalk(), SMALL, 20), "some-v0")
    return tmp_path / "minari" / "some-v0" / "data"


@needs_minari
@pytest.mark.parametrize("missing", ["observation_space", "action_space", "rrm_env"])
def test_code_that_a_minari_dataset_names_is_not_called(missing: str, exported: Path) -> None:
    def name_code(described: dict[str, Any]) -> None:
        described.pop(missing)
        spec = {
            **json.loads(described["env_spec"]),
            "entry_point": "os:mkdir",
            "kwargs": {"path": "mark"},
        }
        described["env_spec"] = json.dumps(spec)

    edit_json(exported / "metadata.json", name_code)
    with pytest.raises(DatasetError, match="Minari dataset 'some-v0' cannot be read"):
        from_minari("some-v0")
    assert not Path("mark").exists()


@needs_minari
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(total_episodes=10**12), "total_episodes must be an integer"),
        (
            lambda said: said.update(total_episodes=50),
            "announces 50 episodes, main_data.hdf5 has 2",
        ),
        (
            lambda said: said.update(
                action_space='{"type": "Discrete", "n": 1000000000, "start": 0}'
            ),
            "up to 1,048,576 actions",
        ),
        (
            lambda said: said.update(
                action_space='{"type": "Box", "dtype": "U100000000", "shape": [1], '
                '"low": [0], "high": [1]}'
            ),
            "dtype of a space must be one of numbers",
        ),
        (lambda said: said.pop("minari_version"), "KeyError 'minari_version'"),
        (lambda said: said["rrm_env"].update(metadata=3), "metadata must be a mapping, got 3"),
    ],
)
def test_minari_metadata_that_lie_are_refused(
    change: Callable[[Any], object], message: str, exported: Path
) -> None:
    edit_json(exported / "metadata.json", change)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        from_minari("some-v0")
    assert str(caught.value).startswith("Minari dataset 'some-v0'")


@needs_minari
@pytest.mark.parametrize("kind", ["bomb", "external link", "soft link", "cycle", "missing"])
def test_hdf5_files_that_expand_or_lead_elsewhere_are_refused(kind: str, exported: Path) -> None:
    import h5py

    with h5py.File(exported / "main_data.hdf5", "a") as file:
        episode = file["episode_0"]
        del episode["rewards"]
        if kind == "bomb":
            episode.create_dataset("rewards", (10**12,), "f4", chunks=(1000,))
        elif kind == "external link":
            episode["rewards"] = h5py.ExternalLink("/etc/hostname", "/a")
        elif kind == "soft link":
            episode["rewards"] = h5py.SoftLink("/episode_1/rewards")
        elif kind == "cycle":
            episode["rewards"] = file["episode_0"]
    message = {"bomb": "bytes announce arrays of", "missing": "KeyError"}.get(
        kind, "must be in the file itself and in one place"
    )
    with pytest.raises(DatasetError, match=message):
        from_minari("some-v0")
