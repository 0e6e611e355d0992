"""Submissions to the leaderboard: those committed are valid, and tampered ones are refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import ROOT

from baselines import RandomWalk, submission_checks
from baselines import __main__ as command
from baselines.registry import added_schedulers
from baselines.submission import (
    LENGTHS,
    About,
    SubmissionError,
    checksum,
    demanded_episodes,
    file_checksum,
    means,
    read_submission,
    scheduler_policy,
    submission_of,
    write_submission,
)
from baselines.submission_checks import check
from rrm_env import SILENT, Evaluation, Network, RRMConfig, evaluate
from rrm_env.evaluation import first_episode

LEADERBOARD = sorted((ROOT / "docs" / "leaderboard").glob("*.json"))
Content = dict[str, Any]


@pytest.mark.parametrize("path", LEADERBOARD, ids=lambda path: path.stem)
def test_every_submission_of_the_leaderboard_is_valid(path: Path) -> None:
    check(path, replayed=1)
    assert path.stat().st_size < 60_000


def test_the_leaderboard_holds_the_schedulers_of_the_package() -> None:
    found = {
        (entry.network.name, entry.policy.get("scheduler", entry.about.name))
        for entry in map(read_submission, LEADERBOARD)
    }
    assert {("paper", "IPPO"), ("wide", "IPPO")} <= found
    for network in ("paper", "wide", "dense", "correlated"):
        assert {(network, name) for name in ("random_walk", "itlinq", "debts", "graph")} <= found


@pytest.fixture(scope="module")
def walk() -> Evaluation:
    return evaluate(RandomWalk(), RRMConfig(), 256)


@pytest.fixture
def content(walk: Evaluation) -> Content:
    return submission_of(walk, About(name="walk"), scheduler_policy("random_walk"))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Content], Path]:
    """Writes a content, by default with a checksum that matches it."""

    def write(content: Content, *, signed: bool = True) -> Path:
        path = tmp_path / "submission.json"
        write_submission(path, {**content, "checksum": checksum(content)} if signed else content)
        return path

    return write


def rates_of(content: Content) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(episodes, J) of the first training seed."""
    stored = np.frombuffer(base64.b64decode(content["ue_rates"][0]), "<f4")
    return stored.reshape(content["episodes"], -1).copy()


def with_rates(content: Content, rates: Any) -> Content:
    """The content with other rates, and the KPIs that follow from them."""
    stored = np.asarray(rates, "<f4")
    kpis = means(stored[None].astype(np.float64), RRMConfig(**content["config"]))
    text = base64.b64encode(stored.tobytes()).decode()
    return {**content, "ue_rates": [text], "kpis": kpis}


def test_a_submission_says_what_evaluate_found(
    walk: Evaluation, content: Content, written: Callable[[Content], Path]
) -> None:
    submission, played = check(written(content))
    assert played == "4 episodes played again: the same bits"
    assert np.array_equal(submission.ue_rates[0], walk.ue_rates.astype(np.float32))
    assert submission.kpi("score").mean() == pytest.approx(walk.score.mean(), abs=1e-6)
    assert (submission.network.name, submission.about.name) == ("paper", "walk")
    assert submission.config == walk.config


def test_the_order_of_fields_does_not_matter_and_every_field_is_signed(content: Content) -> None:
    reordered = dict(reversed([*content.items()]))
    assert checksum(reordered) == content["checksum"]
    for name in content:
        if name != "checksum":
            assert checksum({**content, name: "other"}) != content["checksum"], name


TAMPERED: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": "mine"}, "format must be 'rrm_env submission, version 1', got 'mine'"),
    "network": ({"network": "wide"}, "network must be 'paper', which config describes"),
    "seed": ({"seed": 1}, "a submission needs seed = 0, got 1"),
    "seed's type": ({"seed": "0"}, "seed must be an integer"),
    "episodes": ({"episodes": 128}, "needs episodes = 256, got 128"),
    "name": ({"name": ""}, "name must have 1 to 60 characters, got 0"),
    "long text": ({"author": "x" * 101}, "author must have 1 to 100 characters, got 101"),
    "two lines": ({"description": "a\nb"}, "description must be one line of printable"),
    "text's type": ({"information": 3}, "information must be a text, got 3"),
    "bits": ({"bits": -1}, "bits must be from 0 to"),
    "rates' type": ({"ue_rates": "x"}, "ue_rates must be a list of 1 to 100 texts"),
    "base64": ({"ue_rates": ["!"]}, "ue_rates[0] must be base64, got '!'"),
    "length": ({"ue_rates": ["AAAA"]}, "must be base64 of 20,480 bytes"),
    "policy": (
        {"policy": {"scheduler": "tdm"}},
        "policy must have files, scheduler, or checkpoint",
    ),
    "digest": (
        {"policy": {"scheme": "SAC", "seeds": [0], "checkpoint": "12"}},
        "policy: checkpoint must be a SHA-256 in 64 hexadecimal digits",
    ),
    "training seeds": (
        {"policy": {"scheme": "SAC", "seeds": [0, 1], "checkpoint": "0" * 64}},
        "ue_rates must hold one text for each of 2 training seeds, got 1",
    ),
    "equal seeds": (
        {"policy": {"scheme": "SAC", "seeds": [1, 1], "checkpoint": "0" * 64}},
        "policy: seeds must be all different",
    ),
    "kpis": ({"kpis": {"score": 3}}, "kpis must have sum_rate"),
    "versions": ({"versions": {"numpy": 2}}, "versions: numpy must be a text, got 2"),
    "config's type": ({"config": [1]}, "config must be an object"),
    "config's field": ({"config": {"n_apps": 4}}, "n_apps"),
    "physics": ({"config": {"tx_power_dbm": 9.0}}, "differs from paper in tx_power_dbm = 9.0"),
    "unknown field": ({"autor": "x"}, "unknown field 'autor' (did you mean 'author'?)"),
    "unknown scheduler's option": (
        {"policy": {"scheduler": "itlinq:tolerance=0", "files": {}}},
        "unknown option of itlinq",
    ),
    "another scheduler": (
        {"policy": {"scheduler": "tdm", "files": {}}},
        "but tdm reaches",
    ),
}
"""Changes of a valid content that is signed again, and what the error says."""


@pytest.mark.parametrize("kind", TAMPERED)
def test_tampered_submissions_are_refused_although_signed_again(
    kind: str, content: Content, written: Callable[[Content], Path]
) -> None:
    changes, message = TAMPERED[kind]
    path = written({**content, **changes})
    with pytest.raises(SubmissionError) as error:
        check(path)
    assert message in str(error.value)
    assert str(error.value).startswith(repr(str(path)))


def test_a_change_without_a_new_checksum_is_refused(
    content: Content, written: Callable[..., Path]
) -> None:
    with pytest.raises(SubmissionError, match=r"checksum = .* does not match the content"):
        check(written({**content, "author": "somebody"}, signed=False))


def test_a_missing_field_is_refused_by_name(
    content: Content, written: Callable[[Content], Path]
) -> None:
    for name in [*content]:
        if name != "checksum":
            left = {key: value for key, value in content.items() if key != name}
            with pytest.raises(SubmissionError, match=f"lacks {name}$|format must be"):
                check(written(left))


def test_kpis_that_do_not_follow_from_the_rates_are_refused(
    content: Content, written: Callable[[Content], Path]
) -> None:
    kpis = {**content["kpis"], "score": content["kpis"]["score"] + 1e-4}
    with pytest.raises(SubmissionError, match=r"kpis: score = .* does not follow from ue_rates"):
        check(written({**content, "kpis": kpis}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-3])
def test_rates_that_are_no_rates_are_refused(
    value: float, content: Content, written: Callable[[Content], Path]
) -> None:
    rates = rates_of(content)
    rates[7, 3] = value
    changed = {**content, "ue_rates": [base64.b64encode(rates.tobytes()).decode()]}
    with pytest.raises(SubmissionError, match=r"ue_rates\[0\], episode 7, user 3 = .* must be fin"):
        check(written(changed))


def links_of(config: RRMConfig, episodes: int) -> tuple[Any, Any]:
    """What each user's link carries in an episode without interference, by the definition.

    Returns:
        (episodes, T, J) rates, and (episodes, J) the access points.
    """
    network = Network(config, episodes)
    network.reset(first_episode(0))
    association = network.association.copy()
    users = np.arange(config.n_ues)
    rates = []
    for _ in range(config.episode_length):
        gain = network.gain.astype(np.float64)
        rates.append([np.log2(1 + gain[b, association[b], users]) for b in range(episodes)])
        network.step(np.full((episodes, config.n_aps), SILENT))
    return np.array(rates).swapaxes(0, 1), association


def test_rates_above_what_links_carry_are_refused(
    content: Content, written: Callable[[Content], Path]
) -> None:
    links, association = links_of(RRMConfig(), 3)
    alone = links.mean(1)
    rates = rates_of(content)
    rates[2, 5] = alone[2, 5] * 1.001
    with pytest.raises(SubmissionError, match=r"episode 2, user 5 = .* must not exceed"):
        check(written(with_rates(content, rates)), replayed=0)
    # Each user has less than its link carries, but all of an access point together have too much.
    rates = rates_of(content)
    rates[1] = 0.9 * alone[1]
    with pytest.raises(SubmissionError, match=r"episode 1: the users of access point \d have"):
        check(written(with_rates(content, rates)), replayed=0)
    # One user in every step, without interference, is possible.
    ap = int(association[1, 4])
    rates[1] = 0
    rates[1, 4] = alone[1, 4]
    check(written(with_rates(content, rates)), replayed=0)
    best = links[1][:, association[1] == ap].max(1).mean()
    rates[1, 4] = 0
    rates[1, association[1] == ap] = 1.001 * best / (association[1] == ap).sum()
    if (rates[1] <= alone[1]).all():
        with pytest.raises(SubmissionError, match="the users of access point"):
            check(written(with_rates(content, rates)), replayed=0)


def test_a_mean_score_above_the_optimum_is_refused_although_links_carry_it(
    content: Content, written: Callable[[Content], Path]
) -> None:
    users, aps, association = submission_checks._capacity(
        submission_checks._physics(RRMConfig()), 256
    )
    load = np.stack([np.bincount(row, minlength=4) for row in association])
    share = np.take_along_axis(aps / np.maximum(load, 1), association, axis=1)
    rates = np.minimum(0.9 * share, 0.9 * users)
    with pytest.raises(SubmissionError, match=r"mean score of .* allowed: up to 1.05 times"):
        check(written(with_rates(content, rates)), replayed=0)


def test_rates_that_the_scheduler_does_not_reach_are_refused(
    content: Content, written: Callable[[Content], Path]
) -> None:
    rates = rates_of(content)
    rates[3, 0] *= np.float32(1 + 3e-7)  # one bit
    path = written(with_rates(content, rates))
    with pytest.raises(SubmissionError, match=r"episode 3, user 0 = .* must agree to the bit"):
        check(path)
    assert check(path, replayed=3)[1].startswith("3 episodes played again")


def test_elsewhere_last_bits_and_single_decisions_may_differ(
    content: Content, written: Callable[[Content], Path]
) -> None:
    elsewhere = {**content, "processor": "another"}
    rates = rates_of(content)
    rates[:4] += 5e-5
    rates[0, 0] += 0.02
    assert check(written(with_rates(elsewhere, rates)))[1] == (
        "4 episodes played again: the same rates"
    )
    rates[:2, 1] += 0.02
    with pytest.raises(SubmissionError, match=r"within 0.0001, in more than half"):
        check(written(with_rates(elsewhere, rates)))


def test_what_cannot_be_played_again_is_said(
    content: Content, written: Callable[[Content], Path], tmp_path: Path
) -> None:
    unknown = {**content, "policy": {"scheduler": "somebodys:pace=1", "files": {}}}
    assert check(written(unknown))[1].endswith("scheduler somebodys is not installed")
    trained = {"scheme": "SAC", "seeds": [4], "checkpoint": "0" * 64}
    assert "trained policy" in check(written({**content, "policy": trained}))[1]
    file = tmp_path / "policy.safetensors"
    file.write_bytes(b"numbers")
    policy = scheduler_policy(f"graph:policy={file}:counted=tail")
    assert policy["files"] == {"policy": file_checksum(file)}
    file.write_bytes(b"other numbers")
    path = written({**content, "policy": policy})
    if "graph" in added_schedulers():
        assert "another one" in check(path)[1]


def test_views_may_differ_and_the_files_number_is_the_networks(
    written: Callable[[Content], Path],
) -> None:
    config = RRMConfig(n_candidates=8, measurements="large_scale", reward="utility")
    found = evaluate(RandomWalk(), config, 256)
    content = submission_of(found, About(name="walk"), scheduler_policy("random_walk"))
    assert check(written(content), 2)[0].network.name == "paper"
    with pytest.raises(ValueError, match="needs episodes = 256, got 2"):
        submission_of(evaluate(RandomWalk(), config, 2), About(name="walk"), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("author", "about must be FIELD=TEXT, got 'author'"),
        ("autor=x", "unknown field of about: 'autor' (did you mean 'author'?)"),
        ("bits=many", "bits must be a number, got 'many'"),
        ("bits=nan", "bits must be from 0"),
        ("author= x", "without blanks around it"),
    ],
)
def test_bad_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        About.parse([text], name="x")


def test_large_networks_need_fewer_episodes() -> None:
    needed = {
        name: demanded_episodes(RRMConfig.preset(name)) for name in ("paper", "wide", "dense")
    }
    assert needed == {"paper": 256, "wide": 256, "dense": 64}


def test_lengths_are_of_texts() -> None:
    texts: dict[str, Any] = {name: "x" * length for name, length in LENGTHS.items()}
    longest = About(**texts)
    assert len(longest.description) == LENGTHS["description"]


# --- The commands ---


def test_commands_write_and_check_a_submission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    written = command.main(
        [
            *("--schedulers", "random_walk:silence=true", "--submission", str(good)),
            *("--about", "author=A. Name", "bits=0"),
        ]
    )
    assert written == 0
    assert f"wrote {good}" in capsys.readouterr().out
    assert command.main(["check", str(good), "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    assert "valid, random_walk:silence=true in paper, score 1.1" in out
    assert "2 episodes played again" in out
    bad.write_text(good.read_text().replace("A. Name", "B. Name"))
    assert command.main(["check", str(bad), str(good)]) == 2
    captured = capsys.readouterr()
    assert f"{good}: valid" in captured.out
    assert f"1 of 2 files refused: {bad}" in captured.err
    assert "does not match the content" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--submission", "x.json"], "--schedulers with one scheduler, got 0"),
        (["--schedulers", "tdm,itlinq", "--submission", "x.json"], "one scheduler, got 2"),
        (["--about", "author=x"], "--about needs --submission PATH"),
        (
            ["--schedulers", "tdm", "--submission", "x.json", "--episodes", "12"],
            "needs episodes = 256, got 12",
        ),
        (["--schedulers", "tdm", "--submission", "x.json", "--seed", "1"], "needs seed = 0"),
        (
            ["--schedulers", "tdm", "--submission", "x.json", "--set", "n_ues=10"],
            "differs from paper in n_ues = 10",
        ),
        (["--watch", "tdm", "--submission", "x.json"], "--submission belongs to the comparison"),
        (["check", "missing.json"], "1 of 1 files refused: missing.json"),
        (["check", "x.json", "--episodes", "-1"], "--episodes must be an integer of at least 0"),
    ],
)
def test_arguments_are_refused(
    arguments: list[str], message: str, refused: Callable[[list[str], str], None]
) -> None:
    refused(arguments, message)


def test_only_a_submission_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.json"
    path.write_text(json.dumps({"my": "notes"}))
    assert command.main(["--schedulers", "tdm", "--submission", str(path)]) == 2
    assert "exists and is no submission of this package" in capsys.readouterr().err
    assert json.loads(path.read_text()) == {"my": "notes"}
