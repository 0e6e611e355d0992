"""Libraries that parts of the package use where they can be imported.

A library that is not installed and one whose import fails, for whatever reason, are alike: what was
asked for explicitly is refused with the reason, and what would only have been nice to have is left
out, with one line where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from types import ModuleType
from typing import Any

from rrm_env.checks import shortened
from rrm_env.provenance import install_hint

_LOG = logging.getLogger("rrm_env")
"""Without a handler of the program's own, Python writes warnings to standard error."""

_said: set[str] = set()


def attempt(module: str) -> tuple[ModuleType | None, str | None]:
    """A module, or why it cannot be imported."""
    try:
        return importlib.import_module(module), None
    except (
        Exception,
        SystemExit,
    ) as error:  # a library may raise anything, or try to end the program
        return None, reason(error)


def reason(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return shortened(f"{type(error).__name__}: {text}".rstrip(": "))


def lacking(*modules: str, extra: str) -> str | None:
    """Which libraries are missing, or why one cannot be imported; None where all of them can be.

    Args:
        *modules: all that will be imported of them, such as ``matplotlib.figure``.
        extra: of this package, which brings them.
    """
    failures = {module: why for module in modules if (why := attempt(module)[1]) is not None}
    packages = dict.fromkeys(_package(module) for module in failures)
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        return f"{', '.join(missing)}: {install_hint(extra)}"
    for module, why in failures.items():
        return f"{_package(module)}, which is installed but cannot be imported ({why})"
    return None


def required(what: str, *modules: str, extra: str, error: type[Exception] = ValueError) -> Any:
    """The first of the modules, for something that was asked for explicitly.

    Args:
        what: it, with its verb, such as "rendering needs".
        *modules: as in `lacking`.
        extra: as in `lacking`.
        error: the type of the refusal.

    Raises:
        ValueError: or ``error``, where one of the modules cannot be imported.
    """
    if (why := lacking(*modules, extra=extra)) is not None:
        raise error(f"{what} {why}")
    return importlib.import_module(modules[0])


def welcome(module: str, library: str, consequence: str) -> ModuleType | None:
    """A module that is only nice to have; None where it cannot be imported.

    Args:
        module: what to import.
        library: the package that it needs, which is left out in silence where it is not installed.
        consequence: what it means that it is left out, as the second half of a sentence.
    """
    imported, why = attempt(module)
    if why is not None and is_installed(library):
        leave_out(library, why, consequence)
    return imported


def leave_out(library: str, why: str, consequence: str) -> None:
    """Say in one line, once, that a library is left out."""
    line = f"{library} is left out ({why}): {consequence}"
    if line not in _said:
        _said.add(line)
        _LOG.warning(line)


def is_installed(package: str) -> bool:
    """Whether a package can be found, which does not mean that it can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: a module that a program made by hand
        return False


def _package(module: str) -> str:
    return module.partition(".")[0]
