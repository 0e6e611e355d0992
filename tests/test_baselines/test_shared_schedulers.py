"""One scheduler for several networks, also from threads, and one network for several threads."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from baselines import REGISTRY, TDM, NetworkTDM
from rrm_env import Network, RRMConfig, evaluate, parallel_env
from rrm_env.threads import Threads

CONFIG = RRMConfig(n_aps=3, n_ues=9, n_candidates=2, episode_length=12)


def decided(scheduler: Any, network: Network) -> NDArray[np.int64]:
    """One step's decision, taken."""
    served: NDArray[np.int64] = scheduler.schedule(network)
    network.step(served)
    return served


def begun(scheduler: Any, seed: int, num_envs: int) -> Network:
    """A network in whose episodes the scheduler begins."""
    network = Network(CONFIG, num_envs)
    network.reset(seed)
    scheduler.reset(network)
    return network


@pytest.mark.parametrize("name", REGISTRY)
def test_one_scheduler_decides_for_two_networks_as_two_schedulers_would(name: str) -> None:
    shared, apart = REGISTRY[name](), (REGISTRY[name](), REGISTRY[name]())
    together = [begun(shared, 5 * k, 2 + k) for k in range(2)]
    alone = [begun(apart[k], 5 * k, 2 + k) for k in range(2)]
    for _ in range(CONFIG.episode_length):
        for k in range(2):
            np.testing.assert_array_equal(decided(shared, together[k]), decided(apart[k], alone[k]))


@pytest.mark.parametrize("name", REGISTRY)
def test_one_scheduler_evaluated_in_four_threads_scores_as_alone(name: str) -> None:
    shared, scores = REGISTRY[name](), {}
    expected = {
        k: evaluate(REGISTRY[name](), CONFIG, 2 + k, seed=k).score.tolist() for k in range(4)
    }

    def work(k: int) -> None:
        scores[k] = evaluate(shared, CONFIG, 2 + k, seed=k).score.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores == expected


@pytest.mark.parametrize("kind", [TDM, NetworkTDM])
def test_one_scheduler_acts_in_two_environments_as_two_schedulers_would(
    kind: Callable[[], Any],
) -> None:
    shared, apart = kind(), (kind(), kind())
    envs = [[parallel_env(config=CONFIG) for _ in range(2)] for _ in range(2)]
    for pair in envs:
        for k, env in enumerate(pair):
            env.reset(seed=k)
    for _ in range(CONFIG.episode_length):
        for k in range(2):
            chosen, expected = shared.act(envs[0][k]), apart[k].act(envs[1][k])
            assert chosen == expected
            envs[0][k].step(chosen)
            envs[1][k].step(expected)


@pytest.mark.parametrize(
    "twin_of",
    [copy.deepcopy, lambda scheduler: pickle.loads(pickle.dumps(scheduler))],
    ids=["deepcopy", "pickle"],
)
def test_a_scheduler_travels_without_what_it_remembers(twin_of: Callable[[Any], Any]) -> None:
    scheduler = TDM()
    begun(scheduler, 0, 1)
    twin = twin_of(scheduler)
    assert evaluate(twin, CONFIG, 2).score.tolist() == evaluate(TDM(), CONFIG, 2).score.tolist()


def test_a_scheduler_forgets_networks_that_are_gone() -> None:
    scheduler = TDM()
    network = begun(scheduler, 0, 1)
    assert len(scheduler._last_served) == 1
    del network
    gc.collect()
    assert len(scheduler._last_served) == 0


def test_a_scheduler_that_was_not_reset_for_a_network_says_so() -> None:
    scheduler = TDM()
    begun(scheduler, 0, 1)
    (other := Network(CONFIG)).reset(0)
    with pytest.raises(
        RuntimeError,
        match=r"TDM does not know this network: call reset\(network\) after Network.reset",
    ):
        scheduler.schedule(other)


@pytest.mark.parametrize("count", [1, 2])
def test_a_second_thread_in_a_running_job_is_refused(count: int) -> None:
    shared, started, go_on = Threads(count), threading.Event(), threading.Event()

    def job(thread: int, start: int, stop: int) -> tuple[int, int]:
        started.set()
        assert go_on.wait(10)
        return start, stop

    results: list[Any] = []
    first = threading.Thread(target=lambda: results.extend(shared.run(job, 4)))
    first.start()
    assert started.wait(10)
    try:
        with pytest.raises(
            RuntimeError,
            match="another thread is in this network: give each thread a Network of its own",
        ):
            shared.run(lambda *_: None, 4)
    finally:
        go_on.set()
        first.join()
    assert (results[0][0], results[-1][1]) == (0, 4)
    assert len(shared.run(job, 4)) == count
