"""Configuration of learners and of training: schemes, hyperparameters and presets."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rrm_env.checks import bounded_integer, nearest, shown

Paradigm = Literal["c", "i", "ctde"]
Algorithm = Literal["sac", "dqn", "bc", "iql", "omiga", "ppo"]
Reduction = Literal["sum", "mean", "weighted"]
Mixing = Literal["sum", "weighted", "monotone"]
TDLoss = Literal["half_squared", "huber"]
ActOn = Literal["actor", "critic"]
Observes = Literal["own", "all", "sequence"]
Products = Literal["float32", "bfloat16"]

NEED_DATA: tuple[Algorithm, ...] = ("bc", "iql", "omiga")
"""Algorithms that learn from a dataset alone."""
MIXINGS: dict[Algorithm, tuple[Mixing, ...]] = {
    "sac": ("sum",),
    "dqn": ("sum", "weighted", "monotone"),
    "bc": ("sum",),
    "iql": ("sum",),
    "omiga": ("sum", "weighted"),
    "ppo": ("sum",),
}
"""The mixtures of heads that an algorithm can train in CTDE.

Expectations over policies and local advantages are known of linear ones alone.
"""

IN_SEQUENCE: tuple[Algorithm, ...] = ("bc",)
"""Algorithms whose agents can choose one after the other.

Targets of others need values of what all agents do next, which depends on who chose before whom.
"""

ACT_AND_LEARN: tuple[Algorithm, ...] = ("ppo",)
"""Algorithms that learn only from what their own policy has just done."""

PRESETS: dict[str, dict[str, Any]] = {
    "tuned": {},
    "paper": {
        "discount": 0.99,
        "critic_learning_rate": 1e-4,
        "actor_learning_rate": 1e-5,
        "n_critics": 1,
        "target_rate": 1.0,
        "target_period": 100,
        "automatic_temperature": False,
        "initial_temperature": 1.0,
        "soft_backup": False,
        "reward_scale": 1.0,
        "normalise_observations": False,
        "epsilon_final": 0.05,
    },
}
"""The fields that each preset changes.

``paper`` is Table III, whose two learning rates are read as the actor's and the critic's.
"""

_SMALLEST, _LARGEST = 1e-30, 1e30
"""Bounds of positive numbers; between them float32 neither underflows nor overflows."""
_LARGEST_INTEGER = 2**53
"""Bound of integers: int64 counters hold it, and every JSON reader reads it exactly."""


def _number(default: float, low: float = 0.0, high: float = _LARGEST) -> Any:
    """A dataclass field that holds a number from ``low`` to ``high``."""
    return field(default=default, metadata={"low": low, "high": high})


def _positive(default: float, high: float = _LARGEST) -> Any:
    """A dataclass field that holds a positive number of at most ``high``."""
    return _number(default, _SMALLEST, high)


def _integer(default: int, low: int = 1) -> Any:
    """A dataclass field that holds an integer of at least ``low``."""
    return field(default=default, metadata={"low": low, "high": _LARGEST_INTEGER})


@cache
def _allowed_words() -> dict[str, tuple[str, ...]]:
    """The words that a field of `LearnerConfig` allows, for each field that holds a word."""
    kinds = get_type_hints(LearnerConfig)
    return {name: get_args(kind) for name, kind in kinds.items() if get_origin(kind) is Literal}


def _checked(item: Field[Any], value: Any) -> Any:
    """The value of a field, where numbers become plain Python numbers.

    Raises:
        TypeError, ValueError: the message says what is allowed.
    """
    if words := _allowed_words().get(item.name):
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{item.name} must be one of {', '.join(words)}, got {shown(value)}")
    elif isinstance(item.default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{item.name} must be True or False, got {shown(value)}")
    elif isinstance(item.default, int):
        return bounded_integer(item.name, value, item.metadata["high"], item.metadata["low"])
    elif isinstance(item.default, float):
        return _checked_float(item, value)
    return value


def _checked_float(item: Field[Any], value: Any) -> float:
    """The value of a field that holds a float; errors as `_checked`."""
    low, high = item.metadata["low"], item.metadata["high"]
    allowed = f"a finite number of at least {low:g} and at most {high:g}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{item.name} must be {allowed}, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # the value is an integer that no float can hold
        number = math.inf
    if not low <= number <= high:
        raise ValueError(f"{item.name} must be {allowed}, got {shown(value)}")
    return number


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """A scheme of the paper and its hyperparameters; the defaults are the preset ``tuned``.

    Raises:
        TypeError, ValueError: a value of the wrong type or out of range; the message names the
            field and what is allowed.
    """

    paradigm: Paradigm = "c"
    """c: one network chooses all agents' actions; i: each agent learns alone; ctde: each acts alone
    on what it observes, and the sum of their Q-values is trained (Eqs. 23, 24)."""
    observes: Observes = "own"
    """i, ctde: what an agent's networks see. own: its own observation; all: the observations of all
    agents, which a centre would collect or agents would exchange; sequence: these, and the actions
    of the agents before it, since agents choose one after the other (bc)."""
    algorithm: Algorithm = "sac"
    """sac: discrete soft actor-critic; dqn: deep Q-network; bc: behaviour cloning, the floor for
    offline results; iql: implicit Q-learning, whose actor clones good actions more; omiga: the same
    with values and advantages of each agent that follow from the team's. bc, iql and omiga need a
    dataset. ppo: proximal policy optimisation, online only (IPPO with paradigm i, MAPPO with
    ctde)."""
    cql_alpha: float = _number(1.0)
    """Offline: weight of the conservative penalty (Eqs. 26-28); 0 leaves it out. Online there is
    none."""
    cql_reduction: Reduction = "sum"
    """How the penalties of several agents combine: sum (Eq. 28), mean, or a mean that is weighted
    by how far an agent's values deviate from the data's policy, as in CFCQL."""
    deviation_weight: float = _number(1.0)
    """cql_reduction = weighted: agents weigh as softmax(this * deviation); 0 is the mean."""
    mixing: Mixing = "sum"
    """ctde: how the agents' values become the team's. sum; weighted: a sum with weights that depend
    on the state (dqn, omiga); monotone: the mixing network of QMIX (dqn)."""
    mixing_width: int = _integer(32)
    """Hidden units of the monotone mixture."""
    discount: float = _positive(0.9, high=1.0)
    """Discount factor. The paper's 0.99 works too, but scores less here: weights already carry the
    past, and steps far ahead add noise."""
    batch_size: int = _integer(256)
    """Transitions per update."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the hidden ReLU layers of every network."""
    products: Products = "float32"
    """Numbers that the matrix products of updates multiply (not of ppo). bfloat16 rounds them to 8
    significant bits, which is faster on devices that have instructions for it; sums, losses,
    parameters and the trained policy stay float32."""
    critic_learning_rate: float = _positive(3e-4)
    """Adam's step size for Q-networks."""
    actor_learning_rate: float = _positive(3e-4)
    """Adam's step size for policy networks."""
    temperature_learning_rate: float = _positive(3e-4)
    """Adam's step size for the logarithm of the temperature, where it is automatic."""
    n_critics: int = _integer(2)
    """Q-networks per head; targets and policies use the smallest of their values."""
    target_rate: float = _positive(0.005, high=1.0)
    """Share of the online Q-networks in the new target networks at each target update."""
    target_period: int = _integer(1)
    """Updates between target updates."""
    share_parameters: bool = False
    """i, ctde: one network for all agents, so that the policy runs with any number of them."""
    common_features: int = _integer(0, low=0)
    """c: see only this many features, the last ones of an observation, which are the same for all
    agents (messages with message_range = all); every agent can then run the network itself, and all
    agree. 0: see all observations."""
    automatic_temperature: bool = True
    """sac: adapt the temperature until the policy's entropy is entropy_ratio * log(number of legal
    actions)."""
    initial_temperature: float = _positive(0.5)
    """sac: the temperature at the start, or throughout where it is not automatic."""
    entropy_ratio: float = _number(0.3, high=1.0)
    """sac: target entropy, as a share of the entropy of uniformly random legal actions."""
    cloning_weight: float = _number(0.0)
    """sac offline: weight of behaviour cloning in the actor's loss, which keeps it close to the
    data, as TD3+BC does; 0 leaves it out."""
    soft_backup: bool = True
    """sac: count the next state's entropy in the target, or only in the actor's loss as in the
    paper (Eqs. 17, 19, 21 and 24)."""
    double_q: bool = True
    """dqn: the online network chooses the next action and the target network evaluates it, or the
    target network does both."""
    expectile: float = _number(0.7, _SMALLEST, 1 - 1e-6)
    """iql: expectile of the data's action values that a state's value is; 0.5 is their mean, 1
    would be their maximum."""
    advantage_weight: float = _number(3.0)
    """iql, omiga: inverse temperature eta of the weights exp(eta A) with which actions of advantage
    A are cloned, in scaled reward; 0 clones all alike."""
    largest_weight: float = _number(100.0, 1.0)
    """iql, omiga: bound of these weights."""
    td_loss: TDLoss = "half_squared"
    """Loss of a temporal-difference error d: d^2 / 2, or the Huber loss, which is linear beyond
    1."""
    reward_scale: float = _positive(0.1)
    """Factor on rewards; it decides how strong a penalty of weight cql_alpha is."""
    normalise_observations: bool = True
    """Shift and scale each observation feature to mean 0 and standard deviation 1 over the dataset,
    or online over the replay before the first update."""
    normalise_rewards: bool = False
    """Shift and scale rewards to mean 0 and standard deviation 1 over the dataset, or online over
    the replay before the first update; reward_scale comes after it. Values then start where they
    end. Where episodes terminate early, the shift changes which policy is best."""
    act_on: ActOn = "actor"
    """sac: the trained policy is greedy on the actor (Algorithm 3) or the Q-networks (Eq. 25)."""
    epsilon_final: float = _number(0.05, high=1.0)
    """dqn online: share of random actions after exploration_updates; it starts at 1 and falls
    linearly."""
    exploration_updates: int = _integer(3000, low=0)
    """dqn online: updates until epsilon_final is reached."""
    replay_capacity: int = _integer(100_000)
    """online: transitions kept per seed."""
    learning_starts: int = _integer(2000, low=0)
    """online: transitions per seed, of uniformly random legal actions, before the first update. ppo
    uses them to normalise observations and for nothing else."""
    rollout_steps: int = _integer(50)
    """ppo: steps of all environments between which the policy is fixed; what they give is learned
    from and forgotten."""
    epochs: int = _integer(4)
    """ppo: passes over these steps, each in another random order; an update takes batch_size of
    them."""
    clip_range: float = _positive(0.2)
    """ppo: change of an action's probability, as a share, beyond which nothing is gained."""
    gae_lambda: float = _number(0.9, high=1.0)
    """ppo: decay of advantages with the steps ahead: 0 trusts the critic after one step, 1 counts
    all rewards of the rollout."""
    entropy_weight: float = _number(0.01)
    """ppo: weight of the policy's entropy in the actor's loss."""

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        if not isinstance(self.hidden_sizes, (tuple, list)):
            raise TypeError(
                "hidden_sizes must be integers of at least 1, one per hidden layer, "
                f"got {shown(self.hidden_sizes)}"
            )
        widths = tuple(
            bounded_integer("hidden_sizes", size, _LARGEST_INTEGER) for size in self.hidden_sizes
        )
        object.__setattr__(self, "hidden_sizes", widths)
        if self.share_parameters and self.paradigm == "c":
            raise ValueError(
                "share_parameters = True must come with paradigm = 'i' or 'ctde': "
                "a centralised network is one already"
            )
        if self.observes != "own" and (self.paradigm == "c" or self.share_parameters):
            raise ValueError(
                f"observes = {self.observes!r} must come with paradigm = 'i' or 'ctde' and "
                "share_parameters = False: a centralised network sees all observations already, "
                "and agents that share a network would all act alike"
            )
        if self.observes == "sequence" and self.algorithm not in IN_SEQUENCE:
            raise ValueError(
                f"observes = 'sequence' must come with algorithm = {' or '.join(IN_SEQUENCE)}, "
                f"got {self.algorithm}: targets of others need values of what all agents do next"
            )
        allowed = MIXINGS[self.algorithm] if self.paradigm == "ctde" else ("sum",)
        if self.mixing not in allowed:
            raise ValueError(
                f"mixing of paradigm {self.paradigm!r} and algorithm {self.algorithm!r} must be "
                f"one of {', '.join(allowed)}, got {self.mixing!r}"
            )
        if self.products != "float32" and self.algorithm == "ppo":
            raise ValueError(
                f"products = {self.products!r} must not come with algorithm = 'ppo', whose losses "
                "compare probabilities with those under which the policy acted, in float32"
            )
        if self.common_features and self.paradigm != "c":
            raise ValueError(
                f"common_features = {self.common_features} must come with paradigm = 'c', "
                f"got {self.paradigm!r}"
            )
        if self.learning_starts > self.replay_capacity:
            raise ValueError(
                f"learning_starts = {self.learning_starts} must not exceed "
                f"replay_capacity = {self.replay_capacity}"
            )

    @classmethod
    def preset(cls, name: str = "tuned", **overrides: Any) -> LearnerConfig:
        """A preset (`PRESETS`), with fields overridden.

        Raises:
            ValueError: the preset does not exist; the message suggests the nearest name.
        """
        if not isinstance(name, str) or name not in PRESETS:
            text = name if isinstance(name, str) else shown(name)
            raise ValueError(f"unknown preset {nearest(text, PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LearnerConfig:
        """The config that `as_dict` described.

        Raises:
            TypeError, ValueError: an unknown field, or a value that the field does not allow.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"unknown learner field {nearest(name, known)}")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, with values that JSON can hold."""
        return {**asdict(self), "hidden_sizes": list(self.hidden_sizes)}

    def for_data(self, *, offline: bool) -> LearnerConfig:
        """The scheme as it learns from a dataset or online, where it neither penalises nor clones.

        Raises:
            ValueError: the algorithm learns from a dataset alone, and there is none; or it learns
                online alone, and there is one.
        """
        if offline and self.algorithm in ACT_AND_LEARN:
            raise ValueError(
                f"algorithm = {self.algorithm!r} learns online, from what its own policy has just "
                "done, and not from a dataset"
            )
        if offline:
            return self
        if self.algorithm in NEED_DATA:
            raise ValueError(
                f"algorithm = {self.algorithm!r} needs a dataset: it clones what is recorded there"
            )
        return replace(self, cql_alpha=0.0, cloning_weight=0.0)

    def scheme(self, *, offline: bool) -> str:
        """The scheme's name, as in the paper where it has one.

        Examples are "C-MARL (DQN)", "CTDE-MARL-CQL (SAC)", "I-MARL (SAC) offline" and "MAPPO".
        """
        if self.algorithm == "ppo":
            return {"c": "C-MARL (PPO)", "i": "IPPO", "ctde": "MAPPO"}[self.paradigm]
        needs_data = self.algorithm in NEED_DATA
        penalised = offline and self.cql_alpha > 0 and not needs_data
        kind = "-CFCQL" if self.cql_reduction == "weighted" else "-CQL"
        name = "QMIX" if self.mixing == "monotone" else self.algorithm.upper()
        if offline and self.algorithm == "sac" and self.cloning_weight > 0:
            name = "SAC+BC"
        base = f"{self.paradigm.upper()}-MARL{kind if penalised else ''} ({name})"
        return f"{base} offline" if offline and not penalised and not needs_data else base


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Duration of training, its log, evaluations and checkpoints, and the device.

    Raises:
        TypeError, ValueError: a value of the wrong type or out of range; the message names the
            field and what is allowed.
    """

    updates: int = 10_000
    """Gradient updates."""
    log_every: int = 100
    """Updates between entries of the log; each holds means over the updates since the last one."""
    evaluate_every: int = 1000
    """Updates between evaluations on held-out episodes, for the learning curve; a multiple of
    log_every."""
    evaluation_episodes: int = 32
    """Episodes of each evaluation, the same ones every time."""
    checkpoint_every: int = 1000
    """Updates between checkpoints; a multiple of log_every. Online, environments start new episodes
    after each."""
    envs_per_seed: int = 64
    """Online: environments that each seed acts in, in parallel."""
    updates_per_step: int = 1
    """Online: updates between two steps of these environments. With ppo it is 1: how many updates
    follow a rollout is up to rollout_steps, epochs and batch_size."""
    device: str = "cpu"
    """Where to train: cpu, cuda, or cuda:0 and so on. On CUDA each update is one captured graph."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "device":
                value = bounded_integer(item.name, getattr(self, item.name), _LARGEST_INTEGER)
                object.__setattr__(self, item.name, value)
        for name in ("evaluate_every", "checkpoint_every"):
            value = getattr(self, name)
            if value % self.log_every:
                raise ValueError(
                    f"{name} = {value} must be a multiple of log_every = {self.log_every}"
                )
        devices = r"cpu|cuda(:\d{1,3})?"
        if not isinstance(self.device, str) or not re.fullmatch(devices, self.device, re.ASCII):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {shown(self.device)}")


def environment_steps(updates: int, learner: LearnerConfig, training: TrainingConfig) -> int:
    """Transitions that each seed of an online run has collected after ``updates`` updates.

    Environments first take random steps until the replay holds `learning_starts` transitions. After
    that they take one step each before every `updates_per_step`-th update, the first included; with
    ppo `rollout_steps` steps before every `updates_per_rollout`-th.

    Raises:
        ValueError: as `updates_per_rollout`.
    """
    random_steps = -(-learner.learning_starts // training.envs_per_seed)
    if learner.algorithm == "ppo":
        rollouts = -(-updates // updates_per_rollout(learner, training))
        policy_steps = rollouts * learner.rollout_steps
    else:
        policy_steps = -(-updates // training.updates_per_step)
    return training.envs_per_seed * (random_steps + policy_steps)


def updates_per_rollout(learner: LearnerConfig, training: TrainingConfig) -> int:
    """The updates of ppo between two rollouts: `epochs` times the whole batches of a rollout.

    Raises:
        ValueError: a rollout of all environments is smaller than a batch, or `updates_per_step` is
            not 1.
    """
    if training.updates_per_step != 1:
        raise ValueError(
            f"updates_per_step = {training.updates_per_step} must be 1 with algorithm = 'ppo', "
            "whose updates per rollout follow from rollout_steps, epochs and batch_size"
        )
    size = learner.rollout_steps * training.envs_per_seed
    if size < learner.batch_size:
        raise ValueError(
            f"batch_size = {learner.batch_size} must be at most rollout_steps * envs_per_seed = "
            f"{learner.rollout_steps} * {training.envs_per_seed} = {size}"
        )
    return learner.epochs * (size // learner.batch_size)
