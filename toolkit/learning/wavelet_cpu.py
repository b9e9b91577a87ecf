"""The Haar transform for preparing data on the CPU: from pixels or float32 images to bands or encoded maps in one pass, compiled by numba.

One thread, so that workers can share a machine; compiled code is kept on disk. Normalisation costs nothing: it is linear, so that it is
folded into the weights of the bands.

Pixels that meet lie beside each other, and rows of small images are short: numba's loops over single numbers spend their time on asking
whether arrays overlap. The intrinsics below take `LANES` blocks at once in LLVM's portable vectors, which become what the machine has;
that is three to five times as fast at 32x32. What is left of a row, and a last odd column, goes block by block.
Positions are not checked: callers pass whole lines inside their arrays.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending
from numba.core import types
from numpy.typing import NDArray

from toolkit.learning.wavelet import WaveletError

# Nothing compiled here has a type that mypy could know.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

intrinsic: Any = extending.intrinsic
LANES = 8
"""Blocks per vector."""
I32, F32 = ir.IntType(32), ir.FloatType()
LINE = ir.VectorType(F32, LANES)

Images = NDArray[np.uint8] | NDArray[np.float32]
Floats = NDArray[np.float32]


def bands(images: Images, mean: Floats | None = None, std: Floats | None = None, out: Floats | None = None) -> Floats:
    """Return the bands (n, 4 C, ceil(H / 2), ceil(W / 2)) of *images* (n, C, H, W) as `toolkit.learning.wavelet.haar2d` gives them.

    Args:
        images: pixels (uint8) or float32.
        mean: of each channel, and *std*, its deviation: images become (x - mean) / std; pixels are first divided by 255. Without them
            images are taken as they are.
        std: see *mean*.
        out: where to write; a fresh array costs as much as the transform.
    """
    count, channels, height, width = _checked(images)
    scale, shift = _affine(images, channels, mean, std)
    shape = (count, 4 * channels, (height + 1) // 2, (width + 1) // 2)
    found = _target(out, shape)
    _bands(images.reshape(-1), height, width, channels, np.float32(0.5) * scale, np.float32(2.0) * shift, found.reshape(-1))
    return found


def encode(
    images: Images, kernel: Floats, mean: Floats | None = None, std: Floats | None = None, out: Floats | None = None
) -> Floats:
    """Return the maps (n, outputs, ceil(H / 2), ceil(W / 2)) of *images* under a *kernel* (outputs, C, 2, 2) with stride 2.

    The kernel is that of a frozen encoder (`toolkit.learning.wavelet.folded`); the other arguments are those of `bands`.
    """
    count, channels, height, width = _checked(images)
    if kernel.ndim != 4 or kernel.shape[1:] != (channels, 2, 2):
        raise WaveletError(f"encode: images of {channels} channels need a kernel (outputs, {channels}, 2, 2), got {kernel.shape}")
    scale, shift = _affine(images, channels, mean, std)
    weights = np.ascontiguousarray(kernel.reshape(len(kernel), channels, 4) * scale[None, :, None], dtype=np.float32)
    offsets = (kernel.sum((2, 3), dtype=np.float64) @ shift.astype(np.float64)).astype(np.float32)
    found = _target(out, (count, len(kernel), (height + 1) // 2, (width + 1) // 2))
    _encode(images.reshape(-1), height, width, channels, weights.reshape(-1), offsets, found.reshape(-1))
    return found


def _checked(images: Images) -> tuple[int, int, int, int]:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise WaveletError(f"wavelet: images must be uint8 or float32 (n, channels, height, width), got {images.dtype} {images.shape}")
    if not images.flags.c_contiguous:
        raise WaveletError("wavelet: images must be contiguous; numpy.ascontiguousarray makes them so")
    count, channels, height, width = images.shape
    return count, channels, height, width


def _affine(images: Images, channels: int, mean: Floats | None, std: Floats | None) -> tuple[Floats, Floats]:
    """Return what channels are multiplied by and what is added then."""
    if mean is None or std is None:
        return np.ones(channels, np.float32), np.zeros(channels, np.float32)
    unit = 255.0 if images.dtype == np.uint8 else 1.0
    mean64, std64 = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    return (1 / (unit * std64)).astype(np.float32), (-mean64 / std64).astype(np.float32)


def _target(out: Floats | None, shape: tuple[int, ...]) -> Floats:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise WaveletError(f"wavelet: the result is contiguous float32 {shape}, and out is {out.dtype} {out.shape}")
    return out


def address(context, builder, kind, array, at, vector):
    """Return the address of a vector from element *at* of a flat array."""
    return builder.bitcast(builder.gep(context.make_array(kind)(context, builder, array).data, [at]), vector.as_pointer())


def splat(builder, value):
    """Return *value* (float32) in all lanes."""
    nothing = ir.Constant(LINE, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, value, ir.Constant(I32, 0)), nothing, indices([0] * LANES))


def indices(values):
    return ir.Constant(ir.VectorType(I32, len(values)), [ir.Constant(I32, value) for value in values])


def columns(context, builder, kind, array, at):
    """Return the even and the odd ones of ``2 * LANES`` pixels from *at*, as float32."""
    pixels = 2 * LANES
    if kind.dtype == types.uint8:
        line = builder.load(address(context, builder, kind, array, at, ir.VectorType(ir.IntType(8), pixels)), align=1)
        line = builder.uitofp(line, ir.VectorType(F32, pixels))
    else:
        line = builder.load(address(context, builder, kind, array, at, ir.VectorType(F32, pixels)), align=4)
    nothing = ir.Constant(line.type, ir.Undefined)
    return tuple(builder.shuffle_vector(line, nothing, indices(list(range(first, pixels, 2)))) for first in (0, 1))


def multiply_add(builder, x, y, z):
    """Return x * y + z, rounded once where the machine can."""
    name = f"llvm.fmuladd.v{LANES}f32"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(LINE, [LINE] * 3), name)
    return builder.call(function, [x, y, z])


@intrinsic
def band_line(typingctx: Any, images, upper, lower, out, at, stride, scale, shift):
    """Write the bands of `LANES` blocks, whose rows begin at *upper* and *lower* of *images*, to *out* from *at*, *stride* apart."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        a, b = columns(context, builder, kinds[0], arguments[0], arguments[1])
        c, d = columns(context, builder, kinds[0], arguments[0], arguments[2])
        s, t = splat(builder, arguments[6]), splat(builder, arguments[7])
        left, right = builder.fadd(a, b), builder.fadd(c, d)
        over, under = builder.fsub(a, b), builder.fsub(c, d)
        found = [
            multiply_add(builder, builder.fadd(left, right), s, t), builder.fmul(builder.fadd(over, under), s),
            builder.fmul(builder.fsub(left, right), s), builder.fmul(builder.fsub(over, under), s),
        ]
        place = arguments[4]
        for vector in found:
            builder.store(vector, address(context, builder, kinds[3], arguments[3], place, LINE), align=4)
            place = builder.add(place, arguments[5])
        return context.get_dummy_value()

    return types.void(images, upper, lower, out, at, stride, scale, shift), generate


@intrinsic
def map_line(typingctx: Any, images, upper, lower, weights, first, out, at):
    """Add the products of `LANES` blocks with four *weights* from *first* to *out* from *at*."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        upper, lower = (columns(context, builder, kinds[0], arguments[0], at) for at in arguments[1:3])
        target = address(context, builder, kinds[5], arguments[5], arguments[6], LINE)
        total = builder.load(target, align=4)
        numbers = address(context, builder, kinds[3], arguments[3], arguments[4], F32)
        for place, pixel in enumerate((*upper, *lower)):
            weight = builder.load(builder.gep(numbers, [ir.Constant(I32, place)]), align=4)
            total = multiply_add(builder, pixel, splat(builder, weight), total)
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(images, upper, lower, weights, first, out, at), generate


@numba.njit(cache=True, error_model="numpy")
def _bands(images: Any, height: int, width: int, channels: int, scale: Any, shift: Any, out: Any) -> None:
    rows, across = (height + 1) // 2, (width + 1) // 2
    stride = channels * rows * across
    for plane in range(images.size // (height * width)):
        n, c = divmod(plane, channels)
        s, t = scale[c], shift[c]
        for i in range(rows):
            upper = (plane * height + 2 * i) * width
            lower = upper + width if 2 * i + 1 < height else upper
            at = n * 4 * stride + (c * rows + i) * across
            j = 0
            while 2 * (j + LANES) <= width:
                band_line(images, upper + 2 * j, lower + 2 * j, out, at + j, stride, s, t)
                j += LANES
            while j < across:
                more = 1 if 2 * j + 1 < width else 0
                x, y = np.float32(images[upper + 2 * j]), np.float32(images[upper + 2 * j + more])
                z, w = np.float32(images[lower + 2 * j]), np.float32(images[lower + 2 * j + more])
                out[at + j] = s * (x + y + (z + w)) + t
                out[at + stride + j] = s * (x - y + (z - w))
                out[at + 2 * stride + j] = s * (x + y - (z + w))
                out[at + 3 * stride + j] = s * (x - y - (z - w))
                j += 1


@numba.njit(cache=True, error_model="numpy")
def _encode(images: Any, height: int, width: int, channels: int, weights: Any, offsets: Any, out: Any) -> None:
    rows, across = (height + 1) // 2, (width + 1) // 2
    outputs = len(offsets)
    for n in range(images.size // (channels * height * width)):
        for i in range(rows):
            for o in range(outputs):
                at = ((n * outputs + o) * rows + i) * across
                out[at : at + across] = offsets[o]
                for c in range(channels):
                    upper = ((n * channels + c) * height + 2 * i) * width
                    lower = upper + width if 2 * i + 1 < height else upper
                    first = 4 * (o * channels + c)
                    j = 0
                    while 2 * (j + LANES) <= width:
                        map_line(images, upper + 2 * j, lower + 2 * j, weights, first, out, at + j)
                        j += LANES
                    while j < across:
                        more = 1 if 2 * j + 1 < width else 0
                        out[at + j] += (
                            weights[first] * np.float32(images[upper + 2 * j])
                            + weights[first + 1] * np.float32(images[upper + 2 * j + more])
                            + weights[first + 2] * np.float32(images[lower + 2 * j])
                            + weights[first + 3] * np.float32(images[lower + 2 * j + more])
                        )
                        j += 1
