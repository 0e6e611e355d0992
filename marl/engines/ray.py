"""The engine on a Ray cluster. Ray is an optional dependency that only this module needs."""

from __future__ import annotations

import os
import socket
from collections.abc import Hashable
from typing import Any

from marl.engines.base import (
    ATTEMPTS,
    LOOK_S,
    MAX_WORKERS,
    Engine,
    Listen,
    LostError,
    Returned,
    Task,
    call_afar,
)
from rrm_env.checks import bounded_integer
from rrm_env.limits import usable_cores
from rrm_env.optional import required

_ANSWER_S = 5.0
"""Seconds to wait for an answer from the cluster's address."""


class Ray(Engine):
    """Runs tasks on a Ray cluster, each on one core, or on one core and one GPU.

    Every node must have this package installed.

    Args:
        address: the cluster's address, such as 10.0.0.1:6379, or "auto" for the cluster that this
            machine belongs to. Where None: the cluster that is connected already, else that of the
            environment variable RAY_ADDRESS, else one of this machine alone, which ends with the
            engine.
        workers: number of tasks at once; where None, twice the number of the cluster's cores, so
            that no core waits for this process.
        listen, attempts: as for every `Engine`.

    Raises:
        ValueError: Ray is not installed, or no cluster answers.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        listen: Listen | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        super().__init__(listen, attempts)
        if workers is not None:
            workers = bounded_integer("workers", workers, MAX_WORKERS)
        self._workers = workers
        self._ray = _imported()
        self._owns = not self._ray.is_initialized()
        if self._owns:
            self._connect(address)
        self._call: Any = self._ray.remote(max_retries=0, num_cpus=1)(call_afar)
        self._running: set[Hashable] = set()

    def _connect(self, address: str | None) -> None:
        """Connect to the cluster, or start one on this machine."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            options |= {"num_cpus": self._workers or usable_cores(), "include_dashboard": False}
        else:
            _require_answer(address)
        try:
            self._ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"address = {address!r}: no Ray cluster there: {_first_line(error)}"
            ) from None

    def _submit(self, task: Task) -> Hashable | None:
        resources = self._ray.cluster_resources()
        if len(self._running) >= (self._workers or max(1, int(2 * resources.get("CPU", 0)))):
            return None
        if task.gpu and resources.get("GPU", 0) < 1:
            raise ValueError(f"{task.name} needs a GPU, and the Ray cluster has none")
        call = self._call.options(num_gpus=int(task.gpu), name=task.name)
        handle: Hashable = call.remote(task.function, task.arguments)
        self._running.add(handle)
        return handle

    def _finished(self, handles: list[Hashable]) -> list[Hashable]:
        done: list[Hashable] = self._ray.wait(handles, num_returns=1, timeout=LOOK_S)[0]
        return done

    def _result(self, handle: Hashable) -> Returned:
        self._running.discard(handle)
        errors = self._ray.exceptions
        permanent = (
            errors.RayTaskError,
            errors.RuntimeEnvSetupError,
            errors.TaskUnschedulableError,
        )
        try:
            returned: Returned = self._ray.get(handle)
        except permanent as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ValueError(
                f"a node of the Ray cluster cannot run this: {reason}; "
                "every node needs the same packages"
            ) from None
        except errors.RayError as error:
            sentence = _first_line(error).partition(". ")[0]
            raise LostError(f"{type(error).__name__}: {sentence}") from None
        return returned

    def _abandon(self, handles: list[Hashable]) -> None:
        for handle in handles:
            self._running.discard(handle)
            self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Abandon running tasks, and disconnect from the cluster if this engine connected to it."""
        if self._ray.is_initialized():
            self._abandon(list(self._running))
            if self._owns:
                self._ray.shutdown()


def _imported() -> Any:
    return required("engine = 'ray' needs", "ray", extra="ray")


def _require_answer(address: str) -> None:
    """Check that something listens at the address: Ray itself would try for a minute.

    Raises:
        ValueError: it is no address, or nothing answers there.
    """
    if address == "auto":
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"address must be HOST:PORT, ray://HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"address = {address!r}: no Ray cluster answers there: {error}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
