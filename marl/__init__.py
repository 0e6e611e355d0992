"""Learners for `rrm_env` and any other parallel environment: SAC, DQN and CQL, centralised, independent and CTDE, online and offline."""

from marl import _libraries  # noqa: F401 - says what is missing, so it comes first
from marl.card import dataset_card
from marl.collect import collect, collect_parallel
from marl.config import PRESETS, LearnerConfig, TrainingConfig
from marl.dataset import Dataset, DatasetError
from marl.exchange import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.learner import DivergenceError, Learner
from marl.minari_datasets import from_minari, to_minari
from marl.paradigms import Heads, Team
from marl.policy import Policy, RunError, UnfinishedRunWarning, load_policies
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
    "UnfinishedRunWarning",
    "collect",
    "collect_parallel",
    "dataset_card",
    "episode_returns",
    "from_mdp_arrays",
    "from_minari",
    "load_policies",
    "mdp_arrays",
    "read_mdp_arrays",
    "to_minari",
    "train",
]
