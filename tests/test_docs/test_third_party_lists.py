"""The entries for the lists of PettingZoo and Gymnasium have those lists' form."""

from __future__ import annotations

import re

import pytest
from documents import DOCS, blocks

PAGE = DOCS / "development" / "third_party_lists.md"
ENTRIES = [block for block in blocks(PAGE, "text") if "img.shields.io" in block]


def test_there_is_an_entry_for_each_list() -> None:
    assert [re.findall(r"badge/(\w+)-", entry) for entry in ENTRIES] == [
        ["PettingZoo"],
        ["Gymnasium"],
    ]


@pytest.mark.parametrize("entry", ENTRIES, ids=["PettingZoo", "Gymnasium"])
def test_an_entry_names_the_repository_and_the_version_that_was_tried(entry: str) -> None:
    assert entry.count("OWNER/rrm_env") == 2
    ((library, version),) = re.findall(r"badge/(\w+)-v([\d.]+)-blue", entry)
    row = re.search(
        rf"^\| {library} \| .* \| ([\d.]+)",
        (DOCS / "compatibility.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert row is not None
    assert row[1] == version
    description = entry.strip().splitlines()[-1]
    assert 2 <= len(re.findall(r"[.](?: |$)", description)) <= 5
