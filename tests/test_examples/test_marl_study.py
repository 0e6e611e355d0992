"""Studies: names of runs and datasets, order of work, resuming, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import study as study_module
from study import BEHAVIOURS, OFFLINE, ONLINE, Scale, Study, train_missing
from toys import assert_same_outcome, checkpoint, records

from baselines import Greedy, ITLinQ
from marl import Dataset, LearnerConfig, RunError, TrainingConfig, load_policies
from marl.engines.base import Serial
from marl.training.rollout import collect_run, curve_point
from rrm_env import RRMConfig, evaluate

TINY = RRMConfig(n_aps=2, n_ues=4, n_candidates=1, episode_length=10)
SCALE = Scale(
    seeds=2, online_updates=3, offline_updates=2, evaluate_every=100, curve_episodes=2, episodes=3
)
OFFLINE_RUN = "c-cql-sac.sac-40"


@pytest.fixture(scope="module", autouse=True)
def small_learners() -> Iterator[None]:
    """The schemes as they are, in networks of 16 neurons and after few random steps."""
    small = partial(
        LearnerConfig, hidden_sizes=(16,), batch_size=8, learning_starts=64, replay_capacity=300
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "LearnerConfig", small)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Both online learners, and one offline one of 40 transitions of the SAC."""
    made = Study(tmp_path_factory.mktemp("study") / "deep" / "study", SCALE, TINY)
    made.run(OFFLINE_RUN)
    made.run("online-dqn")
    return made


def again(study: Study, **changes: Any) -> Study:
    """The same folder, seen by a new process."""
    return Study(study.out, replace(study.scale, **changes), study.network)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file by when it was written and where it lies."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse(*args: object, **options: object) -> None:
    raise AssertionError("this is made already")


@contextmanager
def cut_at_update(last: int) -> Iterator[None]:
    """Ends training with a KeyboardInterrupt once this update is logged, before its checkpoint."""

    def report(updates: int, record: dict[str, Any]) -> None:
        if updates == last:
            raise KeyboardInterrupt

    @contextmanager
    def progress(updates: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
        yield report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "training_progress", progress)
        with pytest.raises(KeyboardInterrupt):
            yield


# --- Names ---


def test_run_needs_its_dataset_and_the_dataset_its_source(study: Study) -> None:
    made = {path.name for path in study.out.iterdir()}
    assert made == {"online-sac", "online-dqn", "sac-40.safetensors", OFFLINE_RUN}
    dataset = Dataset.read(study.out / "sac-40.safetensors")
    assert len(dataset) == 40
    assert dataset.metadata["environment"] == {"kind": "network", "config": TINY.as_dict()}
    assert [behaviour["name"] for behaviour in dataset.metadata["behaviours"]] == [
        "C-MARL (SAC), seed 0",
        "C-MARL (SAC), seed 1",
    ]
    described = study.description(OFFLINE_RUN)
    assert described["data"]["fingerprint"] == dataset.fingerprint()
    assert set(described) <= {"scheme", "learner", "training", "seeds", "data", "revision"}
    assert described["scheme"] == study.label(OFFLINE_RUN) == "C-MARL-CQL (SAC)"
    assert study.description("online-sac")["data"] is None


def test_runs_do_what_the_scale_says(study: Study) -> None:
    for name, updates in ((OFFLINE_RUN, 2), ("online-sac", 3), ("online-dqn", 3)):
        assert study.run(name) == study.out / name
        assert int(checkpoint(study.out / name)["updates"]) == updates
        described = study.description(name)
        training = {
            key: described["training"][key]
            for key in ("updates", "evaluate_every", "evaluation_episodes", "device")
        }
        assert training == {
            "updates": updates,
            "evaluate_every": 100,
            "evaluation_episodes": 2,
            "device": "cpu",
        }
        assert described["seeds"] == [0, 1]
        point = records(study.out / name)[-1]["evaluation"]["score"]
        assert point == pytest.approx(
            [curve_point(policy, TINY, 2)["score"] for policy in load_policies(study.out / name)]
        )


@pytest.mark.parametrize("scheme", [*ONLINE, *OFFLINE])
def test_scheme_has_a_config_that_fits_its_name(scheme: str) -> None:
    config = LearnerConfig(**{**ONLINE, **OFFLINE}[scheme])
    algorithm = scheme.rpartition("-")[2]
    paradigm = scheme.partition("-")[0] if scheme.startswith(("i-", "ctde-")) else "c"
    assert (config.algorithm, config.paradigm) == (algorithm, paradigm)
    assert (config.cql_alpha > 0) == (scheme != "c-sac")
    assert config.share_parameters == ("shared" in scheme)


def test_a_learner_of_common_features_sees_the_messages_of_the_network(tmp_path: Path) -> None:
    study = Study(tmp_path, SCALE, replace(TINY, messages="all", message_bits=2))
    assert study.run("common-cql-sac.random_walk-40") == tmp_path / "common-cql-sac.random_walk-40"
    assert study.description("common-cql-sac.random_walk-40")["learner"]["common_features"] == 2 * 2
    assert study.evaluation("common-cql-sac.random_walk-40").ue_rates.shape == (2, 3, 4)


def test_names_of_files_keep_clear_of_colons(tmp_path: Path) -> None:
    study = Study(tmp_path, SCALE, TINY)
    study.run("bc.itlinq:tolerance_db=0-40")
    assert {path.name for path in tmp_path.iterdir()} == {
        "bc.itlinq,tolerance_db=0-40",
        "itlinq,tolerance_db=0-40.safetensors",
    }


def test_finished_runs_of_other_seeds_or_another_network_are_refused(study: Study) -> None:
    with pytest.raises(RunError, match=r"with another seeds: \[0, 1\], now \[0, 1, 2\]"):
        again(study, seeds=3).run("online-dqn")
    with pytest.raises(RunError, match=r"with another environment: csi_delay was 1, now 2"):
        Study(study.out, study.scale, replace(TINY, csi_delay=2)).run("online-dqn")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "online-sca",
            "unknown online learner 'online-sca' (did you mean 'online-sac'?); "
            "allowed: online-sac, online-dqn",
        ),
        ("c-cql-sac", "unknown online learner 'c-cql-sac'"),
        (
            "ctde-cql-sec.sac-40",
            "unknown offline learner 'ctde-cql-sec' (did you mean 'ctde-cql-sac'?); "
            "allowed: c-cql-sac, ",
        ),
        ("online-sac.sac-40", "unknown offline learner 'online-sac'"),
        (
            "bc.sad-40",
            "unknown dataset 'sad-40'; "
            "allowed: BEHAVIOUR-TRANSITIONS with sac, dqn, mixture, baselines, ",
        ),
        ("bc.sac", "unknown dataset 'sac'; allowed: "),
        ("bc.sac-many", "unknown dataset 'sac-many'; allowed: "),
        (
            "bc.itlinq:tolerance=0-40",
            "unknown option of itlinq: 'tolerance' (did you mean 'tolerance_db'?); "
            "allowed: tolerance_db",
        ),
    ],
)
def test_unknown_name_is_refused_with_the_names_that_exist(
    name: str, message: str, tmp_path: Path
) -> None:
    study = Study(tmp_path / "study", SCALE, TINY)
    with pytest.raises(ValueError, match=re.escape(message)):
        study.run(name)
    assert list(tmp_path.rglob("*.*")) == []


def test_unknown_scheduler_is_refused_with_the_nearest_one(study: Study) -> None:
    for call in (study.scheduler, study.level):
        with pytest.raises(
            ValueError, match=re.escape("unknown scheduler 'greedi' (did you mean 'greedy'?)")
        ):
            call("greedi")


def test_needed_runs_come_in_the_order_in_which_they_are_made(study: Study) -> None:
    sac, mixture, dqn = (f"bc.{behaviour}-40" for behaviour in ("sac", "mixture", "dqn"))
    assert study.needed([sac]) == ["online-sac", sac]
    assert study.needed([mixture, sac]) == ["online-sac", "online-dqn", mixture, sac]
    assert study.needed([dqn, "online-sac", "online-dqn", dqn]) == ["online-dqn", dqn, "online-sac"]
    assert study.needed(["bc.baselines-40", "bc.itlinq:tolerance_db=-10-40"]) == [
        "bc.baselines-40",
        "bc.itlinq:tolerance_db=-10-40",
    ]


def test_missing_runs_are_those_that_are_not_finished(study: Study, tmp_path: Path) -> None:
    names = [OFFLINE_RUN, "bc.dqn-40"]
    assert study.missing(names) == ["bc.dqn-40"]
    assert again(study, online_updates=4).missing(names) == [
        "online-sac",
        "online-dqn",
        "bc.dqn-40",
    ]
    assert again(study, offline_updates=4).missing(names) == names
    assert Study(tmp_path, SCALE, TINY).missing(names) == [
        "online-sac",
        OFFLINE_RUN,
        "online-dqn",
        "bc.dqn-40",
    ]
    assert list(tmp_path.iterdir()) == []


# --- Made once ---


def test_what_is_finished_is_not_made_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamps(study.out)
    for name in ("train", "collect", "collect_run"):
        monkeypatch.setattr(study_module, name, refuse)
    later = again(study)
    assert later.run(OFFLINE_RUN) == study.out / OFFLINE_RUN
    assert later.run("online-dqn") == study.out / "online-dqn"
    later.data("sac-40")
    later.evaluation(OFFLINE_RUN)
    assert stamps(study.out) == before


def test_dataset_is_read_once_in_a_row_and_only_the_newest_is_kept(study: Study) -> None:
    later = again(study)
    first = later.data("random_walk-20")
    assert later.data("random_walk-20") is first
    later.data("sac-40")
    assert later.data("random_walk-20") is not first
    assert later.data("random_walk-20").fingerprint() == first.fingerprint()


def test_second_learner_uses_the_dataset_of_the_first(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(study_module, "collect_run", refuse)
    later = again(study)
    before = stamps(study.out)
    later.run("bc.sac-40")
    assert {path: stamp for path, stamp in stamps(study.out).items() if path in before} == before
    assert "bc.sac-40: 2 seeds, 2 updates each, 0.0 minutes" in capsys.readouterr().out
    assert later.description("bc.sac-40")["data"] == study.description(OFFLINE_RUN)["data"]


@pytest.mark.parametrize("name", ["online-dqn", "bc.random_walk-40"])
@pytest.mark.parametrize("last", [1, 3])
def test_interrupted_run_goes_on_to_the_same_result(
    name: str, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "LOG_EVERY", 1)
    monkeypatch.setattr(study_module, "TrainingConfig", partial(TrainingConfig, checkpoint_every=2))
    scale = replace(SCALE, online_updates=5, offline_updates=5)
    cut = Study(tmp_path / "cut", scale, TINY)
    with cut_at_update(last):
        cut.run(name)
    assert [record["update"] for record in records(cut.out / name)] == list(range(1, last + 1))
    assert cut.missing([name]) == [name]
    resumed, whole = Study(cut.out, scale, TINY), Study(tmp_path / "whole", scale, TINY)
    assert_same_outcome(resumed.run(name), whole.run(name))
    assert resumed.missing([name]) == []
    assert [record["update"] for record in records(cut.out / name)] == [1, 2, 3, 4, 5]


# --- Data ---


@pytest.mark.parametrize(
    ("name", "sources", "counts"),
    [
        (
            "mixture-40",
            [
                "C-MARL (SAC), seed 0",
                "C-MARL (SAC), seed 1",
                "C-MARL (DQN), seed 0",
                "C-MARL (DQN), seed 1",
            ],
            [10] * 4,
        ),
        ("dqn-40", ["C-MARL (DQN), seed 0", "C-MARL (DQN), seed 1"], [20] * 2),
        ("baselines-40", ["random_walk", "greedy", "tdm", "itlinq"], [10] * 4),
        ("baselines-42", ["random_walk", "greedy", "tdm", "itlinq"], [11, 11, 10, 10]),
        ("itlinq:tolerance_db=-10-13", ["itlinq:tolerance_db=-10"], [13]),
    ],
)
def test_sources_of_a_dataset_have_equal_shares(
    name: str, sources: list[str], counts: list[int], study: Study
) -> None:
    dataset = again(study).data(name)
    assert [behaviour["name"] for behaviour in dataset.metadata["behaviours"]] == sources
    assert np.bincount(dataset.behaviour.numpy()).tolist() == counts
    assert len(dataset) == sum(counts)
    assert (study.out / f"{name.replace(':', ',')}.safetensors").exists()


def test_datasets_shrink_with_the_scale_and_are_never_empty(study: Study, tmp_path: Path) -> None:
    shrunk = Study(tmp_path, replace(SCALE, shrink=8), TINY)
    assert len(shrunk.data("greedy-80")) == 10
    assert len(shrunk.data("greedy-87")) == 10
    assert len(shrunk.data("greedy-3")) == 1


def test_sac_is_recorded_drawing_from_its_actor_and_dqn_as_it_is(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def spy(run: Path, *args: Any, sample: bool, **options: Any) -> Dataset:
        asked.append((run.name, sample))
        return collect_run(run, *args, sample=sample, **options)

    monkeypatch.setattr(study_module, "collect_run", spy)
    again(study).data("mixture-24")
    assert asked == [("online-sac", True), ("online-dqn", False)]
    assert all(
        source in ONLINE or source in BEHAVIOURS["baselines"]
        for sources in BEHAVIOURS.values()
        for source in sources
    )


# --- Evaluations ---


def test_evaluation_is_of_all_seeds_on_the_unseen_episodes(study: Study) -> None:
    evaluation = study.evaluation("online-sac")
    assert evaluation.score.shape == (2, 3)
    for values, policy in zip(
        evaluation.ue_rates, load_policies(study.out / "online-sac"), strict=True
    ):
        np.testing.assert_array_equal(values, evaluate(policy, TINY, 3).ue_rates)
    np.testing.assert_array_equal(
        study.scheduler("greedy").ue_rates, evaluate(Greedy(), TINY, 3).ue_rates
    )
    np.testing.assert_array_equal(
        study.scheduler("itlinq:tolerance_db=-20").ue_rates, evaluate(ITLinQ(-20), TINY, 3).ue_rates
    )
    assert study.level("greedy") == curve_point(Greedy(), TINY, 2)


def test_network_is_the_papers_where_none_is_given(tmp_path: Path) -> None:
    assert Study(tmp_path, SCALE).network == RRMConfig.preset("paper")


@pytest.mark.parametrize(
    ("seconds", "total"),
    [([1, 2, 3], 3), ([1, 2, 3, 1, 2], 5), ([4, 1, 1.5, 1, 0.5], 7), ([2.5], 2.5), ([], 0)],
)
def test_hours_add_up_over_interruptions(
    seconds: list[float], total: float, tmp_path: Path
) -> None:
    (tmp_path / "online-sac").mkdir()
    lines = [
        json.dumps({"update": 100 * (k + 1), "seconds": value}) + "\n"
        for k, value in enumerate(seconds)
    ]
    (tmp_path / "online-sac" / "log.jsonl").write_text("".join(lines))
    assert Study(tmp_path, SCALE, TINY).hours("online-sac") == pytest.approx(total / 3600)


def test_run_that_was_made_under_another_scale_is_not_mistaken(study: Study) -> None:
    before = stamps(study.out)
    with pytest.raises(RunError, match=r"cannot be resumed with another seeds"):
        again(study, seeds=3, online_updates=9).run("online-dqn")
    assert stamps(study.out) == before


def test_missing_runs_are_trained_on_an_engine_online_ones_first(
    study: Study, tmp_path: Path
) -> None:
    told: list[str] = []
    elsewhere = Study(tmp_path / "study", SCALE, TINY)
    with Serial(lambda event: told.append(f"{event.kind} {event.task}")) as engine:
        train_missing([(elsewhere, [OFFLINE_RUN, "online-dqn"])], engine)
        train_missing([(elsewhere, [OFFLINE_RUN])], engine)  # nothing is missing any more
    done = [text for text in told if text.startswith("done")]
    assert done == ["done online-sac", "done online-dqn", f"done {OFFLINE_RUN}"]
    for name in ("online-sac", "online-dqn", OFFLINE_RUN):
        assert_same_outcome(study.run(name), elsewhere.folder(name))
