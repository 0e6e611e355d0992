"""What fuzzing found, one by one: files that lied, waited, grew or called, and options beyond what numbers hold."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save, save_file
from toys import SMALL, arrays, described, made_up, random_policy, run, trained

from baselines import RandomWalk
from marl import Dataset, DatasetError, LearnerConfig, RunError, Team, TrainingConfig, collect, load_policies, train
from marl.card import behaviours, dataset_card
from marl.checkpoint import load_tensors, read_log
from marl.curves import learning_curve
from marl.exchange import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.minari_datasets import from_minari, to_minari
from marl.paradigms import Heads
from marl.policy import describe
from marl.sweep import Sweep
from marl.tensor_files import checksum, parse_json, serialised
from rrm_env import RRMConfig
from rrm_env.config import shown

TEAM = Team(2, 4, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An online run of two seeds."""
    return trained(tmp_path_factory.mktemp("finished") / "run", seeds=(0, 1))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file's content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def signed(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write other tensors with the description that stood there, under a checksum that fits."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    text = header["__metadata__"]["description"]
    path.write_bytes(serialised(tensors, {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)}))


def weights_of(folder: Path) -> list[list[Any]]:
    """Of all policies of a run."""
    return [[weights.tolist() for weights, _ in policy._layers] for policy in load_policies(folder)]


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
    edit(folder / "config.json", change)
    with pytest.raises(RunError, match=re.escape(message)):
        load_policies(folder)


def test_what_may_change_in_a_description_changes_nothing(folder: Path) -> None:
    before = load_policies(folder)
    edit(
        folder / "config.json",
        lambda said: (said["training"].update(updates=50, device="cuda:3"), said.pop("versions"), said.pop("revision")),
    )
    for old, new in zip(before, load_policies(folder), strict=True):
        assert all(
            torch.equal(one, other)
            for left, right in zip(old._layers, new._layers, strict=True)
            for one, other in zip(left, right, strict=True)
        )
    assert run("info", folder) == 0


def test_a_replay_of_another_time_is_refused(folder: Path, tmp_path: Path) -> None:
    earlier = trained(tmp_path / "earlier", {}, {"updates": 10}, seeds=(0, 1))
    shutil.copy(earlier / "replay-10.safetensors", folder / "replay-20.safetensors")
    with pytest.raises(RunError, match="was written after 10 updates, the checkpoint beside it after 20"):
        load_tensors(folder, with_replay=True)


def test_checkpoints_without_checksums_still_load_and_must_fit(folder: Path) -> None:
    path = folder / "checkpoint.safetensors"
    tensors, before = load_file(path), weights_of(folder)
    for name in ("checkpoint.safetensors", "replay-20.safetensors"):
        (folder / name).write_bytes(save(load((folder / name).read_bytes())))
    assert weights_of(folder) == before
    trained(folder, {}, {"updates": 30}, seeds=(0, 1), resume=True)
    for name, value, message in (
        ("layers.0.weights", tensors["layers.0.weights"][:, :1], "layers.0.weights must be torch.float32 of shape (5, 2, 1, 8, 16)"),
        ("layers.0.weights", tensors["layers.0.weights"].double(), "found torch.float64"),
        ("shift", torch.full_like(tensors["shift"], torch.nan), "shift must be finite"),
    ):
        save_file({**tensors, name: value.contiguous()}, path)
        with pytest.raises(RunError, match=re.escape(message)):
            load_policies(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("checkpoint.safetensors", {"updates": torch.tensor(-1)}, "updates must be one integer of at least 0"),
        ("checkpoint.safetensors", {"updates": torch.zeros(3, dtype=torch.int64)}, "updates must be one integer of at least 0"),
        ("checkpoint.safetensors", {"adam.0.step": torch.tensor(torch.nan)}, "checkpoint: adam.0.step must be finite"),
        ("checkpoint.safetensors", {"adam.0.step": torch.tensor(1)}, "adam.0.step must be torch.float32"),
        ("replay-20.safetensors", {"added": torch.tensor(-5)}, "added must be one integer of at least 0"),
        ("replay-20.safetensors", {"added": torch.tensor(10**15)}, "replay: observation must be torch.float32 of shape (2, 60, 2, 4)"),
        ("replay-20.safetensors", {"action": torch.full((2, 56, 2), 9)}, "replay: action must be from 0 to 2, got 9"),
        ("replay-20.safetensors", {"mask": torch.zeros((2, 56, 2, 3), dtype=torch.uint8)}, "replay: mask must leave every agent"),
        ("replay-20.safetensors", {"reward": torch.full((2, 1), 1.0)}, "replay: reward must be torch.float32 of shape (2, 56)"),
        ("replay-20.safetensors", {"terminated": torch.full((2, 56), 0.5)}, "replay: terminated must be 0 or 1, got 0.5"),
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
        (lambda said: said["learner"].update(hidden_sizes=256), "hidden_sizes must be integers of at least 1"),
        (lambda said: said["learner"].update(learner=1), "unknown learner field 'learner'"),
        (lambda said: said.update(seeds=3), "seeds must be a list of at least one, got 3"),
        (lambda said: said.update(seeds=[1, 1]), "seeds must be all different"),
        (lambda said: said["team"].update(n_agents=10**9), "paradigm = 'c' would enumerate 3^1000000000"),
        (lambda said: said["team"].pop("n_agents"), "team must have n_actions, n_agents, n_features"),
        (lambda said: said.update(environment="network"), "environment must be a mapping of names, got 'network'"),
        (lambda said: said["environment"].update(kind="sea"), "environment: kind must be 'network' or 'parallel', got 'sea'"),
        (lambda said: said["environment"]["config"].update(n_aps=10**400), "environment: n_aps must be an integer"),
        (lambda said: said["environment"]["config"].update(n_aps=3), "environment: its config is of Team(n_agents=3"),
        (lambda said: said.update(data=[1]), "data must be a mapping of names, got [1]"),
        (lambda said: said.update(versions={"torch": 2}), "versions: torch must be a text, got 2"),
    ],
)
def test_descriptions_of_no_run_are_refused_by_name(change: Callable[[Any], object], message: str, folder: Path) -> None:
    edit(folder / "config.json", change)
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
        ('{"update": 7, "evaluation": {"score": [1], "sum_rate": [1, 2]}}', "one number per seed for every KPI"),
        ("\xff", "line 2 is no record"),
    ],
)
def test_lines_of_a_log_that_are_no_records_are_named(line: str, message: str, folder: Path) -> None:
    lines = (folder / "log.jsonl").read_text().splitlines()
    (folder / "log.jsonl").write_bytes("\n".join([lines[0], line, *lines[1:], ""]).encode("latin-1"))
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
def test_what_would_wait_or_never_end_is_not_opened(kind: str, name: str, folder: Path, tmp_path: Path) -> None:
    for path in (folder / name, tmp_path / "data.safetensors", tmp_path / "data.npz"):
        path.unlink(missing_ok=True)
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="No regular file"):
        (load_policies(folder), list(read_log(folder)))
    with pytest.raises(DatasetError, match="No regular file"):
        Dataset.read(tmp_path / "data.safetensors")
    with pytest.raises(DatasetError, match="No regular file"):
        read_mdp_arrays(tmp_path / "data.npz")


# --- Datasets ---


def rewritten(path: Path, change: Callable[[dict[str, Any]], object], **tensors: torch.Tensor) -> None:
    """A dataset's file with another description or other tensors, under a checksum that fits."""
    said, columns = described(), {**arrays(), **tensors}
    change(said)
    text = json.dumps(said)
    save_file(columns, path, {"kind": "rrm_env transitions", "schema": "1", "description": text, "checksum": checksum(columns, text)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(environment=[]), "environment must be a mapping of names, got []"),
        (lambda said: said.update(environment={"kind": "network"}), "environment: config must be a mapping of names, got None"),
        (lambda said: said.update(environment={"kind": "network", "config": {"n_aps": -1}}), "environment: n_aps must be"),
        (lambda said: said.update(environment={"kind": "network", "config": {"n_apps": 1}}), "did you mean 'n_aps'?"),
        (lambda said: said.update(environment={"kind": "network", "config": {}}), "environment: its config is of Team(n_agents=4"),
        (lambda said: said.update(environment={"kind": "parallel"}), "environment: name must be a text, got None"),
        (lambda said: said.update(behaviours={"a": 1}), "behaviours must be a list"),
        (lambda said: said.update(behaviours=[3]), "behaviours[0] must be a mapping of names, got 3"),
        (lambda said: said["behaviours"][0].update(name=["x"]), "behaviours[0]: name must be a text"),
        (lambda said: said["behaviours"][0].update(transitions=-1), "behaviours[0]: transitions must be an integer"),
        (
            lambda said: said["behaviours"][0].update(kpis={"score": "high"}),
            "behaviours[0]: kpis: score must be a finite number, got 'high'",
        ),
        (lambda said: said["behaviours"][0].update(kpis={"score": 10**400}), "behaviours[0]: kpis: score must be a finite number"),
        (lambda said: said.update(versions=["torch"]), "versions must be a mapping of names"),
    ],
)
def test_descriptions_of_no_dataset_are_refused_with_file_and_field(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    rewritten(tmp_path / "data.safetensors", change)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        Dataset.read(tmp_path / "data.safetensors")
    assert str(tmp_path) in str(caught.value)


def test_tensors_of_any_type_are_refused_by_name(tmp_path: Path) -> None:
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.complex64):
        rewritten(tmp_path / "data.safetensors", lambda _: None, reward=torch.zeros(6, dtype=kind))
        with pytest.raises(DatasetError, match=f"data.safetensors' holds no dataset: reward must be torch.float32 of shape .* {kind}"):
            Dataset.read(tmp_path / "data.safetensors")


def test_behaviours_that_nothing_describes_are_refused_or_named_by_number() -> None:
    columns = {**arrays(), "behaviour": torch.tensor([0, 0, 2**31 - 1, 0, 0, 0], dtype=torch.int32)}
    with pytest.raises(DatasetError, match=r"behaviour must be from 0 to 0, which the metadata describe, got 2147483647"):
        Dataset(**columns, metadata=described())
    plain = Dataset(**columns)  # nothing is described
    assert [(behaviour.name, behaviour.transitions) for behaviour in behaviours(plain)] == [("0", 5), ("2147483647", 1)]
    assert "2147483647" in dataset_card(plain)


def test_long_reasons_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    header = json.dumps({"reward": "x" * 100_000}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DatasetError) as caught:
        Dataset.read(path)
    assert len(str(caught.value)) < 1000


# --- Arrays ---


def npz(path: Path, **members: bytes) -> Path:
    """An .npz file of members as they are; the missing ones are those of a dataset."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in mdp_arrays(collect(RandomWalk(), SMALL, 20)).items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", members.get(name, buffer.getvalue()))
    return path


def header_of(descr: Any, shape: tuple[int, ...]) -> bytes:
    """The beginning of an .npy file, and eight bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(8)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (header_of("<f4", (10**12, 8)), "observations.npy ends before its shape"),
        (header_of("|O", (3,)), "observations.npy must hold numbers, got object"),
        (header_of([("a", "<f4", (10**6,))], (1,)), "observations.npy must hold numbers"),
        (header_of("<f4", (1,)), "observations.npy goes on after its shape (1,)"),
        (b"\x93NUMPY\x01\x00\xf0\x0f" + b"(" * 4079 + b"\n", "cannot be read as an .npz file"),
        (b"", "cannot be read as an .npz file"),
        (bytes(3 * 10**8), "bytes announce arrays of"),
    ],
    ids=["lie", "objects", "structure", "rest", "nested", "empty", "bomb"],
)
def test_arrays_that_lie_or_expand_are_refused_before_anything_is_allocated(member: bytes, message: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz", observations=member)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        read_mdp_arrays(path)
    assert str(path) in str(caught.value)


def test_only_the_arrays_asked_for_are_unpacked(tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(3 * 10**8))
    assert len(from_mdp_arrays(read_mdp_arrays(path), SMALL)) == 18


def test_values_that_are_no_numbers_or_too_large_are_refused_by_name() -> None:
    arrays_of = mdp_arrays(collect(RandomWalk(), SMALL, 20))
    for change, message in (
        ({"rewards": arrays_of["rewards"].astype("U5")}, "rewards must hold numbers, got <U5"),
        ({"rewards": arrays_of["rewards"].astype(complex)}, "rewards must hold numbers, got complex128"),
        ({"rewards": np.full((20, 1), 1e300)}, "reward must be finite, got inf"),
        ({"actions": np.full((20, 1), np.nan)}, "actions must be whole numbers"),
    ):
        with pytest.raises(DatasetError, match=re.escape(message)):
            from_mdp_arrays({**arrays_of, **change}, SMALL)


# --- Minari ---

needs_minari = pytest.mark.skipif(importlib.util.find_spec("minari") is None, reason="needs Minari")


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a Minari dataset; the present folder is one where code would leave a mark."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    to_minari(collect(RandomWalk(), SMALL, 20), "some-v0")
    return tmp_path / "minari" / "some-v0" / "data"


@needs_minari
@pytest.mark.parametrize("missing", ["observation_space", "action_space", "rrm_env"])
def test_code_that_a_minari_dataset_names_is_not_called(missing: str, exported: Path) -> None:
    def name_code(described: dict[str, Any]) -> None:
        described.pop(missing)
        spec = {**json.loads(described["env_spec"]), "entry_point": "os:mkdir", "kwargs": {"path": "mark"}}
        described["env_spec"] = json.dumps(spec)

    edit(exported / "metadata.json", name_code)
    with pytest.raises(DatasetError, match="Minari dataset 'some-v0' cannot be read"):
        from_minari("some-v0")
    assert not Path("mark").exists()


@needs_minari
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(total_episodes=10**12), "total_episodes must be an integer"),
        (lambda said: said.update(total_episodes=50), "announces 50 episodes, main_data.hdf5 has 2"),
        (lambda said: said.update(action_space='{"type": "Discrete", "n": 1000000000, "start": 0}'), "up to 1,048,576 actions"),
        (
            lambda said: said.update(action_space='{"type": "Box", "dtype": "U100000000", "shape": [1], "low": [0], "high": [1]}'),
            "dtype of a space must be one of numbers",
        ),
        (lambda said: said.pop("minari_version"), "KeyError 'minari_version'"),
        (lambda said: said["rrm_env"].update(metadata=3), "metadata must be a mapping, got 3"),
    ],
)
def test_minari_metadata_that_lie_are_refused(change: Callable[[Any], object], message: str, exported: Path) -> None:
    edit(exported / "metadata.json", change)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        from_minari("some-v0")
    assert str(caught.value).startswith("Minari dataset 'some-v0'")


@needs_minari
@pytest.mark.parametrize("kind", ["bomb", "external link", "soft link", "cycle", "missing"])
def test_hdf5_files_that_expand_or_lead_elsewhere_are_refused(kind: str, exported: Path) -> None:
    import h5py

    with h5py.File(exported / "main_data.hdf5", "a") as file:
        episode = file["episode_0"]
        del episode["rewards"]
        if kind == "bomb":
            episode.create_dataset("rewards", (10**12,), "f4", chunks=(1000,))
        elif kind == "external link":
            episode["rewards"] = h5py.ExternalLink("/etc/hostname", "/a")
        elif kind == "soft link":
            episode["rewards"] = h5py.SoftLink("/episode_1/rewards")
        elif kind == "cycle":
            episode["rewards"] = file["episode_0"]
    message = {"bomb": "bytes announce arrays of", "missing": "KeyError"}.get(kind, "must be in the file itself and in one place")
    with pytest.raises(DatasetError, match=message):
        from_minari("some-v0")


# --- Numbers and names ---


def test_actions_are_legal_whatever_the_networks_say() -> None:
    for bad in (torch.nan, torch.inf, -torch.inf, 3e38, -3e38):
        for paradigm in ("c", "i", "ctde"):
            policy = random_policy(Team(2, 3, 4), LearnerConfig(paradigm=paradigm, hidden_sizes=()))  # type: ignore[arg-type]
            for weights, biases in policy._layers:
                weights.fill_(bad), biases.fill_(bad)
            mask = np.array([[[0, 0, 1, 0], [0, 1, 0, 0]]], np.uint8)
            assert policy.actions(np.ones((1, 2, 3), np.float32), mask).tolist() == [[2, 1]]


def test_teams_too_large_to_count_are_refused_at_once() -> None:
    for team in (Team(10**9, 1, 4), Team(100_000, 1, 2)):
        with pytest.raises(ValueError, match=rf"would enumerate {team.n_actions}\^{team.n_agents}"):
            Heads("c", team)


class Unspeakable:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "text"), [(Unspeakable(), "<Unspeakable"), (10**5000, "<int"), ("a" * 10**6, "'aaaa")], ids=["repr", "digits", "long"]
)
def test_values_that_cannot_be_shown_are_refused_by_the_field_s_name(value: Any, text: str) -> None:
    assert shown(value).startswith(text)
    makers: tuple[tuple[Callable[..., Any], str], ...] = (
        (RRMConfig, "n_aps"),
        (RRMConfig, "area_side_m"),
        (RRMConfig, "fading"),
        (LearnerConfig, "batch_size"),
        (LearnerConfig, "hidden_sizes"),
        (LearnerConfig, "discount"),
        (LearnerConfig, "paradigm"),
        (TrainingConfig, "updates"),
        (TrainingConfig, "device"),
    )
    for make, name in makers:
        with pytest.raises((TypeError, ValueError), match=name) as caught:
            make(**{name: value})
        assert type(caught.value) in (TypeError, ValueError)
        assert len(str(caught.value)) < 1000


def test_numbers_beyond_what_tensors_hold_are_refused() -> None:
    for name, value in (("initial_temperature", 1e39), ("reward_scale", 1e-31), ("target_period", 2**63), ("hidden_sizes", (2**63,))):
        with pytest.raises(ValueError, match=name):
            LearnerConfig(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="updates must be at most"):
        TrainingConfig(updates=2**63)
    with pytest.raises(ValueError, match="rate_ema must be a finite number from 1e-06 up to 1, got 5e-324"):
        RRMConfig(rate_ema=5e-324)


def test_devices_are_named_as_documented() -> None:
    for device in ("cpu:7", "cuda:999", "cuda:", "CPU", "meta", 3, None, ["cpu"]):
        with pytest.raises(ValueError, match="device"):
            TrainingConfig(device=device)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_plain_in_a_training_s_description(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", {}, {"updates": np.int64(5), "checkpoint_every": np.int32(5)})
    assert json.loads((folder / "config.json").read_text())["training"]["updates"] == 5


def test_seeds_without_end_and_learners_without_measure_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up().write(tmp_path / "data.safetensors")
    begin = ("train", "--out", tmp_path / "run", "--dataset", tmp_path / "data.safetensors")
    assert run(*begin, "--seeds", 10**25) == 2
    assert "seeds must be an integer of at least 0 and at most 10000" in capsys.readouterr().err
    with pytest.raises(ValueError, match="seeds must be at most 10,000, got 1,000,000"):
        train(tmp_path / "run", LearnerConfig(), seeds=range(10**6))
    assert run(*begin, "--hidden-sizes", 10**9, 10**9) == 1
    assert "do not fit into memory" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_names_with_markup_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    dataset = made_up(name="[/bold] [red]")
    dataset.write(tmp_path / "data [b].safetensors")
    assert run("info", tmp_path / "data [b].safetensors") == 0
    out = capsys.readouterr().out
    assert "[/bold] [red]" in out
    assert "data [b].safetensors" in out
    folder = trained(tmp_path / "run [b]", {}, {"updates": 5}, dataset=collect(RandomWalk(), SMALL, 30, name="[/bold]"))
    assert run("info", folder) == 0
    assert "run [b]" in (out := capsys.readouterr().out)
    assert "[/bold]" in out
    twin = Path(shutil.copytree(folder, tmp_path / "[/b]"))
    assert run("evaluate", folder, twin, "--episodes", 1) == 0
    assert "[/b]" in capsys.readouterr().out


def test_a_sweep_nested_beyond_the_parser_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("seeds = " + "[" * 5000)
    with pytest.raises(ValueError, match=r"deep\.toml' is no TOML: it is nested too deeply"):
        Sweep.read(tmp_path / "deep.toml")
