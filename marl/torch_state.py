"""The settings of torch under which this package computes, whatever a program has chosen.

All public functions that compute with torch run under `known_torch`, which changes the settings
that differ on entry and restores them on exit. Functions that a caller passes in, such as
``report``, run under the same settings.

For the calling thread, gradients can be recorded, inference mode and autocast are off, tensors are
made on the CPU unless a device is named, and subnormal numbers are kept. For the whole process, new
tensors are float32, matrix products have full float32 precision, and anomaly detection and torch's
deterministic algorithms are off (training on a CPU is reproducible to the bit without them).

The number of torch threads is left to the caller. Global random generators are neither read nor
advanced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

_AUTOCAST_DEVICES = ("cpu", "cuda")
_SMALLEST_SUBNORMAL = 5e-324


class _Setting(NamedTuple):
    """A setting of the whole process: how to read and change it, and the value that is needed."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    needed: Any


def _precision_of(matmul: Any) -> _Setting:
    """The precision of a backend's matrix products."""

    def put(value: str) -> None:
        # Without a value of its own ("none") the backend takes that of all backends. What it took
        # from there before, it is to take from there again.
        matmul.fp32_precision = "none"
        if matmul.fp32_precision != value:
            matmul.fp32_precision = value

    return _Setting(lambda: matmul.fp32_precision, put, "ieee")


def _precision() -> list[_Setting]:
    """The precision of matrix products.

    Torch 2.9 has one setting per backend, which must not be mixed with the older global setting.
    """
    backends = torch.backends.mkldnn, torch.backends.cuda
    if all(hasattr(getattr(backend, "matmul", None), "fp32_precision") for backend in backends):
        return [_precision_of(backend.matmul) for backend in backends]
    return [
        _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")
    ]


_SETTINGS = [
    _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda modes: torch.autograd.set_detect_anomaly(*modes),
        (False, True),
    ),
    *_precision(),
]


class _Process:
    """A context that holds the process's settings until the last thread has left it."""

    def __init__(self) -> None:
        self.users = 0
        self._lock = threading.Lock()
        self._before: list[tuple[_Setting, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self.users == 0:
                found = [(setting, setting.get()) for setting in _SETTINGS]
                self._before = [(of, value) for of, value in found if value != of.needed]
                for setting, _ in self._before:
                    setting.put(setting.needed)
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.users -= 1
            if self.users == 0:
                for setting, value in self._before:
                    setting.put(value)


_PROCESS = _Process()


def known_torch(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it runs under the settings described at the top of this module.

    Raises:
        RuntimeError: the function is called inside ``torch.func.vmap`` or ``grad``, or where torch
            makes fake tensors.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if _PROCESS.users == 0 and _is_known():
            return function(*args, **kwargs)
        with _known(function.__qualname__):
            return function(*args, **kwargs)

    return wrapped


def _is_known() -> bool:
    """Whether all settings are as needed; fast, since every decision of a policy asks."""
    probe = torch.empty(0)
    return (
        type(probe) is torch.Tensor
        and probe.dtype == torch.float32
        and probe.device.type == "cpu"
        and not probe.is_inference()
        and torch.is_grad_enabled()
        and not any(torch.is_autocast_enabled(kind) for kind in _AUTOCAST_DEVICES)
        and torch.get_deterministic_debug_mode() == 0
        and not torch.is_anomaly_enabled()
        and _multiplies_precisely()
        and not _flushes()
        and not _is_transformed()
    )


@contextmanager
def _known(name: str) -> Iterator[None]:
    """A context that changes the settings that differ, and restores them at its end."""
    if _is_transformed():
        where = "inside a transformation of torch.func (vmap, grad)"
        raise RuntimeError(f"{name} cannot run {where}: call it outside")
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if _flushes():
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        if (made := type(torch.empty(0))) is not torch.Tensor:
            where = f"where torch makes {made.__name__} instead of tensors"
            raise RuntimeError(f"{name} cannot run {where}: call it outside")
        stack.enter_context(_PROCESS)
        yield


def _multiplies_precisely() -> bool:
    """Whether matrix products have full float32 precision."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # the precision was set per backend
        return False


def _flushes() -> bool:
    """Whether the processor replaces subnormal numbers by 0; torch has no function that tells."""
    return _SMALLEST_SUBNORMAL * 1.0 == 0.0


def _is_transformed() -> bool:
    """Whether the calling code runs inside a transformation of ``torch.func``."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def require_device(device: str) -> None:
    """Raise ValueError if torch does not find the device ``cpu``, ``cuda`` or ``cuda:N``."""
    count = torch.cuda.device_count()
    if device != "cpu" and int(device.partition(":")[2] or 0) >= count:
        found = f"{count} CUDA devices" if count else "no CUDA device"
        raise ValueError(
            f"device = {device!r} is not available: torch {torch.__version__} finds {found}"
        )
