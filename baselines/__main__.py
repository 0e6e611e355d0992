"""``python -m baselines``: how the schedulers compare on the same channels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from baselines import REGISTRY
from baselines.comparison import check_picture, parse_scheduler, publish
from baselines.max_weight import SearchTooLargeError
from baselines.scheduler import Baseline
from rrm_env import PRESETS, Evaluation, RRMConfig, evaluate, parse_settings
from rrm_env.ending import status_of
from rrm_env.files import check_apart, check_results, check_writable
from rrm_env.version import facts
from rrm_env.watching import check_video, record, watch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m baselines",
        description="Simulate the network under classical schedulers, all on the same channels, and print how they compare.",
    )
    parser.add_argument("--preset", default="paper", help=f"network to start from: {', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=128, help="episodes per scheduler (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which evaluation episodes (default: %(default)s)")
    parser.add_argument(
        "--schedulers",
        help=f"comma-separated, of {', '.join(REGISTRY)}; options after colons, as in itlinq:tolerance_db=0 (default: all)",
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", dest="settings", help="fields of RRMConfig to change")
    parser.add_argument("--threads", type=int, default=1, help="threads of the simulator (default: %(default)s)")
    parser.add_argument("--watch", metavar="SCHEDULER", help="show the first episode under this scheduler in a window, and compare nothing")
    parser.add_argument("--video", metavar="PATH", help="with --watch: write the episode as .gif or .mp4 instead of opening a window")
    parser.add_argument("--info", action="store_true", help="print versions and machine, for bug reports, and do nothing else")
    parser.add_argument("--json", metavar="PATH", help="write config, versions, KPIs and per-episode values")
    parser.add_argument("--plot", metavar="PATH", help="draw the distribution of per-UE rates")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and say how it ended, as `status_of` does."""
    return status_of(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    if options.info:
        _refuse(options, "--info", "json", "plot", "watch", "video", "schedulers")
        print("\n".join(f"{name}: {value}" for name, value in facts().items()))
    elif options.watch or options.video:
        _watch(options)
    else:
        _compare(options)


def _watch(options: argparse.Namespace) -> None:
    if not options.watch:
        raise ValueError("--video needs --watch SCHEDULER: whose episode to draw")
    _refuse(options, "--watch", "schedulers", "json", "plot", "episodes", "threads")
    config = RRMConfig.preset(options.preset, **parse_settings(options.settings))
    scheduler = parse_scheduler(options.watch, REGISTRY)
    if options.video:
        path = check_video(options.video, "--video")
        record(path, scheduler, config, options.seed, options.watch)
        print(f"wrote {path}")
    else:
        watch(scheduler, config, options.seed, options.watch)


def _refuse(options: argparse.Namespace, chosen: str, *names: str) -> None:
    """Refuse options that the chosen one does not use (ValueError)."""
    defaults = _parser()
    for name in names:
        if getattr(options, name) != defaults.get_default(name):
            raise ValueError(f"--{name} belongs to the comparison and does not go with {chosen}")


def _compare(options: argparse.Namespace) -> None:
    json_path = check_results("--json", options.json) if options.json else None
    plot_path = check_writable("--plot", options.plot) if options.plot else None
    check_apart(json=json_path, plot=plot_path)
    if plot_path:
        check_picture(plot_path)
    config = RRMConfig.preset(options.preset, **parse_settings(options.settings))
    schedulers = _ready(options.schedulers, config)
    evaluations = _evaluate(schedulers, config, options)
    title = f"{config.n_aps} APs, {config.n_ues} UEs, {options.episodes} episodes of {config.episode_length} steps, seed {options.seed}"
    publish(evaluations, title, json_path, plot_path)


def _ready(names: str | None, config: RRMConfig) -> dict[str, Baseline]:
    """The schedulers asked for, each tried on one step: this refuses what cannot run, and compiles what can.

    Of all schedulers (none named), those that cannot search a network of this size are left out with a printed line.
    """
    schedulers: dict[str, Baseline] = {}
    for name in names.split(",") if names else REGISTRY:
        scheduler = parse_scheduler(name, REGISTRY)
        try:
            evaluate(scheduler, replace(config, episode_length=1), episodes=1)
        except SearchTooLargeError as error:
            if names:
                raise
            print(f"{name} left out: {error}", file=sys.stderr)
        else:
            schedulers[name] = scheduler
    return schedulers


def _evaluate(schedulers: dict[str, Baseline], config: RRMConfig, options: argparse.Namespace) -> dict[str, Evaluation]:
    evaluations = {}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:18}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(schedulers) * options.episodes * config.episode_length)
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
    return evaluations


if __name__ == "__main__":
    sys.exit(main())
