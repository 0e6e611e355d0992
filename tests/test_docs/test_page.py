"""The environment's page, the docstring of `rrm_env.rrm_v0`, agrees with the code."""

from __future__ import annotations

import math
import re
from dataclasses import Field, fields, replace
from typing import Any

import numpy as np
import pettingzoo
import pytest
from folders import ROOT
from gymnasium.spaces import Discrete

from rrm_env import (
    EVALUATION_SEEDS,
    PRESETS,
    SILENT,
    Network,
    RRMConfig,
    RRMParallelEnv,
    parallel_env,
    rrm_v0,
)
from rrm_env.config import CLOCKS, FADING_MODELS, MEASUREMENTS, MESSAGES, SENDERS, TURNS

PAGE = rrm_v0.__doc__ or ""
DOCS = ROOT / "docs"
DEFAULTS = RRMConfig()
FIELDS = {item.name: item for item in fields(RRMConfig)}


def rows_of(text: str) -> list[list[str]]:
    """The cells of the first table of a text, without the line under its heading."""
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert found, "there is no table"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    return [row for row in rows if not set(row[0]) <= {"-"}]


def table() -> list[tuple[str, str]]:
    """The (name, value) rows of the page's first table."""
    return [(name, value) for name, value in rows_of(PAGE)]


def section(heading: str) -> str:
    """The text under a heading, its line breaks and indents folded into spaces."""
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no section {heading!r}"
    return found[1]


def folded(text: str) -> str:
    return " ".join(text.split())


def shortest(value: float) -> str:
    """To three decimals, without trailing zeros, as the table prints bounds."""
    return f"{round(float(value), 3):g}"


def test_table_row_by_row() -> None:
    env = parallel_env()
    space, actions = env.observation_space("ap_0"), env.action_space("ap_0")
    (sinr_low, weight_low), (sinr_high, weight_high) = space.low[:2], space.high[:2]
    np.testing.assert_array_equal(space.low, np.tile([sinr_low, weight_low], 3))
    np.testing.assert_array_equal(space.high, np.tile([sinr_high, weight_high], 3))
    np.testing.assert_array_equal(env.state_space.low, np.tile(space.low, (4, 1)))
    np.testing.assert_array_equal(env.state_space.high, np.tile(space.high, (4, 1)))
    assert isinstance(actions, Discrete)
    expected = [
        ("Import", "`from rrm_env import rrm_v0`"),
        ("Creation", f'`make("parallel", "{rrm_v0.ENV_ID}")`'),
        ("Actions", type(actions).__name__),
        ("Parallel API", "Yes" if isinstance(env, pettingzoo.ParallelEnv) else "No"),
        ("Manual Control", "Yes" if hasattr(rrm_v0, "manual_policy") else "No"),
        ("Agents", f"`agents= {env.possible_agents}`"),
        ("Agents", str(env.max_num_agents)),
        ("Action Shape", "(1,)"),  # how PettingZoo's pages write a single number
        ("Action Values", str(actions)),
        ("Observation Shape", str(space.shape)),
        (
            "Observation Values",
            f"[{shortest(sinr_low)}, {shortest(sinr_high)}] for SINR, "
            f"[{shortest(weight_low)}, {shortest(weight_high)}] for weights",
        ),
        ("State Shape", str(env.state_space.shape)),
        ("State Values", "as observations"),
    ]
    assert table() == expected


def test_import_line_of_the_table_executes() -> None:
    names: dict[str, Any] = {}
    exec(dict(table())["Import"].strip("`"), names)
    assert names["rrm_v0"] is rrm_v0


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="this PettingZoo has no registry")
def test_creation_line_of_the_table_creates_the_environment() -> None:
    env = eval(dict(table())["Creation"].strip("`"), {"make": pettingzoo.make})
    assert isinstance(env, RRMParallelEnv)
    assert env.config == DEFAULTS


def test_numbers_of_the_introduction_are_the_defaults() -> None:
    c = DEFAULTS
    assert (
        f"preset `paper`: {c.n_aps} APs, {c.n_ues} UEs, {c.n_candidates} candidates per AP, "
        f"{c.episode_length} steps." in folded(PAGE)
    )
    assert RRMConfig.preset("paper") == c


def test_equations_state_the_default_path_loss() -> None:
    c = DEFAULTS
    intercept, slope = c.path_loss_intercept_db, c.path_loss_slope_db
    law = rf"$-{intercept:g} - {slope:g} \log_{{10}} d - {c.wall_loss_db:g} + X$ dB"
    assert law in section("Equations")
    for fading in FADING_MODELS:
        assert f"(`{fading}`)" in section("Equations")


def allowed_values(item: Field[Any]) -> str:
    """Allowed values in the words of the page's table, from the field's metadata."""
    about = item.metadata
    if "allowed" in about:
        return ", ".join(f"`{word}`" for word in about["allowed"])
    if "text" in about:
        return "a text that is not empty, or None"
    low, high = (
        str(bound) if isinstance(bound, int) else f"{bound:g}"
        for bound in (about["low"], about["high"])
    )
    text = f"above {low} up to {high}" if about["above"] else f"from {low} up to {high}"
    if "dimensions" in about:
        word = "dimension" if about["dimensions"] == (1,) else "dimensions"
        text = f"numbers {text} in {' or '.join(map(str, about['dimensions']))} {word}"
    return text + (", or None" if about["none"] else "")


def test_every_option_is_in_the_table_with_type_default_allowed_values_and_meaning() -> None:
    heading, *rows = rows_of(section("Options"))
    assert heading == ["option", "type", "default", "allowed", "meaning"]
    assert rows == [
        [
            f"`{name}`",
            str(item.type).replace("|", "or"),
            f"`{getattr(DEFAULTS, name)!r}`",
            allowed_values(item),
            item.metadata["doc"],
        ]
        for name, item in FIELDS.items()
    ]
    assert "{{" not in PAGE


NUMERIC = [
    name
    for name, item in FIELDS.items()
    if "low" in item.metadata and "dimensions" not in item.metadata
]


@pytest.mark.parametrize("name", NUMERIC)
def test_the_allowed_range_in_the_table_is_the_one_that_errors_state(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .+") as error:
        RRMConfig(**{name: FIELDS[name].metadata["high"] * 2 + 1})
    assert f" {allowed_values(FIELDS[name])}, got" in str(error.value)


@pytest.mark.parametrize("senders", SENDERS)
@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("measurements", MEASUREMENTS)
def test_options_append_as_many_numbers_and_cost_as_many_bits_as_their_table_says(
    measurements: str, turns: str, clock: str, messages: str, senders: str
) -> None:
    heading, *rows = rows_of(section("Observations"))
    assert heading == [
        "option",
        "appended to each AP's observation",
        "numbers",
        "bits per decision",
    ]
    formulas = {option: (numbers, bits) for option, _, numbers, bits in rows}
    options: dict[str, Any] = {
        "measurements": measurements,
        "turns": turns,
        "clock": clock,
        "messages": messages,
    }
    chosen = [f'`{name}="{value}"`' for name, value in options.items() if value != "none"]
    for n_aps, n, k, b in ((4, 3, 8, 16), (3, 2, 1, 1), (5, 4, 2, 4)):
        config = replace(
            DEFAULTS,
            n_aps=n_aps,
            n_candidates=n,
            n_neighbours=k,
            message_bits=b,
            message_range=senders,
            **options,
        )
        of_candidate = {"none": 2, "large_scale": 2 + n_aps, "neighbours": 4 + k}[measurements]
        symbols = {"I": n_aps, "N": n, "F": of_candidate, "k": k, "b": b}
        symbols["M"] = {"all": n_aps, "neighbours": k}[senders]
        expected, bits = (
            sum(eval(formulas[option][column], {}, symbols) for option in ("always", *chosen))
            for column in (0, 1)
        )
        env = parallel_env(config=config)
        assert env.observation_space("ap_0").shape == (expected,)
        assert env.state_space.shape == (n_aps, expected)
        assert config.message_bits_per_step == bits


def test_what_the_page_says_of_the_first_decision_is_what_happens() -> None:
    """At t = 0 PF ratios are 1, or less at the floor of the averages; the lower index wins ties."""
    network = Network(DEFAULTS, num_envs=4096)
    network.reset(seed=0)
    np.testing.assert_array_equal(
        network.pf_ratio[network.reported_rate >= DEFAULTS.min_average_rate], 1
    )
    assert (network.pf_ratio[network.reported_rate < DEFAULTS.min_average_rate] < 1).all()
    lowest = np.array(
        [[np.argmax(users == i) for i in range(DEFAULTS.n_aps)] for users in network.association]
    )
    serving = network.candidates[:, :, 0] >= 0
    share = (network.candidates[:, :, 0] == lowest)[serving].mean()
    statement = f"in {share:.1%} of the cases".replace("%", " %")
    assert statement in folded(section("Departures from the paper"))
    assert statement in folded((DOCS / "physics.md").read_text(encoding="utf-8"))
    network.step(np.full((4096, DEFAULTS.n_aps), SILENT))
    assert (network.candidates[:, :, 0] == lowest)[serving].mean() < 0.5


def test_presets_are_named_with_what_they_change() -> None:
    text = folded(section("Arguments"))
    correlated, wide, dense = (RRMConfig.preset(name) for name in ("correlated", "wide", "dense"))
    assert list(PRESETS) == ["paper", "correlated", "wide", "dense", "resilient"]
    assert set(PRESETS["correlated"]) == {"step_duration_s", "fading"}
    assert (
        f"`correlated` ({1000 * correlated.step_duration_s:g} ms steps, "
        f"{correlated.fading.capitalize()} fading)" in text
    )
    assert set(PRESETS["wide"]) == {
        "n_aps",
        "n_ues",
        "area_side_m",
        "min_ap_distance_m",
        "min_ue_distance_m",
    }
    assert (
        f"`wide` ({wide.n_aps} APs, {wide.n_ues} UEs, {wide.area_side_m:g} m, "
        f"$d_0$ = {wide.min_ap_distance_m:g} m, $d_1$ = {wide.min_ue_distance_m:g} m)"
    ) in text
    assert set(PRESETS["dense"]) == {"n_aps", "n_ues", "area_side_m"}
    assert f"`dense` ({dense.n_aps} APs, {dense.n_ues} UEs, {dense.area_side_m:g} m)" in text
    resilient = RRMConfig.preset("resilient")
    assert (
        f"`resilient` ({resilient.n_aps} APs, {resilient.n_ues} UEs, {resilient.area_side_m:g} m, "
        f"{resilient.n_power_levels} power levels" in text
    )
    setting = folded(section("The preset resilient"))
    levels = resilient.power_levels_dbm or ()
    assert f"{', '.join(f'{level:g}' for level in levels[:-1])} and {levels[-1]:g} dBm" in setting
    intercept, slope = resilient.path_loss_intercept_db, resilient.path_loss_slope_db
    assert rf"${intercept:g} + {slope:g} \log_{{10}} d$" in setting


def test_other_arguments_and_seed_ranges_are_as_described() -> None:
    text = folded(section("Arguments"))
    assert "`max_cycles`: PettingZoo's name for `episode_length`." in text
    assert parallel_env(max_cycles=3).config.episode_length == 3
    assert r"$0 \le s < 2^{63}$" in text
    parallel_env().reset(seed=2**63 - 1)
    assert (
        f"Seeds from $2^{{{int(math.log2(EVALUATION_SEEDS))}}}$ on are those of `rrm_env.evaluate`"
        in text
    )
    assert EVALUATION_SEEDS == 2**62


def test_departures_are_numbered_in_order_and_name_fields_that_exist() -> None:
    text = section("Departures from the paper")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert len(numbers) > 10
    assert numbers == list(range(1, len(numbers) + 1))
    unwrapped = folded(text)
    brackets = re.findall(r"\[(`.+?)\]", unwrapped)
    named = [name for bracket in brackets for name in re.findall(r"`(\w+)`", bracket)]
    assert len(named) == unwrapped.count("[`") + unwrapped.count("`, `")
    assert set(named) <= set(FIELDS)
    assert {
        "csi_delay",
        "fading",
        "rate_ema",
        "min_average_rate",
        "shadowing_std_db",
        "score_sum_weight",
    } <= set(named)


def test_departures_state_the_defaults() -> None:
    text, c = folded(section("Departures from the paper")), DEFAULTS
    for statement in (
        f"{c.noise_psd_dbm_hz:g} dBm/Hz over {c.bandwidth_hz / 1e6:g} MHz, no noise figure",
        f"{c.shadowing_std_db:g} dB [`shadowing_std_db`]",
        f"{1000 * c.step_duration_s:g} ms, "
        f"so an episode is {c.episode_length * c.step_duration_s:g} s and a UE walks "
        f"{c.episode_length * c.step_length_m:g} m [`step_duration_s`]",
        f"{c.rate_ema:g} [`rate_ema`]",
        f"never fall below {c.min_average_rate:g} bit/s/Hz",
        "one step [`csi_delay`]",
        "1 / J [`score_sum_weight`]",
    ):
        assert statement in text
    assert (c.noise_figure_db, c.csi_delay, c.fading) == (0, 1, "iid")
    assert c.sum_weight == 1 / c.n_ues


def test_code_block_runs_and_makes_the_default_environment() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        assert names["env"].config == DEFAULTS
        names["env"].reset(seed=0)


def test_version_of_the_page_is_that_of_the_module_and_the_name() -> None:
    versions = re.findall(r"^\* (v\d+): ", section("Version history"), re.MULTILINE)
    assert versions
    assert rrm_v0.__name__.endswith(f"_{versions[0]}")
    assert rrm_v0.ENV_ID.endswith(f"-{versions[0]}")
    assert parallel_env().metadata["name"] == f"rrm_{versions[0]}"
