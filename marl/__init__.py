"""Learners for `rrm_env` and any other parallel environment: SAC, DQN and CQL, centralised, independent and CTDE, online and offline."""

from marl.collect import collect, collect_parallel
from marl.config import PRESETS, LearnerConfig, TrainingConfig
from marl.dataset import Dataset, DatasetError
from marl.learner import DivergenceError, Learner
from marl.paradigms import Heads, Team
from marl.policy import Policy, RunError, load_policies
from marl.training import episode_returns, train

__all__ = [
    "PRESETS",
    "Dataset",
    "DatasetError",
    "DivergenceError",
    "Heads",
    "Learner",
    "LearnerConfig",
    "Policy",
    "RunError",
    "Team",
    "TrainingConfig",
    "collect",
    "collect_parallel",
    "episode_returns",
    "load_policies",
    "train",
]
