"""The notebooks run from top to bottom, and show what their texts say."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import DOCS, shrunk
from folders import ROOT

from marl.benchmark.recipes import Recipe

FOLDER = DOCS / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
SMALLER = {
    "environment_tour": ((r"EPISODES = \d+", "EPISODES = 16"), (r"N_ENVS = \d+", "N_ENVS = 32")),
    "offline_learning": (
        (r"load_dataset\(NAME\)", 'Recipe(*NAME.split("/"), transitions=6000).record()'),
        (r"UPDATES = 3000", "UPDATES = 40"),
        (r"evaluate_every=500", "evaluate_every=20, log_every=20, checkpoint_every=40"),
        (r"GRAPH_UPDATES = \d+", "GRAPH_UPDATES = 20"),
        (r"EPISODES = \d+", "EPISODES = 16"),
    ),
    "bring_your_own_channel": (
        (r"N_STEPS, STEP_S = 6000", "N_STEPS, STEP_S = 2000"),
        (r"EPISODES = \d+", "EPISODES = 16"),
    ),
}
"""What makes the notebooks run in seconds: sizes become smaller, nothing else changes."""

Values = dict[str, Any]


def read(name: str) -> Values:
    content: Values = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))
    return content


def source(cell: Values) -> str:
    return "".join(cell["source"])


def code_of(name: str) -> list[str]:
    """The code of each cell; lines for IPython do nothing here, as outside of Colab."""
    cells = (source(cell) for cell in read(name)["cells"] if cell["cell_type"] == "code")
    return [re.sub(r"^( *)%.*$", r"\1pass", cell, flags=re.MULTILINE) for cell in cells]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Values]]:
    """Runs the cells of a notebook in order, in an empty folder, and returns its variables."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads, backend = torch.get_num_threads(), pyplot.get_backend()
    pyplot.switch_backend("agg")

    def execute(name: str, **variables: Any) -> Values:
        cells = code_of(name)
        for pattern, _ in SMALLER[name]:
            assert re.search(pattern, "\n".join(cells)), f"{name} has no {pattern}"
        values: Values = {"__name__": "__main__", **variables}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for k, cell in enumerate(cells):
                smaller = shrunk(cell, SMALLER[name])
                exec(compile(smaller, f"{name}, code cell {k}", "exec"), values)
                pyplot.close("all")
        return values

    yield execute
    torch.set_num_threads(threads)
    pyplot.switch_backend(backend)


def test_notebooks_are_the_three_of_their_page_and_the_tests() -> None:
    page = (DOCS / "notebooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<notebooks/(\w+)\.ipynb>", page)) == set(NOTEBOOKS) == set(SMALLER)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_clean_and_open_on_colab(name: str) -> None:
    notebook = read(name)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    first = source(notebook["cells"][0])
    place = f"github/OWNER/rrm_env/blob/main/docs/notebooks/{name}.ipynb"
    assert f"https://colab.research.google.com/{place}" in first
    install = source(notebook["cells"][1])
    assert 'if "google.colab" in sys.modules:' in install
    assert "git+https://github.com/OWNER/rrm_env" in install
    extras = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M))
    (asked,) = re.findall(r"rrm-env\[([\w,]+)\]", install)
    assert set(asked.split(",")) <= extras
    uses_torch = any("marl" in cell for cell in code_of(name)[1:])
    assert ("marl" in asked) == uses_torch


def test_the_tour_shows_what_it_says(run: Callable[..., Values]) -> None:
    values = run("environment_tour")
    assert values["same_bits"] is True
    assert len(values["rewards"]) == values["config"].episode_length
    assert values["score_of_chance"] > 0
    score = {name: found.score.mean() for name, found in values["results"].items()}
    assert score["RandomWalk"] < score["ITLinQ"] < score["NeediestFirst"] < score["Debts"]
    assert score["NetworkTDM"] < score["NeediestFirst"]
    # "with Debts one of them gets nothing"
    assert np.median(values["results"]["Debts"].worst_rate) < 0.01
    # "at 400 m our rule keeps access points silent for nothing"
    assert values["sides"][-1] == 400
    assert values["scores"]["NeediestFirst"][-1] < values["scores"]["RandomWalk"][-1]


def test_offline_learning_shows_what_it_says(run: Callable[..., Values]) -> None:
    values = run("offline_learning", Recipe=Recipe)
    assert len(values["data"]) == 6000
    assert len(values["acted"]) == 3
    assert values["recorded"] == pytest.approx(43, abs=6)
    assert len(values["curve"]) == 2
    reached = values["reached"]
    assert reached.keys() == values["policies"].keys()
    # "the one with structure leaves all of it behind"
    with_structure = [reached["graph, cloning"], reached["graph, bound"]]
    assert min(with_structure) > max(reached["cloning"], reached["CQL"], values["recorded"])
    # "the same prices leave nobody out, and the score is a little lower"
    everybody = values["policies"]["the same, for everybody"]
    assert values["evaluate"](everybody, values["config"], 4).worst_rate.min() > 0.1
    assert values["recorded"] < reached["the same, for everybody"] < reached["graph, bound"]


def test_your_own_channel_shows_what_it_says(run: Callable[..., Values]) -> None:
    values = run("bring_your_own_channel")
    assert values["same_bits"] is True
    assert "a loss of 100 dB is a gain of -100 dB" in values["refusal"]
    results = values["results"]
    assert results["debts"].config.trace == "platform.npz"
    score = {name: found.score.mean() for name, found in results.items()}
    assert max(score["long memory"], score["debts"]) > max(score["ITLinQ"], score["one at a time"])
    assert values["served"].sum() > 0
    assert (values["served"].sum(axis=1) <= values["config"].episode_length).all()
    assert values["total"] > 0
