"""Multi-agent radio resource management: a PettingZoo environment over numba kernels.

`parallel_env` makes the environment. `Network` is the same network as arrays, many episodes at
once; `RRMVectorEnv` and `RRMJointEnv` are its Gymnasium views. `evaluate` runs a `Scheduler` on
unseen episodes; `watch` and `record` show one.

What is listed in ``__all__`` is public. The modules can be imported too, but may change without
notice.
"""

from rrm_env import metrics, rrm_v0
from rrm_env.compile_notice import announce
from rrm_env.config import PRESETS, RRMConfig, parse_settings
from rrm_env.evaluation import Evaluation, evaluate
from rrm_env.files import WriteError
from rrm_env.joint import RRMJointEnv
from rrm_env.network import SILENT, Network
from rrm_env.parallel import RRMParallelEnv
from rrm_env.places import DeploymentError
from rrm_env.power import PoweredDecision
from rrm_env.provenance import __version__
from rrm_env.references import Reference, normalised_score, reference
from rrm_env.rendering import Renderer
from rrm_env.rrm_v0 import env, parallel_env, raw_env
from rrm_env.scheduler import Scheduler, from_actions
from rrm_env.seeds import EVALUATION_SEEDS
from rrm_env.trace import Trace, record_trace
from rrm_env.vector import RRMVectorEnv
from rrm_env.watching import record, watch
from rrm_env.window import NoDisplayError

announce()

__all__ = [
    "EVALUATION_SEEDS",
    "PRESETS",
    "SILENT",
    "DeploymentError",
    "Evaluation",
    "Network",
    "NoDisplayError",
    "PoweredDecision",
    "RRMConfig",
    "RRMJointEnv",
    "RRMParallelEnv",
    "RRMVectorEnv",
    "Reference",
    "Renderer",
    "Scheduler",
    "Trace",
    "WriteError",
    "__version__",
    "env",
    "evaluate",
    "from_actions",
    "metrics",
    "normalised_score",
    "parallel_env",
    "parse_settings",
    "raw_env",
    "record",
    "record_trace",
    "reference",
    "rrm_v0",
    "watch",
]
