# mypy: disable-error-code="misc,untyped-decorator,no-any-return,call-arg,arg-type,no-untyped-call"
"""Source embedded in generated files: products with states of two values, by tables of partial sums.

Five states make a code. Of the five rows that they multiply all 32 partial sums are tabulated, LANES columns at a time,
and each code then costs one load and addition of a vector. Twelve tables fit into a first-level cache beside the sums;
their codes, 60 states, make one word. Sums have one order, whatever the width of the processor's vectors.

    words[q, i]       of row i of the states, those from 60 q on: bit k is 1 where state 60 q + k is `high`
    panel[k, :]       of row 60 q + k of the matrix, up to BLOCK entries; 0 beyond its ends
    tables[g, c, :]   `factor` times the sum over the bits k of c of rows 60 q + 5 g + k, and what `low` adds to all
    sums[i, :]        of row i of the product, up to BLOCK entries

Source: Arlazarov, Dinic, Kronrod and Faradzhev (1970), the "method of the four Russians", there for matrices of bits.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pgmdsl.compiler.primitives import Array, vectorised
from pgmdsl.compiler.primitives_base import KERNEL
from pgmdsl.compiler.primitives_float32 import Real

# Sums as they are written, so that every processor gives the same bits.
ORDERED: dict[str, Any] = KERNEL | {"fastmath": False}

# Numbers in a vector of 64 bytes, which LLVM splits where the processor's are shorter; states of a code and entries of
# its table; codes and states of a word; columns that are summed side by side, so that matrices are read and written in
# long pieces.
LANES = 64 // np.dtype(Real).itemsize
STATES = 5
ENTRIES = 2**STATES
CODES = 12
WORD = STATES * CODES
BLOCK = 8 * LANES

# Numbers of a matrix that stays in a cache. Its rows are read where they are; of a larger one a vector that lies across
# two lines of the cache, as rows begin anywhere, takes twice as long, so that its rows are copied first.
NEAR = 2**20

INDEX = ir.IntType(64)
Words = NDArray[np.uint64]


def address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """Where in memory the vector of LANES numbers is that begins at an entry of a vector `array`."""
    data = context.make_array(kind)(context, builder, array).data
    number = context.get_data_type(kind.dtype)
    return builder.bitcast(builder.gep(data, [start]), ir.VectorType(number, LANES).as_pointer())


def load(builder: Any, place: Any, vectors: Any) -> Any:
    """The vector so many vectors after a place."""
    found = builder.load(builder.gep(place, [vectors]))
    found.align = 4
    return found


def store(builder: Any, value: Any, place: Any, vectors: Any) -> None:
    """Put a vector so many vectors after a place."""
    builder.store(value, builder.gep(place, [vectors])).align = 4


def spread(builder: Any, value: Any) -> Any:
    """A vector of LANES times the same number."""
    vector = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)


def add_entries(builder: Any, source: Any, word: Any, target: Any, codes: int) -> None:
    """The instructions that add to the sums at `target` the entries of a word's codes, of tables at `source`."""
    total = load(builder, target, INDEX(0))
    for g in range(codes):
        code = builder.and_(builder.lshr(word, INDEX(STATES * g)), INDEX(ENTRIES - 1))
        total = builder.fadd(total, load(builder, source, builder.add(code, INDEX(g * ENTRIES))))
    store(builder, total, target, INDEX(0))


@intrinsic
def add_coded_rows(typing, tables, words, codes, sums, first, stride):  # type: ignore[no-untyped-def]
    """`add_words` with a loop over the rows for each number of codes, so that none looks it up."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source = address(context, builder, tables, arguments[0], INDEX(0))
        packed = context.make_array(words)(context, builder, arguments[1])
        (rows,) = cgutils.unpack_tuple(builder, packed.shape)
        for number in range(1, CODES + 1):
            same = builder.icmp_signed("==", arguments[2], INDEX(number))
            with builder.if_then(same), cgutils.for_range(builder, rows) as loop:
                word = builder.load(builder.gep(packed.data, [loop.index]))
                start = builder.add(arguments[4], builder.mul(loop.index, arguments[5]))
                add_entries(builder, source, word, address(context, builder, sums, arguments[3], start), number)
        return context.get_dummy_value()

    return types.void(tables, words, types.int64, sums, types.int64, types.int64), generate


def plain_add_words(tables: Array, words: Words, codes: int, sums: Array, first: int, stride: int) -> None:
    """Add an entry of each of so many tables to the sums of each row, from first + i stride on for row i."""
    entries, rows = tables.reshape(-1, ENTRIES, LANES), sums.reshape(-1, stride)[: len(words), first : first + LANES]
    for g in range(codes):
        code = words >> np.uint64(STATES * g) & np.uint64(ENTRIES - 1)
        rows += entries[g, code.astype(np.intp)]


def typed_add_words(tables: Any, words: Any, codes: Any, sums: Any, first: Any, stride: Any) -> Any:
    """The compiled `add_words`."""
    return lambda tables, words, codes, sums, first, stride: add_coded_rows(tables, words, codes, sums, first, stride)


add_words = vectorised(plain_add_words, typed_add_words, ORDERED)


@intrinsic
def exchange(typing, source, start, stride, target, begin, step):  # type: ignore[no-untyped-def]
    """`transpose_square` in registers: off-diagonal blocks of half the size change places, then those within blocks."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lane = ir.VectorType(ir.IntType(32), LANES)

        def row(kind: Any, place: Any, n: int) -> Any:
            array, first, apart = place
            return address(context, builder, kind, array, builder.add(first, builder.mul(apart, INDEX(n))))

        rows = [load(builder, row(source, arguments[:3], n), INDEX(0)) for n in range(LANES)]
        half = LANES // 2
        while half:
            left = ir.Constant(lane, [LANES + k - half if k & half else k for k in range(LANES)])
            right = ir.Constant(lane, [LANES + k if k & half else k + half for k in range(LANES)])
            for n in (n for n in range(LANES) if not n & half):
                x, y = rows[n], rows[n + half]
                rows[n], rows[n + half] = builder.shuffle_vector(x, y, left), builder.shuffle_vector(x, y, right)
            half //= 2
        for n in range(LANES):
            store(builder, rows[n], row(target, arguments[3:], n), INDEX(0))
        return context.get_dummy_value()

    place = (types.int64, types.int64)
    return types.void(source, *place, target, *place), generate


def plain_transpose_square(source: Array, start: int, stride: int, target: Array, begin: int, step: int) -> None:
    """target[begin + i step + j] = source[start + j stride + i] for i, j < LANES, both arrays vectors."""
    for i in range(LANES):
        target[begin + i * step : begin + i * step + LANES] = source[start + i :: stride][:LANES]


def typed_transpose_square(source: Any, start: Any, stride: Any, target: Any, begin: Any, step: Any) -> Any:
    """The compiled `transpose_square`."""
    return lambda source, start, stride, target, begin, step: exchange(source, start, stride, target, begin, step)


transpose_square = vectorised(plain_transpose_square, typed_transpose_square, ORDERED)


@njit(**ORDERED)
def aligned(count: int) -> Array:
    """Room for so many numbers that begins where a vector may."""
    room = np.empty(count + LANES, Real)
    start = (-(room.ctypes.data // room.itemsize)) % LANES
    return room[start : start + count]


@intrinsic
def compare(typing, source, start, number):  # type: ignore[no-untyped-def]
    """`equal_bits` by one comparison of vectors."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, first, value = arguments
        found = load(builder, address(context, builder, source, array, first), INDEX(0))
        same = builder.fcmp_ordered("==", found, spread(builder, value))
        return builder.zext(builder.bitcast(same, ir.IntType(LANES)), INDEX)

    return types.uint64(source, types.int64, source.dtype), generate


def plain_equal_bits(source: Array, start: int, number: Real) -> np.uint64:
    """Bit k is 1 where source[start + k] is `number`, k < LANES, `source` a vector."""
    powers = np.uint64(1) << np.arange(LANES, dtype=np.uint64)
    return np.uint64(powers[source[start : start + LANES] == number].sum())


def typed_equal_bits(source: Any, start: Any, number: Any) -> Any:
    """The compiled `equal_bits`."""
    return lambda source, start, number: compare(source, start, number)


equal_bits = vectorised(plain_equal_bits, typed_equal_bits, ORDERED)


@njit(**ORDERED)
def pack_word(entries: Array, start: int, count: int, low: Real, high: Real) -> tuple[np.uint64, bool]:
    """The word of so many states from `start` on in the vector `entries`; whether all are `low` or `high`."""
    word = known = np.uint64(0)
    for k in range(0, count, LANES):
        if start + k + LANES <= entries.size:
            ones, zeros = equal_bits(entries, start + k, high), equal_bits(entries, start + k, low)
            word |= ones << np.uint64(k)
            known |= (ones | zeros) << np.uint64(k)
            continue
        for n in range(k, count):
            state = entries[start + n]
            word |= np.uint64(state == high) << np.uint64(n)
            known |= np.uint64((state == high) | (state == low)) << np.uint64(n)
    inside = (np.uint64(1) << np.uint64(count)) - np.uint64(1)
    return word & inside, (known & inside) == inside


@njit(**ORDERED)
def pack_rows(a: Array, low: Real, high: Real, words: Words) -> bool:
    """Pack the states of each row of `a`; whether all are `low` or `high`, without which the words mean nothing."""
    entries, width, good = a.reshape(-1), a.shape[1], True
    for i in range(a.shape[0]):
        for q in range(words.shape[0]):
            count = min(WORD, width - q * WORD)
            words[q, i], known = pack_word(entries, i * width + q * WORD, count, low, high)
            good &= known
        if not good:
            return False
    return True


@njit(**ORDERED)
def pack_columns(a: Array, low: Real, high: Real, words: Words) -> bool:
    """Pack the states of each column of `a`, as `pack_rows` does those of each row."""
    for q in range(words.shape[0]):
        packed = words[q]
        packed[:] = np.uint64(0)
        for k in range(min(WORD, a.shape[0] - q * WORD)):
            states, bit, strange = a[q * WORD + k], np.uint64(k), False
            for j in range(states.size):
                packed[j] |= np.uint64(states[j] == high) << bit
                strange |= (states[j] != high) & (states[j] != low)
            if strange:
                return False
    return True


@njit(**ORDERED)
def fill_panel(b: Array, row: int, column: int, count: int, stride: int, panel: Array) -> None:
    """The panel of b[row : row + count, column : column + stride]."""
    for k in range(count):
        target = panel[k * stride : (k + 1) * stride]
        width = min(stride, b.shape[1] - column) if row + k < b.shape[0] else 0
        if width > 0:
            source = b[row + k, column : column + width]
            for j in range(width):
                target[j] = source[j]
        for j in range(width, stride):
            target[j] = Real(0.0)


@njit(**ORDERED)
def fill_panel_transposed(b: Array, row: int, column: int, count: int, panel: Array) -> None:
    """The panel of b'[row : row + count, column : column + LANES], and more rows up to a multiple of LANES."""
    entries, (height, width) = b.reshape(-1), b.shape
    for k in range(0, count, LANES):
        if row + k + LANES <= width and column + LANES <= height:
            transpose_square(entries, column * width + row + k, width, panel, k * LANES, LANES)
            continue
        for n in range(k, k + LANES):
            for m in range(LANES):
                inside = row + n < width and column + m < height
                panel[n * LANES + m] = b[column + m, row + n] if inside else Real(0.0)


def partial_sums(rows: list[Any], least: Any, add: Any, multiply: Any) -> list[Any]:
    """By code, the sum of its rows, and `least` times the sum of all: numbers, or instructions that make them."""
    sums = [multiply(least, reduce(add, rows))]
    for row in rows:
        sums += [add(x, row) for x in sums]
    return sums


@intrinsic
def add_up(typing, source, start, stride, factor, least, tables, begin):  # type: ignore[no-untyped-def]
    """`fill_table` in registers: each row is loaded once, each entry is stored once."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, first, apart, times, low, target, place = arguments
        times, low = spread(builder, times), spread(builder, low)
        entry = address(context, builder, tables, target, place)
        starts = (builder.add(first, builder.mul(apart, INDEX(k))) for k in range(STATES))
        found = (load(builder, address(context, builder, source, array, at), INDEX(0)) for at in starts)
        sums = partial_sums([builder.fmul(times, row) for row in found], low, builder.fadd, builder.fmul)
        for code, total in enumerate(sums):
            store(builder, total, entry, INDEX(code))
        return context.get_dummy_value()

    place, number = types.int64, source.dtype
    return types.void(source, place, place, number, number, tables, place), generate


def plain_fill_table(
    source: Array, start: int, stride: int, factor: Real, least: Real, tables: Array, begin: int
) -> None:
    """Fill in the table of STATES rows of LANES entries, the first of which begins at `start`, at `begin` in `tables`.

    `least` times the sum of the rows is added to every entry, `factor` multiplies all.
    """
    rows = [factor * source[start + k * stride : start + k * stride + LANES] for k in range(STATES)]
    tables[begin : begin + ENTRIES * LANES] = np.concatenate(partial_sums(rows, least, operator.add, operator.mul))


def typed_fill_table(source: Any, start: Any, stride: Any, factor: Any, least: Any, tables: Any, begin: Any) -> Any:
    """The compiled `fill_table`."""
    return lambda source, start, stride, factor, least, tables, begin: add_up(
        source, start, stride, factor, least, tables, begin
    )


fill_table = vectorised(plain_fill_table, typed_fill_table, ORDERED)


@njit(**ORDERED)
def fill_tables(source: Array, start: int, stride: int, codes: int, factor: Real, least: Real, tables: Array) -> None:
    """The tables of so many codes, of rows that begin at `start` in the vector `source`, `stride` apart."""
    for g in range(codes):
        fill_table(source, start + STATES * g * stride, stride, factor, least, tables, g * ENTRIES * LANES)


@njit(**ORDERED)
def put_sums(sums: Array, stride: int, column: int, beta: Real, out: Array) -> None:
    """Set `stride` columns of `out` from `column` on to the sums + beta of what is there: anything, if beta is 0."""
    width = min(stride, out.shape[1] - column)
    for i in range(out.shape[0]):
        source, target = sums[i * stride : i * stride + width], out[i, column : column + width]
        if beta == Real(0.0):
            for j in range(width):
                target[j] = source[j]
        else:
            for j in range(width):
                target[j] = source[j] + beta * target[j]


@njit(**ORDERED)
def put_sums_transposed(sums: Array, stride: int, column: int, beta: Real, out: Array) -> None:
    """Set `stride` rows of `out` from `column` on to the sums' + beta of what is there: anything, if beta is 0."""
    square, (height, width) = aligned(LANES * LANES), out.shape
    for j in range(0, min(stride, height - column), LANES):
        for i in range(0, width, LANES):
            transpose_square(sums, i * stride + j, stride, square, 0, LANES)
            count = min(LANES, width - i)
            for n in range(min(LANES, height - column - j)):
                source, target = square[n * LANES : n * LANES + count], out[column + j + n, i : i + count]
                if beta == Real(0.0):
                    for m in range(count):
                        target[m] = source[m]
                else:
                    for m in range(count):
                        target[m] = source[m] + beta * target[m]


@njit(**ORDERED)
def sum_by_table(
    words: Words, states: int, b: Array, read_transposed: bool, out: Array, write_transposed: bool, numbers: Array
) -> None:
    """Set out = alpha x b + beta out for packed states x (rows, states); b', or out', where so much is transposed.

    `numbers` are alpha (high - low), low / (high - low) and beta.
    """
    height, columns = b.shape[::-1] if read_transposed else b.shape
    entries, factor, least, beta = b.reshape(-1), numbers[0], numbers[1], numbers[2]
    in_line = columns % LANES == 0 and b.ctypes.data % 64 == 0
    in_place = not read_transposed and (in_line or b.size <= NEAR)
    block = LANES if read_transposed else min(BLOCK, -(-columns // LANES) * LANES)
    sums = aligned((words.shape[1] + LANES) * block)
    panel, tables = aligned((WORD + LANES) * block), aligned(CODES * ENTRIES * LANES)
    for column in range(0, columns, block):
        sums[:] = Real(0.0)
        for q in range(words.shape[0]):
            row, codes = q * WORD, -(-min(WORD, states - q * WORD) // STATES)
            direct = in_place and row + STATES * codes <= height and column + block <= columns
            if not direct:
                if read_transposed:
                    fill_panel_transposed(b, row, column, STATES * codes, panel)
                else:
                    fill_panel(b, row, column, STATES * codes, block, panel)
            for first in range(0, min(block, columns - column), LANES):
                if direct:
                    fill_tables(entries, row * columns + column + first, columns, codes, factor, least, tables)
                else:
                    fill_tables(panel, first, block, codes, factor, least, tables)
                add_words(tables, words[q], codes, sums, first, block)
        if write_transposed:
            put_sums_transposed(sums, block, column, beta, out)
        else:
            put_sums(sums, block, column, beta, out)
