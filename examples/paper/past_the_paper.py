"""Past the paper: score of decentralised learners against the bits that access points exchange.

``python examples/paper/past_the_paper.py`` trains five seeds of every row of `ROWS` offline,
evaluates them on 256 unseen episodes, and writes docs/results/past_the_paper.json and .png. They
hold the score against bits per decision, the score of policies trained with 4 access points when
run with other numbers, and the agreement of return and score over all policies of the study.
``--quick`` runs the same in miniature.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from optima import optimum_of
from pictures import PICTURE_DPI
from study import SCHEDULERS, Scale, Study, of_size
from study_options import StudyOptions, origin

from baselines.comparison import show, summarise
from baselines.plots import COLOURS, require_drawing, write_figure
from baselines.registry import parse_scheduler
from marl.policy import load_policies
from rrm_env import Evaluation, RRMConfig, Scheduler, evaluate, metrics
from rrm_env.config import REWARDS
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_writable, write_json

BEHAVIOUR = "max_weight:csi=large_scale:exponent=2"
DATA, MORE_DATA = f"{BEHAVIOUR}-100000", f"{BEHAVIOUR}-320000"
TURNS, EQUAL_TURNS = "turn_taking-100000", "turn_taking:turns=equal-100000"
MEASURED = {"measurements": "large_scale", "reward": "utility", "fairness_exponent": 1.5}
"""Network in which users report their gains from all access points.

Learners are paid the growth of a utility that values the tail about as the score does.
"""


@dataclass(frozen=True)
class Row:
    """A learner, what its network changes of the preset ``paper``, and what access points know."""

    run: str
    network: dict[str, Any]
    information: str


def _messages(what: str, bits: int, content: str) -> Row:
    """A learner that sees the messages of all access points alone."""
    return Row(
        f"common-cql-sac.{DATA}",
        {"messages": what, "message_bits": bits},
        f"SINR and weight of {content}, {bits} bit each",
    )


CENTRE = "the centre: all observations, 32 bit each"
ROWS = {
    "I, own observations": Row(f"i-cql-sac.{DATA}", {}, "its own candidates"),
    "CTDE, own observations": Row(f"ctde-cql-sac.{DATA}", {}, "its own candidates"),
    "I, equal turns": Row(
        f"i-shared-cql-sac.{EQUAL_TURNS}", {"turns": "equal"}, "its own candidates, a common clock"
    ),
    "I, turns by load": Row(
        f"i-shared-cql-sac.{TURNS}",
        {"turns": "by_load"},
        "the same, and once per episode who serves whom",
    ),
    **{
        f"messages of best, {bits} bit": _messages("best", bits, "everyone's best candidate")
        for bits in (1, 2, 4)
    },
    **{
        f"messages of all, {bits} bit": _messages("all", bits, "everyone's candidates")
        for bits in (1, 2, 4)
    },
    **{
        f"messages of all with measurements, {bits} bit": Row(
            f"common-cql-dqn.{MORE_DATA}",
            {**MEASURED, "messages": "all", "message_bits": bits},
            f"SINR, weight and gains of everyone's candidates, {bits} bit each",
        )
        for bits in (2, 4)
    },
    "C": Row(f"c-cql-sac.{DATA}", {}, CENTRE),
    "C, cloning": Row(f"bc.{DATA}", {}, CENTRE),
    "C, with measurements": Row(f"c-cql-dqn.{MORE_DATA}", MEASURED, f"{CENTRE}, gains among them"),
    "C, cloning, with measurements": Row(
        f"bc.{MORE_DATA}", MEASURED, f"{CENTRE}, gains among them"
    ),
}
REFERENCES = (BEHAVIOUR, "max_weight", "turn_taking", "turn_taking:turns=equal", "network_tdm")
BESIDE = ("turn_taking", "network_tdm", "itlinq")
SIZES = (2, 4, 8, 16)
"""Numbers of access points, equally dense and with 5 users each, for policies trained with 4."""


def main(options: StudyOptions) -> None:
    """Train missing runs, evaluate, and write the results."""
    require_drawing("the picture")
    options.check_only(ROWS)
    scale = options.scale
    json_path, plot_path = (
        check_writable("results", options.results(f"past_the_paper.{ending}"))
        for ending in ("json", "png")
    )
    studies = {
        name: Study(
            options.folder / "past_the_paper" / _folder_name(ROWS[name].network),
            scale,
            RRMConfig(**ROWS[name].network),
            options.device,
        )
        for name in options.only or ROWS
    }
    options.train((study, (ROWS[name].run,)) for name, study in studies.items())
    evaluations = {name: study.evaluation(ROWS[name].run) for name, study in studies.items()}
    references = {
        name: evaluate(parse_scheduler(name), None, scale.episodes) for name in REFERENCES
    }
    summary = summarise({**evaluations, **references})
    if options.only:
        show(summary, f"{scale.seeds} seeds, {scale.episodes} unseen episodes")
        for name in studies:
            scores = ", ".join(f"{value:.6f}" for value in evaluations[name].score.mean(-1))
            print(f"{name}: score of each seed {scores}")
        return
    rows = {
        name: {
            "information": ROWS[name].information,
            "network": ROWS[name].network,
            **load_policies(study.run(ROWS[name].run))[0].execution_cost(
                study.network.message_bits_per_step
            ),
            **{kpi: summary[name][kpi] for kpi in metrics.LEARNERS_KPIS},
            "interquartile_mean_score": metrics.interquartile_mean(evaluations[name].score),
            "score_per_seed": evaluations[name].score.mean(-1).tolist(),
            "learner": study.description(ROWS[name].run),
            "training_hours": study.hours(ROWS[name].run),
        }
        for name, study in studies.items()
    }
    agreement = _agreement(studies, scale)
    result = {
        **origin(scale),
        "rows": rows,
        "references": {
            name: {kpi: summary[name][kpi] for kpi in metrics.LEARNERS_KPIS} for name in REFERENCES
        },
        "other_numbers_of_access_points": _transfer(studies["I, turns by load"], scale),
        "return_and_score": agreement,
    }
    write_json(json_path, result)
    write_picture(plot_path, result, optimum_of(RRMConfig(), scale.episodes))
    show(summary, f"{scale.seeds} seeds, {scale.episodes} unseen episodes")
    print(f"wrote {json_path}\nwrote {plot_path}")


def _folder_name(network: Mapping[str, Any]) -> str:
    """Name of the folder of a network's runs."""
    return "_".join(f"{name}={value}" for name, value in network.items()) or "paper"


def _transfer(study: Study, scale: Scale) -> dict[str, Any]:
    """KPIs of the policy of turns by load and of schedulers, by number of access points."""
    found = {}
    policies = load_policies(study.run(ROWS["I, turns by load"].run))
    for n_aps in SIZES:
        network = of_size(n_aps, study.network)
        evaluated = {
            "trained with 4": Evaluation.stack(
                [evaluate(policy, network, scale.episodes) for policy in policies]
            ),
            **{name: evaluate(parse_scheduler(name), network, scale.episodes) for name in BESIDE},
        }
        found[str(n_aps)] = {
            row: {kpi: summary[kpi] for kpi in metrics.LEARNERS_KPIS}
            for row, summary in summarise(evaluated).items()
        }
        print(
            f"{n_aps} access points: "
            + ", ".join(f"{row} {value.score.mean():.3f}" for row, value in evaluated.items()),
            flush=True,
        )
    return found


def _agreement(studies: Mapping[str, Study], scale: Scale) -> dict[str, Any]:
    """Mean score and mean returns of every policy and scheduler, and their rank correlation.

    Returns are those of both rewards.
    """
    everyone: dict[str, tuple[Scheduler, RRMConfig]] = {}
    for name in dict.fromkeys((*SCHEDULERS, *REFERENCES)):
        everyone[name] = parse_scheduler(name), RRMConfig()
    for name, study in studies.items():
        policies = load_policies(study.run(ROWS[name].run))
        everyone |= {
            f"{name}, seed {k}": (policy, study.network) for k, policy in enumerate(policies)
        }
    for run in _finished(next(iter(studies.values())).out.parent.parent):
        everyone |= {
            f"{run.name}, seed {k}": (policy, RRMConfig())
            for k, policy in enumerate(load_policies(run))
        }
    points = {}
    for name, (scheduler, network) in everyone.items():
        by_reward = {
            reward: evaluate(
                scheduler,
                replace(network, reward=reward, fairness_exponent=RRMConfig().fairness_exponent),
                scale.episodes,
            )
            for reward in REWARDS
        }
        points[name] = {
            "score": float(by_reward["utility"].score.mean()),
            **{k: float(v.returns.mean()) for k, v in by_reward.items()},
        }
    columns = {
        key: np.array([point[key] for point in points.values()]) for key in ("score", *REWARDS)
    }
    correlations = {
        reward: metrics.rank_correlation(columns[reward], columns["score"]) for reward in REWARDS
    }
    print(f"rank correlation of return and score over {len(points)} policies: {correlations}")
    return {"rank_correlation": correlations, "policies": points}


def _finished(folder: Path) -> list[Path]:
    """Finished runs of the figures in the study's folder."""
    return sorted(path.parent for path in folder.glob("*/checkpoint.safetensors"))


def write_picture(
    path: Path, result: Mapping[str, Any], best: Mapping[str, Any] | None = None
) -> None:
    """Draw the score over bits per decision, and returns by both rewards over the score.

    Args:
        path: of the picture.
        result: content of the results file.
        best: the optimum of the same episodes, by ``score`` and ``minimum_score``; it gets lines,
            and a second axis has the share of it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.5), layout="constrained")
    curve, agreement = figure.subplots(1, 2, width_ratios=(3, 2))
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, row in result["rows"].items():
        curves.setdefault(re.sub(r", \d+ bit$", "", name), []).append(row)
    for k, (name, rows) in enumerate(curves.items()):
        means, lows, highs = (
            np.array([row["score"][key] for row in rows]) for key in ("mean", "low", "high")
        )
        style = {
            "fmt": "os^Dv"[k % 5] + "-",
            "color": COLOURS[k % len(COLOURS)],
            "markersize": 7,
            "linewidth": 1,
        }
        curve.errorbar(
            [row["bits"] for row in rows],
            means,
            [means - lows, highs - means],
            capsize=3,
            label=name,
            **style,
        )
    for k, (name, row) in enumerate(result["references"].items()):
        curve.axhline(
            row["score"]["mean"],
            color=COLOURS[k],
            linestyle=("--", ":")[k % 2],
            linewidth=1,
            label=name,
        )
    if best is not None:
        _draw_optimum(curve, best)
    curve.set_xscale("symlog", linthresh=10)
    curve.set_xticks(ticks := (0, 10, 100, 1000), map(str, ticks))
    curve.set_xlim(-3, 4000)
    curve.set(xlabel="bits exchanged per decision, all access points together", ylabel="score")
    beside = 1 if best is None else 1.12
    curve.legend(loc="center left", bbox_to_anchor=(beside, 0.5), frameon=False, fontsize="small")
    points = result["return_and_score"]["policies"].values()
    for k, (reward, correlation) in enumerate(
        result["return_and_score"]["rank_correlation"].items()
    ):
        values = np.array([point[reward] for point in points])
        ranks = values.argsort().argsort() + 1
        label = f"{reward}, rank correlation {correlation:.2f}"
        agreement.plot(
            [point["score"] for point in points],
            ranks,
            "ox"[k],
            color=COLOURS[(1, 5)[k]],
            alpha=0.7,
            label=label,
        )
    agreement.set(xlabel="score", ylabel="rank by mean return (1 is lowest)")
    agreement.legend(frameon=False, fontsize="small")
    for axes in (curve, agreement):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure, PICTURE_DPI)


def _draw_optimum(axes: Any, best: Mapping[str, Any]) -> None:
    """Draw the optimum and that with everybody counted as lines, and an axis of shares."""
    top = best["score"]["mean"]
    for value, line, label in (
        (top, "-", "optimum"),
        (best["minimum_score"]["mean"], "-.", "optimum, everybody counted"),
    ):
        axes.axhline(value, color="#000000", linestyle=line, linewidth=1.2, label=label)
    shares = axes.secondary_yaxis(
        "right", functions=(lambda score: 100 * score / top, lambda share: share * top / 100)
    )
    shares.set_ylabel("share of optimum, %")
    shares.spines[:].set_visible(False)


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(StudyOptions, description=__doc__)), interrupted=GOES_ON)
    )
