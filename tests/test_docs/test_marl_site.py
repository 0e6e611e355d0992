"""The documentation site builds without a warning, and its pages work in a browser."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from folders import ROOT

from rrm_env import RRMConfig

for needed in ("sphinx", "myst_parser", "furo", "sphinx_copybutton", "latex2mathml"):
    pytest.importorskip(needed)


@pytest.fixture(name="site", scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site; every warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-d",
        str(out / "doctrees"),
        "docs",
        str(out / "html"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return out / "html"


def page(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_pages_with_code_have_copy_buttons(site: Path) -> None:
    assert "copybutton.js" in page(site, "index")
    assert (site / "_static" / "copybutton.js").is_file()


@pytest.mark.parametrize("name", ["index", "environment"])
def test_landing_page_and_environments_page_show_the_network(site: Path, name: str) -> None:
    (tag,) = re.findall(r"<img [^>]*frame_paper[^>]*>", page(site, name))
    assert 'alt="Four access points' in tag
    (picture,) = re.findall(r'src="([^"]+)"', tag)
    assert (site / picture).is_file()


def test_environments_page_has_a_row_for_every_option(site: Path) -> None:
    text = page(site, "environment")
    assert "{{" not in text
    table = text[
        text.index('<section id="options">') : text.index('<section id="modelled-not-modelled">')
    ]
    assert table.count("<tr") == 1 + len(RRMConfig.__dataclass_fields__)


def test_citation_page_gives_bibtex_of_software_and_paper(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", page(site, "citation"))
    assert "@software{rrm_env" in text
    assert "@article{eldeeb2025offline" in text
    assert "2501.12991" in text


@pytest.mark.parametrize("name", ["reproduction", "past_the_paper", "baselines", "learners"])
def test_no_line_breaks_within_an_interval(site: Path, name: str) -> None:
    text = page(site, name)
    intervals = re.findall(r"\(-?\d[\d.]*…-?\d[\d.]*\)", text)
    marked = re.findall(r'<span class="interval">(\([^<]+\))</span>', text)
    assert len(intervals) >= 10
    assert intervals == marked


def test_names_of_schedulers_may_break_after_a_colon_and_copy_as_they_are(site: Path) -> None:
    text = page(site, "datasets")
    assert "max_weight:<wbr>csi=large_scale:<wbr>exponent=2" in text


def test_the_address_of_the_repository_alone_makes_the_links_to_it() -> None:
    """None has been given yet, and none is made up."""
    links = runpy.run_path(str(ROOT / "docs" / "conf.py"))["repository_links"]
    assert links({}) == {}
    elsewhere = links({"repository-code": "https://git.example.org/rrm"})
    assert elsewhere["footer_icons"][0]["url"] == "https://git.example.org/rrm"
    assert "source_repository" not in elsewhere
    known = links({"repository-code": "https://github.com/example/rrm"})
    assert known["source_repository"] == "https://github.com/example/rrm"
    assert known["source_directory"] == "docs/"
