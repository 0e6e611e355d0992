"""Files that ``python -m marl evaluate`` writes for others: submissions, and marl-eval's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines.submission import About, file_checksum, submission_of, write_submission
from marl.exchange.marl_eval import OWN_TASK, Learned, marl_eval_content
from marl.runs.checkpoint import updates_done
from marl.runs.description import CHECKPOINT, describe, experience
from marl.training.curves import learning_curve
from rrm_env import Evaluation, metrics
from rrm_env.files import write_json
from rrm_env.references import known_reference


def about_run(
    run: Path, texts: tuple[str, ...], *, act_on: str | None = None, sample: bool = False
) -> About:
    """What is said of a run in a submission: its scheme and experience, unless texts say more.

    Args:
        run: the run's folder.
        texts: as for `About.parse`.
        act_on: as for `marl.policy.Policy`.
        sample: as for `marl.policy.Policy`.

    Raises:
        RunError: the folder holds no run.
        TypeError, ValueError: a text is not allowed.
    """
    description = describe(run)
    told = f"{description['scheme']}, {experience(description, updates_done(run))}"
    told += f"; greedy on its {act_on}" if act_on else ""
    told += "; actions drawn" if sample else ""
    return About.parse(texts, name=str(description["scheme"])[:60], description=told[:600])


def submit_run(path: Path, run: Path, about: About, evaluation: Evaluation) -> None:
    """Write the submission of all seeds of a run."""
    description = describe(run)
    policy = {
        "scheme": str(description["scheme"]),
        "seeds": list(description["seeds"]),
        "checkpoint": file_checksum(run / CHECKPOINT),
    }
    write_submission(path, submission_of(evaluation, about, policy, "torch"))


def marl_eval_of(runs: Mapping[str, Path], evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The content of a file for marl-eval, of runs and their final evaluations by name.

    Steps are environment steps of online runs and updates of offline ones. The metrics are the
    KPIs of learners and, where the network has references, the normalised score.
    """
    learners = {name: _learned(run, evaluations[name]) for name, run in runs.items()}
    network = known_reference(evaluations[next(iter(runs))].config)
    return marl_eval_content(OWN_TASK if network is None else network.name, learners)


def write_marl_eval(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file for marl-eval, whole or not at all (WriteError: the system refuses)."""
    write_json(path, content)


def _learned(run: Path, evaluation: Evaluation) -> Learned:
    curve = learning_curve(run)
    counted = curve.updates
    if curve.steps_at is not None:
        counted = np.array([*map(curve.steps_at, curve.updates.tolist())], np.int64)
    kpis = dict(curve.kpis)
    final = {name: evaluation.kpi(name) for name in metrics.LEARNERS_KPIS}
    network = known_reference(evaluation.config)
    if network is not None and "score" in kpis:
        kpis["normalised_score"] = network.normalised(kpis["score"])
        final["normalised_score"] = network.normalised(final["score"])
    return Learned(describe(run)["seeds"], counted, kpis, final)
