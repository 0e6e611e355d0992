"""An output replaces an earlier output of its kind, and no other file."""

from __future__ import annotations

import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from documents import PAGES, blocks
from folders import ROOT, examples
from toys import contents, furnished, run

from baselines.__main__ import main as baselines
from marl import Dataset

with examples():
    import datasets
    import quickstart
    import simple_spread

COMPARE = ("--episodes", "2", "--schedulers", "tdm", "--set", "episode_length=5")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    furnished(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# A project of somebody\n")
    (tmp_path / "package.json").write_text('{"name": "a project", "versions": 3}\n')
    (tmp_path / "sweep.toml").write_text("[train]\nupdates = 1\nset = { n_ues = 8 }\n")
    (tmp_path / "results.json").write_text("{}")
    return tmp_path


REFUSED = {
    "card": ("marl", "export data.safetensors --card README.md", "README.md"),
    "card over the data": (
        "marl",
        "export data.safetensors --card data.safetensors",
        "dataset card",
    ),
    "dataset": ("marl", "collect --transitions 10 --out README.md", "README.md"),
    "dataset over a checkpoint": (
        "marl",
        "collect --policy sac --transitions 10 --out sac/checkpoint.safetensors",
        "checkpoint.safetensors",
    ),
    "dataset over its source": ("marl", "import a.npz --out a.npz", "a.npz"),
    "arrays over the card": (
        "marl",
        "export data.safetensors --arrays b.npz --card b.npz",
        "two files",
    ),
    "results over a run": (
        "marl",
        "evaluate sac --episodes 2 --json sac/config.json",
        "config.json",
    ),
    "results over a log": ("marl", "evaluate sac --episodes 2 --json sac/log.jsonl", "log.jsonl"),
    "results over a project": ("baselines", "--json package.json", "package.json"),
    "results over a page": ("baselines", "--json README.md", "README.md"),
    "results over the picture": ("baselines", "--json a.png --plot a.png", "two files"),
    "sweep over results": ("marl", "sweep sweep.toml --out .", "results.json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_of_another_kind_are_left_alone(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, arguments, named = REFUSED[case]
    assert run("export", "data.safetensors", "--arrays", "a.npz") == 0
    before = contents(folder)
    capsys.readouterr()

    words = shlex.split(arguments)
    assert (baselines([*COMPARE, *words]) if program == "baselines" else run(*words)) == 2

    assert contents(folder) == before
    error = capsys.readouterr().err
    assert named in error
    assert len(error.splitlines()) == 1


def test_outputs_replace_those_of_an_earlier_call(folder: Path) -> None:
    settings = ("n_aps=2", "n_ues=6", "n_candidates=2")
    for _ in range(2):
        arguments = ["--transitions", 10, "--set", "episode_length=5", "--out", "d.safetensors"]
        assert run("collect", *arguments) == 0
        assert run("export", "data.safetensors", "--arrays", "a.npz", "--card", "card.md") == 0
        assert run("import", "a.npz", "--set", *settings, "--out", "b.safetensors") == 0
        assert run("evaluate", "sac", "--episodes", 2, "--json", "e.json") == 0
        assert baselines([*COMPARE, "--json", "e.json"]) == 0
    damaged = (folder / "d.safetensors").read_bytes()[:-9]
    (folder / "d.safetensors").write_bytes(damaged)
    (folder / "empty.safetensors").touch()
    for name in ("d.safetensors", "empty.safetensors"):
        assert run("collect", "--transitions", 10, "--out", name) == 0
        assert len(Dataset.read(name)) == 10


def test_example_scripts_remove_nothing_but_their_own_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"README\.md"):
        datasets.main(datasets.Options(names=(), card=Path("README.md")))
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text('{"port": 8080}')
    (folder / "online").mkdir()
    (folder / "online" / "thesis.txt").write_text("irreplaceable")
    before = contents(folder)
    with pytest.raises(ValueError, match=r"config\.json"):
        quickstart.main(quickstart.Options(out=folder, transitions=10))
    assert contents(folder) == before
    for name in ("config.json", "checkpoint.safetensors", "log.jsonl"):
        shutil.copy(folder / "sac" / name, folder / "online" / name)
    monkeypatch.setattr(simple_spread, "train", lambda *_, **__: pytest.fail("it went on"))
    with pytest.raises(pytest.fail.Exception, match="it went on"):
        simple_spread.main(simple_spread.Options(out=folder))
    assert contents(folder) == before  # the earlier run is gone, and nothing else


def test_no_printed_command_writes_a_page_of_the_project() -> None:
    outputs = ("--json", "--plot", "--out", "--card", "--arrays", "--video")
    for page in PAGES:
        for block in blocks(page, "bash"):
            words = shlex.split(block, comments=True)
            written = [after for word, after in pairwise(words) if word in outputs]
            assert not [name for name in written if (ROOT / name).exists()], page
        assert "--card README.md" not in page.read_text(encoding="utf-8")
