"""``python -m marl`` refuses invalid input by name, and its help documents every option."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from toys import printed, run

from marl import LearnerConfig, TrainingConfig
from marl.cli.data import Collect, Info
from marl.cli.learning import Evaluate, Train, Watch
from marl.cli.shared import EngineOptions
from marl.cli.sweep import SweepCommand


@pytest.fixture(autouse=True)
def there(home: Path, surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """That folder is the current one."""
    monkeypatch.chdir(home)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "collect --out new --scheduler itlin",
            "unknown scheduler 'itlin' (did you mean 'itlinq'?)",
        ),
        (
            "collect --out new --scheduler random_walk:silence=maybe",
            "silence of random_walk must be bool, got 'maybe'",
        ),
        ("collect --out new --network papr", "'papr' (did you mean 'paper'?)"),
        ("collect --out new --set n_apps=3", "'n_apps' (did you mean 'n_aps'?)"),
        (
            "collect --out new --transitions 0",
            "transitions must be an integer of at least 1, got 0",
        ),
        (
            "collect --out new --seed -1",
            "seed must be an integer of at least 0 and at most 1073741823, got -1",
        ),
        ("collect --out missing/new", "--out = 'missing/new' must lie in an existing folder"),
        ("collect --out sac", "--out must be a file, got the folder 'sac'"),
        ("collect --out new --policy missing", "'missing' holds no run: config.json No such file"),
        (
            "collect --out new --policy bc --network paper",
            "the policy was trained for Team(n_agents=2",
        ),
        ("collect --out new --transitions 5 --sample", "sample"),
        ("evaluate match --env toys --episodes 2 --plot new.png", "plot"),
        ("evaluate match --env toys --episodes 2 --schedulers tdm", "schedulers"),
        ("evaluate match --env toys --episodes 2 --network paper", "network"),
        (
            "collect --out new --env rrm_env.metrics",
            "env = 'rrm_env.metrics' must be a module with parallel_env()",
        ),
        ("collect --out new --env no_such_module", "env = 'no_such_module' cannot be imported"),
        (
            "collect --out new --env toys:size",
            "env: expected FIELD=VALUE after a colon, got 'size'",
        ),
        ("collect --out new --env toys:size=3", "unexpected keyword argument 'size'"),
        (
            "train --out new --dataset missing.safetensors",
            "'missing.safetensors' cannot be read as a safetensors file",
        ),
        (
            "train --out new --dataset sac/config.json",
            "'sac/config.json' cannot be read as a safetensors file",
        ),
        (
            "train --out new --preset dense",
            "--preset of train names hyperparameters; 'dense' is a network: --network dense",
        ),
        ("collect --out new --preset papr", "'papr' (did you mean 'paper'?)"),
        ("evaluate sac --preset papr", "'papr' (did you mean 'paper'?)"),
        ("watch sac --preset papr", "'papr' (did you mean 'paper'?)"),
        ("train --out new --preset papr", "unknown preset 'papr' (did you mean 'paper'?)"),
        ("train --out new --network papr", "'papr' (did you mean 'paper'?)"),
        ("train --out new --seeds 0", "seeds must be at least one, all different, got []"),
        (
            "train --out new --first-seed -1",
            "seeds must be an integer of at least 0 and at most 1073741823, got -1",
        ),
        (
            "train --out new --batch-size 0",
            "batch_size must be an integer of at least 1 and at most 9007199254740992, got 0",
        ),
        (
            "train --out new --discount 1.5",
            "discount must be a finite number of at least 1e-30 and at most 1, got 1.5",
        ),
        ("train --out new --device tpu", "device must be cpu, cuda or cuda:N, got 'tpu'"),
        ("train --out new --algorithm bc", "algorithm = 'bc' needs a dataset"),
        (
            "train --out new --env toys --network paper",
            "--network is of the network and does not go with --env",
        ),
        ("train --out new --env mpe2", "env = 'mpe2' must be a module with parallel_env()"),
        (
            "train --out sac --dataset data.safetensors",
            "'sac' holds a run already; resume it, or choose another folder",
        ),
        (
            "train --out data.safetensors/new",
            "the folder 'data.safetensors/new' cannot be made: Not a directory",
        ),
        ("train --out new --resume", "'new' holds no run: config.json No such file"),
        (
            "train --out sac --resume --dataset data.safetensors",
            "cannot be resumed with another learner: batch_size was 8, now 256",
        ),
        ("evaluate", "runs must name at least one folder of a training run, got none"),
        ("evaluate missing", "'missing' holds no run: config.json No such file"),
        (
            "evaluate bc --act-on critic",
            "act_on of algorithm 'bc' must be one of actor, got 'critic'",
        ),
        (
            "evaluate sac --act-on best",
            "act_on of algorithm 'sac' must be one of actor, critic, got 'best'",
        ),
        ("evaluate sac --act-on critic --sample", "sample needs act_on = 'actor'"),
        ("evaluate sac --episodes 0", "episodes must be an integer of at least 1"),
        ("evaluate sac --schedulers itlin", "unknown scheduler 'itlin' (did you mean 'itlinq'?)"),
        ("evaluate sac --network paper", "the policy was trained for Team(n_agents=2"),
        (
            "evaluate sac --json missing/out.json",
            "'missing/out.json' must lie in an existing folder",
        ),
        ("evaluate sac --plot out.docx", "--plot = 'out.docx' must end in one of"),
        ("evaluate match", "'match' was trained in 'match_v0': name it with --env MODULE"),
        ("evaluate sac --env toys", "the policy was trained for Team(n_agents=2"),
        ("info missing", "'missing' cannot be read as a safetensors file: No such file"),
        ("info sac/config.json", "'sac/config.json' cannot be read as a safetensors file"),
        ("info .", "'.' holds no run: config.json No such file"),
    ],
)
def test_wrong_input_is_one_line_that_names_it_and_writes_nothing(
    arguments: str, message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    code = run(*arguments.split())
    captured, after = (
        capsys.readouterr(),
        {path: path.stat().st_mtime_ns for path in home.rglob("*")},
    )
    (home / "new").unlink(missing_ok=True)
    assert code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --out new --updates many", "--updates"),
        ("train --out new --algorithm td3", "td3"),
        ("train", "--out"),
        ("teach", "teach"),
        ("collect --out new --trnsitions 5", "--trnsitions"),
        ("", "collect"),
    ],
)
def test_what_cannot_be_parsed_is_named(
    arguments: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(*arguments.split())
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


# --- Help ---


def documented(kind: type) -> dict[str, str]:
    """Every field of a dataclass, inherited ones too, with the string under it."""
    texts: dict[str, str] = {}
    for parent in reversed(kind.__mro__[:-1]):
        texts |= documented_itself(parent)
    return texts


def documented_itself(kind: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    for node, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            texts[node.target.id] = " ".join(str(following.value.value).split()) if is_text else ""  # type: ignore[union-attr]
    return texts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("collect", Collect),
        ("train", Train),
        ("evaluate", Evaluate),
        ("sweep", SweepCommand),
        ("watch", Watch),
        ("info", Info),
    ],
)
def test_help_documents_every_option(
    name: str, kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    assert stopped.value.code == 0
    text = printed(capsys)
    flat = {"learner": LearnerConfig, "training": TrainingConfig, "where": EngineOptions}
    every = {field.name: kind for field in fields(kind) if field.name != "changes"}
    for name_of_part, part in flat.items():
        if every.pop(name_of_part, None):
            every |= {field.name: part for field in fields(part)}
    for option, of in every.items():
        description = documented(of)[option]
        assert len(description) > 5, option
        flag = {"settings": "--set", "runs": "PATH", "path": "PATH", "file": "PATH"}.get(
            option, f"--{option.replace('_', '-')}"
        )
        assert re.search(rf"{flag}\b[^()]*{re.escape(description[:40])}", text), option
        assert description in text
    assert " ".join(str(kind.__doc__).split()) in text


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0
    text = printed(capsys)
    assert all(
        name in text
        for name in ("collect", "train", "evaluate", "sweep", "info", str(Collect.__doc__))
    )
