"""Sphinx configuration.

Markers in pages are replaced by texts that stand elsewhere: the environment's page by the docstring
of `rrm_env.rrm_v0`, the citation by that of CITATION.cff.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.transforms.post_transforms import SphinxPostTransform

import rrm_env

ROOT = Path(__file__).parent.parent
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
EDITABLE_HOSTS = ("https://github.com/", "https://gitlab.com/", "https://bitbucket.org/")
"""Where the theme knows the address at which a file is edited."""


def repository_links(citation: dict[str, Any]) -> dict[str, Any]:
    """The theme's options for links to the repository and to each page's source in it.

    The address is the key `repository-code` of CITATION.cff. It has none yet, so that there are no
    such links.
    """
    repository = citation.get("repository-code")
    if not repository:
        return {}
    icon = {"name": "Repository", "url": repository, "html": "Repository", "class": ""}
    if not repository.startswith(EDITABLE_HOSTS):
        return {"footer_icons": [icon]}
    source = {"repository": repository, "branch": "main", "directory": "docs/"}
    return {"footer_icons": [icon], **{f"source_{name}": value for name, value in source.items()}}


project = "rrm_env"
author = "The rrm_env developers"
release = rrm_env.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = (
    "py:obj"  # single backticks in docstrings: a link where the name is documented, else just code
)
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {"ArrayLike": "numpy.typing.ArrayLike"}
autodoc_member_order = "bysource"
napoleon_use_rtype = False
html_theme = "furo"
html_title = f"rrm_env {release}"
project_copyright = "2026, the rrm_env developers; MIT licence"
html_theme_options = repository_links(CITATION)
html_static_path = ["_static"]
html_css_files = ["rrm_env.css"]
html_math_renderer = (
    "mathml"  # what browsers draw themselves: no script, nothing to load, readable offline
)
exclude_patterns = ["_build", "*_table.md", "*_tables.md", "policies_resilient.md"]
"""Those but the first are included in other pages."""


def bibtex(citation: dict[str, Any]) -> str:
    """CITATION.cff as BibTeX: the software, and the paper that it refers to."""
    (paper,) = citation["references"]
    authors = [f"{name['family-names']}, {name['given-names']}" for name in paper["authors"]]
    (number,) = (item["value"] for item in paper["identifiers"])
    software = {
        "title": f"{{{citation['title']}}}",
        "author": " and ".join(f"{{{name['name']}}}" for name in citation["authors"]),
        "version": citation["version"],
        "note": f"{citation['license']} licence",
    }
    article = {
        "title": f"{{{paper['title']}}}",
        "author": " and ".join(authors),
        "year": paper["year"],
        "journal": number,
        "url": paper["url"],
    }
    entries = (
        _entry("software", "rrm_env", software),
        _entry("article", "eldeeb2025offline", article),
    )
    return "\n\n".join(entries)


def _entry(kind: str, key: str, values: dict[str, Any]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in values.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _fill_in(app: Any, docname: str, source: list[str]) -> None:
    heading, _, page = (rrm_env.rrm_v0.__doc__ or "").strip().partition("\n")
    texts = {"rrm_v0 heading": heading, "rrm_v0 page": page, "bibtex": bibtex(CITATION)}
    for marker, text in texts.items():
        source[0] = source[0].replace(f"{{{{{marker}}}}}", text)


INTERVAL = r"\(?-?\d[\d.,]*…-?\d[\d.,]*\)?"
AFTER_COLON = r"(?<=\w:)(?=\w+=)"


class ReadableTables(SphinxPostTransform):
    """Says where lines may break, and which tables have many columns or few.

    No line breaks within an interval such as (1.81…1.90). A line may break after the colons of
    `itlinq:tolerance_db=0`.
    """

    default_priority = 900

    def run(self, **_kwargs: Any) -> None:
        """Put intervals and places to break into nodes of their own; give tables their classes."""
        for text in list(self.document.findall(nodes.Text)):
            parts = re.split(f"({INTERVAL})|{AFTER_COLON}", text.astext())
            if len(parts) > 1 and not isinstance(text.parent, nodes.FixedTextElement):
                text.parent.replace(text, [self._piece(part) for part in parts])
        for group in self.document.findall(nodes.tgroup):
            longest = max(len(entry.astext()) for entry in group.findall(nodes.entry))
            group.parent["classes"] += ["many-columns"] * (group["cols"] > 8)
            group.parent["classes"] += ["fits-a-phone"] * (group["cols"] <= 3 and longest < 200)

    @staticmethod
    def _piece(part: str | None) -> nodes.Node:
        if part is None:
            return nodes.raw("", "<wbr>", format="html")
        if re.fullmatch(INTERVAL, part):
            return nodes.inline("", part, classes=["interval"])
        return nodes.Text(part)


def _hide_colons(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Keep Napoleon from reading what stands before a colon as an attribute's type."""
    if what in ("attribute", "property", "data"):
        lines[:] = [line.replace(":", "\0") for line in lines]


def _show_colons(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace("\0", ":") for line in lines]


FUNCTION = r"\\(?:log|ln|cos|sin)(?![a-zA-Z])(?:_\{.*?\}|_\w)?"
SPACES = (
    (rf"(?<=[\w}}])\s*(?={FUNCTION})", r"\\, "),
    (rf"({FUNCTION})\s*(?=[\w\\])(?!\\left)", r"\1\\, "),
    (r"\\arg(?=\\)", r"\\mathrm{arg}\\, "),
)


def _mathml(formula: str, display: str) -> str:
    """MathML of TeX, with what the converter lacks.

    Those are thin spaces around named functions, arg, and the sign of a distribution.
    """
    for place, spaced in SPACES:
        formula = re.sub(place, spaced, formula)
    return convert(formula, display=display).replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")


def _inline_formula(writer: Any, node: Any) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _displayed_formula(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="formula">{_mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Fill in markers, keep intervals in one piece, and draw formulas."""
    app.connect("source-read", _fill_in)
    app.add_post_transform(ReadableTables)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
