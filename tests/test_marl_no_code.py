"""Nothing that is loaded can run code: no file of any kind reaches pickle, an interpreter or another program."""

from __future__ import annotations

import ast
import builtins
import marshal
import pickle
import shelve
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SMALL, trained

import baselines
import marl
import rrm_env
from baselines import RandomWalk
from marl import Dataset, Policy, collect, load_policies
from marl.checkpoint import read_log
from marl.exchange import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.minari_datasets import from_minari, to_minari
from marl.policy import describe
from marl.sweep import Sweep

FORBIDDEN = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code"}
"""Modules that turn bytes into behaviour."""
OWN_BYTES = "pickle.loads(pickle.dumps(returned.error))"
"""What `marl.engine`, which sends calls between the user's own processes, does with pickle: tries whether an error would arrive."""


def sources() -> list[Path]:
    """Every module of the package."""
    return [path for package in (rrm_env, baselines, marl) for path in sorted(Path(str(package.__file__)).parent.glob("*.py"))]


def called(node: ast.Call) -> str:
    """What is called, as written."""
    return ast.unparse(node.func)


def test_no_module_names_anything_that_runs_what_it_reads() -> None:
    assert len(sources()) > 50
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if path.name == "engine.py":
            assert text.count("import pickle") == text.count(OWN_BYTES) == 1
            text = text.replace("import pickle", "").replace(OWN_BYTES, "pass")
            assert "pickle." not in text
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not {name.partition(".")[0] for name in names} & FORBIDDEN, path
            if isinstance(node, ast.Call):
                assert called(node) not in {"eval", "exec", "compile", "torch.load", "torch.jit.load", "gymnasium.make", "gym.make"}, path
                assert not called(node).endswith("recover_environment"), path  # Minari's: makes whatever the file names
                if called(node) in {"np.load", "numpy.load", "np.lib.format.read_array"}:
                    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert given.get("allow_pickle") == "False", path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of every kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    dataset = collect(RandomWalk(silence=True), SMALL, 40)
    dataset.write(tmp_path / "data.safetensors")
    np.savez(tmp_path / "data.npz", **mdp_arrays(dataset))  # type: ignore[arg-type] # numpy's stub takes the first array for a flag
    to_minari(dataset, "some-v0")
    trained(tmp_path / "offline", dataset=dataset)
    trained(tmp_path / "online", seeds=(0, 1))
    (tmp_path / "sweep.toml").write_text('[train]\nparadigm = ["c", "i"]\n')
    return tmp_path


LOADERS: dict[str, Callable[[Path], object]] = {
    "Dataset.read": lambda folder: Dataset.read(folder / "data.safetensors"),
    "Policy.load": lambda folder: Policy.load(folder / "online", 1),
    "load_policies": lambda folder: load_policies(folder / "offline"),
    "describe": lambda folder: describe(folder / "online"),
    "read_log": lambda folder: list(read_log(folder / "online")),
    "train, resumed offline": lambda folder: trained(
        folder / "offline", {}, {"updates": 30}, dataset=Dataset.read(folder / "data.safetensors"), resume=True
    ),
    "train, resumed online": lambda folder: trained(folder / "online", {}, {"updates": 30}, seeds=(0, 1), resume=True),
    "read_mdp_arrays": lambda folder: from_mdp_arrays(read_mdp_arrays(folder / "data.npz"), SMALL),
    "from_minari": lambda _: from_minari("some-v0"),
    "Sweep.read": lambda folder: Sweep.read(folder / "sweep.toml"),
}


def refuse(*_: Any, **__: Any) -> Any:
    """Stands for whatever runs code."""
    raise AssertionError("code could have been run")


def only_for_imports(run_code: Callable[..., Any]) -> Callable[..., Any]:
    """What makes or runs code, for Python's import system alone: TensorBoard is asked for anew in every training.

    Parsing makes none: numpy reads the literal in an array's header that way.
    """

    def guarded(*arguments: Any, **options: Any) -> Any:
        parses = len(arguments) > 3 and bool(arguments[3] & ast.PyCF_ONLY_AST)
        assert parses or sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"), "code could have been run"
        return run_code(*arguments, **options)

    return guarded


def test_every_loader_works_where_nothing_can_run_code(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for load in LOADERS.values():  # imports what it needs, which does run code: that of modules
        load(files)
    load_arrays, popen = np.load, subprocess.Popen

    def load_without_pickle(*arguments: Any, **options: Any) -> Any:
        assert options.get("allow_pickle") is False
        return load_arrays(*arguments, **options)

    class OnlyGit(popen):  # type: ignore[valid-type,misc] # asks for the revision that descriptions hold
        def __init__(self, command: Any, *arguments: Any, **options: Any) -> None:
            assert command[0] == "git", command
            super().__init__(command, *arguments, **options)

    with monkeypatch.context() as patch:
        for module, names in (
            (pickle, ("load", "loads", "Unpickler", "_Unpickler", "_loads", "_load")),
            (marshal, ("load",)),
            (shelve, ("open",)),
            (torch, ("load",)),
            (builtins, ("eval",)),
        ):
            for name in names:
                patch.setattr(module, name, refuse)
        for where, name in ((builtins, "exec"), (builtins, "compile"), (marshal, "loads")):
            patch.setattr(where, name, only_for_imports(getattr(where, name)))
        patch.setattr(np, "load", load_without_pickle)
        patch.setattr(subprocess, "Popen", OnlyGit)
        for load in LOADERS.values():
            load(files)
