"""Episodes that play recorded channels."""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import APS, STEPS, UES, arrays, row_of, trace_file
from strategies import OBSERVING, configs, random_actions, seeds

from baselines import TDM
from rrm_env import (
    EVALUATION_SEEDS,
    Network,
    RRMConfig,
    Trace,
    evaluate,
    parallel_env,
    record_trace,
)
from rrm_env.trace_source import (
    VALIDATION_SEEDS,
    evaluation_notes,
    open_trace,
    trace_of,
    windows_of,
)

SHORT: dict[str, Any] = {"episode_length": 5, "csi_delay": 2}


def played(config: RRMConfig, seed: int, num_envs: int = 1, threads: int = 1) -> list[Any]:
    """Everything that can be read in an episode under random actions that depend on the step."""
    network = Network(config, num_envs, threads)
    network.reset(seed)
    seen = []
    while True:
        seen.append(
            [
                network.gain.copy(),
                network.reported_gain.copy(),
                network.large_scale_gain.copy(),
                network.association.copy(),
                network.observation.copy(),
                network.average_rate.copy(),
            ]
        )
        if network.done:
            return seen
        actions = np.random.default_rng(network.t).integers(
            config.n_actions, size=(1, config.n_aps)
        )
        seen[-1] += [*network.step_actions(np.repeat(actions, num_envs, axis=0))]


@settings(max_examples=15)
@given(config=configs(**OBSERVING, episode_length=st.sampled_from([1, 7, 12])), seed=seeds)
def test_playing_what_was_recorded_gives_the_same_bits(config: RRMConfig, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = record_trace(config, seed, episodes=2).save(Path(folder) / "trace.npz")
        changes = {name: value for name, value in config.as_dict().items() if name != "fading"}
        again = RRMConfig(**{**changes, **trace.config_fields, "trace_split": "none"})
        drawn, recorded = Network(config, 2), Network(again, 2)
        drawn.reset(seed)
        recorded.reset(0)
        generator = np.random.default_rng(0)
        while not drawn.done:
            for name in ("gain", "reported_gain", "large_scale_gain", "observation", "neighbours"):
                np.testing.assert_array_equal(getattr(drawn, name), getattr(recorded, name))
            np.testing.assert_array_equal(drawn.association, recorded.association)
            np.testing.assert_array_equal(drawn.ue_positions, recorded.ue_positions)
            np.testing.assert_array_equal(drawn.ap_positions, recorded.ap_positions)
            actions = random_actions(drawn, generator)
            for first, second in zip(
                drawn.step_actions(actions), recorded.step_actions(actions), strict=True
            ):
                np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(drawn.observation, recorded.observation)


@pytest.mark.parametrize("split", ["auto", "place", "time"])
def test_parts_of_a_trace_share_no_row(tmp_path: Path, split: str) -> None:
    trace = trace_file(tmp_path)
    config = trace.config(episode_length=2, csi_delay=1, trace_split=split)
    used: list[set[tuple[int, int]]] = []
    for first in (0, VALIDATION_SEEDS, EVALUATION_SEEDS):
        rows = set()
        network = Network(config, 64)
        for seed in (first, first + 64, first + VALIDATION_SEEDS - 64):
            network.reset(seed)
            rows |= {row_of(trace, gain) for recent in network.recent_gains for gain in recent}
            while not network.done:
                network.step_actions(np.zeros((64, APS), int))
                rows |= {row_of(trace, gain) for gain in network.gain}
        used.append(rows)
    assert not used[0] & used[1]
    assert not used[0] & used[2]
    assert not used[1] & used[2]
    assert len(used[0]) > len(used[2]) > 3
    axis = 0 if split in ("auto", "place") else 1
    assert max(row[axis] for row in used[0]) < min(row[axis] for row in used[2])


def test_first_evaluation_episodes_share_no_step_and_a_note_counts_them(tmp_path: Path) -> None:
    config = trace_file(tmp_path).config(**SHORT)
    windows = windows_of(trace_of(config), config)[2]
    assert windows.n_disjoint == STEPS // 8
    place, row = windows.of(np.arange(windows.n_disjoint, dtype=np.uint64))
    covered = {(p, r + k) for p, r in zip(place, row, strict=True) for k in range(windows.length)}
    assert len(covered) == windows.n_disjoint * windows.length
    _, later = windows.of(np.arange(10**6, dtype=np.uint64))
    assert set(later) == set(range(STEPS - windows.length + 1))  # each window is played in the end
    assert len(evaluation_notes(config, windows.n_disjoint)) == 1
    assert "5 such episodes without a step in common; 6 overlap" in evaluation_notes(config, 6)[1]
    assert evaluation_notes(RRMConfig(), 1000) == []


def test_rows_of_an_episode_follow_each_other_with_reports_as_late_as_csi_delay(
    tmp_path: Path,
) -> None:
    trace = trace_file(tmp_path)
    network = Network(trace.config(**SHORT), 3)
    network.reset(11)
    begun: list[tuple[int, int]] = []
    for t in range(6):
        for b in range(3):
            place, step = row_of(trace, network.gain[b])
            assert row_of(trace, network.reported_gain[b]) == (place, step - 2)
            if t == 0:
                begun.append((place, step))
            assert (place, step - t) == begun[b]
            np.testing.assert_array_equal(
                network.large_scale_gain[b], trace.arrays["large_scale_gain"][place, step]
            )
            np.testing.assert_allclose(
                network.ue_positions[b], trace.arrays["ue_positions"][place, step]
            )
            np.testing.assert_array_equal(
                network.association[b], trace.arrays["association"][place]
            )
        if t < 5:
            network.step_actions(np.zeros((3, APS), int))


@settings(max_examples=20)
@given(
    seed=seeds,
    fading=st.sampled_from(["trace", "iid", "jakes", "none"]),
    delay=st.sampled_from([0, 1, 3]),
    split=st.sampled_from(["time", "place", "none"]),
)
def test_an_episode_is_the_same_in_any_batch_slot_thread_and_process(
    seed: int, fading: str, delay: int, split: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = trace_file(Path(folder))
        config = trace.config(
            episode_length=3, csi_delay=delay, fading=fading, trace_split=split, ue_speed_mps=1.0
        )
        alone = played(config, seed + 2)
        together = played(config, seed, 4, 2)
        for one, many in zip(alone, together, strict=True):
            for first, second in zip(one, many, strict=True):
                np.testing.assert_array_equal(first[0], second[2])
        network = Network(config, 2)
        network.reset(seed)
        copy = pickle.loads(pickle.dumps(network))
        for other in (network, copy):
            other.step_actions(np.zeros((2, APS), int))
        np.testing.assert_array_equal(network.gain, copy.gain)
        np.testing.assert_array_equal(network.observation, copy.observation)


def test_all_units_of_the_same_channel_play_alike(tmp_path: Path) -> None:
    base = trace_file(tmp_path).config(**SHORT, tx_power_dbm=17.0)
    snr = {name: arrays()[name].astype(float) for name in ("gain", "large_scale_gain")}
    path = 10 ** ((base.noise_dbm - base.tx_power_dbm) / 10)
    units = {
        "snr_db": {name: 10 * np.log10(value) for name, value in snr.items()},
        "path_gain": {name: value * path for name, value in snr.items()},
        "path_gain_db": {name: 10 * np.log10(value * path) for name, value in snr.items()},
        "received_dbm": {
            name: 10 * np.log10(value) + base.noise_dbm for name, value in snr.items()
        },
    }
    expected = Network(base, 2)
    expected.reset(7)
    for unit, values in units.items():
        trace = trace_file(tmp_path, f"{unit}.npz", unit=unit, **values)
        network = Network(trace.config(**SHORT, tx_power_dbm=17.0), 2)
        network.reset(7)
        np.testing.assert_allclose(network.gain, expected.gain, rtol=2e-5)
        np.testing.assert_allclose(network.large_scale_gain, expected.large_scale_gain, rtol=2e-5)
    louder = Network(
        replace(trace.config(**SHORT), tx_power_dbm=27.0), 2
    )  # received power is given
    louder.reset(7)
    np.testing.assert_array_equal(louder.gain, network.gain)


def test_fading_is_the_traces_or_drawn_on_its_large_scale_gains(tmp_path: Path) -> None:
    trace = trace_file(tmp_path)
    ratios = {}
    for fading in ("trace", "none", "iid"):
        network = Network(trace.config(**SHORT, fading=fading), 64)
        network.reset(0)
        ratios[fading] = network.gain / network.large_scale_gain
    assert (ratios["none"] == 1).all()
    assert ratios["iid"].mean() == pytest.approx(1, abs=0.15)
    assert not np.allclose(ratios["iid"], ratios["trace"])
    plain = trace_file(tmp_path, "plain.npz", large_scale_gain=None)
    assert plain.config().fading == "none"
    averaged = plain.with_large_scale(9)
    mean = np.asarray(plain.gain, float)[1, 10:19].mean(axis=0)
    np.testing.assert_allclose(averaged.arrays["large_scale_gain"][1, 14], mean, rtol=1e-5)
    np.testing.assert_allclose(
        averaged.arrays["large_scale_gain"][0, 0],
        np.asarray(plain.gain, float)[0, :5].mean(axis=0),
        rtol=1e-5,
    )


def test_users_belong_to_the_strongest_access_point_where_no_association_is_given(
    tmp_path: Path,
) -> None:
    network = Network(trace_file(tmp_path, association=None).config(**SHORT), 5)
    network.reset(3)
    np.testing.assert_array_equal(network.association, network.large_scale_gain.argmax(axis=1))


def test_links_without_a_path_have_almost_no_gain(tmp_path: Path) -> None:
    gain = arrays()["gain"].astype(float)
    gain[:, :, 0] = 0
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(gain)
    for unit, values in (("snr", gain), ("snr_db", decibels)):
        config = trace_file(
            tmp_path, f"{unit}.npz", unit=unit, gain=values, large_scale_gain=None, association=None
        ).config(**SHORT)
        network = Network(config)
        network.reset(0)
        assert (network.gain[0, 0] < 1e-29).all()
        assert np.isfinite(network.observation).all()
        assert (network.association > 0).all()


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_a_file_gives_back_what_was_saved_and_large_arrays_are_mapped(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rrm_env.trace_files.MAPPED", 1000)
    trace = trace_file(tmp_path, f"trace{ending}", name="a test")
    again = Trace.load(tmp_path / f"trace{ending}")
    assert again.checksum == trace.checksum
    assert (again.name, again.unit, again.step_duration_s) == ("a test", "snr", 0.05)
    for name, array in trace.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert isinstance(again.gain, np.memmap)
    assert not again.gain.flags.writeable
    assert played(trace.config(**SHORT), 5)[3][4].tolist() == (
        played(again.config(**SHORT), 5)[3][4].tolist()
    )


def test_matlab_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    scipy_io, h5py = pytest.importorskip("scipy.io"), pytest.importorskip("h5py")
    made = arrays(large_scale_gain=None)
    scipy_io.savemat(tmp_path / "old.mat", made)
    with h5py.File(tmp_path / "bare.h5", "w", userblock_size=512) as file:
        for name, value in made.items():
            if name == "unit":
                file[name] = np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None]
            else:
                file[name] = np.asarray(value).T
    header = b"MATLAB 7.3 MAT-file".ljust(512)
    content = (tmp_path / "bare.h5").read_bytes()
    (tmp_path / "new.mat").write_bytes(header + content[512:])
    for name in ("old.mat", "new.mat"):
        trace = Trace.load(tmp_path / name)
        np.testing.assert_array_equal(trace.gain, made["gain"])
        np.testing.assert_array_equal(trace.arrays["association"], made["association"])
        assert (trace.unit, trace.step_duration_s) == ("snr", 0.05)


def test_values_of_a_large_file_are_read_where_episodes_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_file(tmp_path)
    for name, bytes_ in (("rrm_env.trace.LARGE", 1000), ("rrm_env.trace_files.MAPPED", 1000)):
        monkeypatch.setattr(name, bytes_)
    content = bytearray((tmp_path / "gains.npz").read_bytes())
    gain = arrays()["gain"]
    at = content.index(gain[0, 0].tobytes())
    content[at : at + 4] = np.float32("nan").tobytes()
    (tmp_path / "gains.npz").write_bytes(content)
    assert np.isnan(Trace.load(tmp_path / "gains.npz").gain[0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"gain\[0, 0, 0, 0\] must be a finite number"):
        Trace.load(tmp_path / "gains.npz", verify=True)


def test_presets_and_environments_take_sizes_from_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = trace_file(tmp_path)
    path = str(tmp_path / "gains.npz")
    config = RRMConfig.preset(trace=path, **SHORT)
    assert (config.n_aps, config.n_ues, config.fading) == (APS, UES, "trace")
    assert config.trace_checksum == trace.checksum
    assert config == trace.config(**SHORT)
    env = parallel_env(trace=path, **SHORT)
    env.reset(seed=1)
    assert env.config == config
    assert RRMConfig(**config.as_dict()) == config
    assert evaluate(TDM(), config, 3).score.shape == (3,)
    elsewhere = tmp_path / "traces"
    elsewhere.mkdir()
    (tmp_path / "gains.npz").rename(elsewhere / "gains.npz")
    with pytest.raises(ValueError, match="there is no trace"):
        open_trace(path)
    monkeypatch.setenv("RRM_ENV_TRACES", str(elsewhere))
    assert Network(config).config == config
