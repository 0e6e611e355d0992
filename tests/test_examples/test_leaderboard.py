"""The script that makes submissions of the package's schedulers, and the leaderboard's tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from folders import ROOT, examples

from baselines import RandomWalk
from baselines.submission import (
    About,
    read_submission,
    scheduler_policy,
    submission_of,
    write_submission,
)
from rrm_env import Evaluation, RRMConfig, evaluate

LEADERBOARD = ROOT / "docs" / "leaderboard"


def test_the_script_makes_a_committed_submission_again(tmp_path: Path) -> None:
    with examples():
        import leaderboard
    leaderboard.main(
        leaderboard.Options(networks=("paper",), schedulers=("random_walk",), folder=tmp_path)
    )
    (made,) = tmp_path.iterdir()
    fresh, committed = read_submission(made), read_submission(LEADERBOARD / made.name)
    assert fresh.about == committed.about
    np.testing.assert_allclose(fresh.ue_rates, committed.ue_rates, atol=1e-4)


def test_what_is_said_of_committed_schedulers_is_what_the_script_says() -> None:
    with examples():
        import leaderboard
    for path in LEADERBOARD.glob("*.json"):
        entry = read_submission(path)
        if "scheduler" not in entry.policy:
            continue  # a trained policy
        name = entry.policy["scheduler"]
        assert path.name == leaderboard.file_name(entry.network.name, name)
        assert entry.about == leaderboard.about(name, entry.config)
    assert leaderboard.about("debts", RRMConfig()).bits == 3200
    assert leaderboard.about("itlinq", RRMConfig()).bits == 1920


def test_tables_put_the_best_first_and_show_strange_texts_as_they_are(tmp_path: Path) -> None:
    with examples():
        import leaderboard_table
    found = evaluate(RandomWalk(), RRMConfig(), 256)
    better = replace(found, ue_rates=1.01 * found.ue_rates)
    about = About(name="a|b <i>*[x](y)", bits=3.25, author="A. Name")
    for file, evaluation in (("b.json", found), ("a.json", Evaluation.stack([better, better]))):
        seeds = evaluation.ue_rates.ndim == 3
        policy = (
            {"scheme": "SAC", "seeds": [0, 1], "checkpoint": "0" * 64}
            if seeds
            else scheduler_policy("random_walk")
        )
        write_submission(tmp_path / file, submission_of(evaluation, about, policy))
    text = leaderboard_table.leaderboard_tables(tmp_path)
    assert text.startswith("## paper\n\n4 access points, 20 users, 200 steps; 256 episodes.")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    name = r"[a\|b \<i\>\*\[x\](y)](leaderboard/"
    assert rows[0].startswith(f"| {name}a.json), 2 seeds | {better.score.mean():.3f} (")
    assert rows[1].startswith(f"| {name}b.json) | {found.score.mean():.3f} (")
    assert " | 0.0 (" in rows[1]
    assert all("| 3.2 | A. Name |" in row for row in rows)
