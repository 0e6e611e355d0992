"""Large teams: a learner or a replay that would not fit is refused before it is allocated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from worlds import random_batch

from baselines import RandomWalk
from marl import Learner, LearnerConfig, Team, TrainingConfig, collect, train
from marl.__main__ import main
from marl.data.replay import Replay, bytes_per_transition
from marl.team import team_of
from rrm_env import RRMConfig, limits

NETWORK = RRMConfig(n_aps=32, n_ues=160, area_side_m=50 * 32**0.5)
TEAM = team_of(NETWORK)
REFUSAL = (
    r"paradigm = 'c' would enumerate 4\^32 = 18,446,744,073,709,551,616 joint actions "
    r"of 32 agents \(n_aps\) with 4 actions each; allowed: up to 16,384\. "
    r"Use paradigm = 'ctde' or 'i', whose networks grow with the number of agents only"
)


@pytest.fixture(autouse=True)
def nothing_is_made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any allocation of networks and replays fail."""

    def made(*arguments: object, **named: object) -> None:
        raise AssertionError("made before the refusal")

    if "refused" in request.function.__name__:
        monkeypatch.setattr("marl.learner.learner.initialise", made)
        monkeypatch.setattr("marl.training.stores.ReplayStore", made)


def test_centralised_training_of_32_access_points_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=f"^{REFUSAL}$"):
        train(
            tmp_path / "run",
            LearnerConfig(paradigm="c"),
            TrainingConfig(updates=1),
            environment=NETWORK,
        )
    assert not (tmp_path / "run").exists()


def test_centralised_training_of_32_access_points_is_refused_by_the_command_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--paradigm",
        "c",
        "--set",
        "n_aps=32",
        "n_ues=160",
        "area_side_m=283",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(["train", *options]) == 2
    assert re.fullmatch(f"error: {REFUSAL}\n", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("paradigm", ["i", "ctde"])
@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
@pytest.mark.parametrize("shared", [False, True])
def test_decentralised_learners_of_32_access_points_train(
    paradigm: str, algorithm: str, shared: bool
) -> None:
    config = LearnerConfig(
        paradigm=paradigm,  # type: ignore[arg-type]
        algorithm=algorithm,  # type: ignore[arg-type]
        share_parameters=shared,
        hidden_sizes=(16,),
        batch_size=32,
    )
    learner, batch = Learner(config, TEAM, [0]), random_batch(TEAM, 1, 32)
    losses = []
    for _ in range(60):
        learner.sums.zero_()
        learner.update(batch)
        losses.append(float(learner.sums[learner.parts.index("td_loss")]))
    learner.check()
    assert min(losses[-10:]) < losses[0]


def free(kibibytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that so much memory is free."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(
        f"MemTotal: {10 * kibibytes} kB\nMemAvailable:   {kibibytes} kB\nCached: 7 kB\n"
    )
    monkeypatch.setattr(limits, "SYSTEM", tmp_path)


def test_a_replay_that_does_not_fit_is_named_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(1000, tmp_path, monkeypatch)
    fits = 1000 * 1024 // (2 * 3 * bytes_per_transition(TEAM))
    with pytest.raises(
        ValueError,
        match="^replay_capacity = 5,000 transitions of 3 seeds and 32 agents need "
        rf".*allowed: up to {fits}$",
    ):
        Replay(TEAM, 3, 5000, torch.device("cpu"))
    with pytest.raises(ValueError, match="replay_capacity"):
        Replay(TEAM, 3, fits + 1, torch.device("cpu"))
    kept = Replay(TEAM, 3, fits, torch.device("cpu"))
    assert sum(field.nbytes for field in kept.stored) == 3 * fits * bytes_per_transition(TEAM)
    with pytest.raises(ValueError, match="replay_capacity = 100,000"):
        train(
            tmp_path / "run",
            LearnerConfig(paradigm="i"),
            TrainingConfig(updates=10**6),
            environment=NETWORK,
        )
    assert not (tmp_path / "run").exists()


def test_a_replay_is_made_where_the_system_does_not_tell_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYSTEM", tmp_path)
    assert Replay(Team(2, 3, 4), 1, 10, torch.device("cpu")).capacity == 10


def test_a_recording_that_does_not_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(1000, tmp_path, monkeypatch)
    with pytest.raises(
        ValueError,
        match=r"^transitions = 1,000,000 need .* GiB of memory, .* allowed: up to [\d,]+$",
    ):
        collect(RandomWalk(), transitions=1_000_000)
    assert len(collect(RandomWalk(), transitions=10)) == 10
