"""The steps of CI, the workflows that call them, and the files of a release agree."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from folders import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="needs tomli")

import rrm_env

yaml = pytest.importorskip("yaml", reason="needs PyYAML, of the extra docs")

STEPS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / ".ci").iterdir()
    if path.is_file()
}
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
JOBS = {
    f"{name}: {key}": job
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
"""Steps by name, jobs by name, and what the package says of itself."""

needs_bash = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash"
)


def steps_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = job.get("steps", [])
    return found


def called_in(text: str) -> set[str]:
    """The names after .ci/ in a text, comments left out."""
    code = "\n".join(line.partition(" #")[0] for line in text.splitlines() if line[:1] != "#")
    return set(re.findall(r"\.ci/([\w.-]*\w)", code))


def test_every_step_that_is_called_exists_and_every_one_is_called() -> None:
    commands = [step.get("run", "") for job in JOBS.values() for step in steps_of(job)]
    documentation = (ROOT / ".readthedocs.yaml").read_text(encoding="utf-8")
    called = set[str]().union(*map(called_in, (*commands, documentation, *STEPS.values())))
    assert called <= set(STEPS)
    sourced = {"common"}
    assert all('/common"' in text for name, text in STEPS.items() if text.startswith("#!"))
    assert set(STEPS) - called - sourced == {"run"}  # a person or a machine calls this one


def test_ci_runs_the_steps_of_the_workflow_on_changes() -> None:
    """The trainers and what a release needs are left out: those take long, or have effects."""
    on_changes = {
        name
        for title, job in JOBS.items()
        if title.startswith("checks:") and "if" not in job
        for step in steps_of(job)
        for name in called_in(step.get("run", ""))
    }
    assert on_changes == called_in(STEPS["run"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission")
def test_steps_can_be_executed() -> None:
    for name, text in STEPS.items():
        assert os.access(ROOT / ".ci" / name, os.X_OK) == text.startswith("#!"), name


@pytest.mark.parametrize("title", JOBS)
def test_jobs_have_a_limit_of_time_and_no_more_rights_than_they_need(title: str) -> None:
    job = JOBS[title]
    allowed = {
        "release: publish": {"id-token": "write"},
        "release: announce": {"contents": "write"},
    }
    assert job["permissions"] == allowed.get(title, {"contents": "read"})
    assert "uses" in job or job["timeout-minutes"] <= 90
    for step in steps_of(job):
        # A commit cannot be changed under its name, as a tag can.
        assert "uses" not in step or re.search(r"@[0-9a-f]{40}$", step["uses"])
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_workflows_have_no_rights_of_their_own() -> None:
    assert set(WORKFLOWS) == {"checks", "release"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {}
        assert "group" in workflow["concurrency"]


def test_commands_take_nothing_from_outside_into_the_shell() -> None:
    for job in JOBS.values():
        for step in steps_of(job):
            assert "${{" not in step.get("run", "")


def test_publishing_waits_for_all_checks_of_the_same_files() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert jobs["checks"]["needs"] == "tag"
    assert jobs["publish"]["needs"] == "checks"
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert jobs["checks"]["uses"] == "./.github/workflows/checks.yml"
    names = {
        step["with"]["name"]
        for title, job in JOBS.items()
        for step in steps_of(job)
        if "-artifact@" in step.get("uses", "")
    }
    assert names == {"distributions"}


# --- Versions ---


def test_pythons_of_package_tests_and_workflow_agree() -> None:
    classified = [
        item.rpartition(" :: ")[2]
        for item in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", item)
    ]
    matrix = WORKFLOWS["checks"]["jobs"]["core"]["strategy"]["matrix"]
    assert matrix["python"] == classified
    assert PROJECT["requires-python"] == f">={classified[0]}"
    (own,) = re.findall(r"versions=\((3.*)\)", STEPS["test-core"])
    assert own.split() == [classified[0], *classified[-2:]]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"Python {classified[0]} to {classified[-1]}" in page


def test_systems_of_package_and_workflow_agree() -> None:
    matrix = WORKFLOWS["checks"]["jobs"]["core"]["strategy"]["matrix"]
    classified = {
        item.rpartition(" :: ")[2] for item in PROJECT["classifiers"] if "Operating" in item
    }
    systems = {"ubuntu-latest": "Linux", "macos-latest": "MacOS", "windows-latest": "Windows"}
    assert {systems[name] for name in matrix["os"]} == classified


def test_integers_have_64_bits_on_windows() -> None:
    """The default integer of numpy 1 has 32 bits there."""
    assert "numpy>=2; sys_platform == 'win32'" in PROJECT["dependencies"]


def test_zenodo_and_citation_say_the_same() -> None:
    zenodo = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert CITATION["version"] == rrm_env.__version__
    assert zenodo["title"] == CITATION["title"]
    assert zenodo["description"] == CITATION["abstract"]
    assert zenodo["license"] == CITATION["license"] == PROJECT["license"]
    assert zenodo["keywords"] == CITATION["keywords"]
    assert zenodo["creators"] == CITATION["authors"] == PROJECT["authors"]
    (paper,) = CITATION["references"]
    (number,) = paper["identifiers"]
    assert [item["identifier"] for item in zenodo["related_identifiers"]] == [number["value"]]


# --- Steps of a release ---


def checkout(folder: Path, version: str, heading: str) -> Path:
    """A checkout with the steps of a release, and files that name a version."""
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    (folder / "rrm_env").mkdir()
    (folder / "rrm_env" / "provenance.py").write_text(
        f'__version__ = "{version}"\n', encoding="utf-8"
    )
    (folder / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.2.0\n", encoding="utf-8")
    text = (
        f"# Changelog\n\n## Unreleased\n\n- later\n\n{heading}\n\n- this\n\n## 1.1.0\n\n- before\n"
    )
    (folder / "CHANGELOG.md").write_text(text, encoding="utf-8")
    return folder


def called(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    script = str(folder / ".ci" / command[0])
    return subprocess.run(
        ["bash", script, *command[1:]], cwd=folder.parent, capture_output=True, encoding="utf-8"
    )


@needs_bash
@pytest.mark.parametrize(
    ("tag", "version", "heading", "message"),
    [
        ("v1.2.0", "1.2.0", "## 1.2.0 (2026-12-01)", ""),
        ("v1.2.1", "1.2.0", "## 1.2.0", "the tag is v1.2.1, and the package's version is 1.2.0"),
        ("1.2.0", "1.2.0", "## 1.2.0", "name the tag v1.2.0"),
        ("v1.3.0", "1.3.0", "## 1.3.0", "CITATION.cff names version 1.2.0"),
        (
            "v1.2.0",
            "1.2.0",
            "## Unreleased: 1.2.0",
            'CHANGELOG.md has no section "## 1.2.0 (date)"',
        ),
    ],
)
def test_tag_has_to_be_the_version_of_all_files(
    tag: str, version: str, heading: str, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    done = called(checkout(folder, version, heading), "check-tag", tag)
    assert done.returncode == bool(message), done.stderr
    assert message in done.stderr


@needs_bash
def test_notes_of_a_release_are_its_section_of_the_changelog(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    done = called(checkout(folder, "1.2.0", "## 1.2.0 (2026-12-01)"), "release-notes", "1.2.0")
    assert (done.returncode, done.stdout.strip()) == (0, "- this")


@needs_bash
def test_core_tests_refuse_a_python_that_was_named_and_is_missing(tmp_path: Path) -> None:
    done = called(ROOT, "test-core", str(tmp_path / "no.whl"), "3.2")
    assert done.returncode == 1
    assert "Python 3.2 not found" in done.stdout


# --- Contents of distributions ---


@pytest.fixture(scope="module")
def contents() -> ModuleType:
    """`.ci/contents.py` as a module."""
    spec = importlib.util.spec_from_file_location("contents", ROOT / ".ci" / "contents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILES = {"rrm_env/__init__.py", "marl/policies/graph.safetensors"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (set(), None),
        ({"tests/conftest.py"}, "a.whl holds tests/conftest.py, which it should not"),
        ({"marl/policies/graph.safetensors"}, "a.whl lacks marl/policies/graph.safetensors"),
    ],
)
def test_wheel_holds_the_packages_and_nothing_else(
    changes: set[str], problem: str | None, tmp_path: Path, contents: ModuleType
) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in {"rrm_env-0.1.0.dist-info/METADATA"} | FILES ^ changes:
            archive.writestr(name, "")
    assert contents.problems(tmp_path / "a.whl", FILES) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (set(), None),
        ({"docs/index.md"}, "a.tar.gz holds docs/index.md, which it should not"),
        ({"LICENSE"}, "a.tar.gz lacks LICENSE"),
    ],
)
def test_source_distribution_holds_what_building_needs(
    changes: set[str], problem: str | None, tmp_path: Path, contents: ModuleType
) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in FILES | contents.BESIDE ^ changes:
            archive.addfile(tarfile.TarInfo(f"rrm_env-0.1.0/{name}"))
    assert contents.problems(tmp_path / "a.tar.gz", FILES) == ([problem] if problem else [])


def test_every_folder_of_the_packages_is_listed(contents: ModuleType) -> None:
    modules = [Path(name) for name in contents.packaged(ROOT) if name.endswith(".py")]
    folders = {path.parent.as_posix().replace("/", ".") for path in modules}
    assert folders == set(SETTINGS["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("extra", [(), ("tests/conftest.py",)])
def test_status_says_whether_a_distribution_is_right(
    extra: tuple[str, ...], tmp_path: Path, contents: ModuleType
) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*contents.packaged(ROOT), *extra):
            archive.writestr(name, "")
    script = ROOT / ".ci" / "contents.py"
    ended = subprocess.run([sys.executable, script, path], capture_output=True, check=False)
    assert ended.returncode == len(extra), ended.stderr
