"""The page on adding an observation feature: after its changes observations have the feature."""

from __future__ import annotations

import re
from pathlib import Path

from howto import PAGES, apply_changes, blocks, copy_of, run

from rrm_env import RRMConfig

PROMISED = """
from rrm_env import Network, RRMConfig, parallel_env, rrm_v0

plain, loaded = (
    parallel_env(messages="best", clock="elapsed", load=load, episode_length=4)
    for load in ("none", "share")
)
space = loaded.observation_space("ap_0")
print(plain.observation_space("ap_0").shape, space.shape)
before, after = (env.reset(seed=1)[0] for env in (plain, loaded))
association, step = loaded.network.association[0].tolist(), 0
while loaded.agents:
    for env in (plain, loaded):
        seen, *_ = env.step({agent: 0 for agent in env.agents})
        before, after = (seen, after) if env is plain else (before, seen)
    step += 1
    for agent, observation in after.items():
        assert space.contains(observation)
        others = [*observation[:7], *observation[8:]]
        assert others == before[agent].tolist(), (step, agent)
        assert observation[6] == step / 4
        own = association.count(int(agent.removeprefix("ap_")))
        assert abs(observation[7] - own / 20) < 1e-6
print(step, 'load="share"' in rrm_v0.__doc__)
try:
    RRMConfig(load="shared")
except ValueError as error:
    print(error)
"""


def test_the_changes_of_the_page_make_a_feature_of_the_stated_shape(tmp_path: Path) -> None:
    assert "load" not in RRMConfig.__dataclass_fields__
    folder = copy_of("rrm_env", tmp_path)
    assert apply_changes("observation.md", folder) == [
        "rrm_env/config.py",
        "rrm_env/keywords.py",
        "rrm_env/state.py",
        "rrm_env/kernels.py",
        "rrm_env/readings.py",
        "rrm_env/rrm_v0.py",
    ]
    (shown,) = blocks("observation.md", "text")
    promised = re.search(
        r"^prints `(.+)`", (PAGES / "observation.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert promised
    printed = run(folder, "-c", shown + PROMISED, own_cache=True).splitlines()
    assert printed[0] == promised[1]
    plain = 3 * 2 + 1 + 4 * 2  # candidates, clock, messages of 4 access points
    assert printed[1:3] == [f"({plain},) ({plain + 1},)", "4 True"]
    assert printed[3].endswith("allowed: none, share")
