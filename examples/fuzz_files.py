"""Valid files of every kind that the package reads, how each is loaded, and forgeries that only validation behind the checksum refuses."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, get_args

import fuzz_mutations as mutations
import numpy as np
import torch
from fuzz_mutations import Mutation, edit_json
from safetensors.torch import load, save
from torch import Tensor

from baselines import ITLinQ, RandomWalk
from marl import Dataset, LearnerConfig, TrainingConfig, collect, load_policies, train
from marl.card import behaviours, dataset_card
from marl.checkpoint import load_tensors, read_log
from marl.config import Algorithm, Paradigm
from marl.curves import learning_curve
from marl.exchange import MDP_ARRAYS, from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.learner import Learner
from marl.minari_datasets import from_minari, to_minari
from marl.paradigms import Team
from marl.policy import describe
from marl.replay import Replay
from marl.tensor_files import checksum
from rrm_env import RRMConfig, rrm_v0

SMALL = RRMConfig(n_aps=2, n_ues=6, n_candidates=2, episode_length=10)
TALKING = RRMConfig(n_aps=3, n_ues=5, n_candidates=1, episode_length=7, messages="best", turns="by_load", measurements="large_scale")

Content = dict[str, Any]
"""What a load gave, by name: texts, numbers and lists of numbers, and tensors; equal contents are equal in all of them."""


@dataclass(frozen=True)
class Kind:
    """Files of one kind."""

    load: Callable[[Path], Content]
    """From the folder that `Original.folder` became; refuses by an error that names it."""
    mutations: Mapping[str, Mutation]
    forged: tuple[str, ...] = ()
    """Mutations that make other, valid content: it may load as such. Behind any other mutation only equal content may."""
    names: tuple[str, ...] = ()
    """What errors may call the file by, other than its path."""
    weight: int = 1
    """Its share of all files."""


@dataclass(frozen=True)
class Original:
    """A valid file."""

    kind: str
    folder: Path
    """Everything that is loaded together with it."""
    file: str
    """Its place there."""
    content: bytes = field(repr=False)


def same(one: Any, other: Any) -> bool:
    """Equality to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and bool(one == other)


# --- Loading, and using what was loaded ---


def use_dataset(dataset: Dataset) -> Content:
    """Everything that is done with a dataset."""
    dataset_card(dataset)
    assert sum(behaviour.transitions for behaviour in behaviours(dataset)) == len(dataset)
    assert torch.isfinite(dataset.transitions().observation).all()
    assert dataset.subset(1).team == dataset.team
    return {"fingerprint": dataset.fingerprint()}


def load_dataset(folder: Path) -> Content:
    """A dataset's file."""
    return use_dataset(Dataset.read(folder / "data.safetensors"))


def load_run(folder: Path) -> Content:
    """What a run's folder says it is, its policies and how they act, all that training goes on from, and its log."""
    run = folder / "run"
    description = describe(run)
    policies = load_policies(run)
    acting = []
    for policy in policies:
        team, generator = policy.team, np.random.default_rng(0)
        mask = (generator.random((16, team.n_agents, team.n_actions)) < 0.5).astype(np.uint8)
        mask[..., -1] = 1
        chosen = policy.actions(generator.normal(size=(16, team.n_agents, team.n_features)), mask)
        assert np.take_along_axis(mask, chosen[..., None], -1).all(), "illegal action"
        acting.append(chosen.tolist())
    tensors, replay = load_tensors(run, with_replay=description["data"] is None)
    config, team = LearnerConfig.from_dict(description["learner"]), Team(**description["team"])
    learner = Learner(config, team, description["seeds"])
    learner.load(tensors)
    if replay is not None:
        Replay(team, len(learner.seeds), config.replay_capacity, learner.device).load(replay)
    return {"config": config, "scheme": description["scheme"], "acting": acting, "tensors": tensors, "replay": replay or {}}


def load_log(folder: Path) -> Content:
    """A run, and its log."""
    content = load_run(folder)
    learning_curve(folder / "run")
    return {**content, "log": list(read_log(folder / "run"))}


def load_arrays(folder: Path) -> Content:
    """d3rlpy's arrays."""
    return use_dataset(from_mdp_arrays(read_mdp_arrays(folder / "data.npz"), SMALL))


def load_minari(folder: Path) -> Content:
    """A Minari dataset."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    return use_dataset(from_minari("fuzz-v0"))


# --- Forgeries ---


def _signed_dataset(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], description: str) -> bytes:
    order = [name for name in Dataset.__dataclass_fields__ if name in tensors]
    digest = checksum({name: tensors[name] for name in order}, description)
    return save(dict(tensors), {**metadata, "description": description, "checksum": digest})


def _metadata(content: bytes) -> dict[str, str]:
    metadata: dict[str, str] = mutations.split_header(content)[0].get("__metadata__", {})
    return metadata


def forge_description(rng: Random, content: bytes, _: bytes) -> bytes:
    """A dataset that describes itself otherwise, under a checksum that fits."""
    metadata = _metadata(content)
    return _signed_dataset(load(content), metadata, edit_json(rng, json.loads(metadata["description"])))


def edit_value(rng: Random, tensors: dict[str, Tensor]) -> None:
    """Change one of the tensors: a value, its shape, its type, or whether it is there."""
    name = rng.choice([*tensors])
    tensor = tensors[name].clone()
    what = rng.randrange(6)
    if what < 3 and tensor.numel():
        place = rng.randrange(tensor.numel())
        values = (torch.nan, torch.inf, -torch.inf, 3e38, -1e30, 1e-45, 0.5) if tensor.is_floating_point() else (0, 1, 2, 3, 7, 100, 127)
        value = rng.choice(values if tensor.dtype == torch.uint8 else (*values, -1, -100))
        if tensor.dtype in (torch.int32, torch.int64):
            value = rng.choice((value, 2**31 - 1, -(2**31)))
        tensor.reshape(-1)[place] = value
    elif what == 3:
        shorter = [tensor[:0], tensor[:1], torch.cat([tensor, tensor])] if tensor.ndim else []
        tensor = rng.choice((*shorter, tensor.unsqueeze(-1), tensor.flatten()))
    elif what == 4:
        tensor = tensor.to(rng.choice((torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)))
    else:
        del tensors[name]
        return
    tensors[name] = tensor.contiguous()


def forge_tensors(rng: Random, content: bytes, _: bytes) -> bytes:
    """A dataset with values, shapes or types that no recording has, under a checksum that fits."""
    tensors, metadata = load(content), _metadata(content)
    edit_value(rng, tensors)
    return _signed_dataset(tensors, metadata, metadata["description"])


def _signed_run(tensors: Mapping[str, Tensor], text: str) -> bytes:
    return save(dict(tensors), {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)})


def _text_of(content: bytes) -> str:
    return _metadata(content)["description"]


def forge_checkpoint(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint with tensors that no training leaves, under a checksum that fits."""
    tensors = load(content)
    edit_value(rng, tensors)
    return _signed_run(tensors, _text_of(content))


def forge_owner(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint that says it is of another run, under a checksum that fits."""
    return _signed_run(load(content), edit_json(rng, json.loads(_text_of(content))))


def unsigned(rng: Random, content: bytes, _: bytes) -> bytes:
    """A checkpoint as older versions wrote it, without a checksum, with a tensor changed."""
    tensors = load(content)
    edit_value(rng, tensors)
    return save(tensors)


def forge_arrays(rng: Random, content: bytes, _: bytes) -> bytes:
    """Arrays of other values, shapes and types, objects among them, compressed beyond measure, or under headers that lie."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice([*arrays])
    array, buffer = arrays[name], io.BytesIO()
    what = rng.randrange(7)
    if what == 0:
        kinds = ("f8", "f2", "c16", "U5", "S3", "O", "M8[s]", "V8", "i1", "u8", "?", "i4,f4")
        arrays[name] = np.resize(array, array.shape).astype(rng.choice(kinds), casting="unsafe") if array.size else array
    elif what == 1:
        arrays[name] = rng.choice((array[:0], array[:1], array[0], array.T, array[None], np.float32(1)))
    elif what == 2:
        arrays[name] = array.astype(np.float64)
        arrays[name].flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -1, 1e300, 0.5, 2**53, 1e9))
    elif what == 3:
        arrays[name] = np.array([mutations.Harmful()] * len(array), object)
    elif what == 4:
        arrays[rng.choice((name, "more"))] = np.zeros((rng.choice((1, 3)) * 2**20, 24), np.float32)
    if what == 5:
        header = rng.choice(
            (
                {"descr": "<f4", "fortran_order": False, "shape": (10**12, 24)},
                {"descr": "<f4", "fortran_order": True, "shape": (-1,)},
                {"descr": "|O", "fortran_order": False, "shape": (3,)},
                {"descr": [("a", "<f4", (10**9,))], "fortran_order": False, "shape": (1,)},
            )
        )
        np.lib.format.write_array_header_2_0(buffer, header)
        payload = buffer.getvalue() + bytes(8)
        if rng.random() < 0.3:
            payload = b"\x93NUMPY\x01\x00\xf0\x0f" + (b"(" * 4079 + b"\n")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, value in arrays.items():
                inner = io.BytesIO()
                np.save(inner, value)
                archive.writestr(f"{key}.npy", payload if key == name else inner.getvalue())
        return buffer.getvalue()
    (np.savez_compressed if what == 4 else np.savez)(buffer, **arrays)
    changed = bytearray(buffer.getvalue())
    if what == 6:
        for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):  # flags and method of an entry, in both of its places
            changed[changed.find(mark) + offset + rng.choice((0, 2))] = rng.choice((1, 9, 12, 14, 95))
    return bytes(changed)


def forge_minari(rng: Random, content: bytes, _: bytes) -> bytes:
    """An HDF5 file with arrays of other values, types and sizes, or links to elsewhere."""
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "a") as file:
        episode = file[rng.choice([*file])]
        names = ["observations", "actions", "rewards", "terminations", "truncations", "infos/action_mask", "infos/behaviour", "infos/cut"]
        name = rng.choice([name for name in names if name in episode])
        values = episode[name][()]
        del episode[name]
        what = rng.randrange(7)
        if what == 0:
            values.flat[rng.randrange(values.size)] = rng.choice((0, 1, 3, 100))
        if what == 1:
            values = rng.choice((values[:0], values[:-1], values.ravel(), values[None], np.array(3)))
        if what == 2:
            values = values.astype(rng.choice(("f8", "f2", "i1", "S3", "c16")))
        if what < 3:
            episode[name] = values
        elif what == 3:
            episode[name] = h5py.ExternalLink("/etc/passwd", "/a")
        elif what == 4:
            episode[name] = h5py.SoftLink(rng.choice(("/", "/missing", f"{episode.name}/{name}")))
        elif what == 5:
            episode.create_dataset(name, (rng.choice((10**7, 10**12)), 50), values.dtype, chunks=(1000, 50))
        else:
            episode[name] = rng.choice((file, episode))
    return buffer.getvalue()


def call_something(rng: Random, content: bytes, _: bytes) -> bytes:
    """Minari metadata that would have code called to make the environment."""
    described = json.loads(content)
    described.pop(rng.choice(("observation_space", "action_space", "rrm_env", "data_format")), None)
    spec = json.loads(described["env_spec"]) if "env_spec" in described else {"id": "rrm/rrm-v0", "additional_wrappers": []}
    spec |= {"entry_point": "os:mkdir", "kwargs": rng.choice(({"path": mutations.CANARY}, {"n_aps": 10**6}, {"csi_delay": 1000}, [], None))}
    return json.dumps({**described, "env_spec": json.dumps(spec)}).encode()


_TENSOR_FILE = {**mutations.BYTES, **mutations.HEADERS}
KINDS: dict[str, Kind] = {
    "dataset": Kind(
        load_dataset,
        {**_TENSOR_FILE, "description forged": forge_description, "tensors forged": forge_tensors},
        ("description forged", "tensors forged"),
        weight=44,
    ),
    "checkpoint": Kind(
        load_run,
        {**_TENSOR_FILE, "tensors forged": forge_checkpoint, "owner forged": forge_owner, "unsigned": unsigned},
        ("tensors forged", "unsigned"),
        ("checkpoint: ",),
        weight=36,
    ),
    "replay": Kind(
        load_run,
        {**_TENSOR_FILE, "tensors forged": forge_checkpoint, "unsigned": unsigned},
        ("tensors forged", "unsigned"),
        ("replay: ",),
        weight=8,
    ),
    "config.json": Kind(load_run, {**mutations.BYTES, **mutations.JSON}, weight=10),
    "log.jsonl": Kind(load_log, {**mutations.BYTES}, (*mutations.BYTES,), weight=3),
    "arrays.npz": Kind(
        load_arrays,
        {**mutations.BYTES, "arrays forged": forge_arrays},
        ("arrays forged",),
        (*MDP_ARRAYS, *Dataset.__dataclass_fields__),
        weight=5,
    ),
    "Minari, HDF5": Kind(load_minari, {**mutations.BYTES, "arrays forged": forge_minari}, names=("'fuzz-v0'",), weight=2),
    "Minari, JSON": Kind(
        load_minari,
        {**mutations.BYTES, **mutations.JSON, "code named": call_something},
        (*mutations.BYTES, *mutations.JSON, "code named"),
        ("'fuzz-v0'",),
        weight=2,
    ),
}
"""Everything that the package loads. Logs and Minari's own metadata have no checksum, so there other content may load where it is valid."""


# --- Originals ---


def build(folder: Path) -> list[Original]:
    """Small valid files of every kind, in folders of their own."""
    recorded = collect(RandomWalk(silence=True), SMALL, 45, seed=1)
    mixed = Dataset.mix([recorded, collect(ITLinQ(), SMALL, 30, seed=2)], 20)
    datasets = {
        "network": recorded,
        "mixed": mixed,
        "talking": collect(RandomWalk(), TALKING, 12),
        "parallel": Dataset(**recorded.tensors(), metadata={"environment": {"kind": "parallel", "name": "some_v0"}}),
        "one row": recorded.subset(1),
    }
    originals = []
    for name, dataset in datasets.items():
        where = folder / f"dataset {name}"
        where.mkdir()
        dataset.write(where / "data.safetensors")
        originals.append(_original("dataset", where, "data.safetensors"))
    for where, files in _runs(folder, recorded).items():
        originals += [_original(kind, where, file) for kind, file in files.items()]
    where = folder / "arrays"
    where.mkdir()
    np.savez(where / "data.npz", **mdp_arrays(recorded))  # type: ignore[arg-type] # numpy's stub takes the first array for a flag
    originals.append(_original("arrays.npz", where, "data.npz"))
    for name in ("network", "parallel"):
        where = folder / f"minari {name}"
        os.environ["MINARI_DATASETS_PATH"] = str(where)
        to_minari(datasets[name], "fuzz-v0")
        originals += [_original(f"Minari, {kind}", where, f"fuzz-v0/data/{file}") for kind, file in _MINARI_FILES.items()]
    return originals


_MINARI_FILES = {"HDF5": "main_data.hdf5", "JSON": "metadata.json"}


def _original(kind: str, folder: Path, file: str) -> Original:
    return Original(kind, folder, file, (folder / file).read_bytes())


def _runs(folder: Path, dataset: Dataset) -> dict[Path, dict[str, str]]:
    """Runs of every scheme, offline and online; which of each one's files are of which kind."""
    tiny: dict[str, Any] = {"hidden_sizes": (4,), "batch_size": 4, "replay_capacity": 20, "learning_starts": 8}
    training = TrainingConfig(updates=2, log_every=1, evaluate_every=2, checkpoint_every=2, evaluation_episodes=1, envs_per_seed=2)
    schemes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        f"{paradigm} {algorithm}": ({"paradigm": paradigm, "algorithm": algorithm}, {"dataset": dataset})
        for paradigm in get_args(Paradigm)
        for algorithm in get_args(Algorithm)
    }
    schemes |= {
        "shared": ({"paradigm": "ctde", "share_parameters": True}, {"dataset": dataset, "seeds": (0, 5)}),
        "common": ({"common_features": 2, "hidden_sizes": ()}, {"dataset": dataset}),
        "online": ({"algorithm": "dqn"}, {"network": SMALL, "seeds": (3, 1)}),
        "online parallel": ({"paradigm": "i"}, {"make": lambda: rrm_v0.parallel_env(**SMALL.as_dict())}),
    }
    made = {}
    for name, (learner, options) in schemes.items():
        where = folder / f"run {name}"
        where.mkdir()
        run = train(where / "run", LearnerConfig(**{**tiny, **learner}), training, **options)
        files = {"checkpoint": "checkpoint.safetensors", "config.json": "config.json", "log.jsonl": "log.jsonl"}
        if "online" in name:
            files["replay"] = next(run.glob("replay-*")).name
        made[where] = {kind: f"run/{file}" for kind, file in files.items()}
    return made
