"""Damaged and forged files of runs are refused by name, as fuzzing found them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save
from toys import edit_json, run, trained

from marl import Dataset, DatasetError, Policy, RunError, UnfinishedRunWarning, load_policies
from marl.data.storage import checksum, parse_json, serialised
from marl.exchange.d3rlpy import read_mdp_arrays
from marl.runs.checkpoint import load_tensors, read_log
from marl.runs.description import describe
from marl.training.curves import learning_curve


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An online run of two seeds."""
    return trained(tmp_path_factory.mktemp("finished") / "run", seeds=(0, 1))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, which a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def signed(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace a file's tensors, keep its description, and update its checksum."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    text = header["__metadata__"]["description"]
    path.write_bytes(
        serialised(
            tensors,
            {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)},
        )
    )


# --- Runs ---


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "replay-20.safetensors"])
def test_every_flipped_bit_of_a_checkpoint_is_found(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    for place in range(0, len(content), 997):
        changed = bytearray(content)
        changed[place] ^= 4
        (folder / name).write_bytes(changed)
        with pytest.raises(RunError, match=re.escape(str(folder))):
            load_tensors(folder, with_replay=True)
    (folder / name).write_bytes(content)
    load_tensors(folder, with_replay=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["learner"].update(discount=0.5), "discount was 0.9, now 0.5"),
        (lambda said: said["learner"].update(act_on="critic"), "act_on was 'actor', now 'critic'"),
        (lambda said: said.update(seeds=[0, 2]), "[0, 1], now [0, 2]"),
        (lambda said: said["environment"]["config"].update(n_ues=7), "n_ues was 6, now 7"),
        (lambda said: said["training"].update(envs_per_seed=5), "envs_per_seed was 2, now 5"),
        (lambda said: said.update(scheme="I-MARL (SAC)"), "now 'I-MARL (SAC)'"),
    ],
)
def test_a_description_that_fits_but_is_not_the_checkpoint_s_is_refused(
    change: Callable[[Any], object], message: str, folder: Path
) -> None:
    edit_json(folder / "config.json", change)
    with pytest.raises(RunError, match=re.escape(message)):
        load_policies(folder)


def test_what_may_change_in_a_description_changes_nothing(folder: Path) -> None:
    before = load_policies(folder)
    edit_json(
        folder / "config.json",
        lambda said: (
            said["training"].update(updates=50, device="cuda:3"),
            said.pop("versions"),
            said.pop("revision"),
        ),
    )
    with pytest.warns(UnfinishedRunWarning, match=r"of the checkpoint of update 20 of 50$"):
        after = load_policies(folder)
    for old, new in zip(before, after, strict=True):
        assert all(
            torch.equal(one, other)
            for left, right in zip(old._layers, new._layers, strict=True)
            for one, other in zip(left, right, strict=True)
        )
    assert run("info", folder) == 0


def test_a_replay_of_another_time_is_refused(folder: Path, tmp_path: Path) -> None:
    earlier = trained(tmp_path / "earlier", {}, {"updates": 10}, seeds=(0, 1))
    shutil.copy(earlier / "replay-10.safetensors", folder / "replay-20.safetensors")
    with pytest.raises(
        RunError, match="was written after 10 updates, the checkpoint beside it after 20"
    ):
        load_tensors(folder, with_replay=True)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "replay-20.safetensors"])
def test_files_without_checksums_are_refused(name: str, folder: Path) -> None:
    (folder / name).write_bytes(save(load((folder / name).read_bytes())))
    with pytest.raises(RunError, match=f"{name}' .* its metadata lack checksum, description"):
        load_tensors(folder, with_replay=True)


def test_tensors_that_do_not_fit_the_description_are_refused(folder: Path) -> None:
    path = folder / "checkpoint.safetensors"
    tensors = load(path.read_bytes())  # not mapped, since the file is overwritten below
    for name, value, message in (
        (
            "layers.0.weights",
            tensors["layers.0.weights"][:, :1],
            "layers.0.weights must be torch.float32 of shape (5, 2, 1, 8, 16)",
        ),
        ("layers.0.weights", tensors["layers.0.weights"].double(), "found torch.float64"),
        ("shift", torch.full_like(tensors["shift"], torch.nan), "shift must be finite"),
    ):
        signed(path, {**tensors, name: value.contiguous()})
        with pytest.raises(RunError, match=re.escape(message)):
            load_policies(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "checkpoint.safetensors",
            {"updates": torch.tensor(-1)},
            "updates must be one integer of at least 0",
        ),
        (
            "checkpoint.safetensors",
            {"updates": torch.zeros(3, dtype=torch.int64)},
            "updates must be one integer of at least 0",
        ),
        (
            "checkpoint.safetensors",
            {"adam.0.step": torch.tensor(torch.nan)},
            "checkpoint: adam.0.step must be finite",
        ),
        (
            "checkpoint.safetensors",
            {"adam.0.step": torch.tensor(1)},
            "adam.0.step must be torch.float32",
        ),
        (
            "replay-20.safetensors",
            {"added": torch.tensor(-5)},
            "added must be one integer of at least 0",
        ),
        (
            "replay-20.safetensors",
            {"added": torch.tensor(10**15)},
            "replay: observation must be torch.float32 of shape (2, 60, 2, 4)",
        ),
        (
            "replay-20.safetensors",
            {"action": torch.full((2, 56, 2), 9)},
            "replay: action must be from 0 to 2, got 9",
        ),
        (
            "replay-20.safetensors",
            {"mask": torch.zeros((2, 56, 2, 3), dtype=torch.uint8)},
            "replay: mask must leave every agent",
        ),
        (
            "replay-20.safetensors",
            {"reward": torch.full((2, 1), 1.0)},
            "replay: reward must be torch.float32 of shape (2, 56)",
        ),
        (
            "replay-20.safetensors",
            {"terminated": torch.full((2, 56), 0.5)},
            "replay: terminated must be 0 or 1, got 0.5",
        ),
    ],
)
def test_tensors_that_no_training_leaves_are_not_gone_on_with(
    name: str, change: dict[str, torch.Tensor], message: str, folder: Path
) -> None:
    signed(folder / name, {**load_file(folder / name), **change})
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        trained(folder, {}, {"updates": 30}, seeds=(0, 1), resume=True)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(training=[]), "training must be a mapping of names, got []"),
        (lambda said: said["training"].update(epochs=3), "unknown training field 'epochs'"),
        (
            lambda said: said["learner"].update(hidden_sizes=256),
            "hidden_sizes must be integers of at least 1",
        ),
        (lambda said: said["learner"].update(learner=1), "unknown learner field 'learner'"),
        (lambda said: said.update(seeds=3), "seeds must be a list of at least one, got 3"),
        (lambda said: said.update(seeds=[1, 1]), "seeds must be all different"),
        (
            lambda said: said["team"].update(n_agents=10**9),
            "paradigm = 'c' would enumerate 3^1000000000",
        ),
        (
            lambda said: said["team"].pop("n_agents"),
            "team must have n_actions, n_agents, n_features",
        ),
        (
            lambda said: said.update(environment="network"),
            "environment must be a mapping of names, got 'network'",
        ),
        (
            lambda said: said["environment"].update(kind="sea"),
            "environment: kind must be 'network' or 'parallel', got 'sea'",
        ),
        (
            lambda said: said["environment"]["config"].update(n_aps=10**400),
            "environment: n_aps must be an integer",
        ),
        (
            lambda said: said["environment"]["config"].update(n_aps=3),
            "environment: its config is of Team(n_agents=3",
        ),
        (lambda said: said.update(data=[1]), "data must be a mapping of names, got [1]"),
        (lambda said: said.update(versions={"torch": 2}), "versions: torch must be a text, got 2"),
    ],
)
def test_descriptions_of_no_run_are_refused_by_name(
    change: Callable[[Any], object], message: str, folder: Path
) -> None:
    edit_json(folder / "config.json", change)
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        describe(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"scheme": "\\ud800"}', "surrogates not allowed"),
        ('{"seeds": ' + "1" * 5000 + "}", "4300 digits"),
    ],
)
def test_texts_that_break_parsers_are_no_json(text: str, message: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(RunError, match=f"is no JSON: .*{message}"):
        describe(folder)
    with pytest.raises(ValueError, match=message):
        parse_json(text.encode())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no record"),
        ("[1]", "record must be a mapping of names, got [1]"),
        ('{"update": "5"}', "update must be an integer"),
        ('{"update": 6, "q": [NaN]}', "q must be a finite number, got nan"),
        ('{"update": 5}', "update must be above 5, that of the line before, got 5"),
        (
            '{"update": 7, "evaluation": {"score": [1], "sum_rate": [1, 2]}}',
            "one number per seed for every KPI",
        ),
        ("\xff", "line 2 is no record"),
    ],
)
def test_lines_of_a_log_that_are_no_records_are_named(
    line: str, message: str, folder: Path
) -> None:
    lines = (folder / "log.jsonl").read_text().splitlines()
    (folder / "log.jsonl").write_bytes(
        "\n".join([lines[0], line, *lines[1:], ""]).encode("latin-1")
    )
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        learning_curve(folder)
    assert "log.jsonl', line 2" in str(caught.value)
    (folder / "log.jsonl").unlink()
    with pytest.raises(RunError, match="No such file"):
        list(read_log(folder))


# --- What is no file ---


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
@pytest.mark.parametrize("name", ["config.json", "checkpoint.safetensors", "log.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "endless device"])
def test_what_would_wait_or_never_end_is_not_opened(
    kind: str, name: str, folder: Path, tmp_path: Path
) -> None:
    for path in (folder / name, tmp_path / "data.safetensors", tmp_path / "data.npz"):
        path.unlink(missing_ok=True)
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="No regular file"):
        (load_policies(folder), list(read_log(folder)))
    with pytest.raises(DatasetError, match="No regular file"):
        Dataset.read(tmp_path / "data.safetensors")
    with pytest.raises(DatasetError, match="No regular file"):
        read_mdp_arrays(tmp_path / "data.npz")


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "replay-20.safetensors"])
def test_a_flipped_bit_in_a_tensor_is_refused(name: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"algorithm": "dqn"})
    content = bytearray((run / name).read_bytes())
    content[-1] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(
        RunError,
        match=f"{name}' cannot be read: it was altered after it was written, "
        "its checksum does not match",
    ):
        load_tensors(run, with_replay=True)


def test_a_description_of_another_learner_is_refused_and_other_versions_are_not(
    tmp_path: Path,
) -> None:
    run = trained(tmp_path / "run", {"algorithm": "dqn"})
    description = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**description, "versions": {}}))
    assert Policy.load(run).config.algorithm == "dqn"
    changed = {**description["learner"], "discount": 0.123}
    (run / "config.json").write_text(json.dumps({**description, "learner": changed}))
    with pytest.raises(
        RunError,
        match=r"belongs to another run than config\.json beside it describes: "
        r"discount was 0\.9, now 0\.123",
    ):
        Policy.load(run)
