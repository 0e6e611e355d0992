"""Sphinx configuration. The environment's page is the docstring of `rrm_env.rrm_v0`, put in place of a marker."""

from __future__ import annotations

from typing import Any

import rrm_env

project = "rrm_env"
author = "The rrm_env developers"
release = rrm_env.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
exclude_patterns = ["_build", "*_table.md", "*_tables.md"]  # included in other pages


def _insert_docstring(app: Any, docname: str, source: list[str]) -> None:
    source[0] = source[0].replace("{{rrm_v0}}", rrm_env.rrm_v0.__doc__ or "")


def setup(app: Any) -> None:
    """Hook the docstring into the page that asks for it."""
    app.connect("source-read", _insert_docstring)
