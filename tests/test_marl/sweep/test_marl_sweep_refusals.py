"""Invalid sweeps are refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toys
from toys import Match, run

from marl.sweep.grid import MAX_POINTS, Sweep


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"train": {"paradgm": "c"}},
            r"\[train\] unknown option 'paradgm' \(did you mean 'paradigm'\?\)",
        ),
        ({"train": {"out": "x"}}, r"\[train\] unknown option 'out'"),
        ({"train": {"seeds": 3}}, r"\[train\] seeds belongs to the sweep itself"),
        ({"train": 3}, r"\[train\] must be a table of options, got 3"),
        (
            {"train": {"discount": 1.5}},
            r"\[train\] discount must be a finite number of at least 1e-30 and at most 1, got 1.5",
        ),
        ({"train": {"discount": [0.9, "high"]}}, r"\[train\] discount must be .*, got 'high'"),
        ({"train": {"updates": []}}, r"\[train\] updates is an axis without values"),
        ({"train": {"updates": [100, 200, 100]}}, r"\[train\] updates holds 100 twice"),
        (
            {"train": {"device": "tpu"}},
            r"\[train\] device must be cpu or cuda, whichever is free, got 'tpu'",
        ),
        ({"train": {"device": ["cpu", "cuda"]}}, r"\[train\] device must be one for all cells"),
        (
            {"train": {"preset": "papr"}},
            r"\[train\] unknown preset 'papr' \(did you mean 'paper'\?\)",
        ),
        (
            {"train": {"network": "papr"}},
            r"\[train\] unknown preset 'papr' \(did you mean 'paper'\?\)",
        ),
        (
            {"train": {"set": {"n_uess": 3}}},
            r"\[train\] unknown config field 'n_uess' \(did you mean 'n_ues'\?\)",
        ),
        (
            {"train": {"set": "n_ues=3"}},
            r"\[train\] set must be a table of network fields, such as .*, got 'n_ues=3'",
        ),
        ({"train": {"algorithm": "bc"}}, r"\[train\] algorithm = 'bc' needs a dataset"),
        ({"train": {"dataset": "missing"}}, r"\[train\] 'missing' cannot be read"),
        ({"train": {"dataset": 3}}, r"\[train\] dataset must be a text, got 3"),
        (
            {"train": {"env": "no_such_module"}},
            r"\[train\] env = 'no_such_module' cannot be imported",
        ),
        (
            {"train": {"env": "toys", "network": "paper"}},
            r"\[train\] network is of the network and does not go with env",
        ),
        (
            {"train": {"log_every": 7}},
            r"\[train\] evaluate_every = 1000 must be a multiple of log_every = 7",
        ),
        (
            {"train": {"dataset": "a"}, "collect": {}},
            r"\[collect\] there must be either this section or dataset in \[train\]",
        ),
        (
            {"collect": {"scheduler": "itlin"}},
            r"\[collect\] unknown scheduler 'itlin' \(did you mean 'itlinq'\?\)",
        ),
        ({"collect": {"scheduler": 3}}, r"\[collect\] scheduler must be a text, got 3"),
        (
            {"collect": {"transitions": [5, 0]}},
            r"\[collect\] transitions must be an integer of at least 1, got 0",
        ),
        ({"collect": {"seed": -1}}, r"\[collect\] seed must be an integer of at least 0"),
        ({"collect": {"sample": True}}, r"\[collect\] sample needs policy"),
        ({"collect": {"sample": "yes"}}, r"\[collect\] sample must be true or false, got 'yes'"),
        ({"collect": {"policy": "missing"}}, r"\[collect\] 'missing' holds no run"),
        (
            {"collect": {"env": "toys", "set": {"n_ues": 3}}},
            r"\[collect\] set is of the network and does not go with env",
        ),
        (
            {"collect": {"env": "toys"}},
            r"\[train\] env must name the environment that the data were recorded in",
        ),
        (
            {"collect": {}, "train": {"set": {"n_aps": 2}}},
            r"\[train\] the data are of Team\(n_agents=4.*, the network of Team\(n_agents=2",
        ),
        (
            {"evaluate": {"episods": 4}},
            r"\[evaluate\] unknown option 'episods' \(did you mean 'episodes'\?\)",
        ),
        ({"evaluate": {"episodes": 0}}, r"\[evaluate\] episodes must be an integer of at least 1"),
        ({"evaluate": {"schedulers": "itlin"}}, r"\[evaluate\] unknown scheduler 'itlin'"),
        (
            {"evaluate": {"act_on": "best"}},
            r"\[evaluate\] act_on of algorithm 'sac' must be one of actor, critic, got 'best'",
        ),
        (
            {"evaluate": {"act_on": "critic", "sample": True}},
            r"\[evaluate\] sample needs act_on = 'actor'",
        ),
        (
            {"evaluate": {"network": "wide"}},
            r"\[evaluate\] the policy was trained for Team\(n_agents=4",
        ),
        (
            {"evaluate": {"env": "toys"}},
            r"\[evaluate\] env must be that of training, None, got 'toys'",
        ),
        (
            {"train": {"env": "toys"}, "evaluate": {"schedulers": "tdm"}},
            r"\[evaluate\] schedulers is of the network and does not go with env",
        ),
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
        ({"seeds": [1, 1]}, r"seeds must be at least one, all different, got \[1, 1\]"),
        ({"seeds": []}, r"seeds must be at least one, all different, got \[\]"),
        ({"seeds_per_cell": 0}, "seeds_per_cell must be an integer of at least 1"),
        (
            {"train": {"updates": list(range(100, 30_100, 100)), "batch_size": list(range(1, 40))}},
            rf"the grid has 11,700 points, allowed: up to {MAX_POINTS:,}; "
            "it is 300 of updates × 39 of batch_size",
        ),
    ],
)
def test_what_a_command_would_refuse_is_refused_before_any_work(
    sections: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)
    with pytest.raises((TypeError, ValueError), match=message):
        Sweep(**sections)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("seeds = ", "is no TOML: "),
        (b"\xff", "is no TOML: "),
        (
            "[trian]\n",
            "unknown section or option 'trian' (did you mean 'train'?); "
            "allowed: train, collect, evaluate, seeds, seeds_per_cell",
        ),
        (
            "[train]\nupdates = 'many'",
            "[train] updates must be an integer of at least 1 and at most 9007199254740992, "
            "got 'many'",
        ),
    ],
)
def test_a_wrong_file_is_one_line_and_makes_nothing(
    content: str | bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run("sweep", path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {str(path)!r}")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
