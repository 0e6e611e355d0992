"""The commands for learners: train, evaluate and watch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from baselines.comparison import publish, warm_up
from baselines.optimum import optimum
from baselines.optimum.results import INFORMATION
from baselines.plots import check_picture
from baselines.scale import ScoreScale, quick_optimum, refuse_impossible
from baselines.submission import check_submission_path, demanded, demanded_episodes
from marl.benchmark.recipes import RECIPES
from marl.cli.outcomes import about_run, marl_eval_of, submit_run, write_marl_eval
from marl.cli.progress import progress, training_progress
from marl.cli.shared import trained_in
from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import MAX_SEEDS
from marl.environment import Environment
from marl.options import PRESET, EvaluationOptions, NetworkOptions, TrainingOptions, default_is
from marl.policy import Policy, load_policies
from marl.runs.checkpoint import updates_done
from marl.runs.description import describe, experience
from marl.training.train import train
from rrm_env import Evaluation, evaluate, metrics
from rrm_env.checks import bounded_integer
from rrm_env.files import check_apart, check_results, check_writable, readable, write_json
from rrm_env.provenance import versions
from rrm_env.watching import check_video, record, watch


class _UncheckedLearner(LearnerConfig):
    """A learner's options before checks: tyro would bury `LearnerConfig`'s errors in its own."""

    def __post_init__(self) -> None:
        """Leave checking to `Train.checked`."""


class _UncheckedTraining(TrainingConfig):
    """The options of training before checks."""

    def __post_init__(self) -> None:
        """Leave checking to `Train.checked`."""


@dataclass(frozen=True, kw_only=True)
class Train(TrainingOptions):
    """Train a scheme of the paper, offline from a dataset or online, several seeds at once."""

    dashes: ClassVar[str] = "--"
    out: Path
    """Folder for the run: config.json, log.jsonl, checkpoint.safetensors."""
    seeds: int = 1
    """Independent learners, trained side by side."""
    first_seed: int = 0
    """Seed of the first; the others follow."""
    resume: bool = False
    """Go on from the last checkpoint; give the same options as before (updates may grow)."""
    learner: Annotated[
        LearnerConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedLearner)
    ] = field(default_factory=LearnerConfig)
    """Scheme and hyperparameters; sac, dqn, offline and online say where an option matters."""
    training: Annotated[
        TrainingConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(constructor=_UncheckedTraining)
    ] = field(default_factory=TrainingConfig)
    """How long to train, and what to record meanwhile."""

    def checked(self) -> Train:
        """The command with checked configurations.

        Raises:
            TypeError, ValueError: an option's value is not allowed.
        """
        return replace(
            self,
            learner=LearnerConfig(**vars(self.learner)),
            training=TrainingConfig(**vars(self.training)),
        )

    def run(self) -> None:
        """Train, and write the run's folder."""
        recipe = RECIPES.get(self.dataset.as_posix()) if self.dataset else None
        with progress("dataset", recipe.transitions if recipe else 1) as bar:
            dataset = self.dataset_given(bar)
        environment = self.environment_given()
        with training_progress(self.training.updates) as report:
            seeds = bounded_integer("seeds", self.seeds, MAX_SEEDS, lowest=0)
            train(
                self.out,
                self.learner,
                self.training,
                seeds=range(self.first_seed, self.first_seed + seeds),
                dataset=dataset,
                environment=environment,
                resume=self.resume,
                report=report,
            )
        print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluationOptions):
    """Compare trained policies with each other and with schedulers, on unseen episodes."""

    dashes: ClassVar[str] = "--"
    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help_behavior_hint="(at least one)")
    ]
    """Folders of training runs."""
    optimum: bool = False
    """Compute the optimum of the same episodes too, and state every score's share of it."""
    information: Annotated[str | None, default_is(INFORMATION[0])] = None
    """With optimum: what its scheduler knows. large_scale: all gains, but not the present fading;
    channel: the channels of all steps beforehand, which bounds every scheduler in every network of
    up to 10 APs."""
    json: Annotated[Path | None, default_is("write none")] = None
    """Write config, versions, KPIs with intervals and per-episode values to this file."""
    plot: Annotated[Path | None, default_is("draw none")] = None
    """Draw the distribution of per-user rates into this file."""
    submission: Annotated[Path | None, default_is("write none")] = None
    """Write what all seeds of one run reached, for the leaderboard: signed by a checksum, in as
    many episodes as the leaderboard demands (docs/leaderboard.md)."""
    about: Annotated[tuple[str, ...], default_is("the scheme", metavar="FIELD=TEXT")] = ()
    """With submission: name, author, description, information (what decisions depend on) or bits
    (exchanged per joint decision), such as author='A. Name'."""
    marl_eval: Annotated[Path | None, default_is("write none")] = None
    """Write the runs' learning curves and this evaluation to this file in marl-eval's format."""

    def _of_network(self) -> dict[str, Any]:
        """The options that apply only to a network, by name."""
        own = {
            "optimum": self.optimum,
            "information": self.information,
            "plot": self.plot,
            "submission": self.submission,
            "marl-eval": self.marl_eval,
        }
        return {**super()._of_network(), **own}

    def run(self) -> None:
        """Evaluate, and print and write the comparison."""
        if not self.runs:
            raise ValueError("runs must name at least one folder of a training run, got none")
        if self.about and not self.submission:
            raise ValueError("--about needs --submission PATH: it is part of that file")
        if not self.submission:
            self._compare()
            return
        if len(self.runs) != 1 or self.schedulers:
            raise ValueError("--submission needs one run, and no --schedulers")
        self.other_environment()  # refuses options that are of a network alone
        path = check_submission_path("--submission", self.submission)
        check_apart(
            submission=path, json=self.json, plot=self.plot, **{"marl-eval": self.marl_eval}
        )
        about = about_run(self.runs[0], self.about, act_on=self.act_on, sample=self.sample)
        config = self.config(None if self.network else trained_in(self.runs[0]))
        unset = self.episodes == EvaluationOptions.episodes
        demanded(config, None if unset else self.episodes, self.seed)
        options = replace(self, episodes=demanded_episodes(config))
        (evaluation,) = options._compare().values()
        submit_run(path, self.runs[0], about, evaluation)
        print(f"wrote {path}")

    def _compare(self) -> dict[str, Evaluation]:
        """Evaluate, print and write the comparison, and return the evaluations by name."""
        if self.information is not None and not self.optimum:
            raise ValueError(
                "--information needs --optimum: it says what the optimum's scheduler knows"
            )
        json_path = check_results("--json", self.json) if self.json else None
        plot_path = check_writable("--plot", self.plot) if self.plot else None
        marl_eval = check_writable("--marl-eval", self.marl_eval) if self.marl_eval else None
        check_apart(json=json_path, plot=plot_path, **{"marl-eval": marl_eval})
        if plot_path:
            check_picture(plot_path)
        if other := self.other_environment():
            self._compare_returns(other, json_path)
            return {}
        evaluations, scale = self._evaluations()
        config = next(iter(evaluations.values())).config
        network = f"{config.n_aps} APs, {config.n_ues} UEs"
        title = f"{network}, {self.episodes} episodes, seed {self.seed}"
        notes = [
            f"{name}: {experience(describe(run), updates_done(run))}"
            for name, run in self._names().items()
        ]
        publish(evaluations, title, json_path, plot_path, notes, scale)
        if marl_eval:
            write_marl_eval(marl_eval, marl_eval_of(self._names(), evaluations))
            print(f"wrote {marl_eval}")
        return evaluations

    def _evaluations(self) -> tuple[dict[str, Evaluation], ScoreScale | None]:
        """The evaluations of runs, over all their seeds, and of schedulers, by name.

        With them the scale on which their scores are stated, if ``optimum`` asks for it.
        """
        policies = {
            name: load_policies(run, act_on=self.act_on, sample=self.sample)
            for name, run in self._names().items()
        }
        schedulers = self.named_schedulers()
        config = self.config(None if self.network else trained_in(self.runs[0]))
        best = None
        if self.optimum:
            information = INFORMATION[0] if self.information is None else self.information
            refuse_impossible(config, information)
            with progress("optimum", self.episodes) as advance:
                best = optimum(
                    config, self.seed, self.episodes, information=information, progress=advance
                )
        evaluations = {}
        evaluated = sum(map(len, policies.values())) + len(schedulers)
        total = evaluated * self.episodes * config.episode_length
        with progress("evaluating", total) as advance:
            for policy in (*(of_seeds[0] for of_seeds in policies.values()), *schedulers.values()):
                warm_up(policy, config, self.episodes)
            for name, of_seeds in policies.items():
                results = [
                    evaluate(policy, config, self.episodes, self.seed, progress=advance)
                    for policy in of_seeds
                ]
                evaluations[name] = Evaluation.stack(results)
            for name, scheduler in schedulers.items():
                evaluations[name] = evaluate(
                    scheduler, config, self.episodes, self.seed, progress=advance
                )
        return evaluations, None if best is None else ScoreScale.of(best, evaluations)

    def _names(self) -> dict[str, Path]:
        """The runs by scheme, or by scheme and folder where several runs have that scheme."""
        schemes = {run: str(describe(run)["scheme"]) for run in self.runs}
        shared = [scheme for scheme in schemes.values() if list(schemes.values()).count(scheme) > 1]
        return {
            f"{scheme}, {readable(run)}" if scheme in shared else scheme: run
            for run, scheme in schemes.items()
        }

    def _compare_returns(self, environment: Environment, json_path: Path | None) -> None:
        """Evaluate runs in an environment other than the network, and print their returns."""
        result, lines = {}, []
        for name, run in self._names().items():
            policies = load_policies(run, act_on=self.act_on, sample=self.sample)
            evaluations = [
                environment.evaluate(policy, self.episodes, self.seed) for policy in policies
            ]
            returns = np.array([evaluation["return"] for evaluation in evaluations])
            low, high = metrics.mean_interval(returns)
            mean = f"{returns.mean():.3f} ({low:.3f}…{high:.3f})"
            extent = f"{len(policies)} seeds, {self.episodes} episodes"
            lines.append(f"{name}: return {mean}, {extent}")
            result[name] = {
                "return": {"mean": float(returns.mean()), "low": low, "high": high},
                "per_episode": returns.tolist(),
            }
        content = {
            "environment": self.env,
            "seed": self.seed,
            "episodes": self.episodes,
            "versions": versions("torch"),
            "runs": result,
        }
        try:
            if json_path:
                write_json(json_path, content)
                lines.append(f"wrote {json_path}")
        finally:
            print("\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class Watch(NetworkOptions):
    """Watch a trained policy for one unseen episode, in a window or as a video."""

    dashes: ClassVar[str] = "--"
    path: tyro.conf.Positional[Path]
    """Folder of a training run."""
    video: Annotated[Path | None, default_is("open a window")] = None
    """Write the episode to this .gif or .mp4 file instead of opening a window."""
    policy_seed: int = 0
    """Which of the run's seeds, counted from 0."""
    seed: int = 0
    """The episode is the first that python -m marl evaluate has with this seed."""
    act_on: Annotated[str | None, default_is("as trained")] = None
    """Make a sac policy greedy on its actor or on its critic."""
    sample: bool = False
    """Draw actions from the actor instead of taking the most probable ones."""
    network: Annotated[str | None, default_is("the run's network", PRESET)] = None
    """Preset of the network to watch it in: paper, correlated, wide or dense."""

    def run(self) -> None:
        """Show the episode, or write the video."""
        config = self.config(None if self.network else trained_in(self.path))
        policy = Policy.load(self.path, self.policy_seed, act_on=self.act_on, sample=self.sample)
        title = str(describe(self.path)["scheme"])
        target = check_video(self.video, "--video") if self.video else None
        best = quick_optimum(config, self.seed)
        if target is not None:
            record(target, policy, config, self.seed, title, optimum=best)
            print(f"wrote {target}")
        else:
            watch(policy, config, self.seed, title, optimum=best)
