"""examples/paper/policies.py in miniature: its parts, its file and its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from folders import examples
from miniature import PNG

from rrm_env import RRMConfig

SMALL = RRMConfig(n_aps=2, n_ues=6, episode_length=4)
SIZES = ("paper", "8 access points", "16 access points", "32 access points", "64 access points")


@pytest.fixture(name="script")
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with networks that are tiny."""
    with examples():
        import policies

        monkeypatch.setattr(policies, "TRAINED_IN", (SMALL,))
        monkeypatch.setattr(policies, "SIZES", dict.fromkeys(SIZES, (SMALL, 2)))
        tiny = policies.recorded(SMALL, 2, 3)
        recorded = dict.fromkeys(policies.OFFLINE_IN, tiny)
        monkeypatch.setattr(policies, "OFFLINE_IN", recorded)
        monkeypatch.setattr(policies, "BEHAVIOURS", policies.BEHAVIOURS[:2])
        yield policies


def test_parts_are_computed_into_one_file_and_others_kept(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policies.json"
    path.write_text(json.dumps({"parts": "as they were"}))
    options = {"quick": True, "seeds": 2, "json": path}
    script.main(script.Options(only=("bits", "sizes", "data"), **options))
    found = json.loads(path.read_text())
    assert found["parts"] == "as they were"
    # Each of the schedulers, with all or most users counted, and two of the exchanges.
    assert len(found["bits"]) == 3 * 2 * 2
    for name, row in found["bits"].items():
        assert row["bits_per_joint_decision"] > 0
        assert ("seeds" in row) == name.startswith("graph:")
    assert set(found["sizes"]) == set(SIZES)
    assert set(found["data"]["paper"]) == set(script.BEHAVIOURS)
    for rows in found["data"]["paper"].values():
        assert set(rows) == {
            "behaviour",
            *(
                f"{how}:counted={whom}"
                for how in ("clone", "dual")
                for whom in ("tail", "everybody")
            ),
        }
    assert "bits, graph:counted=tail" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # no picture in miniature


def test_what_is_unknown_is_refused_before_any_work(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="only must be of bits, sizes, data, parts, got 'bit'"):
        script.main(script.Options(only=("bit",), quick=True))
    with pytest.raises(ValueError, match="seeds must be from 1 to 100, got 0"):
        script.main(script.Options(seeds=0, quick=True))


def row(score: float) -> dict[str, Any]:
    return {"score": {"mean": score}}


def test_the_picture_is_drawn_from_files_of_results(script: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    network = {
        "optimum": {**row(3.0), "minimum_score": {"mean": 2.8}},
        "schedulers": [
            {"scheduler": name, **row(score)}
            for name, score in (
                ("fluid", 2.8),
                ("long_memory", 2.4),
                ("itlinq", 1.1),
                ("itlinq:tolerance_db=-10", 1.6),
            )
        ],
    }
    (tmp_path / "schedulers.json").write_text(json.dumps(dict.fromkeys(SIZES, network)))
    found = {
        "bits": {
            f"{name}:counted={counted}:bits={bits}": {
                "bits_per_joint_decision": 10.0 * bits,
                **row(2 + bits / 20),
            }
            for name in ("graph", "debts", "fluid")
            for counted in ("tail", "everybody")
            for bits in (8, 2)
        },
        "sizes": {
            name: {"graph:counted=tail": row(2.7), "debts:counted=tail": row(2.6)} for name in SIZES
        },
    }
    script.draw(found, tmp_path / "policies.png")
    assert (tmp_path / "policies.png").read_bytes().startswith(PNG)
