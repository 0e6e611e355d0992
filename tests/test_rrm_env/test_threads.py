"""The thread pool: every part once and in order, errors raised, and threads of its own per owner.

Threads end with their owner; copies and forked processes start others.
"""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from rrm_env import Network, RRMConfig
from rrm_env.threads import Threads


def parts(threads: Threads, size: int) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = threads.run(
        lambda index, start, stop: (index, start, stop), size
    )
    return found


def started_since(before: set[threading.Thread]) -> set[threading.Thread]:
    """Helpers alive now that are not among those before; others may still be on their way out."""
    return {thread for thread in threading.enumerate() if "_help" in thread.name} - before


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_parts_cover_the_range_once_and_come_in_order(count: int, size: int) -> None:
    threads = Threads(count)
    for _ in range(20):
        found = parts(threads, size)
        assert [index for index, _, _ in found] == list(range(count))
        assert [k for _, start, stop in found for k in range(start, stop)] == list(range(size))


def test_parts_run_at_the_same_time() -> None:
    threads, barrier = Threads(3), threading.Barrier(3, timeout=20)
    assert len(threads.run(lambda *_: barrier.wait(), 3)) == 3


def test_share_moves_towards_whoever_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = threading.local()  # the machine's own would also count what other programs take
    now = SimpleNamespace(perf_counter=lambda: getattr(clock, "now", 0.0))
    monkeypatch.setattr("rrm_env.threads.time", now)

    def job(index: int, start: int, stop: int) -> int:
        clock.now = (stop - start) * (2e-5 if index else 1e-5)
        return stop - start

    threads = Threads(2)
    for _ in range(100):
        clock.now = 0.0
        first, second = threads.run(job, 1000)
    assert first == pytest.approx(2 * second, rel=0.1)  # the caller is twice as fast


@pytest.mark.parametrize("failing", [0, 1])
def test_error_of_any_thread_is_raised_and_the_pool_goes_on(failing: int) -> None:
    def job(index: int, start: int, stop: int) -> None:
        if index == failing:
            raise ArithmeticError(f"part {index}")

    threads = Threads(2)
    with pytest.raises(ArithmeticError, match=f"part {failing}"):
        threads.run(job, 10)
    assert len(parts(threads, 10)) == 2


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="Windows cannot send a signal to one thread"
)
def test_interruption_while_waiting_leaves_nothing_for_the_next_run() -> None:
    def job(index: int, start: int, stop: int) -> str:
        if index == 1:
            time.sleep(0.2)  # meanwhile the caller ends its part and waits
            # Ctrl-C, too, goes to the main thread.
            signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)
            time.sleep(0.2)
        return "stale"

    threads = Threads(2)
    parts(threads, 10)
    # Jobs that a shell runs in the background ignore the signal.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.run(job, 10)
    finally:
        signal.signal(signal.SIGINT, inherited)
    found = parts(threads, 10)
    assert [index for index, _, _ in found] == [0, 1]
    assert [k for _, start, stop in found for k in range(start, stop)] == list(range(10))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_interrupted_step_ends_the_episode_and_a_reset_starts_afresh(
    num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, twin = (Network(RRMConfig(), 8, num_threads) for _ in range(2))
    network.reset(0)
    run = network._threads.run

    def interrupted(*arguments: Any) -> None:
        run(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network._threads, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.step_actions(np.zeros((8, 4), int))
    with pytest.raises(RuntimeError, match="no episode"):
        network.step_actions(np.zeros((8, 4), int))
    network.reset(5)
    twin.reset(5)
    assert np.array_equal(
        network.step_actions(np.zeros((8, 4), int))[0], twin.step_actions(np.zeros((8, 4), int))[0]
    )


def test_helpers_end_with_their_network_and_do_not_keep_it_alive() -> None:
    before = set(threading.enumerate())
    network = Network(RRMConfig(), 8, num_threads=2)
    network.reset(0)
    (helper,) = started_since(before)
    del network
    gc.collect()
    helper.join(timeout=20)
    assert not helper.is_alive()


@pytest.mark.parametrize(
    "twin_of",
    [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))],
    ids=["deepcopy", "pickle"],
)
def test_copies_start_helpers_of_their_own(twin_of: Callable[[Network], Network]) -> None:
    network = Network(RRMConfig(), 8, num_threads=2)
    network.reset(0)
    before = set(threading.enumerate())
    twin = twin_of(network)
    assert not started_since(before)
    actions = np.zeros((8, 4), int)
    assert np.array_equal(twin.step_actions(actions)[0], network.step_actions(actions)[0])
    assert len(started_since(before)) == 1


def _forked(network: Network, results: multiprocessing.queues.Queue[float]) -> None:
    network.step_actions(np.zeros((8, 4), int))
    results.put(float(network.gain.sum()))


# Python >= 3.12 warns of any fork in a process with threads; the test shows that it works.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_process_starts_helpers_of_its_own() -> None:
    network = Network(RRMConfig(), 8, num_threads=2)
    network.reset(0)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_forked, args=(network, results))
    child.start()
    found = results.get(timeout=60)
    child.join(60)
    network.step_actions(np.zeros((8, 4), int))
    assert found == float(network.gain.sum())
