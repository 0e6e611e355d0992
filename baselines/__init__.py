"""Classical schedulers, against which learned policies are compared, and what they build on.

What is listed in ``__all__`` is public. Of the modules, `registry` knows schedulers by name,
`comparison` compares evaluations and `plots` draws them; they may change without notice.
``python -m baselines`` prints how the schedulers compare.
"""

from baselines.debts import Debts
from baselines.ergodic import ergodic_rate
from baselines.fluid import Fluid
from baselines.fplinq import FPLinQ
from baselines.greedy import Greedy
from baselines.greedy_max_weight import GreedyMaxWeight
from baselines.itlinq import ITLinQ
from baselines.long_memory import LongMemory
from baselines.max_weight import MaxWeight
from baselines.power_control import PowerControl
from baselines.proportional_fair import ProportionalFair
from baselines.random_walk import RandomWalk
from baselines.registry import REGISTRY
from baselines.reuse import Reuse
from baselines.scheduler import Baseline
from baselines.tdm import TDM, NetworkTDM
from baselines.turn_taking import TurnTaking
from baselines.wmmse import WMMSE

__all__ = [
    "REGISTRY",
    "TDM",
    "WMMSE",
    "Baseline",
    "Debts",
    "FPLinQ",
    "Fluid",
    "Greedy",
    "GreedyMaxWeight",
    "ITLinQ",
    "LongMemory",
    "MaxWeight",
    "NetworkTDM",
    "PowerControl",
    "ProportionalFair",
    "RandomWalk",
    "Reuse",
    "TurnTaking",
    "ergodic_rate",
]
