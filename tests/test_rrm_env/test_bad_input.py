"""Bad input is refused before anything runs; the error names field, value and what is allowed."""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest

from rrm_env import (
    PRESETS,
    RRMConfig,
    parallel_env,
    parse_settings,
    rrm_v0,
)

FIELDS = dataclasses.fields(RRMConfig)
FLOATS = [item.name for item in FIELDS if str(item.type).startswith("float")]
INTEGERS = [item.name for item in FIELDS if item.type == "int"]
ARRAYS = [item.name for item in FIELDS if "dimensions" in item.metadata]
TEXTS = [item.name for item in FIELDS if "text" in item.metadata]
OPTIONAL = [item.name for item in FIELDS if "None" in str(item.type)]

OUT_OF_RANGE: dict[str, tuple[Any, ...]] = {
    "n_aps": (0, -1, 1025),
    "n_ues": (0, -1),
    "n_candidates": (0, -1, 1025),
    "episode_length": (0, -1),
    "area_side_m": (0, -1.0),
    "min_ap_distance_m": (-1.0,),
    "min_ue_distance_m": (0, -1.0),
    "ue_speed_mps": (-1.0,),
    "step_duration_s": (0, -0.1),
    "carrier_hz": (0, -1.0),
    "tx_power_dbm": (-101, 101),
    "noise_psd_dbm_hz": (-251, 1),
    "bandwidth_hz": (0, -1.0),
    "noise_figure_db": (-1.0, 101),
    "path_loss_intercept_db": (-101, 201),
    "path_loss_slope_db": (-1.0, 101),
    "wall_loss_db": (-1.0, 201),
    "shadowing_std_db": (-1.0, 21),
    "csi_delay": (-1, 1001),
    "rate_ema": (0, 5e-324, -0.1, 1.01),
    "average_prior_steps": (0, 5e-324, 0.09, -1.0, 1.1e6),
    "min_average_rate": (0, -0.1),
    "pf_exponent": (-0.1, 10.1),
    "fairness_exponent": (-0.1, 2.1),
    "n_neighbours": (0, -1, 65),
    "message_bits": (0, 25),
    "score_sum_weight": (-0.1,),
    "score_tail_weight": (-0.1,),
    "ap_height_m": (-1.0, 1001),
    "ue_height_m": (-1.0, 1001),
    "inter_site_distance_m": (0, -1.0),
    "n_hot_spots": (0, 1025),
    "hot_spot_radius_m": (0, -1.0),
    "hot_spot_share": (-0.1, 1.1),
}
"""Of every numeric field, values just outside what makes sense."""


def refusal(name: str, value: Any) -> str:
    """What a refused field's message must look like: its name, what is allowed, and the value."""
    allowed = r"an? (integer|finite number) (from|above) \S+ up to \S+(, or None)?"
    return rf"^{name} must be {allowed}, got {re.escape(repr(value))}$"


# --- Configuration ---


def test_every_numeric_field_has_values_out_of_range_here() -> None:
    assert set(OUT_OF_RANGE) == set(FLOATS) | set(INTEGERS)
    assert {item.name for item in FIELDS} == set(OUT_OF_RANGE) | {
        "fading",
        "average",
        "measurements",
        "turns",
        "clock",
        "messages",
        "message_range",
        "reward",
        "propagation",
        "los",
        "ap_deployment",
        "wrap_around",
        "ue_deployment",
        "association",
        "trace_split",
        *ARRAYS,
        *TEXTS,
    }


@pytest.mark.parametrize(
    ("field", "word", "allowed"),
    [
        (
            "measurements",
            "largescale",
            r"\(did you mean 'large_scale'\?\); allowed: none, large_scale, neighbours",
        ),
        ("average", "episodes", r"\(did you mean 'episode'\?\); allowed: ema, episode"),
        ("turns", "by load", r"\(did you mean 'by_load'\?\); allowed: none, equal, by_load"),
        ("clock", "elapsd", r"\(did you mean 'elapsed'\?\); allowed: none, elapsed"),
        (
            "message_range",
            "neighbors",
            r"\(did you mean 'neighbours'\?\); allowed: all, neighbours",
        ),
        ("messages", "al", r"\(did you mean 'all'\?\); allowed: none, best, all"),
        ("reward", "utilities", r"\(did you mean 'utility'\?\); allowed: weighted_rate, utility"),
        ("turns", True, "; allowed: none, equal, by_load"),
    ],
)
def test_unknown_words_are_refused_with_the_nearest(field: str, word: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^unknown {field} '{word}'\s?{allowed}$"):
        RRMConfig(**{field: word})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUT_OF_RANGE.items() for value in values]
)
def test_value_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=refusal(name, value)):
        RRMConfig(**{name: value})
    with pytest.raises(ValueError, match=refusal(name, value)):
        parallel_env(**{name: value})
    with pytest.raises(ValueError, match=refusal(name, value)):
        dataclasses.replace(RRMConfig(), **{name: value})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**30], ids=repr
)
@pytest.mark.parametrize("name", FLOATS)
def test_nan_and_infinite_parameters_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=refusal(name, value)):
        RRMConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("power_levels_dbm", (), ValueError, r"power_levels_dbm must be rows .*, got \(\)"),
        ("power_levels_dbm", 10.0, ValueError, "must have 1 dimension, got 10.0 with 0"),
        ("power_levels_dbm", (10, "0"), TypeError, r"power_levels_dbm\[1\] must be .*, got '0'"),
        ("power_levels_dbm", (10, 101), ValueError, r"power_levels_dbm\[1\] must be .*, got 101"),
        ("ap_positions", [1, 2], ValueError, r"must have 2 or 3 dimensions, got \[1, 2\] with 1"),
        ("ap_positions", [[1, 2], [3]], ValueError, "ap_positions must be rows of equal length"),
        ("ap_positions", [[1, 2], 3], ValueError, "ap_positions must be rows of equal length"),
        (
            "ue_positions",
            [[1, math.nan]],
            ValueError,
            r"ue_positions\[0\]\[1\] must be .*, got nan",
        ),
        ("trace", "", TypeError, "trace must be a text that is not empty, or None, got ''"),
        ("trace", 5, TypeError, "trace must be a text that is not empty, or None, got 5"),
    ],
)
def test_bad_arrays_and_texts_are_refused(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RRMConfig(**{name: value})


def test_integer_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match="n_aps must be an integer"):
        RRMConfig(n_aps=10**400)
    with pytest.raises(
        ValueError, match=r"^area_side_m must be a finite number above 0 up to 1e\+06, got 10{400}$"
    ):
        RRMConfig(area_side_m=10**400)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [10**400, -(10**5000)], ids=["400 digits", "5000 digits"])
def test_integers_of_any_length_are_refused(name: str, value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"^{name} must be an integer (from|above) .* up to .*, got "
    ):
        RRMConfig(**{name: value})


@pytest.mark.parametrize("value", [True, np.True_, "1", 1j, [1.0], np.ones(1), object], ids=repr)
@pytest.mark.parametrize("name", FLOATS + INTEGERS)
def test_wrong_types_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=refusal(name, value)):
        RRMConfig(**{name: value})


@pytest.mark.parametrize("name", FLOATS + INTEGERS)
def test_none_is_refused_but_where_it_has_a_meaning(name: str) -> None:
    nothing: dict[str, Any] = {name: None}
    if name in OPTIONAL:
        assert getattr(RRMConfig(**nothing), name) is None
    else:
        with pytest.raises(TypeError, match=refusal(name, None)):
            RRMConfig(**nothing)


@pytest.mark.parametrize("value", [2.0, 2.5, np.float64(2)], ids=repr)
@pytest.mark.parametrize("name", INTEGERS)
def test_floats_are_refused_for_integers(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=refusal(name, value)):
        RRMConfig(**{name: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda name: RRMConfig.preset(name),
        lambda name: parallel_env(preset=name),
        lambda name: rrm_v0.env(preset=name),
    ],
)
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("densee", "dense"), ("Wide", "wide"), ("papre", "paper"), ("corelated", "correlated")],
)
def test_unknown_preset_is_refused_with_the_nearest_name(
    name: str, nearest: str, make: Any
) -> None:
    with pytest.raises(
        ValueError,
        match=rf"unknown preset '{name}' \(did you mean '{nearest}'\?\); "
        rf"allowed: {', '.join(PRESETS)}",
    ):
        make(name)


@pytest.mark.parametrize("name", ["", "xyz", None, 3, ["paper"]], ids=repr)
def test_preset_unlike_any_other_is_refused_without_a_suggestion(name: Any) -> None:
    with pytest.raises(
        (TypeError, ValueError),
        match=re.escape(f"unknown preset {str(name)!r}") + ".*allowed: paper",
    ):
        RRMConfig.preset(name)


@pytest.mark.parametrize(("name", "nearest"), [("jake", "jakes"), ("IID", "iid"), ("nome", "none")])
def test_unknown_fading_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    suggestion = rf" \(did you mean '{nearest}'\?\)" if name.islower() else ""
    with pytest.raises(
        ValueError, match=rf"unknown fading '{name}'{suggestion}; allowed: iid, jakes, none"
    ):
        RRMConfig(fading=name)


@pytest.mark.parametrize("value", [None, True, 0, ["iid"], np.array(["iid", "none"])], ids=repr)
def test_fading_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"unknown fading .*allowed: iid, jakes, none"
    ):
        RRMConfig(fading=value)


@pytest.mark.parametrize(
    "make", [RRMConfig, RRMConfig.preset, parallel_env, rrm_v0.raw_env, rrm_v0.env]
)
@pytest.mark.parametrize(
    ("key", "nearest"),
    [("n_ap", "n_aps"), ("csi_dealy", "csi_delay"), ("episode_lenght", "episode_length")],
)
def test_unknown_field_is_refused_with_the_nearest_name(key: str, nearest: str, make: Any) -> None:
    with pytest.raises(
        TypeError,
        match=rf"unknown config field '{key}' \(did you mean '{nearest}'\?\); "
        "allowed: n_aps, n_ues",
    ):
        make(**{key: 3})


def test_derived_values_cannot_be_given() -> None:
    with pytest.raises(TypeError, match="unknown config field 'noise_dbm'"):
        RRMConfig(noise_dbm=-104)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"ue_speed_mps": 30, "step_duration_s": 4},
            r"ue_speed_mps \* step_duration_s = 120 m must not exceed area_side_m = 100 m",
        ),
        (
            {"tx_power_dbm": 90, "path_loss_intercept_db": 0},
            r"the received SNR at 1 m is 184 dB, allowed: -150 to 150; .*tx_power_dbm",
        ),
        (
            {"tx_power_dbm": -90, "wall_loss_db": 200},
            r"the received SNR at 1 m is -201.3 dB, allowed: -150 to 150",
        ),
        (
            {"n_aps": 50, "min_ap_distance_m": 50},
            r"min_ap_distance_m = 50 admits no deployment of n_aps = 50 "
            r".*area_side_m = 100: at most \d+",
        ),
        (
            {
                "area_side_m": 0.01,
                "min_ap_distance_m": 0,
                "min_ue_distance_m": 1e-3,
                "path_loss_slope_db": 100,
                "tx_power_dbm": 70,
                "ue_speed_mps": 0,
            },
            r"min_ue_distance_m",  # a gain of 1e45 is none for float32
        ),
        (
            {
                "fading": "jakes",
                "area_side_m": 1e6,
                "ue_speed_mps": 1e5,
                "step_duration_s": 10,
                "carrier_hz": 1e13,
            },
            r"carrier_hz",  # 3e10 turns per step are too many for the phases' integers
        ),
        (
            {"min_ue_distance_m": 142},
            r"min_ue_distance_m = 142 leaves users no place "
            r".*area_side_m = 100; allowed: below 141.421",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RRMConfig(**fields)


def test_limits_themselves_are_allowed() -> None:
    RRMConfig(
        rate_ema=1,
        average_prior_steps=0.1,
        pf_exponent=0,
        fairness_exponent=0,
        csi_delay=0,
        shadowing_std_db=0,
        ue_speed_mps=0,
        min_ap_distance_m=0,
        noise_figure_db=0,
    )
    RRMConfig(ue_speed_mps=25, step_duration_s=4)
    RRMConfig(n_aps=1, n_ues=1, n_candidates=1, episode_length=1)


@pytest.mark.parametrize(
    "config",
    [RRMConfig(), *(RRMConfig.preset(name) for name in PRESETS), RRMConfig(score_sum_weight=0.5)],
)
def test_configuration_survives_its_dictionary_and_pickle(config: RRMConfig) -> None:
    values = config.as_dict()
    assert set(values) == {item.name for item in FIELDS}
    for twin in (
        RRMConfig(**values),
        pickle.loads(pickle.dumps(config)),
        dataclasses.replace(config),
    ):
        assert twin == config
        assert hash(twin) == hash(config)
        assert twin.as_dict() == values


def test_defaults_are_the_preset_paper() -> None:
    assert RRMConfig.preset("paper") == RRMConfig.preset() == RRMConfig()
    assert RRMConfig().as_dict() == {
        "n_aps": 4,
        "n_ues": 20,
        "n_candidates": 3,
        "episode_length": 200,
        "area_side_m": 100.0,
        "min_ap_distance_m": 10.0,
        "min_ue_distance_m": 1.0,
        "ue_speed_mps": 1.0,
        "step_duration_s": 0.05,
        "carrier_hz": 2.4e9,
        "tx_power_dbm": 10.0,
        "noise_psd_dbm_hz": -174.0,
        "bandwidth_hz": 10e6,
        "noise_figure_db": 0.0,
        "path_loss_intercept_db": 15.3,
        "path_loss_slope_db": 37.6,
        "wall_loss_db": 10.0,
        "shadowing_std_db": 7.0,
        "fading": "iid",
        "csi_delay": 1,
        "rate_ema": 0.05,
        "average": "ema",
        "average_prior_steps": 5.0,
        "min_average_rate": 0.01,
        "pf_exponent": 1.0,
        "fairness_exponent": 0.8,
        "score_sum_weight": None,
        "score_tail_weight": 3.0,
        "reward": "weighted_rate",
        "measurements": "none",
        "n_neighbours": 8,
        "turns": "none",
        "clock": "none",
        "messages": "none",
        "message_range": "all",
        "message_bits": 16,
        "propagation": "log_distance",
        "los": "drawn",
        "ap_deployment": "uniform",
        "wrap_around": "none",
        "ue_deployment": "uniform",
        "n_hot_spots": 4,
        "hot_spot_radius_m": 10.0,
        "hot_spot_share": 0.5,
        "association": "rsrp",
        "trace_split": "auto",
        **dict.fromkeys(["ap_height_m", "ue_height_m", "inter_site_distance_m", *ARRAYS, *TEXTS]),
    }


def test_configuration_is_frozen_compared_by_value_and_named_only() -> None:
    config = RRMConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n_aps = 5  # type: ignore[misc]
    assert config != RRMConfig(n_aps=5)
    assert len({config, RRMConfig(), RRMConfig(n_aps=5)}) == 2
    with pytest.raises(TypeError):
        RRMConfig(4)  # type: ignore[call-arg]


def test_numpy_scalars_become_plain_numbers() -> None:
    config = RRMConfig(
        n_aps=np.int32(5),  # type: ignore[arg-type]
        area_side_m=np.int64(200),  # type: ignore[arg-type]
        rate_ema=np.float32(0.25),  # type: ignore[arg-type]
        fading=np.str_("jakes"),
    )
    assert config == RRMConfig(n_aps=5, area_side_m=200.0, rate_ema=0.25, fading="jakes")
    assert [
        type(value) for value in (config.n_aps, config.area_side_m, config.rate_ema, config.fading)
    ] == [int, float, float, str]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["n_aps"], ValueError, "expected FIELD=VALUE, got 'n_aps'"),
        (["n_aps=x"], ValueError, "n_aps must be an integer, got 'x'"),
        (["n_aps=3.5"], ValueError, "n_aps must be an integer, got '3.5'"),
        (["rate_ema=high"], ValueError, "rate_ema must be a number, got 'high'"),
        (["rate_ema=none"], ValueError, "rate_ema must be a number, got 'none'"),
        (
            ["power_levels_dbm=10;0"],
            ValueError,
            "must be numbers with commas between them, or JSON",
        ),
        (
            ["csi_delai=1"],
            TypeError,
            r"unknown config field 'csi_delai' \(did you mean 'csi_delay'\?\)",
        ),
    ],
)
def test_bad_settings_are_refused(
    settings: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_settings(["n_ues=5", *settings])


def test_good_settings_are_read_by_their_fields_types() -> None:
    texts = [
        "n_aps=8",
        "rate_ema=1e-1",
        "fading=jakes",
        "score_sum_weight=None",
        "area_side_m=250",
        "score_sum_weight=0.5",
    ]
    assert parse_settings(texts[:4]) == {
        "n_aps": 8,
        "rate_ema": 0.1,
        "fading": "jakes",
        "score_sum_weight": None,
    }
    assert parse_settings(texts[4:]) == {"area_side_m": 250.0, "score_sum_weight": 0.5}
    assert type(parse_settings(texts[:1])["n_aps"]) is int
    arrays = parse_settings(["power_levels_dbm=10,0", "ap_positions=[[1,2]]", "trace=gains.npz"])
    assert arrays == {
        "power_levels_dbm": [10, 0],
        "ap_positions": [[1, 2]],
        "trace": "gains.npz",
    }
    assert parse_settings(["power_levels_dbm=none"]) == {"power_levels_dbm": None}
