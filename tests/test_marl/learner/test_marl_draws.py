"""Random numbers of learners: published values, distributions and the batches drawn with them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from toys import assert_equal_learners
from worlds import SCHEMES, make_learner, stored

from marl import Team
from marl.config import Algorithm, Paradigm
from marl.learner.random import random_bits, random_uniform
from marl.learner.stacked import BATCHES, EXPLORATION

TEAM = Team(2, 3, 3)
SEEDS = (0, 1, 2**30 - 1)


def scrambled(state: int) -> int:
    """SplitMix64's output function on plain integers."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


def naive_bits(seed: int, counter: int, n: int, stream: int) -> list[int]:
    """`random_bits` of one seed on plain integers."""
    weyl = 0x9E3779B97F4A7C15
    key = scrambled((scrambled((seed + weyl * (stream + 1)) % 2**64) + counter) % 2**64)
    return [scrambled((key + position * weyl) % 2**64) % 2**63 for position in range(1, n + 1)]


def test_the_plain_twin_gives_the_published_numbers() -> None:
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [scrambled((1234567 + k * 0x9E3779B97F4A7C15) % 2**64) for k in range(1, 6)] == published


@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
    st.integers(0, 2**40),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_random_bits_equal_their_plain_twin(
    seeds: list[int], counter: int, n: int, stream: int
) -> None:
    drawn = random_bits(torch.tensor(seeds), torch.tensor(counter), n, stream)
    assert drawn.tolist() == [naive_bits(seed, counter, n, stream) for seed in seeds]
    uniform = random_uniform(torch.tensor(seeds), torch.tensor(counter), n, stream)
    assert uniform.flatten().tolist() == [
        ((bits >> 40) + 0.5) / 2**23 for bits in drawn.flatten().tolist()
    ]


def test_uniform_numbers_reach_neither_end() -> None:
    for bits in (0, 2**63 - 1):
        assert 0 < float(((torch.tensor(bits) >> 40).float() + 0.5) * 2.0**-23) < 1
    drawn = random_uniform(torch.arange(20), torch.tensor(3), 5000, 1).flatten().numpy()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("n", [2, 7, 1000])
def test_drawn_rows_are_uniform(n: int) -> None:
    drawn = torch.stack(
        [
            random_bits(torch.arange(5), torch.tensor(update), 400, BATCHES) % n
            for update in range(20)
        ]
    )
    counts = drawn.flatten().bincount(minlength=n)
    assert len(counts) == n
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_draws_of_neighbouring_seeds_updates_and_streams_are_unrelated() -> None:
    def rows(seed: int, update: int, stream: int) -> Tensor:
        return random_bits(torch.tensor([seed]), torch.tensor(update), 20_000, stream)[0] % 8

    first = rows(4, 10, BATCHES)
    for other in (
        rows(5, 10, BATCHES),
        rows(4, 11, BATCHES),
        rows(4, 10, EXPLORATION),
        rows(5, 9, BATCHES),
        first.roll(1),
    ):
        assert stats.chisquare((8 * first + other).bincount(minlength=64).numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
def test_batches_are_the_drawn_rows_from_the_first_row_of_each_seed_on(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    learner, by_hand = (make_learner(paradigm, algorithm, TEAM, SEEDS) for _ in range(2))
    rows, first, n = stored(TEAM, 60), torch.tensor([0, 20, 40]), torch.tensor(15)
    for update in range(3):
        learner.update_from(rows, n, first)
        index = (
            first.unsqueeze(-1)
            + torch.tensor([naive_bits(seed, update, 16, BATCHES) for seed in SEEDS]) % n
        )
        by_hand.update(rows.batch(index))
    assert_equal_learners(learner, by_hand)
