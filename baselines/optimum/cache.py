"""Results on the disk, so that the same episodes are solved once.

The folder is that of the environment variable `RRM_ENV_CACHE_DIR`, otherwise ``rrm_env`` in the
platform's folder for caches (`rrm_env.cache_folder`). It can be deleted at any time. Files are
NumPy archives without pickled objects, written whole or not at all; a damaged one counts as
missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.cache_folder import cache_folder
from rrm_env.files import WriteError, write_whole

Arrays = dict[str, NDArray[Any]]

_LOG = logging.getLogger("rrm_env")
_said: set[str] = set()


def folder() -> Path:
    """Where results are kept; it need not exist."""
    return cache_folder("RRM_ENV_CACHE_DIR")


def path_of(subject: Mapping[str, Any]) -> Path:
    """The file of a subject: everything, in JSON's types, on which the result depends."""
    text = json.dumps(subject, sort_keys=True)
    return folder() / f"optimum_{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def load(subject: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Arrays | None:
    """The arrays kept of a subject; None where there are none, or where their file is damaged.

    Args:
        subject: as for `path_of`.
        shapes: of each array, by its name, without the first dimension (episodes), which all share.
    """
    try:
        with path_of(subject).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # In JSON's types: tuples are lists in the file.
            if json.loads(archive["subject"].tobytes()) != json.loads(json.dumps(subject)):
                return None
            arrays = {name: archive[name] for name in shapes}
    except Exception:  # wrong bytes may make NumPy raise anything
        return None
    lengths = {array.shape[0] if array.ndim else -1 for array in arrays.values()}
    whole = len(lengths) == 1 and all(
        array.shape[1:] == shapes[name] and array.dtype.kind in "fi"
        for name, array in arrays.items()
    )
    return arrays if whole else None


def store(subject: Mapping[str, Any], arrays: Arrays) -> None:
    """Keep the arrays of a subject; where the system refuses, one line says so."""
    path = path_of(subject)
    about = np.frombuffer(json.dumps(subject, sort_keys=True).encode(), np.uint8)
    contents: dict[str, Any] = {**arrays, "subject": about}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: np.savez_compressed(file, **contents))
    except OSError as error:  # WriteError is one
        reason = str(error) if isinstance(error, WriteError) else f"{path.parent}: {error.strerror}"
        if reason not in _said:
            _said.add(reason)
            _LOG.warning(
                "the optimum is not kept on the disk (%s); RRM_ENV_CACHE_DIR names another folder",
                reason,
            )
