"""How compiled code is called: arguments as the plain numbers that Numba's functions take.

An array is the numbers (0, 0, size, bytes of an item, address, shape, strides): the two zeros stand for whoever owns
its memory, which the caller holds on to. A tuple, also a named one, is its members one after the other.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np

_SCALARS = {int: "i8", float: "f8", np.int64: "i8", np.float64: "f8", np.float32: "f4", np.int32: "i4"}
_OF_WORD = {"i8": ctypes.c_int64, "f8": ctypes.c_double, "f4": ctypes.c_float, "i4": ctypes.c_int32}
_OF_LLVM = {"i64": ctypes.c_int64, "double": ctypes.c_double, "float": ctypes.c_float, "i32": ctypes.c_int32}
_ITEMS = frozenset("biuf")  # kinds of the items of an array: whole numbers, and floats


class Laid(NamedTuple):
    """An argument laid out: its ``kinds``, a word for each way to lay one out; ``types`` and ``numbers`` of the call;
    and the ``value`` itself, which keeps the memory alive."""

    kinds: str
    types: tuple[Any, ...]
    numbers: tuple[Any, ...]
    value: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is that of the value, which lies elsewhere."""
        return lay_out, (self.value,)


def lay_out(value: Any) -> Laid | None:
    """An argument laid out, or None where it is of a type that goes by Numba alone. What is laid out stays so."""
    if isinstance(value, Laid):
        return value
    if type(value) is np.ndarray:
        return _array(value)
    if isinstance(value, tuple):
        members = [lay_out(member) for member in value]
        known = [member for member in members if member is not None]
        if len(known) < len(members):
            return None
        kinds = f"({','.join(member.kinds for member in known)})"
        types = tuple(kind for member in known for kind in member.types)
        return Laid(kinds, types, tuple(number for member in known for number in member.numbers), value)
    word = _SCALARS.get(type(value))
    return None if word is None else Laid(word, (_OF_WORD[word],), (value,), value)


def _array(array: Any) -> Laid | None:
    flags, dtype = array.flags, array.dtype
    if dtype.kind not in _ITEMS or not dtype.isnative or not flags.aligned:
        return None
    order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    access = "" if flags.writeable else "r"
    address = array.__array_interface__["data"][0]
    numbers = (0, 0, array.size, dtype.itemsize, address, *array.shape, *array.strides)
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    types = (pointer, pointer, whole, whole, pointer, *(whole,) * (2 * array.ndim))
    return Laid(f"{dtype.str[1:]}{array.ndim}{order}{access}", types, numbers, array)


def plain(value: Any) -> Any:
    """The argument itself, which may have been laid out."""
    return value.value if isinstance(value, Laid) else value


def types_of(llvm: list[str]) -> list[Any]:
    """The same types of a call, as the compiler names them; None for one that no argument has."""
    return [ctypes.c_void_p if name.endswith("*") or name == "ptr" else _OF_LLVM.get(name) for name in llvm]


class Function:
    """Machine code that gives nothing back. A call lets go of the interpreter's lock."""

    _GIVEN, _FAILURE = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)  # written to, never read

    def __init__(self, address: int, types: tuple[Any, ...]) -> None:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)
        self._call = prototype(address)

    def __call__(self, numbers: tuple[Any, ...]) -> None:
        """Calls it on arguments laid out."""
        status = self._call(ctypes.addressof(self._GIVEN), ctypes.addressof(self._FAILURE), *numbers)
        assert status == 0, f"a kernel failed with status {status}"
