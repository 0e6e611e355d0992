"""The command ``python -m baselines``, which compares schedulers on the same channels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from baselines import REGISTRY
from baselines.comparison import publish, warm_up
from baselines.joint_actions import EXACT_APS
from baselines.max_weight import SearchTooLargeError
from baselines.optimum import optimum
from baselines.optimum.results import INFORMATION
from baselines.plots import check_picture
from baselines.registry import COMPARED, parse_scheduler
from baselines.scale import ScoreScale, quick_optimum, refuse_impossible
from baselines.scheduler import Baseline
from baselines.submission import (
    About,
    SubmissionError,
    check_submission_path,
    demanded,
    demanded_episodes,
    scheduler_policy,
    submission_of,
    write_submission,
)
from baselines.submission_checks import REPLAYED, check
from rrm_env import PRESETS, Evaluation, RRMConfig, evaluate, parse_settings
from rrm_env.checks import bounded_integer
from rrm_env.exit_status import status_of
from rrm_env.files import check_apart, check_results, check_writable
from rrm_env.provenance import facts
from rrm_env.trace_source import check_trace
from rrm_env.watching import check_video, record, watch

EPISODES, THREADS = 128, 1
"""Defaults of the comparison.

The parser's default is None, so that arguments of the comparison beside --watch are noticed.
"""

_OF_COMPARISON = (
    "schedulers",
    "episodes",
    "threads",
    "optimum",
    "information",
    "json",
    "plot",
    "submission",
    "about",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m baselines",
        description="Simulate the network under classical schedulers, all on the same channels, "
        "and print how they compare.",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--network",
        "--preset",
        default="paper",
        metavar="PRESET",
        help=f"Preset to start from: {', '.join(PRESETS)} (default: %(default)s).",
    )
    network.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        dest="settings",
        help="Fields of the network to change, such as n_ues=10 (default: change none).",
    )
    network.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="INT",
        help="Which evaluation episodes (default: %(default)s).",
    )
    network.add_argument(
        "--threads", type=int, metavar="INT", help=f"Threads of the simulator (default: {THREADS})."
    )

    comparison = parser.add_argument_group("comparison")
    comparison.add_argument(
        "--schedulers",
        metavar="NAMES",
        help=f"Comma-separated, of {', '.join(REGISTRY)}. Options follow colons, as in "
        f"itlinq:tolerance_db=0 (default: {', '.join(COMPARED)}).",
    )
    comparison.add_argument(
        "--episodes", type=int, metavar="INT", help=f"Episodes per scheduler (default: {EPISODES})."
    )
    comparison.add_argument(
        "--optimum",
        action="store_true",
        default=None,
        help="Compute the optimum of the same episodes too, and state every score's share of it.",
    )
    comparison.add_argument(
        "--information",
        metavar="WHAT",
        help="With --optimum: what its scheduler knows. large_scale: all gains, but not the "
        "present fading; channel: the channels of all steps beforehand, which bounds every "
        f"scheduler in every network of up to {EXACT_APS} APs (default: {INFORMATION[0]}).",
    )
    comparison.add_argument(
        "--json",
        metavar="PATH",
        help="Write config, versions, KPIs and per-episode values to this file.",
    )
    comparison.add_argument(
        "--plot", metavar="PATH", help="Draw the distribution of per-user rates into this file."
    )

    leaderboard = parser.add_argument_group(
        "leaderboard", "docs/leaderboard.md has the rules. `python -m baselines check FILE` checks."
    )
    leaderboard.add_argument(
        "--submission",
        metavar="PATH",
        help="Write what the scheduler reached, signed by a checksum; evaluates one scheduler in "
        "as many episodes as the leaderboard demands.",
    )
    leaderboard.add_argument(
        "--about",
        nargs="+",
        action="extend",
        metavar="FIELD=TEXT",
        help="With --submission: name, author, description, information (what decisions depend "
        "on) or bits (exchanged per joint decision), such as author='A. Name'.",
    )

    instead = parser.add_argument_group("instead of a comparison")
    instead.add_argument(
        "--watch",
        metavar="SCHEDULER",
        help="Show the first episode under this scheduler in a window.",
    )
    instead.add_argument(
        "--video", metavar="PATH", help="With --watch: write the episode to this .gif or .mp4 file."
    )
    instead.add_argument(
        "--info", action="store_true", help="Print versions and machine, for bug reports."
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status (`rrm_env.exit_status.status_of`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["check"]:
        return status_of(lambda: _check(given[1:]))
    return status_of(lambda: _run(_parser().parse_args(given)))


def _check(arguments: Sequence[str]) -> None:
    """Run ``python -m baselines check``."""
    parser = argparse.ArgumentParser(
        prog="python -m baselines check",
        description="Check submissions to the leaderboard: fields and checksum, whether the rates "
        "are possible, and whether the scheduler reaches them in the first episodes.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="Submissions.")
    parser.add_argument(
        "--episodes",
        type=int,
        default=REPLAYED,
        metavar="INT",
        help="Episodes to play again (default: %(default)s).",
    )
    options = parser.parse_args(arguments)
    bounded_integer("--episodes", options.episodes, lowest=0)
    refused = [path for path in options.files if not _is_valid(path, options.episodes)]
    if refused:
        raise SubmissionError(
            f"{len(refused)} of {len(options.files)} files refused: {', '.join(refused)}"
        )


def _is_valid(path: str, replayed: int) -> bool:
    """Check a submission, and print a line about it."""
    try:
        submission, played = check(path, replayed)
    except SubmissionError as error:
        print(f"refused: {error}", file=sys.stderr)
        return False
    score = float(submission.kpi("score").mean())
    print(
        f"{path}: valid, {submission.about.name} in {submission.network.name}, score {score:.3f}, "
        f"normalised {submission.network.normalised(score):.1f}; {played}"
    )
    return True


def _run(options: argparse.Namespace) -> None:
    if options.info:
        _refuse_given(options, ("watch", "video", *_OF_COMPARISON), "does not go with --info")
        print("\n".join(f"{name}: {value}" for name, value in facts().items()))
    elif options.watch is not None or options.video is not None:
        _watch(options)
    else:
        _compare(options)


def _watch(options: argparse.Namespace) -> None:
    if options.watch is None:
        raise ValueError("--video needs --watch SCHEDULER: whose episode to draw")
    _refuse_given(options, _OF_COMPARISON, "belongs to the comparison and does not go with --watch")
    config = RRMConfig.preset(options.network, **parse_settings(options.settings))
    scheduler = parse_scheduler(options.watch)
    path = None if options.video is None else check_video(options.video, "--video")
    best = quick_optimum(config, options.seed)
    if path is not None:
        record(path, scheduler, config, options.seed, options.watch, optimum=best)
        print(f"wrote {path}")
    else:
        watch(scheduler, config, options.seed, options.watch, optimum=best)


def _refuse_given(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse arguments that would have no effect."""
    for name in names:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} {why}")


def _compare(options: argparse.Namespace) -> None:
    config = RRMConfig.preset(options.network, **parse_settings(options.settings))
    submission = _submission(options, config)
    options.episodes = EPISODES if options.episodes is None else options.episodes
    options.threads = THREADS if options.threads is None else options.threads
    if options.information is None:
        options.information = INFORMATION[0]
    elif not options.optimum:
        raise ValueError(
            "--information needs --optimum: it says what the optimum's scheduler knows"
        )
    json_path = None if options.json is None else check_results("--json", options.json)
    plot_path = None if options.plot is None else check_writable("--plot", options.plot)
    check_apart(json=json_path, plot=plot_path, submission=submission and submission[0])
    if plot_path:
        check_picture(plot_path)
    check_trace(config)
    schedulers = _ready(options, config)
    evaluations, scale = _evaluate(schedulers, config, options)
    episodes = f"{options.episodes} episodes of {config.episode_length} steps, seed {options.seed}"
    title = f"{config.n_aps} APs, {config.n_ues} UEs, {episodes}"
    try:
        publish(evaluations, title, json_path, plot_path, scale=scale)
    finally:
        if submission is not None:
            path, about = submission
            ((name, evaluation),) = evaluations.items()
            write_submission(path, submission_of(evaluation, about, scheduler_policy(name)))
            print(f"wrote {path}")


def _submission(options: argparse.Namespace, config: RRMConfig) -> tuple[Path, About] | None:
    """Where to write a submission, and what is said in it; None where none was asked for.

    The number of episodes becomes the demanded one.
    """
    if options.submission is None:
        if options.about is not None:
            raise ValueError("--about needs --submission PATH: it is part of that file")
        return None
    names = [] if options.schedulers is None else options.schedulers.split(",")
    if len(names) != 1:
        raise ValueError(f"--submission needs --schedulers with one scheduler, got {len(names)}")
    demanded(config, options.episodes, options.seed)
    options.episodes = demanded_episodes(config)
    about = About.parse(options.about or [], name=names[0])
    return check_submission_path("--submission", options.submission), about


def _ready(options: argparse.Namespace, config: RRMConfig) -> dict[str, Baseline]:
    """The chosen schedulers, warmed up: what cannot run is refused, what can run is compiled.

    Where no scheduler is named, those that cannot search a network of this size are left out, and
    a line says so.
    """
    schedulers: dict[str, Baseline] = {}
    names = COMPARED if options.schedulers is None else options.schedulers.split(",")
    for name in names:
        if name in schedulers:
            raise ValueError(f"--schedulers names {name} twice")
        schedulers[name] = parse_scheduler(name)
    if options.optimum:
        refuse_impossible(config, options.information)
    return {
        name: scheduler
        for name, scheduler in schedulers.items()
        if _can_run(name, scheduler, options, config)
    }


def _can_run(
    name: str, scheduler: Baseline, options: argparse.Namespace, config: RRMConfig
) -> bool:
    """Warm the scheduler up; False where the network is too large and nobody named it."""
    try:
        warm_up(scheduler, config, options.episodes, options.threads)
    except SearchTooLargeError as error:
        if options.schedulers is not None:
            raise
        print(f"{name} left out: {error}", file=sys.stderr)
        return False
    return True


def _evaluate(
    schedulers: dict[str, Baseline], config: RRMConfig, options: argparse.Namespace
) -> tuple[dict[str, Evaluation], ScoreScale | None]:
    evaluations, best = {}, None
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:18}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        if options.optimum:
            solving = progress.add_task("optimum", total=options.episodes)
            best = optimum(
                config,
                options.seed,
                options.episodes,
                information=options.information,
                progress=lambda episodes: progress.advance(solving, episodes),
            )
        task = progress.add_task(
            "", total=len(schedulers) * options.episodes * config.episode_length
        )
        for name, scheduler in schedulers.items():
            progress.update(task, description=name)
            evaluations[name] = evaluate(
                scheduler,
                config,
                options.episodes,
                options.seed,
                num_threads=options.threads,
                progress=lambda steps: progress.advance(task, steps),
            )
        scale = None if best is None else ScoreScale.of(best, evaluations, options.threads)
    return evaluations, scale


if __name__ == "__main__":
    sys.exit(main())
