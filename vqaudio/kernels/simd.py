"""Products of 16-bit integers in the processor's vector registers: what both Numba kernels are built on.

A register's 32-bit lane holds two inputs, a weight's lane the two weights for them; one instruction multiplies both
pairs and adds the products to the lane's 32-bit sum. That is twice the work of a float32 multiply-add in half the
memory, and, the sums being integers, the same on every machine. LLVM does not find these instructions in a plain loop,
so the loops are written for it here, their sums held in registers until they go to the outputs.
"""

import os
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen
from numba.extending import intrinsic

_I16, _I32, _I64, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


def _features() -> frozenset[str]:
    """The instruction sets that Numba compiles for."""
    named = os.environ.get("NUMBA_CPU_FEATURES")
    if named is None:
        named = "" if "NUMBA_CPU_NAME" in os.environ else codegen.get_host_cpu_features()
    return frozenset(word[1:] for word in named.split(",") if word.startswith("+"))


_HAS = _features()
LANES = 16 if {"avx512f", "avx512bw"} <= _HAS else 8
ROWS = 8  # outputs of one call of `add_rows`
_VECTORS = 4
COLUMNS = _VECTORS * LANES  # outputs of one call of `add_columns`

_VECTOR = ir.VectorType(_I32, LANES)
_PAIRS = ir.VectorType(_I16, 2 * LANES)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_FUSED = ("contract",)  # a multiplication and the addition after it may be one instruction


Operands = Callable[[Any, Any, Any, Any], list[tuple[Any, Any]]]


def _in_compiled_code(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


def _multiply_add(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """``total + a[first] * b[first] + a[second] * b[second]`` in each lane."""
    a, b = builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)
    if LANES == 16:  # which LLVM makes one instruction with the addition, where there is one
        name = "llvm.x86.avx512.pmaddw.d.512"
    elif "avx2" in _HAS:
        name = "llvm.x86.avx2.pmadd.wd"
    else:
        return builder.add(total, _products(builder, a, b))
    kind = ir.FunctionType(_VECTOR, [_PAIRS, _PAIRS])
    return builder.add(total, builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b]))


def _products(builder: Any, a: Any, b: Any) -> Any:
    """The sums of each lane's two products, for processors without an instruction known here."""
    products = []
    for half in (0, 1):
        places = ir.Constant(_VECTOR, [2 * lane + half for lane in range(LANES)])
        picked = (builder.shuffle_vector(v, ir.Constant(_PAIRS, ir.Undefined), places) for v in (a, b))
        products.append(builder.mul(*(builder.sext(v, _VECTOR) for v in picked)))
    return builder.add(*products)


def _broadcast(builder: Any, scalar: Any) -> Any:
    kind = ir.VectorType(scalar.type, LANES)
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, scalar, _I32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_VECTOR, [0] * LANES))


def _scalar(builder: Any, pointer: Any, place: Any) -> Any:
    return builder.load(builder.gep(pointer, [place]))


def _vector_at(builder: Any, pointer: Any, place: Any) -> Any:
    kind = _FLOATS if pointer.type.pointee == _FLOAT else _VECTOR
    return builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer())


def _vector(builder: Any, pointer: Any, place: Any) -> Any:
    return builder.load(_vector_at(builder, pointer, place), align=4)


def _row_operands(builder: Any, w: Any, x: Any, pair: Any) -> list[tuple[Any, Any]]:
    """For each of :data:`ROWS` outputs its weight, in all lanes, and the inputs, a stream a lane."""
    inputs = _vector(builder, x, builder.mul(pair, _I64(LANES)))
    first = builder.mul(pair, _I64(ROWS))
    rows = (builder.add(first, _I64(row)) for row in range(ROWS))
    return [(_broadcast(builder, _scalar(builder, w, row)), inputs) for row in rows]


def _column_operands(builder: Any, w: Any, x: Any, pair: Any) -> list[tuple[Any, Any]]:
    """For each vector of outputs its weights, and the one stream's inputs, in all lanes."""
    inputs = _broadcast(builder, _scalar(builder, x, pair))
    first = builder.mul(pair, _I64(COLUMNS))
    places = (builder.add(first, _I64(LANES * vector)) for vector in range(_VECTORS))
    return [(_vector(builder, w, place), inputs) for place in places]


def _loop(builder: Any, count: Any, starts: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Runs ``body(index, values) -> values`` for each of 0 to ``count`` - 1 (at least once), in registers."""
    before, inside = builder.block, builder.append_basic_block("loop")
    after = builder.append_basic_block("after")
    builder.branch(inside)
    builder.position_at_end(inside)
    index, values = builder.phi(_I64), [builder.phi(start.type) for start in starts]
    ends = body(index, values)
    following = builder.add(index, _I64(1))
    for phi, start, end in zip([index, *values], [_I64(0), *starts], [following, *ends], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, inside)
    builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
    builder.position_at_end(after)
    return ends


def _sums(builder: Any, operands: Operands, count: int, w: Any, x: Any, pairs: Any) -> list[Any]:
    """``count`` vectors of sums over all pairs."""

    def add(pair: Any, totals: list[Any]) -> list[Any]:
        given = operands(builder, w, x, pair)
        return [_multiply_add(builder, total, *both) for total, both in zip(totals, given, strict=True)]

    return _loop(builder, pairs, [ir.Constant(_VECTOR, [0] * LANES)] * count, add)


def _store_scaled(builder: Any, y: Any, base: Any, place: Any, total: Any, scale: Any, bias: Any) -> None:
    """``y[place] = base[place] + bias + scale * total``, a vector of each."""
    product = builder.fmul(scale, builder.sitofp(total, _FLOATS), flags=_FUSED)
    scaled = builder.fadd(product, bias, flags=_FUSED)
    builder.store(builder.fadd(_vector(builder, base, place), scaled), _vector_at(builder, y, place), align=4)


def _data(context: Any, builder: Any, signature: Any, arguments: Any, count: int) -> list[Any]:
    """Pointers to the first ``count`` arguments' elements."""
    arrays = zip(signature.args[:count], arguments[:count], strict=True)
    return [context.make_array(kind)(context, builder, value=value).data for kind, value in arrays]


@_in_compiled_code
def add_rows(
    typingctx: Any, y: Any, base: Any, w: Any, x: Any, scales: Any, biases: Any, steps: Any, row: Any, pairs: Any
) -> Any:
    """``y[r] = base[r] + biases[r] + scales[r] * steps * (w @ x)[r]`` for rows ``row`` to ``row + ROWS``.

    ``typingctx`` is Numba's. The streams are :data:`LANES`.

    Args:
        y: float32 ``[rows, LANES]``.
        base: as ``y``, which it may be.
        w: int32, weights in pairs as :func:`vqaudio.kernels.int16_weights.narrow` lays them out for :data:`ROWS`.
        x: int32 ``[pairs, LANES]``, inputs in pairs.
        scales: float32 ``[rows]``, what 1 stands for in each row's weights.
        biases: float32 ``[rows]``.
        steps: float32 ``[LANES]``, what 1 stands for in each stream's inputs.
        row: int64, a multiple of :data:`ROWS`.
        pairs: int64.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        y, base, w, x, scales, biases, steps = _data(context, builder, signature, arguments, 7)
        row, pairs = arguments[7:]
        sums = _sums(builder, _row_operands, ROWS, builder.gep(w, [builder.mul(row, pairs)]), x, pairs)
        step = _vector(builder, steps, _I64(0))
        for index, total in enumerate(sums):
            at = builder.add(row, _I64(index))
            scale = builder.fmul(_broadcast(builder, _scalar(builder, scales, at)), step)
            bias = _broadcast(builder, _scalar(builder, biases, at))
            _store_scaled(builder, y, base, builder.mul(at, _I64(LANES)), total, scale, bias)
        return context.get_dummy_value()

    return types.void(y, base, w, x, scales, biases, steps, types.int64, types.int64), code


@_in_compiled_code
def add_columns(
    typingctx: Any, y: Any, base: Any, w: Any, x: Any, scales: Any, biases: Any, step: Any, column: Any, pairs: Any
) -> Any:
    """As :func:`add_rows` for the columns ``column`` to ``column + COLUMNS`` of one stream's ``x @ w``.

    ``x`` is int32 ``[pairs]``, ``y`` float32 ``[columns]``, ``step`` one float32.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        y, base, w, x, scales, biases = _data(context, builder, signature, arguments, 6)
        step, column, pairs = arguments[6:]
        sums = _sums(builder, _column_operands, _VECTORS, builder.gep(w, [builder.mul(column, pairs)]), x, pairs)
        step = _broadcast(builder, step)
        for index, total in enumerate(sums):
            at = builder.add(column, _I64(index * LANES))
            scale = builder.fmul(_vector(builder, scales, at), step)
            _store_scaled(builder, y, base, at, total, scale, _vector(builder, biases, at))
        return context.get_dummy_value()

    return types.void(y, base, w, x, scales, biases, types.float32, types.int64, types.int64), code


@_in_compiled_code
def narrow_rows(typingctx: Any, lanes: Any, steps: Any, x: Any, rows: Any, unit: Any, shift: Any) -> Any:
    """Rounds each stream's ``x[:rows]`` so that the largest becomes ``unit``, into ``lanes``, two in a lane.

    ``typingctx`` is Numba's.

    Args:
        lanes: int32 ``[pairs, LANES]``.
        steps: float32 ``[LANES]``, for what 1 stands for in each stream.
        x: float32 ``[rows, LANES]``, and a row more where ``rows`` is odd.
        rows: int64.
        unit: float32.
        shift: float32, :data:`vqaudio.kernels.elementwise.SHIFT`.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, steps, x = _data(context, builder, signature, arguments, 3)
        unit, shift = (_broadcast(builder, scalar) for scalar in arguments[4:])
        pairs = builder.lshr(builder.add(arguments[3], _I64(1)), _I64(1))

        def top(row: Any, tops: list[Any]) -> list[Any]:
            bits = builder.bitcast(_vector(builder, x, builder.mul(row, _I64(LANES))), _VECTOR)
            size = builder.and_(bits, ir.Constant(_VECTOR, [0x7FFFFFFF] * LANES))  # magnitudes compare as integers
            return [builder.select(builder.icmp_signed(">", size, tops[0]), size, tops[0])]

        nothing, zero = ir.Constant(_VECTOR, [0] * LANES), ir.Constant(_FLOATS, [0.0] * LANES)
        tops = builder.bitcast(_loop(builder, arguments[3], [nothing], top)[0], _FLOATS)
        builder.store(builder.fdiv(tops, unit), _vector_at(builder, steps, _I64(0)), align=4)
        inverse = builder.select(builder.fcmp_ordered(">", tops, zero), builder.fdiv(unit, tops), zero)

        def whole(row: Any) -> Any:
            scaled = builder.fmul(_vector(builder, x, builder.mul(row, _I64(LANES))), inverse, flags=_FUSED)
            return builder.bitcast(builder.fadd(scaled, shift, flags=_FUSED), _VECTOR)

        def pack(pair: Any, values: list[Any]) -> list[Any]:
            low = builder.and_(whole(pair), ir.Constant(_VECTOR, [0xFFFF] * LANES))
            high = builder.shl(whole(builder.add(pair, pairs)), ir.Constant(_VECTOR, [16] * LANES))
            builder.store(builder.or_(low, high), _vector_at(builder, lanes, builder.mul(pair, _I64(LANES))), align=4)
            return []

        _loop(builder, pairs, [], pack)
        return context.get_dummy_value()

    return types.void(lanes, steps, x, types.int64, types.float32, types.float32), code
