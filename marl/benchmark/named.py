"""Datasets by name: read from a folder, made there first where missing, and verified."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from marl.benchmark.published import published
from marl.benchmark.recipes import Recipe, recipe_of
from marl.data.dataset import Dataset, DatasetError, check_dataset_path
from marl.engines.base import Engine
from rrm_env.cache_folder import cache_folder
from rrm_env.files import storing

VARIABLE = "RRM_ENV_DATASETS"
"""The environment variable that names the folder of datasets."""


def dataset_folder(folder: str | Path | None = None) -> Path:
    """The folder of datasets: the given one, or `VARIABLE`'s, or one among the user's caches."""
    return cache_folder(VARIABLE, "rrm_env/datasets") if folder is None else Path(folder)


def dataset_path(name: str, folder: str | Path | None = None) -> Path:
    """The file of a named dataset, ``FOLDER/network/tier.safetensors``; it need not exist.

    Raises:
        ValueError: there is no dataset of this name.
    """
    recipe = recipe_of(name)
    return dataset_folder(folder) / recipe.network / f"{recipe.tier}.safetensors"


def load_dataset(
    name: str,
    folder: str | Path | None = None,
    *,
    engine: Engine | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Read a dataset of the benchmark by its name, and make it first where its file is missing.

    Making takes from seconds to minutes and needs no network connection. The dataset is compared
    with the published checksum, whether it was read or made.

    Args:
        name: ``network/tier``, such as ``"paper/medium"``; ``python -m marl datasets`` lists all.
        folder: where the files are; where None, the folder that the environment variable
            ``RRM_ENV_DATASETS`` names, otherwise ``rrm_env/datasets`` in the platform's folder for
            caches.
        engine: where to record; this process where None. All engines give the same dataset.
        progress: called with the number of transitions just recorded.

    Raises:
        ValueError: there is no dataset of this name, or its file cannot be written.
        DatasetError: the file cannot be read, or the dataset is not the published one.
        WriteError: the system cannot store the file.
    """
    path = dataset_path(name, folder)
    if not path.exists():
        return make_dataset(name, folder, engine=engine, progress=progress)[0]
    dataset = Dataset.read(path)
    _require_published(name, dataset, f"delete {str(path)!r} and make it again")
    return dataset


def make_dataset(
    name: str,
    folder: str | Path | None = None,
    *,
    engine: Engine | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Dataset, float]:
    """Record a named dataset and write its file, over one that may be there.

    Args:
        name: as for `load_dataset`.
        folder: as for `load_dataset`.
        engine: as for `load_dataset`.
        progress: as for `load_dataset`.

    Returns:
        The dataset, and the seconds that recording took.

    Raises:
        ValueError, DatasetError, WriteError: as `load_dataset`.
    """
    recipe, path = recipe_of(name), dataset_path(name, folder)
    with storing(path.parent, "nothing was recorded", "made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    check_dataset_path("the dataset's file", path)
    began = time.perf_counter()
    dataset = recipe.record(engine, progress)
    seconds = time.perf_counter() - began
    _require_published(name, dataset, _OTHER_BITS)
    dataset.write(path)
    return dataset, seconds


def verify_dataset(name: str, folder: str | Path | None = None) -> None:
    """Check that the file of a named dataset is there and holds the published dataset.

    Raises:
        ValueError: there is no dataset of this name.
        DatasetError: the file is missing or cannot be read, or its dataset is not the published
            one.
    """
    path = dataset_path(name, folder)
    if not path.exists():
        raise DatasetError(
            f"{name} is missing: {str(path)!r} does not exist; "
            f"python -m marl datasets make {name} makes it"
        )
    _require_published(name, Dataset.read(path), f"delete {str(path)!r} and make it again")


_OTHER_BITS = (
    "nothing was written. This processor, or this version of a library, gives other bits: report "
    "it with the output of python -m marl info. marl.benchmark.recipes.recipe_of(name).record() "
    "gives what was recorded here, which is another dataset"
)


def _require_published(name: str, dataset: Dataset, remedy: str) -> None:
    """Refuse a dataset whose checksum is not the published one (DatasetError)."""
    expected, found = published()[name].checksum, dataset.fingerprint()
    if found != expected:
        raise DatasetError(
            f"{name} is not the published dataset: its checksum is {found}, "
            f"published is {expected}; {remedy}"
        )


def is_made(recipe: Recipe, folder: str | Path | None = None) -> bool:
    """Whether the file of a recipe's dataset exists."""
    return dataset_path(recipe.name, folder).exists()
