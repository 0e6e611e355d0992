"""Options that would have no effect are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import SMALL, furnished, run

from baselines import TDM, RandomWalk
from baselines.__main__ import main as baselines
from marl import collect, from_minari, to_minari
from marl.sweep.grid import Sweep


def test_a_combination_of_minari_datasets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    made = [
        to_minari(collect(scheduler, SMALL, 20, name=name), f"rrm/{name}-v0")
        for name, scheduler in (("random", RandomWalk(silence=True)), ("tdm", TDM()))
    ]
    minari.combine_datasets(made, "rrm/both-v0")
    with pytest.raises(
        ValueError, match=r"combines rrm/random-v0, rrm/tdm-v0.*Dataset\.concatenate"
    ):
        from_minari("rrm/both-v0")


IGNORED = {
    "collect --policy sac --scheduler tdm --transitions 10 --out d.safetensors": "--scheduler",
    "collect --env toys --scheduler tdm --transitions 10 --out d.safetensors": "--scheduler",
    "collect --env toys --set n_ues=5 --transitions 10 --out d.safetensors": "--set",
    "collect --env toys --network wide --transitions 10 --out d.safetensors": "--network",
    "train --env toys --network wide --updates 1 --out new": "--network",
}


@pytest.mark.parametrize("command", IGNORED)
def test_options_that_do_not_apply_are_refused(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(furnished(tmp_path))
    capsys.readouterr()
    assert run(*command.split()) == 2
    assert IGNORED[command] in capsys.readouterr().err
    assert not (tmp_path / "d.safetensors").exists()
    assert not (tmp_path / "new").exists()


def test_sweeps_refuse_a_scheduler_beside_a_policy(tmp_path: Path) -> None:
    furnished(tmp_path)
    with pytest.raises(ValueError, match=r"scheduler .* policy"):
        Sweep(collect={"policy": str(tmp_path / "sac"), "scheduler": "tdm"})


def test_comparison_options_beside_info_or_watch_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert baselines(["--info", "--json", "a.json"]) == 2
    assert "--json" in capsys.readouterr().err
    assert baselines(["--watch", "tdm", "--episodes", "3"]) == 2
    assert "--episodes" in capsys.readouterr().err
