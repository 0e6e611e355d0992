"""The page on stability states the versions, commands and presets that the code has."""

from __future__ import annotations

import re

import golden
import pytest
from documents import DOCS
from folders import ROOT

import baselines
import rrm_env
from baselines.submission import FORMAT
from rrm_env.references import references

PAGE = (DOCS / "stability.md").read_text(encoding="utf-8")


def test_versions_on_the_page_are_those_of_the_code() -> None:
    assert f"`{rrm_env.rrm_v0.ENV_ID}` promises" in PAGE
    assert f"`{FORMAT}`" in PAGE
    (version,) = {reference.version for reference in references().values()}
    assert f"at present {version} |" in PAGE


def test_tolerances_on_the_page_are_those_of_the_golden_episodes() -> None:
    stated = re.findall(r"[Ww]ithin\s+(1e-\d+)", PAGE)
    assert len(stated) == 3
    assert all(float(tolerance) == golden.TOLERANCE for tolerance in stated)
    assert f"{100 * golden.SHARE_OF_TURNS:g} %" in PAGE
    assert len(rrm_env.PRESETS) == 5  # "the five episodes"


def test_every_command_is_public() -> None:
    pytest.importorskip("torch", reason="the learners need torch")
    from marl.__main__ import Command

    named = re.search(r"`python -m marl` with (.+?);", PAGE)
    assert named is not None
    commands = {command.__metadata__[0].name for command in Command.__args__}
    assert set(re.findall(r"`(\w+)`", named[1])) == commands


def test_half_public_modules_exist_and_are_not_exported() -> None:
    listed = re.search(r"half-way: (.+?)\. What", PAGE, re.DOTALL)
    assert listed is not None
    modules = re.findall(r"`([\w.]+)`", listed[1])
    assert len(modules) == 6  # "six modules"
    for module in modules:
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file(), module


def test_the_packages_say_what_is_public() -> None:
    for package in (rrm_env, baselines):
        assert "``__all__`` is public" in (package.__doc__ or "")
