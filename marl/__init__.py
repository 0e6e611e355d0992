"""Multi-agent learners for `rrm_env` and any other parallel environment.

SAC, DQN, CQL and behaviour cloning; centralised, independent and CTDE; online and offline.
"""

from marl import _libraries  # noqa: F401 - reports missing libraries, so it comes first
from marl.benchmark.named import load_dataset
from marl.config import PRESETS, LearnerConfig, TrainingConfig
from marl.data.collect import collect, collect_parallel
from marl.data.dataset import Dataset, DatasetError
from marl.engines import open_engine
from marl.environment import Environment, episode_returns
from marl.exchange.card import dataset_card
from marl.exchange.d3rlpy import from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.exchange.minari import from_minari, to_minari
from marl.graph.network import GraphConfig
from marl.graph.policy import GraphPolicy
from marl.graph.training import train_prices, train_prices_on
from marl.learner.heads import Heads
from marl.learner.learner import Learner
from marl.learner.stacked import DivergenceError
from marl.policy import Policy, UnfinishedRunWarning, load_policies
from marl.runs.description import RunError
from marl.sweep.grid import Sweep
from marl.sweep.run import SweepRun
from marl.team import Team
from marl.training.train import train

__all__ = [
    "PRESETS",
    "Dataset",
    "DatasetError",
    "DivergenceError",
    "Environment",
    "GraphConfig",
    "GraphPolicy",
    "Heads",
    "Learner",
    "LearnerConfig",
    "Policy",
    "RunError",
    "Sweep",
    "SweepRun",
    "Team",
    "TrainingConfig",
    "UnfinishedRunWarning",
    "collect",
    "collect_parallel",
    "dataset_card",
    "episode_returns",
    "from_mdp_arrays",
    "from_minari",
    "load_dataset",
    "load_policies",
    "mdp_arrays",
    "open_engine",
    "read_mdp_arrays",
    "to_minari",
    "train",
    "train_prices",
    "train_prices_on",
]
