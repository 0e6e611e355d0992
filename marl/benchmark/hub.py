"""Folders of named datasets that are ready to be pushed to a dataset hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marl.benchmark.networks import NETWORKS
from marl.benchmark.published import published
from marl.benchmark.recipes import RECIPES, recipe_of
from marl.data.dataset import Dataset, check_dataset_path
from marl.exchange.card import check_card, dataset_card
from marl.exchange.minari import ReferenceReturns, check_minari_name, to_minari
from marl.exchange.picture import require_picture, write_picture
from rrm_env import RRMConfig
from rrm_env.files import check_writable, storing, write_whole

AUTHOR = "The rrm_env developers"
PICTURE = "episodes.png"
_MINARI = "MINARI_DATASETS_PATH"


def hub_folder(name: str, out: Path) -> Path:
    """The folder of a named dataset under ``out``, such as ``paper-medium``."""
    return out / name.replace("/", "-")


def minari_name(name: str) -> str:
    """The id of a named dataset in Minari, such as ``rrm/paper-medium-v0``."""
    return f"rrm/{name.replace('/', '-')}-v0"


def check_hub_folder(name: str, out: Path, *, minari: bool = False) -> Path:
    """Make the folder of a dataset, and refuse, before any work, what could not be written.

    Raises:
        ValueError: there is no dataset of this name, matplotlib or Minari is missing, or something
            of another kind stands in the way.
        WriteError: the folder cannot be made.
    """
    recipe, folder = recipe_of(name), hub_folder(name, out)
    require_picture()
    with storing(folder, "nothing was written", "made"):
        folder.mkdir(parents=True, exist_ok=True)
    check_dataset_path("the dataset's file", folder / f"{recipe.tier}.safetensors")
    check_card("the card", folder / "README.md")
    check_writable("the picture", folder / PICTURE)
    if minari:
        with _minari_in(folder):
            check_minari_name("--minari", minari_name(name))
    return folder


def write_hub_folder(name: str, dataset: Dataset, out: Path, *, minari: bool = False) -> Path:
    """Write the data, its card and picture, and perhaps the Minari dataset, into one folder.

    Args:
        name: the dataset's name.
        dataset: the dataset itself.
        out: the folder in which the dataset's own folder is made.
        minari: write the dataset for Minari too, into the folder ``minari``, which
            ``MINARI_DATASETS_PATH`` then has to name.

    Returns:
        The dataset's folder.

    Raises:
        ValueError, WriteError: as `check_hub_folder`.
    """
    folder = check_hub_folder(name, out, minari=minari)
    file = f"{recipe_of(name).tier}.safetensors"
    dataset.write(folder / file)
    write_picture(folder / PICTURE, dataset, name)
    card = dataset_card(dataset, file, picture=PICTURE, name=name).encode()
    write_whole(folder / "README.md", lambda target: target.write(card))
    if minari:
        with _minari_in(folder):
            to_minari(
                dataset,
                minari_name(name),
                author=AUTHOR,
                reference_returns=reference_returns(RECIPES[name].config),
            )
    return folder


def reference_returns(network: RRMConfig) -> ReferenceReturns | None:
    """Minari's reference scores for a network of the benchmark; None for any other.

    They are the mean returns of the published datasets: of uniformly random actions, and the
    highest of all tiers.
    """
    known = published()
    for name, config in NETWORKS.items():
        tiers = {key: entry for key, entry in known.items() if key.startswith(f"{name}/")}
        if config == network and f"{name}/random" in tiers:
            returns = [entry.mean_return for entry in tiers.values()]
            episodes = RECIPES[f"{name}/random"].episodes
            return ReferenceReturns(tiers[f"{name}/random"].mean_return, max(returns), episodes)
    return None


@contextmanager
def _minari_in(folder: Path) -> Iterator[None]:
    """Let Minari keep its datasets in the folder ``minari`` of this one meanwhile."""
    before = os.environ.get(_MINARI)
    os.environ[_MINARI] = str(folder.resolve() / "minari")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_MINARI]
        else:
            os.environ[_MINARI] = before
