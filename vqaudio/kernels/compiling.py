"""Kernels compiled by Numba, once a machine: their code is kept on the disk, fetched quickly, and what has to be
compiled is told of.
"""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

from vqaudio.kernels import notice

_FAST = {"contract", "nsz", "arcp", "reassoc"}  # what vectorisation needs; infinities and NaN keep their meaning


class _Cache(FunctionCache):
    """Numba's, but that code which lies ready is fetched without all that compiling needs: that takes 0.2 s to import,
    and 0.6 s where SciPy is installed."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for arguments of the types ``sig``, or None where it must be compiled."""
        rtsys.initialize(target_context)  # what compiled code calls
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
            if found is not None:
                return found
        notice.compiling()
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def _kept(function: Callable[..., Any], **options: Any) -> Any:
    kernel = njit(function, cache=True, nogil=True, error_model="numpy", **options)
    if hasattr(kernel, "_cache"):  # not where NUMBA_DISABLE_JIT leaves the function as it is
        kernel._cache = _Cache(function)
    return kernel


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` compiled for this processor and kept on the disk; it lets go of the interpreter's lock."""
    return _kept(function, fastmath=_FAST)


def compiled_exactly(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, with no licence to reorder its arithmetic."""
    return _kept(function)
