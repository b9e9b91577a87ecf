"""The Count-Sketch on the CPU, one thread, compiled by numba when first used (and kept on disk).

One row at a time: a row of the table (2 MB at 500,000 columns) stays in cache while the vector streams past it, once per row.
Orders that read the vector once and visit all rows for each piece of it were three times slower at d = 10**7. Lines are asked for
`AHEAD` groups before their turn, which is worth a sixth there and a third at d = 10**6.

numba compiles loops over single numbers; to permute sixteen of them by an XOR costs it a hundred instructions where ten vector
instructions do. The intrinsics below emit LLVM's portable vectors of sixteen, which become what the machine has (two registers of
AVX2, four of NEON): 35 ms instead of 69 ms at d = 10**7 with five rows, and a quarter of the time to compile. Positions are not
checked: callers pass whole lines inside their arrays. All stay in one file, since numba's cache of compiled code asks only whether
the file of the kernel itself has changed.

Within a cell, terms are added in the order of their coordinates, in whatever pieces the vector is encoded, as long as those come in
order: the bits of a float32 table do not depend on the pieces.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending
from numba.core import types

from toolkit.learning.sketch_hash import LINE, MULTIPLIERS, SHIFTS

# Nothing here has a type that mypy could know.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

intrinsic: Any = extending.intrinsic

I1, I32, F32 = ir.IntType(1), ir.IntType(32), ir.FloatType()
INTS, FLOATS = ir.VectorType(I32, LINE), ir.VectorType(F32, LINE)


def constant(values):
    return ir.Constant(INTS, [ir.Constant(I32, value) for value in values])


def splat(builder, value, vector):
    """Return *value* in all lanes."""
    nothing = ir.Constant(vector, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, value, ir.Constant(I32, 0)), nothing, constant([0] * LINE))


def pointer(context, builder, kind, array, at, vector):
    """Return the address of sixteen elements of a 1-D array (contiguous) from element *at*."""
    return builder.bitcast(builder.gep(context.make_array(kind)(context, builder, array).data, [at]), vector.as_pointer())


def call(builder, name, result, arguments):
    """Call an intrinsic of LLVM by its full name."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [argument.type for argument in arguments]), name)
    return builder.call(function, arguments)


def signed(builder, bits, hashed):
    """Flip the sign of float lanes, given as *bits*, whose bit in *hashed* (in all lanes) is set."""
    places = builder.shl(hashed, constant([31 - lane for lane in range(LINE)]))
    return builder.xor(bits, builder.and_(places, constant([-(2**31)] * LINE)))


def permuted(builder, bits, hashed):
    """Move lane l to lane ``l ^ k``, where k is bits 16 to 19 of *hashed*: four conditional swaps."""
    for bit in range(4):
        chosen = builder.ashr(builder.shl(hashed, constant([15 - bit] * LINE)), constant([31] * LINE))
        swapped = builder.shuffle_vector(bits, ir.Constant(INTS, ir.Undefined), constant([lane ^ (1 << bit) for lane in range(LINE)]))
        bits = builder.xor(bits, builder.and_(builder.xor(bits, swapped), chosen))
    return bits


def any_lane(builder, truths):
    """Return 1 if any lane of a vector of truths holds, else 0, as int32."""
    packed = builder.bitcast(truths, ir.IntType(LINE))
    return builder.zext(builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0)), I32)


@intrinsic
def add_line(typingctx: Any, values, at, row, base, hashed, scale):
    """Add 16 *values* (float32) from *at* to the line at *base* of *row*, signed and permuted by the hash; return 1 if it went wrong.

    A row of float32 takes them as they are and nothing goes wrong. A row of int32 takes them times *scale* (float32), rounded to the
    nearest (half to even); a value or a sum beyond int32, or NaN, is reported, and then the line is worthless.
    """
    is_float = row.dtype == types.float32

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        x = builder.load(pointer(context, builder, kinds[0], arguments[0], arguments[1], FLOATS), align=4)
        target = pointer(context, builder, kinds[2], arguments[2], arguments[3], FLOATS if is_float else INTS)
        before = builder.load(target, align=4)
        h = splat(builder, builder.trunc(arguments[4], I32), INTS)
        if is_float:
            moved = permuted(builder, signed(builder, builder.bitcast(x, INTS), h), h)
            builder.store(builder.fadd(before, builder.bitcast(moved, FLOATS)), target, align=4)
            return ir.Constant(I32, 0)
        x = call(builder, "llvm.rint.v16f32", FLOATS, [builder.fmul(x, splat(builder, arguments[5], FLOATS))])
        limit = splat(builder, ir.Constant(F32, 2.0**31), FLOATS)
        too_large = builder.fcmp_unordered(">=", call(builder, "llvm.fabs.v16f32", FLOATS, [x]), limit)  # NaN too
        x = builder.select(too_large, ir.Constant(FLOATS, [ir.Constant(F32, 0.0)] * LINE), x)  # has no integer
        x = builder.bitcast(signed(builder, builder.bitcast(x, INTS), h), FLOATS)
        moved = permuted(builder, builder.fptosi(x, INTS), h)
        after = builder.add(before, moved)
        builder.store(after, target, align=4)
        wrapped = builder.and_(builder.xor(before, after), builder.xor(moved, after))  # both terms have the sign that the sum lacks
        return any_lane(builder, builder.or_(too_large, builder.icmp_signed("<", wrapped, constant([0] * LINE))))

    return types.int32(values, at, row, base, hashed, scale), generate


@intrinsic
def read_line(typingctx: Any, row, base, hashed, scale, out, at):
    """Write the 16 estimates (float32) that the line at *base* of *row* gives for its group to *out* from *at*; int32 times *scale*."""
    is_float = row.dtype == types.float32

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        x = builder.load(pointer(context, builder, kinds[0], arguments[0], arguments[1], FLOATS if is_float else INTS), align=4)
        if not is_float:
            x = builder.fmul(builder.sitofp(x, FLOATS), splat(builder, arguments[3], FLOATS))
        h = splat(builder, builder.trunc(arguments[2], I32), INTS)
        x = builder.bitcast(signed(builder, permuted(builder, builder.bitcast(x, INTS), h), h), FLOATS)
        builder.store(x, pointer(context, builder, kinds[4], arguments[4], arguments[5], FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(row, base, hashed, scale, out, at), generate


@intrinsic
def exchange(typingctx: Any, lines, low, high):
    """Put the smaller of each pair of lanes of two lines (16 float32 at *low* and at *high*) into the first, the larger into the other."""

    def generate(context, builder, signature, arguments):
        kind, (array, low, high) = signature.args[0], arguments
        first, second = (pointer(context, builder, kind, array, at, FLOATS) for at in (low, high))
        p, q = builder.load(first, align=4), builder.load(second, align=4)
        less = builder.fcmp_ordered("<", p, q)
        builder.store(builder.select(less, p, q), first, align=4)
        builder.store(builder.select(less, q, p), second, align=4)
        return context.get_dummy_value()

    return types.void(lines, low, high), generate


@intrinsic
def copy_line(typingctx: Any, source, at, target, to):
    """Copy 16 float32 from *source*, element *at*, to *target*, element *to*."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        x = builder.load(pointer(context, builder, kinds[0], arguments[0], arguments[1], FLOATS), align=4)
        builder.store(x, pointer(context, builder, kinds[2], arguments[2], arguments[3], FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(source, at, target, to), generate


@intrinsic
def fetch(typingctx: Any, row, base):
    """Ask for the line at *base* of *row* (1-D) ahead of its use; changes nothing."""

    def generate(context, builder, signature, arguments):
        where = pointer(context, builder, signature.args[0], arguments[0], arguments[1], ir.IntType(8))
        hints = [ir.Constant(I32, hint) for hint in (1, 3, 1)]  # to be written, to be kept, data
        kind = ir.FunctionType(ir.VoidType(), [where.type, I32, I32, I32])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [where.type], kind)
        builder.call(prefetch, [where, *hints])
        return context.get_dummy_value()

    return types.void(row, base), generate


# numba makes a float of an unsigned and a signed integer: every constant of the hash is unsigned.
M0, M1 = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
S0, S1, S2 = (np.uint64(shift) for shift in SHIFTS)
HALF, SIGN_BITS, LOW4, ONE = np.uint64(32), np.uint64(16), np.uint64(15), np.uint64(1)

AHEAD = 24
INT32_MAX = 2**31 - 1


@numba.njit(inline="always")
def hash_group(group, a, b):
    x = np.uint64(group) * a + b
    x ^= x >> S0
    x *= M0
    x ^= x >> S1
    x *= M1
    return x ^ (x >> S2)


@numba.njit(inline="always")
def line_of(x, lines):
    """Return the first cell of the line."""
    return np.int64(((x >> HALF) * lines) >> HALF) * LINE


@numba.njit(inline="always")
def cell_of(x, lines, lane):
    return line_of(x, lines) + (lane ^ np.int64((x >> SIGN_BITS) & LOW4))


@numba.njit(inline="always")
def is_negative(x, lane):
    return (x >> np.uint64(lane)) & ONE != 0


@numba.njit(cache=True, nogil=True)
def encode_groups(values, begin, group, count, table, keys, scale):
    """Add *count* whole groups of *values*, from element *begin* on, the first being number *group* of the vector; return 1 if wrong."""
    lines = np.uint64(table.shape[1] // LINE)
    wrong = np.int32(0)
    for j in range(table.shape[0]):
        a, b, row = keys[j, 0], keys[j, 1], table[j]
        for step in range(count):
            fetch(row, line_of(hash_group(group + step + AHEAD, a, b), lines))
            x = hash_group(group + step, a, b)
            wrong |= add_line(values, begin + step * LINE, row, line_of(x, lines), x, scale)
    return wrong


@numba.njit(cache=True, nogil=True)
def encode_singles(values, begin, end, offset, table, keys, scale):
    """Add elements *begin* to *end*, one by one; element e is coordinate ``offset + e``. Return 1 if wrong, as `add_line`."""
    lines = np.uint64(table.shape[1] // LINE)
    wrong = np.int32(0)
    is_fixed = scale != 0
    for j in range(table.shape[0]):
        for e in range(begin, end):
            index = offset + e
            x = hash_group(index // LINE, keys[j, 0], keys[j, 1])
            cell = cell_of(x, lines, index % LINE)
            value = -values[e] if is_negative(x, index % LINE) else values[e]
            if is_fixed:
                scaled = np.float64(value) * scale
                if not abs(scaled) < INT32_MAX:
                    wrong = np.int32(1)
                    continue
                total = np.int64(table[j, cell]) + np.int64(round(scaled))
                if abs(total) > INT32_MAX:
                    wrong = np.int32(1)
                table[j, cell] = total
            else:
                table[j, cell] += value
    return wrong


@numba.njit(cache=True, nogil=True)
def estimate_groups(table, keys, network, scale, out):
    """Fill *out* (a whole number of groups) with the medians over rows; see `sketch_hash.network`."""
    rows = table.shape[0]
    lines = np.uint64(table.shape[1] // LINE)
    heap = np.empty(rows * LINE, np.float32)
    for group in range(len(out) // LINE):
        for j in range(rows):
            fetch(table[j], line_of(hash_group(group + AHEAD // 4, keys[j, 0], keys[j, 1]), lines))
            x = hash_group(group, keys[j, 0], keys[j, 1])
            read_line(table[j], line_of(x, lines), x, scale, heap, j * LINE)
        for step in range(len(network)):
            exchange(heap, network[step, 0] * LINE, network[step, 1] * LINE)
        copy_line(heap, rows // 2 * LINE, out, group * LINE)


@numba.njit(cache=True, nogil=True)
def estimate_some(table, keys, scale, indices, out):
    """Fill *out* with the medians at *indices*, by insertion."""
    rows = table.shape[0]
    lines = np.uint64(table.shape[1] // LINE)
    sorted_so_far = np.empty(rows, np.float32)
    for n in range(len(indices)):
        lane = indices[n] % LINE
        for j in range(rows):
            x = hash_group(indices[n] // LINE, keys[j, 0], keys[j, 1])
            value = np.float32(table[j, cell_of(x, lines, lane)]) * scale
            if is_negative(x, lane):
                value = -value
            place = j
            while place > 0 and sorted_so_far[place - 1] > value:
                sorted_so_far[place] = sorted_so_far[place - 1]
                place -= 1
            sorted_so_far[place] = value
        out[n] = sorted_so_far[rows // 2]
