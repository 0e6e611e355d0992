"""All code that computes, stores, prints or draws KPIs takes them from one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims import CLASSICAL
from folders import ROOT
from markdown_tables import KPI_HEADINGS, KPIS, experience_of, figure_tables, kpi_cells
from matplotlib.figure import Figure as Canvas
from toys import SMALL, printed, records, run, trained

from baselines import TDM
from baselines.comparison import summarise, table
from marl import LearnerConfig, TrainingConfig, collect, train
from marl.data.replay import Replay
from marl.runs.description import describe, experience
from marl.sweep.report import table as sweep_table
from marl.training.curves import Curve, draw_curves, learning_curve, write_curves
from marl.training.rollout import curve_point
from rrm_env import RRMConfig, evaluate, metrics

TINY = RRMConfig(n_aps=2, n_ues=5, n_candidates=2, area_side_m=40, episode_length=6)


@pytest.mark.parametrize("name", metrics.KPIS)
def test_every_kpi_of_the_table_is_an_attribute_of_evaluations_and_stands_in_the_comparison(
    name: str,
) -> None:
    evaluation = evaluate(TDM(), TINY, 3)
    values = metrics.KPIS[name].value(evaluation.ue_rates, TINY)
    assert getattr(evaluation, name).tolist() == values.tolist()
    summary = summarise({"tdm": evaluation})
    assert summary["tdm"][name]["mean"] == pytest.approx(values.mean())
    headings = " ".join(
        str(column.header).replace("\n", " ") for column in table(summary, "").columns
    ).lower()
    assert metrics.KPIS[name].heading.lower() in headings


def test_the_worst_user_stands_right_of_the_5_percentile_wherever_learners_are_stated() -> None:
    assert metrics.LEARNERS_KPIS == ("sum_rate", "tail_rate", "worst_rate", "score")
    assert KPI_HEADINGS == "score | sum rate | 5-percentile rate | worst user's rate"
    evaluation = evaluate(TDM(), TINY, 3)
    point = curve_point(TDM(), TINY, 3)
    assert tuple(point) == metrics.LEARNERS_KPIS
    assert point["worst_rate"] <= point["tail_rate"]
    cells = kpi_cells(summarise({"tdm": evaluation})["tdm"]).split(" | ")
    assert cells[3].startswith(f"{evaluation.worst_rate.mean():.3f} (")
    row = {
        "name": "tdm",
        "varied": {},
        "seeds": None,
        "kpis": summarise({"tdm": evaluation})["tdm"],
    }
    headings = [str(column.header) for column in sweep_table({"rows": [row], "varied": []}).columns]
    assert headings[-4:] == [
        "Sum\nrate\nbit/s/Hz",
        "5-percentile\nrate\nbit/s/Hz",
        "Worst user's\nrate\nbit/s/Hz",
        "Score",
    ]


def test_results_from_before_a_kpi_leave_its_cell_empty() -> None:
    row = json.loads((ROOT / "docs" / "results" / "figure_4.json").read_text(encoding="utf-8"))[
        "rows"
    ]["greedy"]
    row.pop("worst_rate", None)
    cells = kpi_cells(row).split(" | ")
    assert len(cells) == len(metrics.LEARNERS_KPIS)
    assert [bool(cell) for cell in cells] == [name != "worst_rate" for name in KPIS]


def test_tables_state_shares_of_the_optimum_of_their_episodes() -> None:
    results = ROOT / "docs" / "results"
    result, optimum = (
        json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("figure_4", "optimum_paper")
    )
    assert "share of optimum" not in figure_tables(result)
    text = figure_tables(result, optimum)
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert rows[0][1:3] == ["score", "share of optimum"]
    values = optimum["optimum"]["per_episode"]["score"]["value"]
    assert len(values) == result["scale"]["episodes"]
    best = sum(values) / len(values)
    for row in rows[1 : 1 + len(result["rows"])]:
        assert len(row) == len(rows[0])
        assert row[2] == f"{100 * float(row[1].split()[0]) / best:.0f} %"
    after = rows[1 + len(result["rows"]) :]
    assert [row[0] for row in after[:2]] == ["*optimum*", "*optimum, everybody counted*"]
    assert [len(row) for row in after[:2]] == [len(rows[0])] * 2
    assert after[0][1].startswith(f"{best:.3f} (")
    for other in (
        {**optimum, "seed": 1},
        {**optimum, "episodes": 255},
        {**optimum, "config": {**optimum["config"], "n_ues": 21}},
    ):
        assert "share of optimum" not in figure_tables(result, other)


def test_claims_and_datasets_keep_the_kpis_of_the_paper() -> None:
    (worst,) = (
        claim
        for claim in CLASSICAL
        if claim.words.startswith("RW is worst of the four in all three")
    )
    assert {vars(comparison)["kpi"] for comparison in worst.comparisons} == {
        "sum_rate",
        "tail_rate",
        "score",
    }
    (behaviour,) = collect(TDM(), TINY, 12).metadata["behaviours"]
    assert list(behaviour["kpis"]) == ["episodes", "return", "sum_rate", "tail_rate", "score"]


def test_logs_from_before_a_kpi_are_drawn_beside_those_that_have_it(tmp_path: Path) -> None:
    training = TrainingConfig(
        updates=4, log_every=2, evaluate_every=2, evaluation_episodes=2, checkpoint_every=4
    )
    config = LearnerConfig(batch_size=8, hidden_sizes=(8,))
    newer, older = (
        train(tmp_path / name, config, training, dataset=collect(TDM(), TINY, 60))
        for name in ("newer", "older")
    )
    records = [json.loads(line) for line in (older / "log.jsonl").read_text().splitlines()]
    del records[0]["evaluation"]["worst_rate"]  # a run that was resumed with the newer revision
    (older / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    curves = {"older": learning_curve(older), "newer": learning_curve(newer)}
    assert list(curves["older"].kpis) == ["sum_rate", "tail_rate", "score"]
    assert list(curves["newer"].kpis) == [*metrics.LEARNERS_KPIS]
    figure = Canvas()
    draw_curves(figure, curves, {"tdm": curve_point(TDM(), TINY, 2)})
    lines = {axes.get_ylabel(): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert lines[metrics.KPIS["worst_rate"].axis] == ["newer", "tdm"]
    assert lines[metrics.KPIS["score"].axis] == ["older", "newer", "tdm"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["older", "newer", "tdm"]
    write_curves(tmp_path / "older.png", {"older": older}, {})
    assert (tmp_path / "older.png").stat().st_size > 0
    assert np.array_equal(curves["older"].updates, [2, 4])


# --- Environment steps ---


@pytest.mark.parametrize(
    ("learning_starts", "training"),
    [
        (16, {"envs_per_seed": 2}),
        (17, {"envs_per_seed": 4, "updates_per_step": 3}),
        (1, {"envs_per_seed": 1, "updates_per_step": 7}),
    ],
)
def test_an_online_log_counts_the_transitions_that_were_collected(
    learning_starts: int, training: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[int] = []
    add = Replay.add

    def counting(replay: Replay, *columns: Any) -> None:
        added.append(columns[3].shape[1])
        add(replay, *columns)

    monkeypatch.setattr(Replay, "add", counting)
    counted: list[int] = []
    run = trained(
        tmp_path / "run",
        {"learning_starts": learning_starts},
        training,
        seeds=(0, 1),
        report=lambda *_: counted.append(sum(added)),
    )
    assert [record["environment_steps"] for record in records(run)] == counted
    assert (
        learning_curve(run).as_dict()["environment_steps"] == counted[1::2]
    )  # an evaluation at every second record


def test_an_online_run_that_was_resumed_counts_as_one_that_never_stopped(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "cut", {}, {"updates": 10})
    cut = trained(tmp_path / "cut", resume=True)
    assert [record["environment_steps"] for record in records(cut)] == [
        record["environment_steps"] for record in records(whole)
    ]


def test_an_offline_log_has_no_environment_steps(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", dataset=collect(TDM(), SMALL, 100))
    assert not any("environment_steps" in record for record in records(run))
    assert learning_curve(run).steps_at is None
    assert experience(describe(run)) == "20 updates from 100 transitions"


def curve(random_steps: int = 1_000, per_update: int = 64) -> Curve:
    """Log entries of an online run of 4,000 updates."""
    updates = np.arange(0, 4_001, 1_000)
    return Curve(updates, {"score": np.ones((5, 2))}, lambda done: random_steps + per_update * done)


def axes_above(curves: dict[str, Curve]) -> list[tuple[str, list[str]]]:
    """Label and ticks of each axis above the only picture."""
    canvas = Canvas()
    draw_curves(canvas, curves, {})
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    below = [round(tick) for tick in axes.get_xticks()]
    found = [child for child in axes.child_axes if child.get_xlabel()]
    for child in found:
        assert [round(tick) for tick in child.get_xticks()] == below
    return [
        (child.get_xlabel(), [text.get_text() for text in child.get_xticklabels()])
        for child in found
    ]


def test_curves_of_online_runs_have_a_second_axis_of_environment_steps() -> None:
    offline = Curve(np.arange(0, 4_001, 1_000), {"score": np.ones((5, 2))})
    ((label, ticks),) = axes_above({"one": curve(), "offline": offline, "two": curve()})
    assert label == "environment steps per seed"
    assert {"1,000", "97,000", "193,000"} <= set(ticks)
    assert axes_above({"offline": offline}) == []


def test_runs_that_differ_in_environment_steps_have_an_axis_each() -> None:
    first, second = axes_above({"one": curve(), "two": curve(), "slow": curve(per_update=8)})
    assert first[0] == "environment steps per seed, one, two"
    assert second[0] == "environment steps per seed, slow"
    assert "25,000" in second[1]


def test_tables_state_updates_and_environment_steps_of_their_learners() -> None:
    result = json.loads((ROOT / "docs" / "results" / "figure_5.json").read_text(encoding="utf-8"))
    text = figure_tables(result)
    assert (
        "- 12,000 updates, 770,048 environment steps: C-MARL (SAC) online; C-MARL (DQN) online\n"
        in text
    )
    assert "- 5,000 updates from 16,000 transitions: C-MARL-CQL (SAC), sac-16000; " in text
    online = {
        name: learner for name, learner in result["learners"].items() if learner["data"] is None
    }
    assert (
        experience_of(online)
        == "Each seed of every learner: 12,000 updates, 770,048 environment steps."
    )


def test_commands_state_environment_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--updates",
        10,
        "--log-every",
        5,
        "--evaluate-every",
        10,
        "--checkpoint-every",
        5,
        "--envs-per-seed",
        2,
    ]
    options += [
        "--evaluation-episodes",
        2,
        "--learning-starts",
        16,
        "--batch-size",
        8,
        "--hidden-sizes",
        8,
        "--set",
        "n_aps=2",
    ]
    assert run("train", "--out", tmp_path / "run", *options) == 0
    assert "update 10 (36 environment steps): sum_rate" in printed(capsys)
    assert run("evaluate", tmp_path / "run", "--episodes", 2) == 0
    assert "C-MARL (SAC): 10 updates, 36 environment steps" in printed(capsys)


def test_sweeps_state_environment_steps_where_they_learn_online() -> None:
    kpis = summarise({"tdm": evaluate(TDM(), TINY, 2)})["tdm"]
    rows = [
        {
            "name": "C-MARL (SAC)",
            "varied": {},
            "seeds": 2,
            "updates": 1_000,
            "environment_steps": 66_048,
            "kpis": kpis,
        }
    ]
    rows += [{"name": "C-MARL-CQL (SAC)", "varied": {}, "seeds": 2, "updates": 1_000, "kpis": kpis}]
    rows += [{"name": "tdm", "varied": {}, "seeds": None, "kpis": kpis}]
    grid = sweep_table({"rows": rows, "varied": []})
    assert [*grid.columns[2].cells] == ["1,000\n66,048", "1,000", ""]
