"""Engines: where independent tasks run, which is this process, local cores or a Ray cluster."""

from __future__ import annotations

from marl.engines.base import Engine, Listen, Serial


def open_engine(
    kind: str | None,
    workers: int | None = None,
    address: str | None = None,
    listen: Listen | None = None,
) -> Engine:
    """The engine with the options of the same names of a command.

    Args:
        kind: ``"local"``, ``"ray"``, or None for this process.
        workers: number of tasks at once; the engine's default where None.
        address: address of the Ray cluster.
        listen: called with every event.

    Raises:
        ValueError: the options do not go together, workers cannot start, Ray is not installed, or
            no cluster answers.
    """
    if address is not None and kind != "ray":
        raise ValueError(f"address = {address!r} is a Ray cluster's and needs engine = 'ray'")
    if workers is not None and kind is None:
        raise ValueError(f"workers = {workers} needs engine = 'local' or 'ray'")
    if kind == "ray":
        from marl.engines.ray import Ray

        return Ray(address, workers, listen)
    if kind == "local":
        from marl.engines.local import Local

        return Local(workers, listen)
    return Serial(listen)
