"""Sphinx configuration. The environment's page is the docstring of `rrm_env.rrm_v0`, put in place of a marker."""

from __future__ import annotations

import re
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import rrm_env

project = "rrm_env"
author = "The rrm_env developers"
release = rrm_env.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = "py:obj"  # single backticks in docstrings: a link where the name is documented, else just code
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {"ArrayLike": "numpy.typing.ArrayLike"}
autodoc_member_order = "bysource"
napoleon_use_rtype = False
html_theme = "furo"
html_title = f"rrm_env {release}"
project_copyright = "2026, the rrm_env developers; MIT licence"
html_static_path = ["_static"]
html_css_files = ["rrm_env.css"]
html_math_renderer = "mathml"  # what browsers draw themselves: no script, nothing to load, readable offline
exclude_patterns = ["_build", "*_table.md", "*_tables.md"]  # included in other pages


def _insert_docstring(app: Any, docname: str, source: list[str]) -> None:
    source[0] = source[0].replace("{{rrm_v0}}", rrm_env.rrm_v0.__doc__ or "")


def _hide_colons(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Napoleon reads what stands before a colon of an attribute's docstring as its type; ours are sentences."""
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
    """MathML of TeX, helped where the converter is weak: thin spaces around named functions, arg, and the sign of a distribution."""
    for place, spaced in SPACES:
        formula = re.sub(place, spaced, formula)
    return convert(formula, display=display).replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")


def _inline_formula(writer: Any, node: Any) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise SkipNode


def _displayed_formula(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="formula">{_mathml(node.astext(), "block")}</div>\n')
    raise SkipNode


def setup(app: Any) -> None:
    """Hook the docstring into the page that asks for it, and draw formulas."""
    app.connect("source-read", _insert_docstring)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
