"""The measurements of large_networks.py, one function per kind of row."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np
from schedulers import Row
from searches import shares_of_exact

from baselines import MaxWeight
from baselines.registry import parse_scheduler
from marl import Policy
from rrm_env import Network, RRMConfig, evaluate, metrics


def peak_bytes() -> int | None:
    """Peak resident memory of this process in bytes, or None if the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (
        line
        for line in status.read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024


def network_row(config: RRMConfig, episodes: int, threads: int) -> Row:
    """Time whole episodes side by side under random actions, legal or not."""
    before, network, generator = (
        peak_bytes() or 0,
        Network(config, episodes, threads),
        np.random.default_rng(0),
    )
    network.reset(0)
    began = time.perf_counter()
    network.reset(0)
    reset_s, taken, processor_s = time.perf_counter() - began, [], 0.0
    while not network.done:
        actions = generator.integers(config.n_actions, size=(episodes, config.n_aps))
        began, began_processor = time.perf_counter(), time.process_time()
        rates, reward = network.step_actions(actions)
        taken.append(time.perf_counter() - began)
        processor_s += time.process_time() - began_processor
        if not (np.isfinite(rates).all() and np.isfinite(reward).all()):
            raise ArithmeticError(f"rates or rewards of step {network.t} are not finite")
    step_s, links = median(taken), episodes * config.n_aps * config.n_ues
    return {
        "n_aps": config.n_aps,
        "n_ues": config.n_ues,
        "episodes": episodes,
        "threads": threads,
        "steps": config.episode_length,
        "reset_s": reset_s,
        "step_s": step_s,
        "all_steps_s": sum(taken),
        "env_steps_per_second": episodes / step_s,
        "ns_per_link": 1e9 * step_s / links,
        "processor_ns_per_link": 1e9 * processor_s / (links * len(taken)),
        "bytes_per_episode": network.bytes_per_episode,
        "peak_bytes": peak_bytes(),
        "bytes_over_start": (peak_bytes() or 0) - before,
    }


def gap_row(config: RRMConfig, csi: str, starts: int, episodes: int) -> Row:
    """Compare `GreedyMaxWeight` with exhaustive search, by the objective and by KPIs.

    The objective is compared decision by decision, in the states that exhaustive search meets.
    """
    name = f"greedy_max_weight:starts={starts}"
    found = shares_of_exact((name,), config, csi, episodes, seed=0)
    ratio, seconds = found[name]["ratio"], {"exact": found["exact"], "greedy": found[name]}
    exact, greedy = MaxWeight(csi), parse_scheduler(f"{name}:csi={csi}")
    first, second = evaluate(greedy, config, episodes), evaluate(exact, config, episodes)
    low, high = metrics.difference_interval(first.score, second.score)
    return {
        "n_aps": config.n_aps,
        "n_ues": config.n_ues,
        "n_candidates": config.n_candidates,
        "area_side_m": config.area_side_m,
        "joint_actions": config.n_joint_actions,
        "csi": csi,
        "starts": starts,
        "episodes": episodes,
        "decisions": ratio.size,
        "ratio_mean": float(ratio.mean()),
        "ratio_first_percentile": float(np.percentile(ratio, 1)),
        "ratio_lowest": float(ratio.min()),
        "ratio_highest": float(ratio.max()),
        "optimal_share": float((ratio > 1 - 1e-6).mean()),
        **{
            f"{name}_us_per_decision": 1e6 * each["seconds"] / ratio.size
            for name, each in seconds.items()
        },
        "score": {"greedy": float(first.score.mean()), "exact": float(second.score.mean())},
        "score_difference": {
            "mean": float(first.score.mean() - second.score.mean()),
            "low": low,
            "high": high,
        },
        "tail_rate_difference": float(first.tail_rate.mean() - second.tail_rate.mean()),
    }


def learner_row(changes: Row, dataset_path: Path, updates: int, episodes: int, threads: int) -> Row:
    """Train a learner offline for a short time: speed, memory, and what it learned."""
    import torch

    from marl import Dataset, Learner, LearnerConfig
    from marl.training.stores import DatasetStore, Updates

    torch.set_num_threads(threads)
    dataset = Dataset.read(dataset_path)
    network = dataset.environment.network
    assert network is not None
    learner = Learner(LearnerConfig(**changes), dataset.team, [0])
    update = Updates(learner, DatasetStore(dataset, learner))
    before = evaluate(Policy.of_learner(learner, 0), network, episodes)
    taken, processor, losses, errors = [], [], [], []
    for _ in range(updates):
        learner.sums.zero_()
        began, began_processor = time.perf_counter(), time.process_time()
        update()
        taken.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_processor)
        losses.append(float(learner.sums[learner.parts.index("td_loss")]))
        errors.append(float(learner.sums[learner.parts.index("td_error")]))
    learner.check()
    after = evaluate(Policy.of_learner(learner, 0), network, episodes)
    low, high = metrics.difference_interval(after.score, before.score)
    tenth = max(1, updates // 10)
    return {
        **changes,
        "n_aps": network.n_aps,
        "n_ues": network.n_ues,
        "parameters": sum(tensor.numel() for layer in learner.layers for tensor in layer),
        "threads": threads,
        "updates": updates,
        "update_s": median(taken),
        "updates_per_second": 1 / median(taken),
        "processor_s": median(processor),
        "minutes_for_5000_updates": 5000 * median(processor) / 60,
        "peak_bytes": peak_bytes(),
        "td_loss": [float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))],
        "td_error": [float(np.mean(errors[:tenth])), float(np.mean(errors[-tenth:]))],
        "score": [float(before.score.mean()), float(after.score.mean())],
        "score_gain": {
            "mean": float(after.score.mean() - before.score.mean()),
            "low": low,
            "high": high,
        },
        "sum_rate": [float(before.sum_rate.mean()), float(after.sum_rate.mean())],
        "tail_rate": [float(before.tail_rate.mean()), float(after.tail_rate.mean())],
    }
