"""Kernels compiled by Numba, once a machine: their code is kept on the disk, fetched quickly, and what has to be
compiled is told of.

A kernel that gives nothing back and allocates nothing is fetched without Numba, by
:mod:`vqaudio.kernels.object_code`; all others, and all wherever that cannot be, are fetched by Numba itself.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from vqaudio.kernels import calling, object_code

_FAST = frozenset({"contract", "nsz", "arcp", "reassoc"})  # for vectorisation; infinities and NaN keep their meaning
_BY_NUMBA = object_code.Code("", (), b"", b"")  # kept in place of code that needs Numba


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` compiled for this processor and kept on the disk; it lets go of the interpreter's lock."""
    return function if _switched_off() else Kernel(function, _FAST)


def compiled_exactly(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, with no licence to reorder its arithmetic."""
    return function if _switched_off() else Kernel(function, frozenset())


def hold(value: Any) -> Any:
    """An argument laid out for many calls: arrays, or tuples of them, that stay where they are, whatever is in them."""
    return value if _switched_off() else calling.lay_out(value) or value


def _switched_off() -> bool:
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")


class Kernel:
    """A function that is compiled when it is first called with arguments of their types. Threads may share it."""

    def __init__(self, function: Callable[..., Any], licences: frozenset[str]) -> None:
        """``licences`` are those of LLVM's fast mathematics."""
        functools.update_wrapper(self, function)
        self._function, self._licences = function, licences
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._ready: dict[str, calling.Function | None] = {}
        self._lock = threading.Lock()

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The function as Numba has it; compiled functions that call it go by this one."""
        from vqaudio.kernels import numba_kernels

        numba_kernels.let_numba_see(Kernel)
        return numba_kernels.dispatcher(self._function, self._licences)

    def __call__(self, *arguments: Any) -> Any:
        """The function's, of arrays, numbers, tuples of them, and what :func:`hold` made of them."""
        kinds: list[str] = []
        packed: list[bytes] = []
        for argument in arguments:
            laid = calling.lay_out(argument)
            if laid is None:
                break
            kinds.append(laid.kinds)
            packed.append(laid.packed)
        else:
            key = " ".join(kinds)
            try:
                ready = self._ready[key]
            except KeyError:
                ready = self._fetch(key, arguments)
            if ready is not None:
                ready(packed)
                return None
        return self.dispatcher(*map(calling.plain, arguments))

    def _fetch(self, key: str, arguments: tuple[Any, ...]) -> calling.Function | None:
        """Makes the code ready, or finds that it needs Numba (None)."""
        with self._lock:
            if key in self._ready:
                return self._ready[key]
            code = object_code.kept(self._name, key)
            if code is None:
                from vqaudio.kernels import numba_kernels

                code = numba_kernels.machine_code(self.dispatcher, arguments) or _BY_NUMBA
                object_code.keep(self._name, key, code)
            usable = code.body and object_code.can_be_loaded(code)
            self._ready[key] = calling.Function(object_code.address(code)) if usable else None
            return self._ready[key]
