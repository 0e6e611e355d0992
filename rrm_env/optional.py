"""Optional libraries that parts of the package use.

A library that is not installed and one whose import fails are treated alike. What a user asked for
explicitly is refused with the reason. What is only nice to have is left out; where its library is
installed, one line says so.
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
"""Where the program adds no handler, Python writes its warnings to standard error."""

_said: set[str] = set()


def attempt(module: str) -> tuple[ModuleType | None, str | None]:
    """Import a module: the module and None, or None and why it cannot be imported."""
    try:
        return importlib.import_module(module), None
    except (Exception, SystemExit) as error:  # a library may raise anything, or end the program
        return None, reason(error)


def reason(error: BaseException) -> str:
    """Type and message of an error in one line."""
    text = " ".join(str(error).split())
    return shortened(f"{type(error).__name__}: {text}".rstrip(": "))


def lacking(*modules: str, extra: str) -> str | None:
    """Which libraries are missing, or why one cannot be imported; None where all can be imported.

    Args:
        *modules: every module that will be imported, such as ``matplotlib.figure``.
        extra: the extra of this package that installs the libraries.
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
    """Import the modules that something needs which was asked for explicitly.

    Args:
        what: the beginning of the error message, such as "rendering needs".
        *modules: as for `lacking`.
        extra: as for `lacking`.
        error: the type of the error.

    Returns:
        the first of the modules.

    Raises:
        ValueError: or ``error``, where one of the modules cannot be imported.
    """
    if (why := lacking(*modules, extra=extra)) is not None:
        raise error(f"{what} {why}")
    return importlib.import_module(modules[0])


def welcome(module: str, library: str, consequence: str) -> ModuleType | None:
    """Import a module that is only nice to have; None where it cannot be imported.

    Args:
        module: what to import.
        library: the package that it needs. If it is installed and the import fails, a line says so.
        consequence: what happens without it, as the second half of a sentence.
    """
    imported, why = attempt(module)
    if why is not None and is_installed(library):
        leave_out(library, why, consequence)
    return imported


def leave_out(library: str, why: str, consequence: str) -> None:
    """Log once that a library is left out, and what follows from that."""
    line = f"{library} is left out ({why}): {consequence}"
    if line not in _said:
        _said.add(line)
        _LOG.warning(line)


def is_installed(package: str) -> bool:
    """Whether a package is installed; importing it may fail all the same."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: a module that was made by hand
        return False


def _package(module: str) -> str:
    return module.partition(".")[0]
