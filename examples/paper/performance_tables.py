"""Markdown tables of the speeds that examples/benchmarks/performance.py measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]


def performance_tables(
    environment: Result, deciding: Result, traces: Result, learners: Result
) -> str:
    """A section for each part, with its command, revision and processor."""
    parts = [
        "## Environment",
        _origin(environment, "benchmark_environment"),
        _speed(environment["speed"]),
        _growth(environment["growth"]),
        _start(environment),
        "## Schedulers, the graph policy and the optimum",
        _origin(deciding, "benchmark_deciding"),
        _deciding(deciding["presets"]),
        _optima(deciding["presets"]),
        "## Recorded channels",
        _origin(traces, "traces"),
        _traces(traces["playing"]),
        _long_trace(traces["long"]),
        "## Learners",
        _origin(learners, "benchmark_learners"),
        _updates(learners["figures"]),
    ]
    return "\n\n".join(parts) + "\n"


def _origin(result: Result, name: str) -> str:
    """A sentence on what made a results file, and where it is."""
    machine, versions = result["machine"], result["versions"]
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    numba = f", numba {versions['numba']}" if "numba" in versions else ""
    torch = f", torch {versions['torch']}" if "torch" in versions else ""
    return (
        f"`{result['command']}`, revision {result['revision']}, on {cores} of "
        f"{machine['processor']}, Python {versions['python']}{numba}{torch}. All numbers: "
        f"[results/{name}.json](results/{name}.json)."
    )


def _rounded(value: float) -> str:
    """A number with three digits that count, never as a power of ten."""
    return f"{float(f'{value:.3g}'):,.10g}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [f"| {' | '.join(headings)} |", "|---" + "|---:" * (len(headings) - 1) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _speed(rows: Mapping[str, Result]) -> str:
    return _table(
        ("what steps", "env-steps/s", "ns per env-step", "times as fast as"),
        [
            (
                name,
                _rounded(row["env_steps_per_second"]),
                _rounded(row["ns_per_env_step"]),
                f"{_rounded(row['times_as_fast'])} ({row['peer']})" if "peer" in row else "",
            )
            for name, row in rows.items()
        ],
    )


def _growth(sizes: Sequence[Result]) -> str:
    return _table(
        ("I x J", "batch", "ns per env-step", "ns per link", "bytes of state per episode"),
        [
            (
                f"{size['n_aps']} x {size['n_ues']}",
                f"{size['batch']:,}",
                _rounded(size["ns_per_env_step"]),
                _rounded(size["ns_per_link"]),
                f"{size['bytes_per_episode']:,}",
            )
            for size in sizes
        ],
    )


def _start(environment: Result) -> str:
    start, reset = environment["startup"], environment["speed"]["Network.reset, per step"]
    return (
        f"Starting episodes costs {100 / reset['times_as_fast']:.1f} % of stepping through them. "
        f"`import rrm_env` takes {start['import_s']:.2f} s; the first reset and step of "
        f"`parallel_env` take {start['first_step_cold_cache_s']:.1f} s with an empty numba cache "
        f"and {start['first_step_warm_cache_s']:.2f} s after that."
    )


def _deciding(presets: Mapping[str, Result]) -> str:
    cells = {
        preset: {row["scheduler"]: row for row in found["schedulers"]}
        for preset, found in presets.items()
    }
    names = dict.fromkeys(name for rows in cells.values() for name in rows)
    headings = [
        f"`{preset}`, {found['n_aps']} x {found['n_ues']}, {found['episodes']} episodes at once"
        for preset, found in presets.items()
    ]

    def microseconds(row: Result | None) -> str:
        return "refused" if row is None else _rounded(row["us_per_decision"])

    return "Microseconds per decision of all access points:\n\n" + _table(
        ("scheduler", *headings),
        [
            (f"`{name}`", *(microseconds(rows.get(name)) for rows in cells.values()))
            for name in names
        ],
    )


def _optima(presets: Mapping[str, Result]) -> str:
    return _table(
        ("optimum", "episodes", "seconds per episode", "largest gap"),
        [
            (
                f"`{preset}`",
                str(best["episodes"]),
                _rounded(best["seconds_per_episode"]),
                "no bound" if best["relative_gap"] is None else f"{best['relative_gap']:.0e}",
            )
            for preset, best in ((preset, found["optimum"]) for preset, found in presets.items())
        ],
    )


def _traces(playing: Mapping[str, Result]) -> str:
    return _table(
        ("preset", "drawn, env-steps/s", "played from linear gains", "from decibels"),
        [
            (
                f"`{preset}`",
                _rounded(row["kernels"]),
                f"{row['trace_over_kernels']:.2f} times as fast",
                f"{row['trace_db_over_kernels']:.2f}",
            )
            for preset, row in playing.items()
        ],
    )


def _long_trace(long: Result) -> str:
    most = max(long[name] for name in long if name.endswith("own_mib"))
    return (
        f"{long['steps']:,} steps of {long['n_aps']} access points and {long['n_ues']} users, "
        f"{long['file_gib']:.1f} GiB in half precision, were drawn part by part, checked in "
        f"{long['check_s']:.0f} s, saved in {long['save_s']:.0f} s, opened in "
        f"{1e3 * long['open_s']:.0f} ms and played by 256 episodes at "
        f"{_rounded(long['env_steps_per_second'])} env-steps/s. The process never held more than "
        f"{most:.0f} MiB, and {long['before_own_mib']:.0f} MiB before it began; the rest stays in "
        "the file."
    )


def _updates(figures: Sequence[Result]) -> str:
    rows = [
        (
            row["name"],
            row["device"],
            str(row["seeds"]),
            _rounded(row["ms"]),
            _rounded(row["seed_updates_per_second"]),
            *_compared(row),
        )
        for row in figures
        if row["multiply_adds"] and row["times"]
    ]
    headings = (
        "learner",
        "device",
        "seeds",
        "ms per update",
        "seed-updates/s",
        "times as fast, per seed",
        "share of a large matrix product's speed",
    )
    return _table(headings, rows)


def _compared(row: Result) -> tuple[str, str]:
    """How much faster a row is than d3rlpy, or than the same without its option; and its share.

    Products in bfloat16 have no share of the speed of those in float32.
    """
    times, plain = row["times"], row["name"].partition(": ")[0]
    large = next(ratio for name, ratio in times.items() if name.startswith("large"))
    peers = [name for name in times if name.startswith("d3rlpy") and not name.endswith("alone")]
    others = {plain: "without"} if plain in times else {name: name for name in peers}
    faster = [
        "{median:.2f} ({low:.2f}…{high:.2f})".format(**times[name]) + f" ({shown})"
        for name, shown in others.items()
    ]
    share = "" if row["name"].endswith("bfloat16") else f"{100 * large['median']:.0f} %"
    return "".join(faster), share
