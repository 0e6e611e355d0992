"""The page on what is modelled names the fields, and its table of combinations is what happens."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from documents import DOCS
from recorded import trace_file

from baselines.optimum.results import check
from rrm_env import Network, RRMConfig, parse_settings

PAGE = (DOCS / "modelled.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.*?)` \| (plays|refused) \| (?:`(\w+)`)? \|", PAGE, re.MULTILINE)
FIELDS = list(RRMConfig.__dataclass_fields__)
NOT_OF_THE_PHYSICS = FIELDS[FIELDS.index("rate_ema") : FIELDS.index("score_tail_weight") + 1]
"""Averages, rewards, observations and the score; messages are stated, as they are exchanged."""


def test_what_is_modelled_names_every_field_of_the_physics() -> None:
    modelled, missing = PAGE.split("## Not modelled")
    for name in FIELDS:
        if name not in NOT_OF_THE_PHYSICS:
            assert f"`{name}`" in modelled, name
    missing = missing.partition("##")[0].lower()
    for word in ("frequency", "antenna", "harq", "traffic", "handover", "uplink", "energy"):
        assert word in missing, word


def test_the_table_has_every_row() -> None:
    assert len(ROWS) == PAGE.count("| plays |") + PAGE.count("| refused |") > 20


@pytest.mark.parametrize(("settings", "outcome", "information"), ROWS, ids=[row[0] for row in ROWS])
def test_a_combination_does_what_the_table_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    outcome: str,
    information: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    trace_file(tmp_path, "own.npz")
    if outcome == "refused":
        with pytest.raises(ValueError, match=r"."):
            Network(RRMConfig.preset(**parse_settings(shlex.split(settings)), episode_length=3))
        return
    config = RRMConfig.preset(**parse_settings(shlex.split(settings)), episode_length=3)
    network = Network(config)
    network.reset(0)
    network.step_actions(network.candidates[:, :, 0] * 0)
    assert network.t == 1
    check(config, information)
    check(config, "channel")
    if information == "channel":
        with pytest.raises(ValueError, match="information"):
            check(config, "large_scale")
    if "trace" in settings:
        assert config == replace(config, trace="own.npz")
