"""The picture of a dataset: histograms of what its episodes reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.plots import COLOURS, write_figure
from marl.data.dataset import Dataset
from marl.exchange.statistics import Floats, values_by_behaviour
from rrm_env import metrics
from rrm_env.optional import required

SHOWN = ("score", "return")
_BINS = 40


def write_picture(path: Path, dataset: Dataset, title: str) -> None:
    """Draw how the scores and the returns of the recorded episodes are distributed.

    Each behaviour has a colour; the histograms of several are stacked.

    Args:
        path: the picture's file, in the format of its suffix.
        dataset: a dataset whose metadata hold its episodes, as named ones do.
        title: text above the picture.

    Raises:
        ValueError: matplotlib is missing, or the metadata hold no episodes.
        WriteError: the system cannot store the file.
    """
    require_picture()
    from matplotlib.figure import Figure

    found = {name: values_by_behaviour(dataset, name) for name in SHOWN}
    if not all(found.values()):
        raise ValueError("the dataset's metadata must hold its episodes, as named datasets' do")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, (name, of_behaviours) in zip(figure.subplots(1, 2), found.items(), strict=True):
        axes.hist(
            list(of_behaviours.values()),
            bins=bins(of_behaviours),
            stacked=True,
            color=[COLOURS[(k + 1) % len(COLOURS)] for k in range(len(of_behaviours))],
            label=list(of_behaviours),
        )
        axes.set(xlabel=f"{metrics.axis_label(name)} of an episode", ylabel="episodes")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize="small")
    write_figure(path, figure, dpi=110)


def require_picture() -> None:
    """Refuse (ValueError) where matplotlib is missing or cannot be imported."""
    required("a dataset's picture needs", "matplotlib.figure", extra="plot")


def bins(of_behaviours: dict[str, Floats]) -> Floats:
    """The edges of equally wide bins from the lowest to the highest value."""
    values = np.concatenate(list(of_behaviours.values()))
    return np.histogram_bin_edges(values, _BINS)
