"""Options of engines, and which of them do not go together."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toys import run

from marl.engines import open_engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((None, 2, None), "workers = 2 needs engine = 'local' or 'ray'"),
        (("local", None, "auto"), "address = 'auto' is a Ray cluster's and needs engine = 'ray'"),
        (("local", 0, None), "workers must be an integer of at least 1 and at most 4096, got 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_engine(*options)


def test_ray_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ValueError, match=re.escape("engine = 'ray' needs ray: pip install -e \".[ray]\"")
    ):
        open_engine("ray")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("127.0.0.1", "address must be HOST:PORT, ray://HOST:PORT or auto, got '127.0.0.1'"),
        ("host:port", "address must be HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line_at_once(
    address: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    arguments = ["--transitions", 5, "--engine", "ray", "--address", address]
    assert run("collect", "--out", "new.safetensors", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert time.monotonic() - began < 60
    assert not Path("new.safetensors").exists()


def test_other_environments_are_recorded_here_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--env", "mpe2.simple_spread_v3", "--engine", "local"]
    assert run("collect", "--out", tmp_path / "new", *arguments) == 2
    assert (
        "--engine shares out the network's episodes and does not go with --env"
        in capsys.readouterr().err
    )
