"""The page on learners explains what runs log, and the page on adding a learner works."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from folders import ROOT
from howto import apply_changes, blocks, copy_of, run

from baselines import RandomWalk
from marl import Dataset, LearnerConfig, TrainingConfig, collect, train
from marl.learner.objectives import OBJECTIVES

PAGE = (ROOT / "docs" / "learners.md").read_text(encoding="utf-8")
KPIS = {"sum_rate", "tail_rate", "worst_rate", "score"}


def explained(heading: str) -> set[str]:
    """First cells of the table under a heading."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, heading
    return {
        name
        for cell in re.findall(r"^\| (`.+?`) \|", section[1], re.MULTILINE)
        for name in re.findall(r"`(.+?)`", cell)
    }


@pytest.fixture(name="data", scope="module")
def recorded() -> Dataset:
    return collect(RandomWalk(silence=True), transitions=400)


class SummaryWriter:
    """Stands in for TensorBoard's writer, which need not be installed."""

    tags: set[str] = set()  # noqa: RUF012 - shared by all writers of a test, which empties it

    def __init__(self, folder: str) -> None:
        assert folder.endswith("tensorboard")

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Remember the tag."""
        assert np.isfinite(value)
        assert step > 0
        self.tags.add(tag)

    def close(self) -> None:
        """Nothing is open."""


def test_every_logged_name_and_tensorboard_tag_is_explained(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(SummaryWriter, "tags", set())
    logged: set[str] = set()
    training = TrainingConfig(
        updates=2,
        log_every=1,
        evaluate_every=2,
        evaluation_episodes=2,
        checkpoint_every=2,
        envs_per_seed=2,
    )
    for name, dataset in {
        **dict.fromkeys(OBJECTIVES, data),
        "sac online": None,
        "ppo online": None,
    }.items():
        config = LearnerConfig(
            algorithm=name.partition(" ")[0],  # type: ignore[arg-type]
            batch_size=8,
            hidden_sizes=(8,),
            learning_starts=8,
        )
        run_folder = train(tmp_path / name, config, training, seeds=(3, 5), dataset=dataset)
        records = [
            json.loads(line)
            for line in (run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        assert set(records[-1]["evaluation"]) == KPIS
        logged |= set().union(*records)
    assert explained("What is logged") == logged
    tags = {
        tag.replace("seed_0", "seed_K").replace("seed_1", "seed_K") for tag in SummaryWriter.tags
    }
    assert explained("TensorBoard") - {"return/seed_K"} == tags


def test_the_changes_of_the_page_on_learners_make_an_option_that_works(tmp_path: Path) -> None:
    folder = copy_of("marl", tmp_path)
    assert apply_changes("learner.md", folder) == ["marl/config.py", "marl/learner/objectives.py"]
    (shown,) = blocks("learner.md", "text")
    assert LearnerConfig.__dataclass_fields__.get("only_better") is None
    smaller = shown.replace(
        "updates=200, log_every=100, evaluate_every=200",
        "updates=60, log_every=20, evaluate_every=60",
    )
    assert smaller != shown
    told = run(
        folder,
        "-c",
        smaller
        + """
import dataclasses, inspect, json, marl
from pathlib import Path
free = TrainingConfig(updates=60, log_every=20, evaluate_every=60)
train("runs/free", LearnerConfig(algorithm="iql"), free, dataset=data)
for name in ("better", "free"):
    last = Path("runs", name, "log.jsonl").read_text().splitlines()[-1]
    print(json.loads(last)["weight"][0])
is_copy = Path(marl.__file__).parent.parent == Path.cwd()
print(is_copy, "only_better" in inspect.signature(LearnerConfig).parameters)
""",
    ).splitlines()
    assert told[-1] == "True True"
    with_option, without = float(told[-3]), float(told[-2])
    assert 0.1 < with_option < 0.9
    assert without > 0.9
