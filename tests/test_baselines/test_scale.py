"""``python -m baselines --optimum``: every score's share of the optimum of the same episodes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import baselines.__main__ as command
from baselines import TDM, Greedy, MaxWeight, RandomWalk
from baselines.comparison import publish
from baselines.optimum import Optimum, optimum
from baselines.scale import ScoreScale
from rrm_env import RRMConfig, evaluate, metrics, normalised_score, reference

CONFIG = RRMConfig(n_aps=3, n_ues=20, area_side_m=80, episode_length=20)
SET = ["--set", "n_aps=3", "n_ues=20", "area_side_m=80", "episode_length=20"]
EPISODES = 6


@pytest.fixture(scope="module")
def best() -> Optimum:
    """The optimum of the episodes."""
    return optimum(CONFIG, 3, EPISODES)


def run(*arguments: str) -> dict[str, Any]:
    """The results file of the command."""
    path = Path("out.json")
    options = [*SET, "--episodes", str(EPISODES), "--seed", "3", "--json", str(path), *arguments]
    assert command.main(options) == 0
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_without_the_optimum_scores_are_on_the_scale_of_the_references() -> None:
    path = Path("known.json")
    options = ["--episodes", "2", "--schedulers", "tdm,greedy", "--json", str(path)]
    assert command.main(options) == 0
    result = json.loads(path.read_text())
    for name, scheduler in (("tdm", TDM()), ("greedy", Greedy())):
        score = float(evaluate(scheduler, RRMConfig(), 2).score.mean())
        expected = normalised_score(score, "paper")
        assert result["schedulers"][name]["normalised_score"] == pytest.approx(expected)
    assert result["references"] == reference("paper").as_dict()
    unknown = run("--schedulers", "tdm")
    assert "references" not in unknown
    assert "normalised_score" not in unknown["schedulers"]["tdm"]


def test_results_hold_shares_normalised_scores_and_the_optimum_of_every_episode(
    best: Optimum,
) -> None:
    result = run("--optimum", "--schedulers", "tdm,random_walk")
    value = best.score.value
    walk = evaluate(RandomWalk(), CONFIG, EPISODES, 3).score
    for name, scheduler in (("tdm", TDM()), ("random_walk", RandomWalk())):
        scores = evaluate(scheduler, CONFIG, EPISODES, 3).score
        row = result["schedulers"][name]
        low, high = metrics.ratio_interval(scores, value)
        assert row["share_of_optimum"] == pytest.approx(
            {"mean": sum(scores) / sum(value), "low": low, "high": high}
        )
        assert row["normalised_score"] == pytest.approx(
            100 * (sum(scores) - sum(walk)) / (sum(value) - sum(walk)), abs=1e-9
        )
    assert result["schedulers"]["random_walk"]["normalised_score"] == 0
    stated = result["optimum"]
    assert {"is_bound": True, "information": "large_scale", "blocks": best.blocks}.items() <= (
        stated.items()
    )
    everybody = stated["schedules"]["optimum, everybody counted"]
    assert everybody["minimum_score"]["mean"] == pytest.approx(best.minimum_score.value.mean())
    assert everybody["share_of_optimum"]["mean"] < 1
    for name, schedules in (("score", best.score), ("minimum_score", best.minimum_score)):
        assert stated["per_episode"][name]["value"] == schedules.value.tolist()
        assert stated["per_episode"][name]["bound"] == schedules.bound.tolist()
        low, high = metrics.mean_interval(schedules.value)
        assert stated[name] == pytest.approx(
            {"mean": schedules.value.mean(), "low": low, "high": high}
        )


def test_a_random_walk_that_nobody_named_is_evaluated_without_a_row() -> None:
    with_it, without = (
        run("--optimum", "--schedulers", names)["schedulers"]
        for names in ("random_walk,tdm", "tdm")
    )
    assert list(without) == ["tdm"]
    for key in ("share_of_optimum", "normalised_score"):
        assert without["tdm"][key] == with_it["tdm"][key]


def test_without_the_option_nothing_is_solved_or_stated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "optimum", None)
    monkeypatch.setattr(command, "refuse_impossible", None)
    result = run("--schedulers", "tdm")
    assert "optimum" not in result
    assert "share_of_optimum" not in result["schedulers"]["tdm"]
    assert "optimum" not in capsys.readouterr().out


def test_tables_of_80_columns_have_the_share_and_end_with_the_optimum(
    best: Optimum, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("--optimum", "--schedulers", "tdm,proportional_fair")
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if line and line[0].islower()}
    assert list(rows)[:4] == ["tdm", "proportional_fair", "optimum", "optimum,"]
    share = result["schedulers"]["tdm"]["share_of_optimum"]["mean"]
    assert rows["tdm"][-1] == f"{100 * share:.1f}"
    assert float(rows["tdm"][-2]) == pytest.approx(
        result["schedulers"]["tdm"]["score"]["mean"], abs=5e-4
    )
    everybody = rows["optimum,"][1:]
    for cells, schedules in ((rows["optimum"], best.score), (everybody, best.minimum_score)):
        rates = schedules.ue_rates
        score = metrics.score(rates, CONFIG.sum_weight, CONFIG.score_tail_weight).mean()
        assert cells == [
            f"{metrics.tail_rate(rates).mean():.3f}",
            f"{metrics.worst_rate(rates).mean():.3f}",
            f"{score:.3f}",
            f"{100 * score / best.score.value.mean():.1f}",
        ]
    words = " ".join(text.split())
    used = sum(user[0] >= 0 for user in best.score.left_out)
    assert used > 0
    assert f"(Eq. 10) leaves out a user; the optimum uses that in {used} of 6 episodes" in words
    assert "Sum rate bit/s/Hz" in words.partition("More columns")[2]


def test_wide_tables_have_normalised_scores_and_count_everybody(
    best: Optimum, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    result = run("--optimum", "--schedulers", "tdm")
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith(("tdm", "optimum"))]
    assert f"{result['schedulers']['tdm']['normalised_score']:.1f}" in rows[0].split()
    evaluation = evaluate(TDM(), CONFIG, EPISODES, 3)
    counted = [
        f"{evaluation.minimum_score.mean():.3f}",
        f"{metrics.minimum_score(best.score.ue_rates, CONFIG.sum_weight, 3).mean():.3f}",
        f"{best.minimum_score.value.mean():.3f}",
    ]
    for row, number in zip(rows, counted, strict=True):
        assert number in row.split()
    assert "100.0" in rows[1].split()


def published(best: Optimum, capsys: pytest.CaptureFixture[str]) -> str:
    """The table of TDM on this scale."""
    evaluations = {"tdm": evaluate(TDM(), best.config, best.episodes, best.seed)}
    publish(evaluations, "title", Path("out.json"), scale=ScoreScale.of(best, evaluations))
    return " ".join(capsys.readouterr().out.split())


def test_what_is_not_proven_is_called_best_known(
    best: Optimum, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = replace(best.score, bound=np.full(EPISODES, np.inf))
    text = published(replace(best, score=unknown), capsys)
    assert "best known" in text
    assert "no bound is known" in text
    assert "best known, everybody" in text
    assert "optimum, everybody" not in text
    assert "random walk = 0, best known = 100" in text
    stated = json.loads(Path("out.json").read_text())["optimum"]
    assert stated["is_bound"] is False
    assert stated["per_episode"]["score"]["bound"] == [None] * EPISODES


def test_a_gap_of_the_proof_is_stated(best: Optimum, capsys: pytest.CaptureFixture[str]) -> None:
    assert "proven" not in published(best, capsys)
    loose = replace(best.score, bound=best.score.value * 1.012)
    assert "Optimum (proven within 1.2 %): no" in published(replace(best, score=loose), capsys)


def test_networks_whose_tail_counts_everybody_have_one_optimum(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = published(optimum(replace(CONFIG, n_ues=6), 0, 2), capsys)
    assert "optimum" in text
    assert "verybody counted" not in text.partition("Under each mean")[0]
    assert "leaves out" not in text


def test_a_random_walk_as_good_as_the_optimum_leaves_no_scale() -> None:
    best = optimum(replace(CONFIG, n_aps=1, n_ues=1, fading="none"), 0, 2)
    scale = ScoreScale(best, best.score.value + 1e-9)
    assert scale.normalised(best.score.value) is None
    assert scale.share(best.score.value)["mean"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "fading=jakes"], "fading = 'jakes' has memory"),
        (["--set", "csi_delay=0"], "csi_delay = 0 lets schedulers know the present fading"),
        (["--network", "correlated"], "--information channel bounds them too"),
        (["--information", "chanel"], "unknown information 'chanel' (did you mean 'channel'?)"),
        (["--information", "channel", "--network", "dense"], "needs n_aps up to 10"),
        (
            ["--set", "score_sum_weight=0", "score_tail_weight=0"],
            "score_sum_weight = 0 and score_tail_weight = 0 make every score 0",
        ),
        (["--watch", "tdm"], "--optimum belongs to the comparison and does not go with --watch"),
        (["--info"], "--optimum does not go with --info"),
    ],
)
def test_what_has_no_optimum_is_refused_before_anything_is_simulated(
    arguments: list[str],
    message: str,
    refused: Callable[[list[str], str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "warm_up", None)
    monkeypatch.setattr(command, "evaluate", None)
    refused(["--optimum", *arguments], message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--information needs --optimum"),
        (["--watch", "tdm"], "--information belongs to the comparison and does not go with"),
        (["--info"], "--information does not go with --info"),
    ],
)
def test_information_without_an_optimum_is_refused(
    arguments: list[str], message: str, refused: Callable[[list[str], str], None]
) -> None:
    refused(["--information", "channel", *arguments], message)


def test_where_schedulers_know_the_fading_the_optimum_may_know_every_channel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = run(
        *("--set", "fading=jakes", "--optimum", "--information", "channel"),
        *("--schedulers", "max_weight:csi=present"),
    )
    best = optimum(replace(CONFIG, fading="jakes"), 3, EPISODES, information="channel")
    assert result["optimum"]["information"] == "channel"
    assert result["optimum"]["per_episode"]["score"]["value"] == best.score.value.tolist()
    scores = evaluate(MaxWeight(csi="present"), best.config, EPISODES, 3).score
    assert (scores < best.score.bound).all()
    share = result["schedulers"]["max_weight:csi=present"]["share_of_optimum"]
    assert share["mean"] == pytest.approx(scores.mean() / best.score.value.mean())
    text = " ".join(capsys.readouterr().out.split())
    assert "knows the channels of all steps beforehand, fading included." in text
    assert "not the present fading" not in text


def test_missing_scipy_is_named_before_anything_is_simulated(
    refused: Callable[[list[str], str], None],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RRM_ENV_CACHE_DIR", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    monkeypatch.setattr(command, "warm_up", None)
    refused(["--optimum", *SET], "the optimum needs scipy")
