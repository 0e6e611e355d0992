"""Compilation by numba with a cache on the disk whose failures never end the program.

numba's own ``cache=True`` raises an error where it finds no folder to write to, where a file of the
cache is damaged, and where the disk is full. Here each of these is logged once, and the code is
compiled in memory.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numba import config as numba_config
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numpy.typing import NDArray

from rrm_env.files import WriteError, storing

_logger = logging.getLogger(__name__)
_said: set[str] = set()

_IN_MEMORY = "what this process compiled stays in its memory, and the next one compiles again"

_NO_C_CALLS: dict[str, Any] = {"no_cfunc_wrapper": True}
_NO_CALLS: dict[str, Any] = {**_NO_C_CALLS, "no_cpython_wrapper": True, "forceinline": True}
"""Options of numba that leave out the code through which C, or C and Python, call a function."""


def compiled(
    *, uses: Sequence[ModuleType] = (), **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: `numba.njit` with these options, cached on the disk where that is possible.

    Args:
        uses: other modules whose compiled functions the function calls. It is compiled again when
            one of their files has changed; numba's cache notices only edits in the function's own.
        options: options of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**{**_NO_C_CALLS, **options})(function)
        if isinstance(dispatcher, Dispatcher):  # the function itself where NUMBA_DISABLE_JIT is set
            _enable_cache(dispatcher, function, uses)
        return dispatcher

    return decorate


def inlined(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for functions that compiled functions call: code is inlined where it is called.

    Args:
        options: options of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**{**_NO_CALLS, **options})(function)
        if isinstance(dispatcher, Dispatcher):
            dispatcher.__class__ = _Inlined
        return dispatcher

    return decorate


class _Inlined(CPUDispatcher):
    """A function without the code that turns Python's arguments into numbers and arrays.

    That code takes a fifth of the time in which all kernels compile. It is made when Python calls
    the function, as tests do.
    """

    def __call__(self, *arguments: Any) -> Any:
        callable_ = vars(self).get("_callable")
        if callable_ is None:
            options = {**self.targetoptions, "no_cpython_wrapper": False}
            options.pop("nopython")  # `njit` sets it
            callable_ = self._callable = njit(**options)(self.py_func)
        return callable_(*arguments)


class Direct:
    """A compiled function whose arguments have the same types in every call.

    numba's dispatcher looks at the types of all arguments in every call, which takes longer than a
    step of a small network. This looks at those of the first call only; `call` is the machine code
    from then on. It would read memory wrongly under other types, so use it only for arguments
    whose types and layouts are the same by construction. Threads may share it.

    Args:
        function: what `compiled` returned; plain Python is called as it is.
    """

    __slots__ = ("call", "function")

    def __init__(self, function: Any) -> None:
        self.function = function
        self.call: Callable[..., Any] = (
            self._first_call if isinstance(function, Dispatcher) else function
        )

    def _first_call(self, *arguments: Any) -> Any:
        types = tuple(self.function.typeof_pyval(argument) for argument in arguments)
        self.call = self.function.compile(types)
        return self.call(*arguments)


def plain(array: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    """The array as numba takes it without compiling again: the array itself where it is so already.

    Read-only, unaligned and strided arrays, and those of another byte order, are types of their own
    to numba. So they are copied, as is an array of another dtype.
    """
    ready = array.dtype == kind and array.flags.carray
    return array if ready else np.array(array, kind, order="C")


def _enable_cache(
    dispatcher: Any, function: Callable[..., Any], uses: Sequence[ModuleType]
) -> None:
    try:
        cache = _Cache(function)
        cache.watch(uses)
    except (RuntimeError, OSError) as error:  # numba knows no folder, or cannot read the source
        reason = str(error).partition("\n")[0]
        _say_once(
            "place",
            f"compiled code cannot be kept on the disk ({reason}); {_IN_MEMORY}; "
            "set NUMBA_CACHE_DIR to a folder that can be written to",
        )
        return
    dispatcher._cache = cache
    wanted = numba_config.CACHE_DIR
    if wanted and not Path(cache.cache_path).is_relative_to(wanted):
        _say_once(
            "wanted",
            f"NUMBA_CACHE_DIR = {wanted!r} is no folder that can be written to; "
            f"compiled code is kept in {str(cache.cache_path)!r}",
        )


def _say_once(topic: str, line: str) -> None:
    """Log a line of a topic for the first function that it concerns, and for no other.

    It is no Python warning, since users turn warnings into errors and the work can go on.
    """
    if topic not in _said:
        _said.add(topic)
        _logger.warning(line)


class _Checked(CompileResultCacheImpl):
    """Compiled code with a checksum: machine code with a wrong byte would run."""

    def reduce(self, cres: Any) -> tuple[bytes, bytes]:
        """The stored form of compiled code: a checksum and the content."""
        content = dumps(super().reduce(cres))
        return hashlib.sha256(content).digest(), content

    def rebuild(self, target_context: Any, reduced_data: tuple[bytes, bytes]) -> Any:
        """The compiled code from its stored form (ValueError: the checksum does not fit)."""
        digest, content = reduced_data
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("the checksum does not fit")
        return super().rebuild(target_context, pickle.loads(content))


class _Cache(FunctionCache):
    """numba's cache of a function, without the errors that it raises."""

    _impl_class = _Checked

    def watch(self, modules: Sequence[ModuleType]) -> None:
        """Take what is cached for outdated once the file of one of the modules has changed."""
        files = [Path(str(module.__file__)) for module in modules]
        if files:
            stats = [path.stat() for path in files]
            others = [(about.st_mtime, about.st_size) for about in stats]
            self._cache_file = IndexDataCacheFile(
                self._cache_path,
                self._impl.filename_base,
                (self._impl.locator.get_source_stamp(), *others),
            )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code of a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except OSError:  # saving will meet the same error and log it
            return None
        except Exception:  # wrong bytes may make unpickling raise anything
            _say_once(
                "damage", f"a damaged file of compiled code in {self.cache_path!r} is replaced"
            )
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the compiled code of a signature, if the system lets us."""
        try:
            with storing(self.cache_path, _IN_MEMORY, "filled with compiled code"):
                super().save_overload(sig, data)
        except WriteError as error:
            _say_once("save", f"{error}; NUMBA_CACHE_DIR can name another folder")
