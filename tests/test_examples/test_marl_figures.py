"""Scripts of the figures: files, printed lines, options, and numbers of the policies they train."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import figure
import figure_7
import numpy as np
import pytest
import study
import study_options
import torch
from claims import Above, Alike, Claim
from figure import Figure, Options
from matplotlib.figure import Figure as Canvas
from miniature import PNG, SCALE, TINY, call, miniature
from pictures import STYLES, Report, compare_bars, compare_sizes, curves_and_levels
from study import QUICK, Study

from baselines import Greedy
from baselines.optimum import optimum
from baselines.scale import ScoreScale
from marl import load_policies
from marl.training.rollout import CURVE_SEED, curve_point
from rrm_env import Evaluation, evaluate, metrics
from rrm_env.provenance import machine, revision, versions

LEARNT = "c-cql-sac.sac-40"


def unfinished(study: Study) -> dict[str, Any]:
    """What a figure adds to its results."""
    return {"added": study.missing([LEARNT, "bc.dqn-40"])}


FIGURE = Figure(
    name="figure_9",
    title="a miniature",
    runs=(LEARNT, "online-sac"),
    draw=curves_and_levels,
    claims=(
        Claim(
            "greedy is greedy",
            (Above("sum_rate", "greedy", "tdm"), Above("tail_rate", "tdm", "greedy")),
        ),
        Claim(
            "learners are alike",
            (Alike("score", LEARNT, "online-sac"), Above("sum_rate", "greedy", "tdm", 1.1)),
        ),
    ),
    schedulers=("greedy", "tdm"),
    curves=(LEARNT,),
    extra=unfinished,
)


@pytest.fixture(scope="module", autouse=True)
def in_miniature() -> Iterator[None]:
    """Small learners in a small network."""
    with miniature():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without results, where the quick figure was made."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs" / "results").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call(FIGURE, "--quick")
    return folder


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that checkout."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """The results file."""
    content: dict[str, Any] = json.loads((folder / "study" / "quick" / "figure_9.json").read_text())
    return content


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- What is written ---


def test_quick_figure_is_written_beside_its_runs_and_never_among_the_results(folder: Path) -> None:
    assert list((folder / "docs" / "results").iterdir()) == []
    made = {path.name for path in (folder / "study" / "quick").iterdir()}
    assert made == {"figure_9.json", "figure_9.png", LEARNT, "online-sac", "sac-40.safetensors"}
    assert [path.name for path in (folder / "study").iterdir()] == ["quick"]
    assert (folder / "study" / "quick" / "figure_9.png").read_bytes().startswith(PNG)


def test_results_say_what_they_are_of(result: dict[str, Any]) -> None:
    said = {
        "figure": "figure_9",
        "title": "a miniature",
        "command": "python figure.py --quick",
        "scale": vars(SCALE),
        "network": TINY.as_dict(),
    }
    instructions = torch.backends.cpu.get_cpu_capability()
    code = {
        "revision": revision(),
        "machine": machine(),
        "versions": versions("torch"),
        "torch_instructions": instructions,
    }
    numbers = {"rows", "claims", "improvement", "training_hours", "learners", "curves"}
    assert {key: value for key, value in result.items() if key not in numbers} == {
        **said,
        **code,
        "added": ["online-dqn", "bc.dqn-40"],
    }
    assert numbers < set(result)
    assert set(result["learners"]) == set(FIGURE.runs)
    assert result["learners"]["online-sac"]["scheme"] == "C-MARL (SAC)"
    assert list(result["training_hours"]) == ["online-sac", LEARNT]
    assert all(0 < hours < 0.1 for hours in result["training_hours"].values())


def test_rows_are_what_the_policies_and_schedulers_reach(
    folder: Path, result: dict[str, Any]
) -> None:
    labels = {
        LEARNT: "C-MARL-CQL (SAC), sac-40",
        "online-sac": "C-MARL (SAC) online",
        "greedy": "greedy",
        "tdm": "tdm",
    }
    assert {name: row["label"] for name, row in result["rows"].items()} == labels
    for name in FIGURE.runs:
        policies = load_policies(folder / "study" / "quick" / name)
        alone = [evaluate(policy, TINY, 4) for policy in policies]
        for kpi in metrics.LEARNERS_KPIS:
            values = np.stack([getattr(evaluation, kpi) for evaluation in alone])
            assert_row_is_of(result["rows"][name][kpi], values)
            assert result["rows"][name][kpi]["per_seed"] == pytest.approx(values.mean(1).tolist())
    for kpi in metrics.LEARNERS_KPIS:
        assert_row_is_of(result["rows"]["greedy"][kpi], getattr(evaluate(Greedy(), TINY, 4), kpi))
        assert "per_seed" not in result["rows"]["greedy"][kpi]
    assert not any(
        "steps_per_second" in row for row in result["rows"].values()
    )  # of a busy machine


def assert_row_is_of(row: dict[str, float], values: metrics.Floats) -> None:
    """Mean, interquartile mean and their intervals."""
    assert row["mean"] == pytest.approx(values.mean())
    assert (row["low"], row["high"]) == pytest.approx(metrics.mean_interval(values))
    assert row["interquartile_mean"] == pytest.approx(metrics.interquartile_mean(values))
    interval = (row["interquartile_low"], row["interquartile_high"])
    assert interval == pytest.approx(metrics.interquartile_mean_interval(values))


def test_claims_and_improvements_are_judged_from_the_same_evaluations(
    folder: Path, result: dict[str, Any]
) -> None:
    study = Study(folder / "study" / "quick", SCALE, TINY)
    evaluations = {name: study.evaluation(name) for name in FIGURE.runs} | {
        name: study.scheduler(name) for name in FIGURE.schedulers
    }
    assert result["claims"] == [claim.judge(evaluations) for claim in FIGURE.claims]
    pairs = [
        ("sum_rate", "greedy", "tdm"),
        ("tail_rate", "tdm", "greedy"),
    ]  # Alike ranks nobody, and no pair comes twice
    assert [(item["kpi"], item["first"], item["second"]) for item in result["improvement"]] == pairs
    for item in result["improvement"]:
        values = (getattr(evaluations[item[name]], item["kpi"]) for name in ("first", "second"))
        assert (
            item["probability"],
            item["low"],
            item["high"],
        ) == metrics.probability_of_improvement(*values)


def test_curves_are_those_of_the_runs_that_the_figure_asks_for(
    folder: Path, result: dict[str, Any]
) -> None:
    assert list(result["curves"]) == [LEARNT]
    assert result["curves"][LEARNT]["updates"] == [2]
    policies = load_policies(folder / "study" / "quick" / LEARNT)
    for kpi in metrics.LEARNERS_KPIS:
        assert result["curves"][LEARNT][kpi] == [
            pytest.approx([curve_point(policy, TINY, 2)[kpi] for policy in policies])
        ]


def test_figure_made_again_trains_nothing_and_says_the_same(
    there: Path,
    result: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study, "train", None)
    monkeypatch.setenv("COLUMNS", "250")
    call(FIGURE, "--quick", "--json", "again.json", "--plot", "again.PDF")
    printed = capsys.readouterr().out
    assert "to train" not in printed
    assert "wrote again.json\nwrote again.PDF" in printed
    assert "a miniature" in printed
    assert "C-MARL-CQL (SAC), sac-40" in printed
    assert all(claim.words in printed for claim in FIGURE.claims)
    again = json.loads((there / "again.json").read_text())
    assert {**again, "command": result["command"]} == result
    assert again["command"] == "python figure.py --quick --json again.json --plot again.PDF"
    assert (there / "again.PDF").read_bytes().startswith(b"%PDF")


def test_figure_that_is_not_quick_is_written_among_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    for module in (figure, study_options):
        monkeypatch.setattr(module, "Scale", lambda: replace(SCALE, seeds=7))
    small = replace(FIGURE, runs=("online-sac",), curves=("online-sac",), claims=(), extra=None)
    call(small, "--seeds", 1)
    assert {path.name for path in (tmp_path / "docs" / "results").iterdir()} == {
        "figure_9.json",
        "figure_9.png",
    }
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"online-sac"}
    result = json.loads((tmp_path / "docs" / "results" / "figure_9.json").read_text())
    assert result["scale"]["seeds"] == len(result["rows"]["online-sac"]["score"]["per_seed"]) == 1
    assert "to train: online-sac. Interrupt at will" in capsys.readouterr().out
    committed = {**result, "training_hours": {"online-sac": 2.5}}
    (tmp_path / "docs" / "results" / "figure_9.json").write_text(json.dumps(committed))
    call(small, "--seeds", 7, "--out", "elsewhere", "--only", "online-sac")
    assert (
        "to train: online-sac; for the committed results that took 2.5 hours of two cores."
        in capsys.readouterr().out
    )


# --- Some rows only, and what is refused ---


def test_rows_asked_for_are_printed_alone_and_nothing_is_written(
    there: Path, result: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(there)
    call(FIGURE, "--quick", "--only", LEARNT, "tdm")
    printed = capsys.readouterr().out
    assert contents(there) == before
    scores = ", ".join(f"{value:.6f}" for value in result["rows"][LEARNT]["score"]["per_seed"])
    assert f"{LEARNT}: score of each seed {scores}\n" in printed
    assert "tdm" in printed
    for other in ("greedy", "C-MARL (SAC) online", "wrote", "greedy is greedy"):
        assert other not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--only", "greedy", "online-dqn"),
            f"error: only must name rows of the figure, {LEARNT}, online-sac, greedy, tdm, "
            "got 'online-dqn'",
        ),
        (("--json", "missing/out.json"), "error: --json"),
        (("--plot", "missing/out.png"), "error: --plot"),
        (("--device", "gpu"), "error: device must be cpu, cuda or cuda:N, got 'gpu'"),
    ],
)
def test_bad_options_are_refused_by_name(
    arguments: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        call(FIGURE, "--quick", *arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(message)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_quick_scale_and_options_are_as_documented() -> None:
    assert Options() == Options(
        quick=False, seeds=5, out=Path("study"), only=(), device="cpu", json=None, plot=None
    )
    assert QUICK.seeds == 2
    assert max(QUICK.online_updates, QUICK.offline_updates) <= 200


# --- Drawing ---


def report_of(values: dict[str, metrics.Floats]) -> Report:
    """A report of these sum rates, whose learners are called by the paper's names."""
    rated = {name: np.repeat(rates[..., None] / 4, 4, axis=-1) for name, rates in values.items()}
    evaluations = {
        name: Evaluation(TINY, 0, rates, rates.sum(-1), rates.sum(-1), 1.0)
        for name, rates in rated.items()
    }
    return Report(
        evaluations,
        {name: f"{name.partition('.')[0]} by name, data" for name in values if "." in name},
        {},
        {},
    )


def test_sizes_are_drawn_with_means_and_intervals_over_the_transitions() -> None:
    sizes = {1000: "c-cql-sac.sac-1000", 20_000: "c-cql-sac.sac-20000"}
    generator = np.random.default_rng(0)
    report = report_of({name: generator.uniform(1, 9, (2, 6)) for name in sizes.values()})
    axes: Any = Canvas().subplots()
    compare_sizes(axes, "sum_rate", sizes, report)
    (drawn,) = axes.containers
    points = drawn.lines[0]
    assert points.get_xdata().tolist() == [1000, 20_000]
    means = [report.evaluations[name].sum_rate.mean() for name in sizes.values()]
    assert points.get_ydata().tolist() == pytest.approx(means)
    bars = [segment[:, 1].tolist() for segment in drawn.lines[2][0].get_segments()]
    assert bars == [
        pytest.approx(metrics.mean_interval(report.evaluations[name].sum_rate))
        for name in sizes.values()
    ]
    assert points.get_color() == STYLES["c-cql-sac"][0]
    assert (axes.get_xscale(), [text.get_text() for text in axes.get_xticklabels()]) == (
        "log",
        ["1k", "20k"],
    )
    assert drawn.get_label() == "c-cql-sac by name"


def test_bars_are_drawn_with_means_intervals_and_names() -> None:
    bars = {"one": "c-cql-sac.sac-40", "two": "greedy"}
    generator = np.random.default_rng(1)
    report = report_of(
        {"c-cql-sac.sac-40": generator.uniform(1, 9, (2, 6)), "greedy": generator.uniform(1, 9, 6)}
    )
    axes: Any = Canvas().subplots()
    compare_bars(axes, "sum_rate", bars, report)
    values = [report.evaluations[name].sum_rate for name in bars.values()]
    assert [patch.get_width() for patch in axes.patches] == pytest.approx(
        [value.mean() for value in values]
    )
    assert [text.get_text().strip() for text in axes.texts] == ["one", "two"]
    errors = [
        container.lines[2][0].get_segments()[0][:, 0].tolist()
        for container in axes.containers
        if hasattr(container, "has_xerr")
    ]
    assert errors == [pytest.approx(metrics.mean_interval(value)) for value in values]
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == metrics.KPIS["sum_rate"].axis


def test_results_and_pictures_have_the_optimum_of_their_episodes(
    folder: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = optimum(TINY, 0, SCALE.episodes).score.value
    for row in result["rows"].values():
        share = row["share_of_optimum"]
        assert share["mean"] == pytest.approx(row["score"]["mean"] / best.mean())
        assert share["low"] <= share["mean"] <= share["high"]
    reports: list[Report] = []
    monkeypatch.chdir(folder)
    monkeypatch.setattr(figure, "write_picture", lambda *given: reports.append(given[-1]))
    call(FIGURE, "--quick", "--json", "third.json", "--plot", "third.png")
    canvas: Any = Canvas()
    curves_and_levels(canvas, reports[0])
    lines = {
        axes.get_ylabel(): line.get_ydata()[0]
        for axes in canvas.axes
        for line in axes.lines
        if line.get_label() == "optimum"
    }
    held_out = optimum(TINY, CURVE_SEED, SCALE.curve_episodes).score.value.mean()
    assert lines == {"score": pytest.approx(held_out)}
    assert reports[0].scale is not None
    assert reports[0].scale.optimum.score.value.tolist() == best.tolist()


def test_figures_are_made_without_an_optimum_where_it_is_unknown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RRM_ENV_CACHE_DIR", str(folder / "empty"))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    call(FIGURE, "--quick", "--json", "fourth.json", "--plot", "fourth.png")
    assert "left out: the optimum needs scipy" in capsys.readouterr().out
    rows = json.loads(Path("fourth.json").read_text())["rows"]
    assert not any("share_of_optimum" in row for row in rows.values())


def test_figure_7_draws_the_optimum_across_both_panels() -> None:
    names = [run for run in figure_7.FIGURE.runs if "." in run]
    report = report_of({name: np.full((2, 4), 4.0) for name in names} | {"tdm": np.ones(4)})
    scale = ScoreScale.of(optimum(TINY, 0, 4), {})
    canvas: Any = Canvas()
    figure_7.draw(canvas, replace(report, scale=scale))
    quality, quantity = canvas.axes
    best = scale.optimum.score.value.mean()
    assert best in [line.get_xdata()[0] for line in quality.lines]
    (drawn,) = (line for line in quantity.lines if line.get_label() == "optimum")
    assert drawn.get_ydata()[0] == best


def test_rows_that_no_claim_is_about_can_be_kept_from_the_committed_results(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    beside = "bc.sac-40"
    figure = replace(FIGURE, runs=(*FIGURE.runs, beside), extra=None)
    quick, committed = tmp_path / "study" / "quick", tmp_path / "docs" / "results" / "figure_9.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(SystemExit):  # nothing is committed yet
            call(figure, "--quick", "--keep")
        with pytest.raises(SystemExit):
            call(figure, "--quick", "--keep", "--only", beside)
        call(figure, "--quick")
        first = json.loads((quick / "figure_9.json").read_text())
        committed.write_text(json.dumps({**first, "revision": "before"}))
        shutil.rmtree(quick / beside)
        call(figure, "--quick", "--keep")
        second = json.loads((quick / "figure_9.json").read_text())
        assert not (quick / beside).exists()
        assert second.pop("kept") == {beside: "before"}
        for part in ("rows", "learners", "training_hours", "claims"):
            assert second[part] == first[part], part
        committed.write_text(json.dumps({**first, "scale": {}}))
        with pytest.raises(SystemExit):
            call(figure, "--quick", "--keep")


def test_kept_rows_are_drawn_as_they_were() -> None:
    report = report_of({"c-cql-sac.sac-1000": np.arange(1.0, 9.0).reshape(2, 4)})
    row = dict(report.row("c-cql-sac.sac-1000", "score"))
    kept = replace(report, evaluations={}, kept={"c-cql-sac.sac-1000": {"score": row}})
    assert kept.row("c-cql-sac.sac-1000", "score") == row
    assert row["low"] < row["mean"] < row["high"]
