"""The scripts of Figures 4 to 7 and of the map of claims."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import study_options
from claims import PAPER_BASELINES, Claim
from figure import Figure
from miniature import PNG, SCALE, TINY, call, miniature
from pictures import STYLES
from study import OFFLINE, ONLINE, SCHEDULERS, Study

from baselines.registry import parse_scheduler
from rrm_env import RRMConfig, metrics


@pytest.fixture(scope="module", autouse=True)
def in_miniature() -> Iterator[None]:
    """Small learners in a small network."""
    with miniature():
        yield


@pytest.fixture(scope="module", params=[4, 5, 6, 7])
def script(request: pytest.FixtureRequest) -> ModuleType:
    """One of the scripts, imported."""
    return importlib.import_module(f"figure_{request.param}")


def test_claims_of_a_script_are_about_its_rows(script: ModuleType) -> None:
    figure: Figure = script.FIGURE
    assert script.__name__ == figure.name
    rows = (*figure.runs, *figure.schedulers)
    assert len(set(rows)) == len(rows)
    assert set(figure.curves) <= set(figure.runs)
    assert set(PAPER_BASELINES) <= set(figure.schedulers)
    assert len({claim.words for claim in figure.claims}) == len(figure.claims) > 0
    assert_claims_are_about(figure.claims, rows)


def test_claims_about_variants_of_the_network_are_about_their_rows() -> None:
    module = importlib.import_module("sensitivity")
    assert_claims_are_about(module.CLAIMS, (module.LEARNER, *SCHEDULERS))
    assert set(module.WORDS) == set(module.SHADES) == {"holds", "holds in part", "does not hold"}
    networks = [RRMConfig(**changes) for changes in module.VARIANTS.values()]
    assert networks[0] == RRMConfig()
    assert len(set(networks)) == len(networks)


@pytest.fixture(scope="module")
def claims_map() -> ModuleType:
    """The script of the map of claims, imported."""
    return importlib.import_module("claims_map")


def test_map_judges_all_claims_of_the_paper_in_settings_that_differ(claims_map: ModuleType) -> None:
    for name, claims in claims_map.CLAIMS.items():
        assert_claims_are_about(claims, (*claims_map.LEARNERS, *SCHEDULERS))
        whole = sys.modules[name.lower().replace(" ", "_")].CLAIMS
        assert set(whole) - set(claims) == {
            claim for claim in whole if "not in the paper" in claim.words
        }
    assert (
        set(claims_map.LETTERS)
        == set(claims_map.SHADES)
        == {"holds", "holds in part", "does not hold"}
    )
    settings = list(claims_map.SETTINGS.values())
    assert RRMConfig(**settings[0].network) == RRMConfig()
    assert (
        len({(RRMConfig(**setting.network), setting.random_walk) for setting in settings})
        == len(settings)
        >= 8
    )
    folders = {
        claims_map.folder_of(Path(), setting): RRMConfig(**setting.network) for setting in settings
    }
    assert len(folders) == len(set(folders.values()))


def test_map_counts_what_holds_where_and_what_nowhere(claims_map: ModuleType) -> None:
    def setting(*verdicts: str) -> dict[str, Any]:
        claims = [{"claim": f"claim {k}", "verdict": verdict} for k, verdict in enumerate(verdicts)]
        return {"claims": {"Figure 4": claims[:1], "Figure 5": claims[1:]}}

    found = claims_map.agreement(
        {
            "here": setting("holds", "does not hold", "holds in part"),
            "there": setting("holds", "does not hold", "holds"),
        }
    )
    assert found == {
        "count": {
            "here": {"holds": 1, "holds in part": 1, "does not hold": 1},
            "there": {"holds": 2, "holds in part": 0, "does not hold": 1},
        },
        "nowhere": ["claim 1"],
        "everywhere": ["claim 0"],
    }


def test_map_is_drawn_from_training_to_picture(claims_map: ModuleType, tmp_path: Path) -> None:
    tiny = {"n_aps": 2, "n_ues": 4, "n_candidates": 1, "episode_length": 10}
    settings = {
        "plain": claims_map.Setting(tiny),
        "silent": claims_map.Setting(tiny, random_walk="random_walk:silence=true"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(claims_map, "SETTINGS", settings)
        patch.setattr(claims_map, "MINIATURE", tuple(settings))
        patch.setattr(claims_map, "QUICK", replace(SCALE, shrink=400))
        claims_map.main(claims_map.Options(quick=True))
    result = json.loads((tmp_path / "study" / "quick" / "claims_map.json").read_text())
    assert (tmp_path / "study" / "quick" / "claims_map.png").read_bytes().startswith(PNG)
    assert (
        len(list((tmp_path / "study" / "quick" / "claims_map").iterdir())) == 1
    )  # both settings share their runs
    plain, silent = result["settings"].values()
    assert {row for row in plain["rows"] if plain["rows"][row] != silent["rows"][row]} == {
        "random_walk"
    }
    rows = (*claims_map.LEARNERS, *SCHEDULERS)
    assert list(plain["rows"]) == list(silent["rows"]) == list(rows)
    study = Study(
        tmp_path
        / "study"
        / "quick"
        / "claims_map"
        / next((tmp_path / "study" / "quick" / "claims_map").iterdir()).name,
        replace(SCALE, shrink=400),
        TINY,
    )
    evaluations = {row: study.evaluation(row) for row in claims_map.LEARNERS} | {
        row: study.scheduler(row) for row in SCHEDULERS
    }
    judged = [
        claim.judge(evaluations)["verdict"]
        for claims in claims_map.CLAIMS.values()
        for claim in claims
    ]
    assert [claim["verdict"] for claims in plain["claims"].values() for claim in claims] == judged


def assert_claims_are_about(claims: Sequence[Claim], rows: Sequence[str]) -> None:
    """Every comparison is of these rows, which differ, in a KPI of the paper."""
    for claim in claims:
        assert claim.comparisons
        for comparison in claim.comparisons:
            names = comparison.names
            assert set(names) <= set(rows)
            assert len(set(names)) == len(names) >= 1
            assert vars(comparison)["kpi"] in metrics.KPIS
        assert claim.names == {
            name for comparison in claim.comparisons for name in comparison.names
        }


def test_rows_of_a_script_exist_and_have_a_style(script: ModuleType) -> None:
    figure: Figure = script.FIGURE
    for name in figure.runs:
        scheme, _, data = name.partition(".")
        assert scheme in (OFFLINE if data else ONLINE)
        assert scheme in STYLES
        assert {
            source for source in Study(Path(), SCALE).needed([name]) if source in ONLINE
        } <= set(figure.runs)
    for name in figure.schedulers:
        parse_scheduler(name)
        assert name in STYLES
    assert len({STYLES[name.partition(".")[0]] for name in (*ONLINE, *OFFLINE)}) == len(
        (*ONLINE, *OFFLINE)
    )


def test_script_runs_from_training_to_picture(
    script: ModuleType, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    shared = tmp_path_factory.getbasetemp() / "shared"  # all figures of one study
    scale = replace(SCALE, shrink=10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(study_options, "QUICK", scale)
        patch.setattr(
            metrics,
            "interquartile_mean_interval",
            partial(metrics.interquartile_mean_interval, resamples=20),
        )
        call(script.FIGURE, "--quick", "--out", shared)
    stem = shared / "quick" / script.FIGURE.name
    result = json.loads(stem.with_suffix(".json").read_text())
    assert list(result["rows"]) == [*script.FIGURE.runs, *script.FIGURE.schedulers]
    assert [item["claim"] for item in result["claims"]] == [
        claim.words for claim in script.FIGURE.claims
    ]
    assert stem.with_suffix(".png").read_bytes().startswith(PNG)
    if script.FIGURE.name == "figure_4":
        assert len(result["itlinq_sweep"]) == 13
    if script.FIGURE.name == "figure_6":
        assert [cost["bits"] > 0 for cost in result["execution_cost"].values()] == [
            True,
            False,
            False,
        ]
