"""Global settings of torch neither change results nor are changed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SMALL, Match, assert_same_outcome, small_learner, trained

from baselines import RandomWalk
from marl import Dataset, Learner, Policy, collect, collect_parallel, episode_returns, load_policies
from marl.environment import Environment
from marl.exchange.d3rlpy import from_mdp_arrays, mdp_arrays
from marl.training.rollout import collect_run
from rrm_env import evaluate

SMALLEST = 5e-324


@contextmanager
def switched(get: Callable[[], Any], put: Callable[[Any], object], value: Any) -> Iterator[None]:
    """Change a setting of the process, and restore it at the end."""
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    """Set torch's default device, and reset it at the end."""
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def flushing() -> Iterator[None]:
    """Treat denormal numbers as 0."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    """Turn warnings into errors, as ``python -W error`` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


HOSTILE: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "default dtype float64": lambda: switched(
        torch.get_default_dtype, torch.set_default_dtype, torch.float64
    ),
    "default dtype bfloat16": lambda: switched(
        torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16
    ),
    "default device meta": lambda: default_device("meta"),
    "with device meta": lambda: torch.device("meta"),
    "deterministic algorithms": lambda: switched(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, "error"
    ),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float32 matmul precision": lambda: switched(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "flushed denormal numbers": flushing,
    "no mkldnn": lambda: switched(
        lambda: torch.backends.mkldnn.enabled,
        lambda value: setattr(torch.backends.mkldnn, "enabled", value),
        False,
    ),
    "numpy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": warnings_are_errors,
    "two threads": lambda: switched(torch.get_num_threads, torch.set_num_threads, 2),
}


BACKENDS: Any = torch.backends  # whose types leave out what newer versions of torch have
if hasattr(BACKENDS, "fp32_precision"):  # since torch 2.9
    for label, backend, value in (
        ("one backend", BACKENDS.mkldnn.matmul, "bf16"),
        ("all backends", BACKENDS, "tf32"),
    ):
        HOSTILE[f"precision of {label}"] = partial(
            switched,
            partial(getattr, backend, "fp32_precision"),
            partial(setattr, backend, "fp32_precision"),
            value,
        )


def precisions() -> list[str]:
    """Precision of matrix products, in general and of each backend."""
    if not hasattr(BACKENDS, "fp32_precision"):
        return [torch.get_float32_matmul_precision()]
    return [of.fp32_precision for of in (BACKENDS, BACKENDS.mkldnn.matmul, BACKENDS.cuda.matmul)]


def state() -> dict[str, Any]:
    """All settings that `HOSTILE` changes."""
    return {
        "inference": torch.is_inference_mode_enabled(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "precision": precisions(),
        "anomaly": torch.is_anomaly_enabled(),
        "flushes": float(np.float64(SMALLEST) * np.float64(1)) == 0,
        "mkldnn": torch.backends.mkldnn.enabled,
        "numpy": np.geterr(),
        "threads": torch.get_num_threads(),
        "filters": list(warnings.filters),
        "torch generator": torch.get_rng_state().tolist(),
        "numpy generator": [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002 - Tianshou explores with it
        "hook": threading.excepthook,
    }


KINDS: dict[str, dict[str, Any]] = {
    "sac": {"algorithm": "sac"},
    "dqn": {"algorithm": "dqn", "paradigm": "ctde"},
    "bc": {"algorithm": "bc"},
    "iql": {"algorithm": "iql", "paradigm": "ctde", "observes": "all"},
    "online": {"algorithm": "sac", "paradigm": "i"},
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


@pytest.fixture(scope="module")
def expected(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs made under the default settings of torch."""
    folder = tmp_path_factory.mktemp("expected")
    return {kind: run_of(folder / kind, kind, dataset) for kind in KINDS}


def run_of(folder: Path, kind: str, dataset: Dataset) -> Path:
    """A run of one of `KINDS`."""
    return trained(folder, KINDS[kind], seeds=(0, 3), dataset=None if kind == "online" else dataset)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_training_is_bit_equal_and_leaves_everything_as_it_was(
    name: str, kind: str, dataset: Dataset, expected: dict[str, Path], tmp_path: Path
) -> None:
    with HOSTILE[name]():
        before = state()
        run = run_of(tmp_path / "run", kind, dataset)
        loaded = Policy.load(run)
        scores = evaluate(loaded, SMALL, 4).score
        after = state()
    assert after == before
    assert_same_outcome(run, expected[kind])
    np.testing.assert_array_equal(evaluate(loaded, SMALL, 4).score, scores)
    np.testing.assert_array_equal(evaluate(Policy.load(run), SMALL, 4).score, scores)


@pytest.mark.parametrize("name", HOSTILE)
def test_data_are_equal_and_everything_is_left_as_it_was(
    name: str, dataset: Dataset, expected: dict[str, Path], tmp_path: Path
) -> None:
    def work(folder: Path) -> list[Any]:
        dataset.write(folder / "data.safetensors")
        read = Dataset.read(folder / "data.safetensors")
        recorded = collect_run(expected["sac"], 60, seed=3, sample=True, environment=SMALL)
        outcomes = [
            read,
            recorded,
            collect(RandomWalk(), SMALL, 40),
            collect_parallel(Match, transitions=20),
        ]
        outcomes += [
            read.subset(20, seed=1),
            Dataset.mix([read, recorded], 30),
            from_mdp_arrays(mdp_arrays(read), SMALL),
        ]
        return [outcome.fingerprint() for outcome in outcomes]

    (alone := tmp_path / "alone").mkdir()
    prints = work(alone)
    with HOSTILE[name]():
        before = state()
        found = work(tmp_path)
        after = state()
    assert found == prints
    assert after == before


@pytest.mark.parametrize("name", HOSTILE)
def test_policies_act_alike(name: str, expected: dict[str, Path], tmp_path: Path) -> None:
    outside = precisions()
    (alone,) = load_policies(
        trained(
            tmp_path / "match", environment=Environment.of_factory(Match), training={"updates": 2}
        )
    )
    returns = episode_returns(alone, Match, 5)
    plain = Policy.load(expected["online"], sample=True)
    rates = evaluate(plain, SMALL, 5).ue_rates
    with HOSTILE[name]():
        inside = load_policies(tmp_path / "match")[0]
        assert episode_returns(inside, Match, 5) == returns
        assert episode_returns(alone, Match, 5) == returns
        np.testing.assert_array_equal(evaluate(plain, SMALL, 5).ue_rates, rates)
        begun_inside = Policy.load(expected["online"], sample=True)
        np.testing.assert_array_equal(evaluate(begun_inside, SMALL, 5).ue_rates, rates)
    np.testing.assert_array_equal(evaluate(begun_inside, SMALL, 5).ue_rates, rates)
    # A backend that took its precision from all backends takes it from there again.
    assert precisions() == outside


@pytest.mark.parametrize("name", HOSTILE)
def test_a_learner_of_ones_own_loop_learns_alike(name: str, dataset: Dataset) -> None:
    def learned() -> dict[str, torch.Tensor]:
        learner = Learner(small_learner(), dataset.team, [4])
        stored, size = dataset.transitions(), torch.tensor(len(dataset), device="cpu")
        first = torch.zeros(1, dtype=torch.int64, device="cpu")
        learner.fit_normaliser(stored.observation.unsqueeze(0), stored.reward.unsqueeze(0))
        for _ in range(3):
            learner.update_from(stored, size, first)
        return {name: tensor.clone() for name, tensor in learner.tensors().items()}

    plain = learned()
    with HOSTILE[name]():
        hostile = learned()
    for tensor_name, tensor in plain.items():
        assert torch.equal(hostile[tensor_name], tensor), tensor_name


def test_threads_that_train_at_once_leave_the_settings_of_the_process(
    dataset: Dataset, expected: dict[str, Path], tmp_path: Path
) -> None:
    """The second training starts and ends while the first one runs."""
    first_is_in, second_is_out, failures = (
        threading.Event(),
        threading.Event(),
        list[BaseException](),
    )

    def report(updates: int, record: dict[str, Any]) -> None:
        first_is_in.set()
        assert second_is_out.wait(60)

    def work() -> None:
        try:
            trained(tmp_path / "first", KINDS["sac"], seeds=(0, 3), dataset=dataset, report=report)
        except BaseException as error:
            failures.append(error)

    with HOSTILE["default dtype float64"]():
        thread = threading.Thread(target=work)
        thread.start()
        assert first_is_in.wait(60)
        run_of(tmp_path / "second", "sac", dataset)
        second_is_out.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert not failures
    for name in ("first", "second"):
        assert_same_outcome(tmp_path / name, expected["sac"])


def test_what_cannot_be_set_aside_is_refused_by_name(dataset: Dataset, tmp_path: Path) -> None:
    def inside(value: torch.Tensor) -> torch.Tensor:
        with pytest.raises(
            RuntimeError,
            match=r"inside a transformation of torch.func \(vmap, grad\): call it outside",
        ):
            trained(tmp_path / "run", dataset=dataset)
        return value

    torch.func.vmap(inside)(torch.zeros(2))
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    with (
        fake.FakeTensorMode(),
        pytest.raises(
            RuntimeError, match="torch makes FakeTensor instead of tensors: call it outside"
        ),
    ):
        trained(tmp_path / "run", dataset=dataset)
    assert not (tmp_path / "run").exists()
