"""The parts of the soak test: generators that yield their progress, and at last their results."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from network_checks import check_arrays, require
from numpy.typing import NDArray
from soak_checks import Memory, drift, paired_drift

from baselines import GreedyMaxWeight
from rrm_env import Network, RRMConfig, RRMParallelEnv, RRMVectorEnv, metrics
from rrm_env.seeds import EVALUATION_SEEDS

Record = dict[str, Any]
Values = NDArray[np.float64]
SCHEDULED_EVERY = 10
"""One batch of episodes in so many uses a scheduler, the others act at random."""


def legal_actions(network: Network, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw actions (B, I), uniform over the legal ones: candidates come first, silence last."""
    legal = network.action_mask.sum(-1)
    drawn = (generator.random(legal.shape) * legal).astype(np.int64)
    return np.where(drawn == legal - 1, network.config.n_actions - 1, drawn)


def kpis(network: Network, returns: Values) -> dict[str, Values]:
    """Return values per episode (B,), at its end."""
    config = network.config
    ue_rates = network.ue_rate_sum / config.episode_length
    return {
        "sum rate": metrics.sum_rate(ue_rates),
        "5-percentile rate": metrics.tail_rate(ue_rates),
        "Jain's index": metrics.fairness(ue_rates),
        "return": returns,
        "silent share": network.silent_steps / (config.n_aps * config.episode_length),
        "reported SINR (dB)": 10
        * np.log10(np.maximum(network.reported_sinr, 1e-30)).mean(-1, dtype=np.float64),
        "fading power": (network.gain / network.large_scale_gain).mean((-2, -1), dtype=np.float64),
        "distance from centre (m)": np.hypot(
            *np.moveaxis(network.ue_positions - config.area_side_m / 2, -1, 0)
        ).mean(-1),
    }


def network_part(config: RRMConfig, batch: int, env_steps: int, seed: int) -> Iterator[Record]:
    """Play whole batches of episodes, each seeded by the one before."""
    network, scheduler, generator = (
        Network(config, batch),
        GreedyMaxWeight(starts=1),
        np.random.default_rng(seed),
    )
    rounds = max(20, -(-env_steps // (batch * config.episode_length)))
    memory, arrays = Memory(rounds), 0
    kept = {policy: np.full((n, 8), np.nan) for policy, n in _rows(rounds, batch).items()}
    filled = dict.fromkeys(kept, 0)
    for round_ in range(rounds):
        network.reset(seed if round_ == 0 else None)
        policy = "scheduled" if round_ % SCHEDULED_EVERY == 0 else "random"
        returns = np.zeros(batch)
        while not network.done:
            if network.t % 50 == 0:
                arrays += check_arrays(network)
            if policy == "random":
                rates, reward = network.step_actions(legal_actions(network, generator))
            else:
                rates, reward = network.step(scheduler.schedule(network))
            require(
                np.isfinite(reward).all() and np.isfinite(rates).all() and (rates >= 0).all(),
                f"rates or reward of step {network.t}",
            )
            returns += reward
        arrays += check_arrays(network)
        found = kpis(network, returns)
        kept[policy][filled[policy] : filled[policy] + batch] = np.stack([*found.values()], -1)
        filled[policy] += batch
        memory.sample()
        if (round_ + 1) % (rounds // 10) == 0:
            yield {"share": (round_ + 1) / rounds}
    series = {
        f"{policy}: {name}": rows[:, k]
        for policy, rows in kept.items()
        for k, name in enumerate(found)
    }
    yield {
        "env_steps": rounds * batch * config.episode_length,
        "episodes": rounds * batch,
        "arrays_checked": arrays,
        "memory": memory.growth(),
        "p_values": drift(series),
        "tenths": tenths(series),
    }


def _rows(rounds: int, batch: int) -> dict[str, int]:
    scheduled = -(-rounds // SCHEDULED_EVERY)
    return {"random": (rounds - scheduled) * batch, "scheduled": scheduled * batch}


def long_episode_part(config: RRMConfig, batch: int, steps: int, seed: int) -> Iterator[Record]:
    """Play one long episode.

    Fading that is computed from a phase must keep its statistics while the phase grows.
    """
    lag, tenth = 20, steps // 10
    network = Network(config, batch)
    memory, arrays = Memory(20), 0
    silence = np.full((batch, config.n_aps), config.n_actions - 1)
    sums = [
        {
            name: np.zeros(network.config.n_aps * network.config.n_ues * batch)
            for name in _moments(0, 0)
        }
        for _ in range(2)
    ]
    network.reset(seed)
    past = np.zeros((lag, sums[0]["power"].size))
    for t in range(steps):
        network.step_actions(silence)
        if t < tenth or t >= steps - tenth - lag:
            power = (network.gain / network.large_scale_gain).ravel().astype(np.float64)
            if lag <= t < tenth or t >= steps - tenth:
                part = sums[0 if t < tenth else 1]
                for name, value in _moments(power, past[t % lag]).items():
                    part[name] += value
            past[t % lag] = power
        if (t + 1) % (steps // 20) == 0:
            arrays += check_arrays(network)
            memory.sample()
        if (t + 1) % (steps // 10) == 0:
            yield {"share": (t + 1) / steps}
    counts = tenth - lag, tenth
    early, late = (
        {name: value / count for name, value in part.items()}
        for part, count in zip(sums, counts, strict=True)
    )
    yield {
        "env_steps": steps * batch,
        "episodes": batch,
        "arrays_checked": arrays,
        "memory": memory.growth(),
        "p_values": paired_drift(early, late),
        "tenths": {name: [float(early[name].mean()), float(late[name].mean())] for name in early},
    }


def _moments(power: Any, past: Any) -> dict[str, Any]:
    """Return quantities whose averages are moments of the fading power, now and 20 steps ago."""
    return {
        "power": power,
        "squared power": power * power,
        "share below -10 dB": power < 0.1,
        "power times past power": power * past,
    }


def dictionary_part(config: RRMConfig, env_steps: int, seed: int) -> Iterator[Record]:
    """Play through PettingZoo's parallel API, with a reset whenever no agent is left."""
    env, generator = RRMParallelEnv(config), np.random.default_rng(seed)
    episodes = max(20, -(-env_steps // config.episode_length))
    memory, contained = Memory(episodes), 0
    kept = {name: np.full(episodes, np.nan) for name in ("return", "sum rate", "5-percentile rate")}
    for episode in range(episodes):
        total, looked_at = play_episode(env, generator, seed if episode == 0 else None)
        contained += looked_at
        ue_rates = env.network.ue_rate_sum / config.episode_length
        values = total, metrics.sum_rate(ue_rates)[0], metrics.tail_rate(ue_rates)[0]
        for series, value in zip(kept.values(), values, strict=True):
            series[episode] = value
        memory.sample()
        if (episode + 1) % (episodes // 10) == 0:
            yield {"share": (episode + 1) / episodes}
    yield {
        "env_steps": episodes * config.episode_length,
        "episodes": episodes,
        "arrays_checked": contained,
        "memory": memory.growth(),
        "p_values": drift(kept),
        "tenths": tenths(kept),
    }


def play_episode(
    env: RRMParallelEnv, generator: np.random.Generator, seed: int | None = None
) -> tuple[float, int]:
    """Play an episode of random legal actions, and check one step in a hundred.

    Returns:
        the return, and the number of arrays that were checked to be in their spaces.
    """
    silence, length = env.config.n_actions - 1, env.config.episode_length
    observations, infos = env.reset(seed=seed)
    drawn = generator.integers(silence + 1, size=(length, env.config.n_aps)).tolist()
    total, looked_at = 0.0, 0
    for t, row in enumerate(drawn):
        if t % 100 == 0:
            for agent in env.agents:
                require(
                    env.observation_space(agent).contains(observations[agent]),
                    f"observation of {agent} leaves its space in step {t}",
                )
                require(env.action_space(agent).contains(row[0]), f"action {row[0]}")
            require(env.state_space.contains(env.state()), f"state leaves its space in step {t}")
            looked_at += len(env.agents) + 1
        actions = {
            agent: a if infos[agent]["action_mask"][a] else silence
            for agent, a in zip(env.agents, row, strict=True)
        }
        observations, rewards, terminations, truncations, infos = env.step(actions)
        reward = rewards["ap_0"]
        require(
            math.isfinite(reward) and all(other == reward for other in rewards.values()),
            f"rewards {rewards} in step {t}",
        )
        require(
            not any(terminations.values()) and all(truncations.values()) == (t == length - 1),
            f"end of the episode in step {t}",
        )
        total += reward
    require(not env.agents, "agents are left after the last step")
    return total, looked_at


def autoreset_part(config: RRMConfig, slots: int, steps: int, seed: int) -> Iterator[Record]:
    """Play through Gymnasium's vector API with resets in the same step.

    Episodes must end when they should, and none may come twice.
    """
    env, generator = RRMVectorEnv(slots, config), np.random.default_rng(seed)
    length = config.episode_length
    episodes = max(20, -(-steps // length))
    memory, arrays = Memory(episodes), 0
    seeds = np.zeros((episodes + 1, slots), np.uint64)
    returns, running = np.full((episodes, slots), np.nan), np.zeros(slots)
    env.reset(seed=seed)
    seeds[0] = env.network.seeds
    for step in range(1, episodes * length + 1):
        observation, reward, terminations, truncations, infos = env.step(
            legal_actions(env.network, generator)
        )
        running += reward
        ends = step % length == 0
        require(
            np.isfinite(reward).all() and not terminations.any(),
            f"reward or termination in step {step}",
        )
        require(
            (truncations == ends).all() and ("final_obs" in infos) == ends,
            f"end of an episode in step {step}",
        )
        if step % 100 == 0:
            require(
                env.observation_space.contains(observation),
                f"observation leaves its space in step {step}",
            )
            require(
                (infos["action_mask"][..., -1] == 1).all()
                and np.array_equal(observation, env.network.observation),
                f"infos of {step}",
            )
            arrays += 2
        if ends:
            episode = step // length
            require(
                env.observation_space.contains(infos["final_obs"]) and env.network.t == 0,
                f"reset of step {step}",
            )
            require(
                not np.array_equal(infos["final_obs"], observation),
                f"final observation of step {step}",
            )
            arrays += check_arrays(env.network)
            seeds[episode], returns[episode - 1] = env.network.seeds, running
            running[:] = 0
            memory.sample()
            if episode % (episodes // 10) == 0:
                yield {"share": episode / episodes}
    require(
        len(np.unique(seeds)) == seeds.size,
        f"{seeds.size - len(np.unique(seeds))} episode seeds came twice",
    )
    require((seeds < EVALUATION_SEEDS).all(), "an episode seed belongs to evaluations")
    kept = {"return": returns.ravel()}
    yield {
        "env_steps": episodes * length * slots,
        "episodes": episodes * slots,
        "simulated_hours": episodes * length * slots * config.step_duration_s / 3600,
        "different_seeds": int(seeds.size),
        "arrays_checked": arrays,
        "memory": memory.growth(),
        "p_values": drift(kept),
        "tenths": tenths(kept),
    }


def threads_part(steps: int, seed: int) -> Iterator[Record]:
    """Step eight environments from eight threads at once, and one after the other: same bits."""
    env_steps = compared = 0
    for share, play in (
        (1 / 3, _play_dictionaries),
        (2 / 3, _play_network),
        (1.0, _play_threaded_network),
    ):
        alone = [play(steps, seed + k) for k in range(8)]
        require(len(set(alone)) == 8, "episodes of different seeds are the same")
        require(
            in_threads(lambda k, play=play: play(steps, seed + k)) == alone,  # type: ignore[misc]
            f"{play.__name__} differs between threads and serial",
        )
        env_steps, compared = env_steps + 16 * steps, compared + 8
        yield {"share": share}
    yield {
        "env_steps": env_steps,
        "episodes": 2 * compared,
        "environments_compared": compared,
        "p_values": {},
    }


def in_threads(job: Callable[[int], Any], count: int = 8) -> list[Any]:
    """Return what ``job(k)`` returns, each in a thread of its own, all started at once."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(k: int) -> None:
        start.wait()
        results[k] = job(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _play_dictionaries(steps: int, seed: int) -> str:
    env, generator, digest = RRMParallelEnv(), np.random.default_rng(seed), hashlib.sha256()
    _, infos = env.reset(seed=seed)
    for _ in range(steps):
        if not env.agents:
            _, infos = env.reset()
        row = generator.integers(env.config.n_actions, size=env.config.n_aps).tolist()
        observations, rewards, _, _, infos = env.step(dict(zip(env.agents, row, strict=True)))
        for array in (
            *observations.values(),
            *(info["candidates"] for info in infos.values()),
            np.array([*rewards.values()]),
        ):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _play_network(steps: int, seed: int, num_threads: int = 1) -> str:
    """Step batches of 16 episodes, steps counted over the batch, every second by a scheduler."""
    batch = 16
    network, generator, digest = (
        Network(RRMConfig(), batch, num_threads),
        np.random.default_rng(seed),
        hashlib.sha256(),
    )
    scheduler = GreedyMaxWeight()
    network.reset(batch * seed)
    for step in range(max(2, steps // batch)):
        if network.done:
            network.reset()
        if step % 2:
            rates, reward = network.step(scheduler.schedule(network))
        else:
            rates, reward = network.step_actions(legal_actions(network, generator))
        for array in (
            rates,
            reward,
            network.observation,
            network.gain,
            network.ue_positions,
            network.candidates,
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _play_threaded_network(steps: int, seed: int) -> str:
    return _play_network(steps, seed, num_threads=2)


def tenths(series: dict[str, Values]) -> dict[str, list[float]]:
    """Return the mean of every tenth of the episodes, in their order."""
    return {
        name: [float(part.mean()) for part in np.array_split(values, 10)]
        for name, values in series.items()
    }
