"""How machine code is called: through a door that takes all arguments packed, eight bytes for each plain number.

An array is the numbers (0, 0, size, bytes of an item, address, shape, strides), as Numba's functions take it: the two
zeros stand for whoever owns its memory, which the caller holds on to. A tuple, also a named one, is its members one
after the other.
"""

import ctypes
import functools
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_SCALARS = {int: "i8", float: "f8", np.int64: "i8", np.float64: "f8", np.float32: "f4", np.int32: "i4"}
_PACKED = {
    "i8": struct.Struct("=q"),
    "f8": struct.Struct("=d"),
    "f4": struct.Struct("=f4x"),
    "i4": struct.Struct("=i4x"),
}
_LLVM = {"i8": "i64", "f8": "double", "f4": "float", "i4": "i32"}
_ITEMS = frozenset("biuf")  # kinds of the items of an array: whole numbers, and floats


class Laid(NamedTuple):
    """An argument laid out: its ``kinds``, a word for each way to lay one out; its numbers ``packed``; and the
    ``value`` itself, which keeps the memory alive."""

    kinds: str
    packed: bytes
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
        return Laid(kinds, b"".join(member.packed for member in known), value)
    word = _SCALARS.get(type(value))
    if word is None or (word == "i8" and not -(2**63) <= value < 2**63):
        return None
    return Laid(word, _PACKED[word].pack(value), value)


@functools.cache
def _array_packer(axes: int) -> struct.Struct:
    return struct.Struct(f"=QQqqQ{2 * axes}q")


def _array(array: Any) -> Laid | None:
    flags, dtype = array.flags, array.dtype
    if dtype.kind not in _ITEMS or not dtype.isnative or not flags.aligned:
        return None
    order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    access = "" if flags.writeable else "r"
    address = array.__array_interface__["data"][0]
    pack = _array_packer(array.ndim).pack
    packed = pack(0, 0, array.size, dtype.itemsize, address, *array.shape, *array.strides)
    return Laid(f"{dtype.str[1:]}{array.ndim}{order}{access}", packed, array)


def plain(value: Any) -> Any:
    """The argument itself, which may have been laid out."""
    return value.value if isinstance(value, Laid) else value


def llvm_types(value: Any) -> list[str]:
    """What the compiler calls the types of the numbers of a value that can be laid out; pointers are "pointer"."""
    value = plain(value)
    if isinstance(value, tuple):
        return [one for member in value for one in llvm_types(member)]
    if isinstance(value, np.ndarray):
        return ["pointer", "pointer", "i64", "i64", "pointer", *["i64"] * (2 * value.ndim)]
    return [_LLVM[_SCALARS[type(value)]]]


class Function:
    """Machine code that gives nothing back. A call lets go of the interpreter's lock."""

    def __init__(self, address: int) -> None:
        """``address`` is that of its door."""
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p)(address)

    def __call__(self, packed: Sequence[bytes]) -> None:
        """Calls it on arguments laid out."""
        status = self._call(b"".join(packed))
        assert status == 0, f"a kernel failed with status {status}"
