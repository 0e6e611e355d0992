r"""
# Radio resource management

| Import               | `from rrm_env import rrm_v0`                            |
|----------------------|---------------------------------------------------------|
| Creation             | `make("parallel", "rrm/rrm-v0")`                        |
| Actions              | Discrete                                                |
| Parallel API         | Yes                                                     |
| Manual Control       | No                                                      |
| Agents               | `agents= ['ap_0', 'ap_1', 'ap_2', 'ap_3']`              |
| Agents               | 4                                                       |
| Action Shape         | (1,)                                                    |
| Action Values        | Discrete(4)                                             |
| Observation Shape    | (6,)                                                    |
| Observation Values   | [-6, 12] for SINR, [-1.601, 2] for weights              |
| State Shape          | (4, 6)                                                  |
| State Values         | as observations                                         |

Several access points (APs) share one channel. In every step each AP serves one of its best users
(UEs) or stays silent. Serving gives that UE a rate and disturbs everybody else's; all APs receive
the same reward, which favours UEs that have had little so far. The task is the one of E. Eldeeb and
H. Alves, "An Offline Multi-Agent Reinforcement Learning Framework for Radio Resource Management",
arXiv 2501.12991 ("the paper"). The table shows the default configuration, the preset `paper`: 4
APs, 20 UEs, 3 candidates per AP, 200 steps.

## Agents and actions

The agents are `ap_0` ... `ap_{I-1}`; all act in every step. Action n < N serves the AP's candidate
n; action N is silence. An AP's candidates are its N associated UEs with the highest
proportional-fair (PF) ratio, best first, ties to the lower UE index. An AP with fewer than N UEs
has empty slots: `infos[agent]["action_mask"]` marks them 0, and choosing one means silence.
`infos[agent]["candidates"]` names the UEs, -1 for an empty slot. Both are there from `reset` on.

With `power_levels_dbm=(10, 4, -2)` an action also chooses the transmit power. Of L levels, in the
order given, action a < N L serves candidate a // L at level a % L, and action N L is silence. The
mask marks all levels of an existing candidate 1. No level may exceed `tx_power_dbm`, at which
pilots are sent; so RSRP, association, reports, reference SINR, candidates and observations are the
same as without levels. Without levels L is 1.

## Observations

`(log10 SINR_1, log10 w_1, ..., log10 SINR_N, log10 w_N)` of the candidates, float32, from a channel
report that is `csi_delay` steps old. SINR is the reference SINR, all APs transmitting. Values are
clipped to the space; empty slots hold the lower bounds. `state()` stacks all observations: (I, D),
where D is the length of one observation. Four options, none in the paper, say more. Each appends
numbers to every AP's observation, in the order of this table, and changes no other shape. F is the
number of values that an AP observes of one candidate: 2, 2 + I with `measurements="large_scale"`,
or 4 + k with `measurements="neighbours"`. M is the number of APs whose messages an AP observes: I,
or k with `message_range="neighbours"`. k is `n_neighbours`, b is `message_bits`.

| option | appended to each AP's observation | numbers | bits per decision |
|---|---|---|---|
| always | SINR and weight of each candidate | 2 * N | 0 |
| `measurements="large_scale"` | behind each weight, gains from all APs | N * I | 0 |
| `measurements="neighbours"` | behind each weight, 2 + k gains; k indices | N * (k + 2) + k | 0 |
| `turns="equal"` | whether this step is the AP's turn | 1 | 0 |
| `turns="by_load"` | the same | 1 | 0 |
| `clock="elapsed"` | the share of the episode that has elapsed | 1 | 0 |
| `messages="best"` | what M APs observe of their best candidate | M * F | I * F * b |
| `messages="all"` | what M APs observe of all their candidates | M * N * F | I * N * F * b |

Bits are those that all APs together send to each other in a step. What an AP observes of its own
UEs, they report to it alone, so measurements cost nothing while they stay at the AP. Without
`large_scale`, and with messages to neighbours or none, the size of an observation does not depend
on the number of APs: what was learned in one network can act in a larger one.

`n_aps` is the number of agents and of rows in the state; `n_candidates` is N, and there are N L + 1
actions, with L levels in `power_levels_dbm`; of the other fields `n_neighbours` alone changes a
shape. N may exceed the number of an
AP's UEs. With N = J all of them are candidates in every step; with many APs a lower cap is enough,
since loads differ little: of 64 APs with 20 UEs each on average the fullest has 69 at most in 64
episodes. A step then takes longer, by a half in the preset `paper` with N = 20.

- `measurements="large_scale"`: $\log_{10}$ of the candidate's gains from all APs, AP after AP,
  without fading, at its present position: what phones report of the cells around them for handover.
  Clipped like the SINR.
- `measurements="neighbours"`: the same gains, but of a fixed number of APs: $\log_{10} g_{ij}$ from
  the candidate's own AP i, $\log_{10} g_{mj}$ from each of the k neighbours m of i, in their order,
  and $\log_{10} \sum g_{mj}$ over all other APs that are no neighbours, which is the lower bound
  where there are none. Behind the last candidate stand the neighbours' indices, once per AP; they
  are names, and a network that reads them as quantities meets numbers it has never seen where there
  are more APs. The neighbours of i are the k other APs of highest strength
  $\sum_{j: a_j = i} g_{mj} / (g_{ij} + g_{mj} + 1)$, summed over the UEs of i, with gains without
  fading at t = 0: the shares of m in what those UEs receive when i and m alone transmit. Strongest
  first, ties to the lower index, fixed for the episode (`Network.neighbours`). Where there are
  fewer than k other APs, the index is -1 and the gain the lower bound.
- `turns`: 1 in the steps that are the AP's turn, 0 in the others. `equal`: APs in a circle, t mod
  I. `by_load`: the APs of all UEs in a circle, so that each has turns in proportion to its UEs; for
  this the APs exchange once per episode which UEs each of them has.
- `clock="elapsed"`: t / T, from 0 at the reset to 1 after the last step.
- `messages`: what every AP sends in every step, of its best candidate or of all. With
  `message_range="all"` everybody observes the messages of all APs, AP after AP, also its own: the
  same block for all. With `neighbours` an AP observes the messages of its k neighbours, in their
  order; where a neighbour is missing, the lower bounds. Each number travels as `message_bits` bits:
  the middle of one of $2^{\text{bits}}$ equal cells, for $\log_{10}$ SINR from -1 to 4, for
  $\log_{10} w$ from -0.5 to 1, for $\log_{10}$ gain from 0 to 7. Messages are broadcast: each
  counts once in `RRMConfig.message_bits_per_step`, however many APs read it. They are as old as the
  report that they are about. Which neighbours each of them has, the APs tell each other once per
  episode.

## Rewards and the end of an episode

$r = \sum_j w_j^\lambda C_j$, the same for all agents. It pays for serving starved UEs but does not
charge for starving them, so a policy may have a higher return and a lower score than another. With
`reward="utility"` it is $r = \frac1\eta \sum_j U(\tilde C_j(t)) - U(\tilde C_j(t-1))$ with
$U(x) = x^{1 - \lambda} / (1 - \lambda)$ ($\ln x$ for $\lambda = 1$), which telescopes to the
utility gained; to first order in $\eta$ it is the former less the drift
$\sum_j w_j^\lambda \tilde C_j$. With `average="episode"` the $\eta$ that divides is that of the
last step, $\eta_T$, so it telescopes too; to first order it is then $\eta_t / \eta_T$ times the
former less the drift, which is large at first ([physics](physics.md#reward-16)).

An episode is truncated, never terminated, after `episode_length` steps. The infos of the last step
hold the episode's `sum_rate`, `tail_rate`, `worst_rate`, `score` and every user's rate, `ue_rates`,
so that a score can be logged while training.

## Equations

Symbols: I APs, J UEs, N candidates per AP, step t; numbers in brackets are the paper's.

- Deployment (1, 2): APs uniform in the square, more than $d_0$ apart; UEs uniform, more than $d_1$
  from every AP.
- Motion: every UE draws a heading at reset, walks at constant speed and is reflected at the border.
- Large-scale gain (4): $-15.3 - 37.6 \log_{10} d - 10 + X$ dB, $d$ in metres and never below $d_1$;
  shadowing $X \sim \mathcal{N}(0, \sigma^2)$ per link, once per episode. With `propagation`
  `inh_office`, `umi` or `uma`: path loss, line of sight and shadowing of TR 38.901, the last two as
  random fields over the plane ([physics](physics.md#propagation-of-tr-38901)).
- Fading: $|h|^2 \sim \mathrm{Exp}(1)$ per link, fresh each step (`iid`); or correlated in time with
  $J_0(2 \pi f_D \tau)$, $f_D$ = speed x carrier / c (`jakes`); 1 (`none`); or that of recorded
  gains (`trace`).
- Association (5): each UE to the AP with the highest received power without fading at t = 0, for
  the whole episode.
- Rates (6, 7): a served UE gets $C_j = \log_2(1 + \mathrm{SINR}_j)$,
  $\mathrm{SINR}_j = g_{ij} / (1 + \sum_{k \ne i,\ k\ \text{transmits}} g_{kj})$, $g$ being received
  power over noise; other UEs get 0. With power levels each $g_{kj}$ is multiplied by the power of
  AP k in this step over `tx_power_dbm`.
- Weights and PF (13, 14):
  $\tilde C_j \leftarrow \max((1 - \eta) \tilde C_j + \eta C_j,\ \tilde C_{\min})$,
  $w_j = 1 / \tilde C_j$, PF ratio $= w_j \log_2(1 + \text{reference SINR}_j)$. With
  `average="episode"`, $\eta = 1 / (t + n_0)$ in step t = 1, 2, ...: $\tilde C_j$ is the mean of the
  user's rates since the episode began, in which $\tilde C_j(0)$ counts for $n_0$ steps
  (`average_prior_steps`). With `pf_exponent` $k$ the PF ratio is $w_j^k \log_2(\ldots)$.
- Score (9, 10, 11): $\mu_1 \sum_j \bar C_j + \mu_2 \bar C_{5\%}$ with $\bar C$ the episode's mean
  rates and $\bar C_{5\%}$ the largest rate that at least 95 % of the UEs reach.

One step: observation of t (from the report of step t - `csi_delay`), actions, rates on the true
channel of t, reward with the weights of t - 1, update of the averages, motion, channel of t + 1,
its report, candidates and observation of t + 1.

## Arguments

```python
from rrm_env import rrm_v0

env = rrm_v0.parallel_env(render_mode=None, preset="paper", n_aps=4, fading="iid", csi_delay=1)
```

`render_mode`: `rgb_array`, a picture of each step from `render()`; `human`, a window; None. The
first two need pygame: `pip install -e ".[render]"`.

`preset`: `paper`, `correlated` (1 ms steps, Jakes fading), `wide` (8 APs, 40 UEs, 500 m, $d_0$ = 35
m, $d_1$ = 10 m), `dense` (16 APs, 160 UEs, 200 m) or `resilient` (8 APs, 40 UEs, 500 m, 4 power
levels; [below](#the-preset-resilient)). Every field of `RRMConfig` can be given by
name and overrides the preset's ([all of them](#options)).

`max_cycles`: PettingZoo's name for `episode_length`.

`rrm_v0.env` and `rrm_v0.raw_env` take the same arguments and follow the agent-environment-cycle
API. Under Gymnasium's API all APs are one agent:
`gymnasium.make("rrm_env:rrm/rrm-v0", flat_actions=False)` and `gymnasium.make_vec`, with
observations (I, 2N) and an action per AP, or one number of $(N L + 1)^I$ with `flat_actions=True`.

`reset(seed=s)` with $0 \le s < 2^{63}$ fixes the episode: deployment, motion and fading are a
function of configuration and seed, whatever the agents do. `reset()` continues with seeds derived
from the last one. Seeds from $2^{62}$ on are those of `rrm_env.evaluate`; train on lower ones.
`reset(options={"ap_positions": ..., "ue_positions": ..., "association": ...})` places the APs (I,
2) and the UEs (J, 2), in metres, and gives each UE its AP (J,), for this episode; each can be left
out, and the next reset starts from the configuration again. Other options are refused by name;
under PettingZoo's API `{"options": 1}` is let through without an effect, because PettingZoo's own
tests pass it, and under Gymnasium's vector API a `reset_mask` that selects all episodes. Settings
are fixed when an environment is made: assigning `env.n_aps`, `env.render_mode` and the like is an
error, except `env.max_cycles`, which PettingZoo's test assigns and which has no effect.

## Options

All fields of `RRMConfig`. Unknown names, values outside their range and values that contradict each
other are refused with an error that says what is allowed.

{{fields}}

## Modelled / not modelled

[What is modelled, with the fields that set it, and what is not](modelled.md), with who models it
and a table of what combines with what.

## Departures from the paper

Where the paper is silent or leaves a choice; the field that switches each is in brackets.

1. Noise, not given: -174 dBm/Hz over 10 MHz, no noise figure [`noise_psd_dbm_hz`, `bandwidth_hz`,
   `noise_figure_db`].
2. Shadowing, "sigma": 7 dB [`shadowing_std_db`].
3. Step duration, not given: 50 ms, so an episode is 10 s and a UE walks 10 m [`step_duration_s`].
4. Fading in time, "Rayleigh": fresh each step, as walking at 2.4 GHz with 50 ms steps gives
   [`fading`].
5. Age of channel knowledge, not given: one step [`csi_delay`]. With current knowledge plain PF
   already reaches the paper's 5-percentile rates.
6. Reports from before the episode (t < `csi_delay`): fading at the initial positions.
7. SINR in observation and PF ratio, Eq. 7: the reference SINR, which does not depend on the others'
   past actions.
8. The average's $\eta$, not given: 0.05 [`rate_ema`]. It forgets after 20 steps; the mean since the
   episode began is an option [`average`, `average_prior_steps`].
9. $\tilde C(0)$, C(0) in the paper: the reference rate of the first report, since C(0) is 0 for UEs
   not served.
10. Averages never fall below 0.01 bit/s/Hz, so weights are bounded [`min_average_rate`].
11. The reward's weights use averages of the step before: a scheduler cannot know C(t) before
    acting.
12. $\mu_1 = 1/M$ with M undefined: 1 / J [`score_sum_weight`].
13. The joint action space, "(N+1) x I": $(N+1)^I$, over which Eq. 26 sums.
14. APs are placed one after the other, each redrawn until it is far enough from those before;
    redrawing all of them together would fail in dense networks.
15. Observations are clipped to finite bounds.
16. The first decision is not like the others: since averages start at the reference rate (9), every
    PF ratio is 1 at t = 0, or less where the reference rate lies below the floor (10). Ties go to
    the lower index, so the first candidate is the AP's UE of lowest index in 99.8 % of the cases
    (4,096 episodes). Indices say nothing of a UE's place or channel: the candidates of this one
    step are arbitrary. From t = 1 on the ratios differ.

## The preset resilient

It is the network of N. Naderializadeh, M. Eisen, A. Ribeiro, "Learning resilient radio resource
management policies with graph neural networks", IEEE Trans. Signal Process. (2023), arXiv
2203.11012, as their published code (github.com/navid-naderi/Resilient_RRM_GNN) sets it: sizes and
least distances, 10 dBm, 10 MHz, -174 dBm/Hz, 7 dB of shadowing, Rayleigh fading with a Doppler of
8 Hz, steps of 1 ms, averages with $\eta = 0.05$, present gains known, all users of an AP
candidates. What differs:

- Powers: theirs are continuous up to 10 dBm; these are 10, 4, -2 and -8 dBm, or silence.
- Path loss: theirs has two slopes, $39 + 20 \log_{10} d$ dB up to 100 m and $40 \log_{10} d - 1$ dB
  beyond. Here it is $10.8 + 35.2 \log_{10} d$, the least-squares fit over the links of such
  deployments: 1.3 dB away from theirs in the root mean square over links, up to 3 dB from 35 to
  500 m, and 13 dB at 10 m.
- Theirs plays 100 steps of round robin before the 100 that count; here averages begin at the first
  report's rate.
- Theirs redraws a deployment until every AP has a user and its users stand still; here they walk
  0.1 m in an episode.

`examples/benchmarks/resilient.py` plays the channels that their code draws.

The paper's reference [26] controls power too. Its levels and sizes were not at hand when this was
written, so there is no preset for it.

## Version history

* v0: first release
"""

from __future__ import annotations

from typing import Any

import gymnasium
import pettingzoo
from gymnasium.vector import AutoresetMode
from pettingzoo import AECEnv
from pettingzoo.utils import wrappers
from pettingzoo.utils.conversions import parallel_to_aec

from rrm_env.arguments import NetworkArguments, arguments_shown, config_of
from rrm_env.checks import as_integer
from rrm_env.config import field_table
from rrm_env.joint import RRMJointEnv
from rrm_env.keywords import Unpack
from rrm_env.parallel import RRMParallelEnv
from rrm_env.vector import RRMVectorEnv

__all__ = ["ENV_ID", "env", "joint_env", "parallel_env", "raw_env", "vector_env"]

ENV_ID = "rrm/rrm-v0"
"""The environment's name in PettingZoo's and Gymnasium's registries."""


@arguments_shown
def parallel_env(
    render_mode: str | None = None, **network: Unpack[NetworkArguments]
) -> RRMParallelEnv:
    """The environment under PettingZoo's parallel API.

    Args:
        render_mode: ``rgb_array``, ``human`` or None.
        network: fields of `RRMConfig`, whose defaults are those of the preset; ``preset``, the name
            of a preset; ``config``, a whole configuration in place of a preset; ``max_cycles``,
            another name for ``episode_length``.

    Raises:
        TypeError, ValueError: an unknown field (the error names the nearest one), or a value that
            is not allowed.
    """
    return RRMParallelEnv(config_of(**network), render_mode)


@arguments_shown
def raw_env(
    render_mode: str | None = None, **network: Unpack[NetworkArguments]
) -> AECEnv[str, Any, Any]:
    """The environment under the agent-environment-cycle (AEC) API, without wrappers.

    Arguments and errors are those of `parallel_env`.
    """
    aec: AECEnv[str, Any, Any] = parallel_to_aec(parallel_env(render_mode, **network))
    return aec


@arguments_shown
def env(
    render_mode: str | None = None, **network: Unpack[NetworkArguments]
) -> AECEnv[str, Any, Any]:
    """The environment under the agent-environment-cycle (AEC) API, with PettingZoo's checks.

    Actions out of bounds and calls out of order are refused. Arguments and errors are those of
    `parallel_env`.
    """
    return wrappers.OrderEnforcingWrapper(_IntegerActions(raw_env(render_mode, **network)))


class _IntegerActions(wrappers.AssertOutOfBoundsWrapper[str, Any, Any]):
    """Asserts that actions lie in their space; integers of any type count, truth values do not."""

    def step(self, action: Any) -> None:
        """Pass the action on as an int: spaces take `True` for 1 and refuse some integer types."""
        number = as_integer(action)
        if number is None and isinstance(action, bool):
            raise AssertionError("action is not in action space")
        super().step(action if number is None else number)


@arguments_shown
def joint_env(
    render_mode: str | None = None,
    *,
    flat_actions: bool = False,
    **network: Unpack[NetworkArguments],
) -> RRMJointEnv:
    """All access points as one agent, under Gymnasium's API.

    Arguments and errors are those of `RRMJointEnv` and `parallel_env`.
    """
    return RRMJointEnv(config_of(**network), render_mode, flat_actions=flat_actions)


vars(joint_env)["metadata"] = RRMJointEnv.metadata  # where gymnasium.make looks up render modes


@arguments_shown
def vector_env(
    num_envs: int = 1,
    render_mode: str | None = None,
    *,
    num_threads: int = 1,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    flat_actions: bool = False,
    **network: Unpack[NetworkArguments],
) -> RRMVectorEnv:
    """Many episodes at once, all access points as one agent, under Gymnasium's vector API.

    Arguments and errors are those of `RRMVectorEnv` and `parallel_env`.
    """
    return RRMVectorEnv(
        num_envs,
        config_of(**network),
        num_threads=num_threads,
        autoreset_mode=autoreset_mode,
        flat_actions=flat_actions,
        render_mode=render_mode,
    )


def _register() -> None:
    """Register the environment with Gymnasium, and with PettingZoo where it has a registry."""
    gymnasium.register(
        ENV_ID, entry_point=f"{__name__}:joint_env", vector_entry_point=f"{__name__}:vector_env"
    )
    register = getattr(pettingzoo, "register", None)
    if register is not None:
        register("parallel", ENV_ID, entry_point=f"{__name__}:parallel_env")
        register("aec", ENV_ID, entry_point=f"{__name__}:env")


__doc__ = (__doc__ or "").replace("{{fields}}", field_table())
_register()
