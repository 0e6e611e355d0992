"""Libraries that are installed and cannot be imported, and libraries that are not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REASONS = {
    "RuntimeError": "raise RuntimeError('built for another\\n  version of numpy')",
    "AttributeError": "raise AttributeError('module has no attribute float_')",
    "OSError": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "ImportError": "raise ImportError('undefined symbol')",
    "SystemExit": "raise SystemExit('wrong Python')",
}
"""Code of such a library, by the error that importing it raises."""


def forget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library be imported again; pytest restores what was there."""
    for module in [
        module for module in sys.modules if module == name or module.startswith(f"{name}.")
    ]:
        monkeypatch.delitem(sys.modules, module)


def break_library(name: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a library of this name that fails as `REASONS` says first on the path, in this folder."""
    write_broken(name, kind, folder)
    forget(name, monkeypatch)
    monkeypatch.syspath_prepend(folder)


def write_broken(name: str, kind: str, folder: Path) -> None:
    """Write the library into the folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(REASONS[kind])


def remove_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing the library fail as if it were not installed."""
    forget(name, monkeypatch)
    monkeypatch.setitem(sys.modules, name, None)
