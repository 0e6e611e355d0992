"""The classical schedulers that learned policies are judged against; ``python -m baselines`` prints how they compare."""

from baselines.greedy import Greedy
from baselines.greedy_max_weight import GreedyMaxWeight
from baselines.itlinq import ITLinQ
from baselines.max_weight import MaxWeight
from baselines.proportional_fair import ProportionalFair
from baselines.random_walk import RandomWalk
from baselines.scheduler import Baseline
from baselines.tdm import TDM, NetworkTDM
from baselines.turn_taking import TurnTaking

REGISTRY: dict[str, type[Baseline]] = {
    "random_walk": RandomWalk,
    "greedy": Greedy,
    "tdm": TDM,
    "network_tdm": NetworkTDM,
    "proportional_fair": ProportionalFair,
    "itlinq": ITLinQ,
    "max_weight": MaxWeight,
    "greedy_max_weight": GreedyMaxWeight,
    "turn_taking": TurnTaking,
}
"""Every baseline by name."""

__all__ = [
    "REGISTRY",
    "TDM",
    "Baseline",
    "Greedy",
    "GreedyMaxWeight",
    "ITLinQ",
    "MaxWeight",
    "NetworkTDM",
    "ProportionalFair",
    "RandomWalk",
    "TurnTaking",
]
