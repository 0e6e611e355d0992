"""One table of KPIs: who computes, stores, prints or draws KPIs states the same ones, and older files stay readable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from baselines import TDM
from baselines.comparison import summarise, table
from marl import LearnerConfig, TrainingConfig, collect, train
from marl.claims import CLASSICAL
from marl.curves import draw_curves, learning_curve, write_curves
from marl.sweep_command import table as sweep_table
from marl.tables import KPI_HEADINGS, kpi_cells
from marl.training import curve_point
from rrm_env import RRMConfig, evaluate, metrics

TINY = RRMConfig(n_aps=2, n_ues=5, n_candidates=2, area_side_m=40, episode_length=6)
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", metrics.KPIS)
def test_every_kpi_of_the_table_is_an_attribute_of_evaluations_and_stands_in_the_comparison(name: str) -> None:
    evaluation = evaluate(TDM(), TINY, 3)
    values = metrics.KPIS[name].value(evaluation.ue_rates, TINY)
    assert getattr(evaluation, name).tolist() == values.tolist()
    summary = summarise({"tdm": evaluation})
    assert summary["tdm"][name]["mean"] == pytest.approx(values.mean())
    headings = " ".join(str(column.header).replace("\n", " ") for column in table(summary, "").columns).lower()
    assert metrics.KPIS[name].heading.lower() in headings


def test_the_worst_user_stands_right_of_the_5_percentile_wherever_learners_are_stated() -> None:
    assert metrics.LEARNERS_KPIS == ("sum_rate", "tail_rate", "worst_rate", "score")
    assert KPI_HEADINGS == "sum rate | 5-percentile rate | worst user's rate | score"
    evaluation = evaluate(TDM(), TINY, 3)
    point = curve_point(TDM(), TINY, 3)
    assert tuple(point) == metrics.LEARNERS_KPIS
    assert point["worst_rate"] <= point["tail_rate"]
    cells = kpi_cells(summarise({"tdm": evaluation})["tdm"]).split(" | ")
    assert cells[2].startswith(f"{evaluation.worst_rate.mean():.3f} (")
    row = {"name": "tdm", "varied": {}, "seeds": None, "kpis": summarise({"tdm": evaluation})["tdm"]}
    headings = [str(column.header) for column in sweep_table({"rows": [row], "varied": []}).columns]
    assert headings[-4:] == [f"{metrics.KPIS[name].heading.capitalize()}\n{metrics.KPIS[name].unit}" for name in metrics.LEARNERS_KPIS]


def test_results_from_before_a_kpi_leave_its_cell_empty() -> None:
    row = json.loads((ROOT / "docs" / "results" / "figure_4.json").read_text(encoding="utf-8"))["rows"]["greedy"]
    row.pop("worst_rate", None)
    cells = kpi_cells(row).split(" | ")
    assert len(cells) == len(metrics.LEARNERS_KPIS)
    assert [bool(cell) for cell in cells] == [True, True, False, True]


def test_claims_and_datasets_keep_the_kpis_of_the_paper() -> None:
    (worst,) = (claim for claim in CLASSICAL if claim.words.startswith("RW is worst of the four in all three"))
    assert {vars(comparison)["kpi"] for comparison in worst.comparisons} == {"sum_rate", "tail_rate", "score"}
    (behaviour,) = collect(TDM(), TINY, 12).metadata["behaviours"]
    assert list(behaviour["kpis"]) == ["episodes", "return", "sum_rate", "tail_rate", "score"]


def test_logs_from_before_a_kpi_are_drawn_beside_those_that_have_it(tmp_path: Path) -> None:
    training = TrainingConfig(updates=4, log_every=2, evaluate_every=2, evaluation_episodes=2, checkpoint_every=4)
    config = LearnerConfig(batch_size=8, hidden_sizes=(8,))
    newer, older = (train(tmp_path / name, config, training, dataset=collect(TDM(), TINY, 60)) for name in ("newer", "older"))
    records = [json.loads(line) for line in (older / "log.jsonl").read_text().splitlines()]
    del records[0]["evaluation"]["worst_rate"]  # a run that was resumed with the newer revision
    (older / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    curves = {"older": learning_curve(older), "newer": learning_curve(newer)}
    assert list(curves["older"][1]) == ["sum_rate", "tail_rate", "score"]
    assert list(curves["newer"][1]) == [*metrics.LEARNERS_KPIS]
    figure = Canvas()
    draw_curves(figure, curves, {"tdm": curve_point(TDM(), TINY, 2)})
    lines = {axes.get_ylabel(): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert lines[metrics.KPIS["worst_rate"].axis] == ["newer", "tdm"]
    assert lines[metrics.KPIS["score"].axis] == ["older", "newer", "tdm"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["older", "newer", "tdm"]
    write_curves(tmp_path / "older.png", {"older": older}, {})
    assert (tmp_path / "older.png").stat().st_size > 0
    assert np.array_equal(curves["older"][0], [2, 4])
