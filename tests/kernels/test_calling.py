"""Arguments of machine code say where an array lies, and everything by which two calls differ."""

import copy
import ctypes
from typing import NamedTuple

import numpy as np
import pytest

from vqaudio.kernels.calling import lay_out, plain, types_of


class Pair(NamedTuple):
    array: np.ndarray
    number: int


def test_the_numbers_of_an_array() -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 6)[1:, ::2]
    laid = lay_out(array)
    assert laid is not None
    assert laid.numbers == (0, 0, 9, 2, array.ctypes.data, 3, 3, 12, 4)
    assert ctypes.c_int16.from_address(laid.numbers[4]).value == 6
    assert len(laid.types) == len(laid.numbers)


def test_tuples_are_their_members() -> None:
    array = np.zeros(2)
    laid, flat = lay_out((Pair(array, 3), 0.5)), lay_out(array)
    assert laid is not None
    assert flat is not None
    assert laid.numbers == (*flat.numbers, 3, 0.5)
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
    assert other.numbers[4] == other.value[0].ctypes.data != laid.numbers[4]


def test_types_by_the_compilers_names() -> None:
    laid = lay_out((np.zeros(2), 1, 0.5, np.float32(1), np.int32(1)))
    assert laid is not None
    names = ["i8*", "ptr", "i64", "i64", "double*", "i64", "i64", "i64", "double", "float", "i32"]
    assert types_of(names) == list(laid.types)
    assert types_of(["i1", "{i8*, i64}"]) == [None, None]
