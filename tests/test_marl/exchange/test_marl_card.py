"""The card that describes a dataset on the Hugging Face Hub."""

from __future__ import annotations

import pytest
from recordings import KINDS, recorded
from toys import arrays, described

from marl import (
    Dataset,
    Team,
    dataset_card,
)


def front_matter(card: str) -> list[str]:
    """The lines of a card's front matter."""
    assert card.startswith("---\n")
    return card.split("---\n")[1].splitlines()


def test_card_says_what_the_network_dataset_is() -> None:
    dataset = Dataset.concatenate([recorded(), recorded(30, seed=1)])
    card = dataset_card(dataset, "some.safetensors")
    lines = front_matter(card)
    assert lines[:2] == [
        "license: mit",
        'pretty_name: "Radio resource management: RandomWalk, 75 transitions"',
    ]
    assert lines[lines.index("size_categories:") + 1] == "- n<1K"
    assert lines[lines.index("task_categories:") + 1] == "- reinforcement-learning"
    for text in (
        dataset.fingerprint(),
        "2501.12991",
        "`n_aps = 2`",
        "| `observation` | 75 × 2 × 4 | float32 |",
        'Dataset.read("some.safetensors")',
    ):
        assert text in card
    kpis = dataset.metadata["behaviours"][1]["kpis"]
    means = " | ".join(f"{kpis[name]:,.3f}" for name in ("return", "sum_rate", "tail_rate"))
    assert f"| RandomWalk | 1 | 30 | 3 | {means} |" in card


def test_card_of_another_environment_claims_nothing_of_the_network() -> None:
    card = dataset_card(KINDS["another environment"])
    assert "license: unknown" in front_matter(card)
    assert "unlike_v0" in card
    for text in ("2501.12991", "SINR", "wireless", "MIT"):
        assert text not in card


@pytest.mark.parametrize(
    ("n", "size"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (100_000, "100K<n<1M")],
)
def test_card_names_the_size(n: int, size: str) -> None:
    assert f"- {size}" in front_matter(
        dataset_card(Dataset(**arrays(n, Team(1, 1, 1)), metadata=described()))
    )


def test_card_of_a_dataset_that_says_nothing_of_itself() -> None:
    assert "`unknown`" in dataset_card(Dataset(**arrays()))
