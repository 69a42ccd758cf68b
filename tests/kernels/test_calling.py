"""Arguments of machine code say where an array lies, and everything by which two calls differ."""

import copy
import ctypes
import struct
from typing import NamedTuple

import numpy as np
import pytest

from vqaudio.kernels.calling import lay_out, llvm_types, plain


class Pair(NamedTuple):
    array: np.ndarray
    number: int


def packed(value: object) -> bytes:
    laid = lay_out(value)
    assert laid is not None
    return laid.packed


def test_the_numbers_of_an_array() -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 6)[1:, ::2]
    numbers = struct.unpack("9q", packed(array))
    assert numbers == (0, 0, 9, 2, array.ctypes.data, 3, 3, 12, 4)
    assert ctypes.c_int16.from_address(numbers[4]).value == 6
    assert len(llvm_types(array)) == len(numbers)


def test_single_numbers_take_eight_bytes_each() -> None:
    assert struct.unpack("q", packed(-(2**63))) == (-(2**63),)
    assert struct.unpack("d", packed(np.float64(0.1))) == (0.1,)
    assert struct.unpack("f4x", packed(np.float32(0.5))) == (0.5,)
    assert struct.unpack("i4x", packed(np.int32(-7))) == (-7,)


def test_tuples_are_their_members() -> None:
    array = np.zeros(2)
    laid = lay_out((Pair(array, 3), 0.5))
    assert laid is not None
    assert laid.packed == packed(array) + packed(3) + packed(0.5)
    assert lay_out(laid) is laid
    assert plain(laid)[0].array is array


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def test_whatever_another_code_is_needed_for_has_another_name() -> None:
    square = np.zeros((4, 4), np.float32)
    values = [
        square,
        np.zeros(4, np.float32),
        np.zeros((4, 4)),
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4), np.uint32),
        np.asfortranarray(np.zeros((4, 4), np.float32)),
        np.zeros((8, 4), np.float32)[::2],
        frozen(np.zeros((4, 4), np.float32)),
        (square,),
        (square, square),
        ((square,), square),
        (square, (square,)),
        1,
        1.0,
        np.float32(1),
        np.int32(1),
    ]
    names = [laid.kinds for laid in map(lay_out, values) if laid is not None]
    assert len(set(names)) == len(values)
    twin = lay_out(np.ones((4, 4), np.float32))
    assert twin is not None
    assert twin.kinds == names[0]


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        True,
        2**63,
        [1],
        np.zeros(3, ">f4"),
        np.zeros(3, complex),
        np.zeros(3, object),
        np.zeros(3).view(Subclass),
        np.zeros(9, np.uint8)[1:].view(np.float64),
        (1, None),
        ((np.zeros(3), "text"),),
    ],
)
def test_what_only_numba_knows(value: object) -> None:
    assert lay_out(value) is None
    assert plain(value) is value


def test_a_copy_lies_elsewhere() -> None:
    laid = lay_out((np.arange(3), 7))
    assert laid is not None
    other = copy.deepcopy(laid)
    assert other.kinds == laid.kinds
    assert other.packed == packed(other.value) != laid.packed


def test_types_by_the_compilers_names() -> None:
    array = ["pointer", "pointer", "i64", "i64", "pointer", "i64", "i64"]
    assert llvm_types((np.zeros(2), 1, (0.5, np.float32(1)), np.int32(1))) == [*array, "i64", "double", "float", "i32"]
