"""The Count-Sketch: a table of a few hundred thousand numbers from which the large entries of a vector of millions can be read.

    sketch = CountSketch(rows=5, cols=10_000, seed=1)
    table = sketch.encode(gradient)               # linear: tables of several workers may be summed
    sketch.top_k(table, k=1_000, size=len(gradient))

Each row holds ``T[j, h_j(i)] += s_j(i) v[i]`` with bucket hash h and sign hash s; the estimate of v[i] is the median over rows of
``s_j(i) T[j, h_j(i)]``. One row is unbiased with variance at most ``|v|^2 / cols``; the median fails with a probability that falls
exponentially with the number of rows.

*Source*: Charikar, Chen and Farach-Colton (2002). *Departures*: the hash serves sixteen coordinates at once and is computed on the
fly (`sketch_hash`): no table of hashes is stored. An even number of rows is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.learning import sketch_gpu
from toolkit.learning.sketch_hash import LINE, keys, network, signed_keys
from toolkit.learning.top_k import top_k, top_k_work

Array = TypeVar("Array", NDArray[Any], Tensor)
INT32_MAX = 2**31 - 1

HASH_OPERATIONS = 14
"""Integer operations of one hash, its line and its lane, per row and group of 16."""


@final
@dataclass(frozen=True)
class CountSketch:
    """A Count-Sketch: what it hashes with, not what was sketched. Sketches with the same rows, cols and seed share their hashes.

    Vectors are float32 and 1-D, torch (any device) or NumPy, and the answer is of the same kind and in the same place. Tables are
    (rows, cols), of float32, or of int32 with *fraction_bits*: values are then rounded to multiples of 2**-fraction_bits, and sums
    are exact whatever their order. On the CPU the bits of a float32 table repeat as well; on a GPU they do not.

    Args:
        rows: odd, because the lower of two middle values is biased.
        cols: cells in a row, a multiple of 16.
        seed: of the hashes; the same on all workers.
        size: length of the vectors (d), if it is always the same; else `estimate` and `top_k` are told.
        fraction_bits: None for float32; else cells count in units of ``2**-fraction_bits``, and reach as far as `reach`.
        workers: how many tables are to be summed: each keeps so far from overflow that the sum cannot.
    """

    rows: int
    cols: int
    seed: int
    size: int | None = None
    fraction_bits: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1 or self.rows % 2 == 0:
            raise ValueError(
                f"CountSketch: rows is {self.rows}; it must be odd (1, 3, 5, ...): of an even number the lower middle value is biased"
            )
        if self.cols < LINE or self.cols % LINE:
            near = max(LINE, round(self.cols / LINE) * LINE)
            raise ValueError(f"CountSketch: cols is {self.cols}; it must be a multiple of the line of {LINE}, for example {near}")
        if self.cols // LINE > INT32_MAX:
            raise ValueError(f"CountSketch: cols is {self.cols}; it can be at most {INT32_MAX * LINE}")
        if self.seed < 0:
            raise ValueError(f"CountSketch: seed is {self.seed}; it must be 0 or above")
        if self.size is not None and self.size < 1:
            raise ValueError(f"CountSketch: size is {self.size}; a vector has at least one coordinate")
        if self.fraction_bits is not None and not -64 <= self.fraction_bits <= 64:
            raise ValueError(f"CountSketch: fraction_bits is {self.fraction_bits}; it can be -64 to 64, or None for float32")
        if self.workers < 1:
            raise ValueError(f"CountSketch: workers is {self.workers}; it must be 1 or above")

    @property
    def nbytes(self) -> int:
        """Bytes of a table."""
        return 4 * self.rows * self.cols

    @property
    def is_fixed_point(self) -> bool:
        return self.fraction_bits is not None

    @property
    def unit(self) -> float:
        """What a 1 in the table stands for; 1 in float32."""
        return 1.0 if self.fraction_bits is None else 2.0**-self.fraction_bits

    @property
    def reach(self) -> float:
        """The largest magnitude that a cell of one worker's table may take (infinite in float32)."""
        return np.inf if self.fraction_bits is None else INT32_MAX // self.workers * self.unit

    def empty(self, like: Array) -> Array:
        """Return the table of the zero vector, of the kind and in the place of *like*."""
        if isinstance(like, Tensor):
            return torch.zeros(self.rows, self.cols, dtype=torch.int32 if self.is_fixed_point else torch.float32, device=like.device)
        return np.zeros((self.rows, self.cols), np.int32 if self.is_fixed_point else np.float32)

    def encode(self, vector: Array, out: Array | None = None, offset: int = 0) -> Array:
        """Return the table (rows, cols) of *vector*, (d,), or add it to *out* and return that.

        With *offset*, *vector* is the part of a longer one that begins there: a gradient may be sketched piece by piece into one table.
        In fixed point, NaN and whatever leads beyond `reach` is refused; *out* is then worthless.
        """
        if vector.ndim != 1 or vector.dtype not in (torch.float32, np.float32):
            raise ValueError(f"CountSketch.encode: vector is {vector.dtype} of shape {tuple(vector.shape)}; it takes 1-D float32")
        if offset < 0 or (self.size is not None and offset + len(vector) > self.size):
            raise ValueError(f"CountSketch.encode: coordinates {offset} to {offset + len(vector)} do not lie in a vector of {self.size}")
        table = self.empty(vector) if out is None else out
        self._check(table, "encode")
        scale = 0.0 if self.fraction_bits is None else 2.0**self.fraction_bits
        if isinstance(vector, Tensor):
            vector = vector.detach()
            if vector.device.type != "cpu":
                wrong = sketch_gpu.encode(vector.contiguous(), self.seed, table, offset, scale)
            else:
                wrong = self._encode(vector.contiguous().numpy(), table.numpy(), offset, scale)
        else:
            wrong = self._encode(np.ascontiguousarray(vector), table, offset, scale)
        if self.is_fixed_point:
            limit = INT32_MAX // self.workers
            if wrong or int(table.max()) > limit or int(table.min()) < -limit:
                self._complain(vector)
        return table

    def _encode(self, vector: NDArray[np.float32], table: NDArray[Any], offset: int, scale: float) -> bool:
        cpu, scaling = compiled(), np.float32(scale)
        head = min(-offset % LINE, len(vector))
        tail = head + (len(vector) - head) // LINE * LINE
        row_keys = keys(self.seed, self.rows)
        wrong = cpu.encode_singles(vector, 0, head, offset, table, row_keys, scaling)
        wrong |= cpu.encode_groups(vector, head, (offset + head) // LINE, (tail - head) // LINE, table, row_keys, scaling)
        return bool(wrong | cpu.encode_singles(vector, tail, len(vector), offset, table, row_keys, scaling))

    def _complain(self, vector: NDArray[Any] | Tensor) -> None:
        finite = torch.isfinite(vector).all() if isinstance(vector, Tensor) else np.isfinite(vector).all()
        if not finite:
            raise ValueError("CountSketch.encode: vector holds NaN or infinity, which fixed point cannot hold")
        raise ValueError(
            f"CountSketch.encode: a cell exceeds {self.reach:.6g}, as far as {self.fraction_bits} fraction_bits reach in tables that "
            f"{self.workers} workers sum; take fewer fraction_bits, or more cols"
        )

    def estimate(self, table: Array, indices: Array | None = None, size: int | None = None) -> Array:
        """Return the estimates (float32) of the coordinates 0 to *size* - 1, or of those at *indices* (integers, in any order).

        What cells that are not finite give is not said; `top_k` refuses them.
        """
        self._check(table, "estimate")
        if indices is None:
            return self._estimate_all(table, self._size(size, "estimate"))
        limit = self.size if size is None else size
        if len(indices):
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or (limit is not None and high >= limit):
                most = "d - 1" if limit is None else limit - 1
                raise ValueError(f"CountSketch.estimate: indices run from {low} to {high}; they must lie in 0 to {most}")
        if isinstance(table, Tensor):
            where = torch.as_tensor(indices, device=table.device).to(torch.int64)
            if table.device.type != "cpu":
                return sketch_gpu.estimate_at(table, self.seed, self.unit, where)
            return torch.from_numpy(self._estimate_some(table.numpy(), where.numpy()))
        return self._estimate_some(table, np.asarray(indices, np.int64))

    def _estimate_all(self, table: Array, size: int) -> Array:
        if isinstance(table, Tensor):
            if table.device.type != "cpu":
                return sketch_gpu.estimate(table, self.seed, self.unit, size)
            return torch.from_numpy(self._estimate_all(table.numpy(), size))
        out = np.empty(-(-size // LINE) * LINE, np.float32)
        compiled().estimate_groups(table, keys(self.seed, self.rows), network(self.rows), np.float32(self.unit), out)
        return out[:size]

    def _estimate_some(self, table: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.empty(len(indices), np.float32)
        compiled().estimate_some(table, keys(self.seed, self.rows), np.float32(self.unit), indices, out)
        return out

    def top_k(self, table: Array, k: int, size: int | None = None) -> Array:
        """Return the indices (int64, rising) of the *k* largest magnitudes of the estimates.

        Ties go to the lower index: from equal bits come equal answers.

        A table that holds NaN or infinity is refused.
        """
        self._check(table, "top_k")
        size = self._size(size, "top_k")
        if not 1 <= k <= size:
            raise ValueError(f"CountSketch.top_k: k is {k}; of {size} coordinates it can be 1 to {size}")
        if not self.is_fixed_point:
            finite = torch.isfinite(table) if isinstance(table, Tensor) else np.isfinite(table)
            if not finite.all():
                row, col = divmod(int((finite * 1).argmin()), self.cols)
                raise ValueError(f"CountSketch.top_k: cell ({row}, {col}) of the table is {float(table[row, col])}; check the gradients")
        return top_k(self._estimate_all(table, size), k)

    def cells(self, indices: Array) -> tuple[Array, Array]:
        """Return the columns (int64) and signs (int8) that *indices* (integers, (n,)) hash to, both (rows, n)."""
        if not isinstance(indices, Tensor):
            columns, signs = self.cells(torch.from_numpy(np.array(indices, np.int64)))
            return columns.numpy(), signs.numpy()
        pairs = [sketch_gpu.places(indices.to(torch.int64), a, b, self.cols) for a, b in signed_keys(self.seed, self.rows)]
        return torch.stack([columns for columns, _ in pairs]), torch.stack([signs for _, signs in pairs])

    def encode_work(self, size: int) -> tuple[float, float, float, float]:
        """Return (operations, bytes read, bytes written, kernels) of encoding *size* coordinates into a new table.

        Per row and coordinate a sign and an addition, and a cell read and written; the hash once per group; the vector read once.
        """
        operations = self.rows * size * (2 + HASH_OPERATIONS / LINE)
        return operations, 4.0 * size * (1 + self.rows), 4.0 * size * self.rows + self.nbytes, 4.0

    def decode_work(self, size: int) -> tuple[float, float, float, float]:
        """Return the same four numbers of estimating *size* coordinates: a cell per row, two operations per exchange."""
        operations = size * (self.rows * (1 + HASH_OPERATIONS / LINE) + 2 * len(network(self.rows)))
        return operations, 4.0 * size * self.rows, 4.0 * size, 1.0

    def top_k_work(self, size: int, k: int) -> tuple[float, float, float, float]:
        """Return (operations, bytes read, bytes written, kernels) of `top_k`: `decode_work`, and the selection."""
        decode, choose = self.decode_work(size), top_k_work(size, k)
        flops, read, written, kernels = (one + another for one, another in zip(decode, choose, strict=True))
        return flops, read, written, kernels + 5  # looking for what is not finite

    def _size(self, size: int | None, where: str) -> int:
        if size is None:
            size = self.size
        if size is None or size < 1:
            raise ValueError(f"CountSketch.{where}: size is {size}; give the length of the vector here or to CountSketch(size=...)")
        return size

    def _check(self, table: NDArray[Any] | Tensor, where: str) -> None:
        right = (torch.int32, np.int32) if self.is_fixed_point else (torch.float32, np.float32)
        if tuple(table.shape) != (self.rows, self.cols) or table.dtype not in right:
            raise ValueError(
                f"CountSketch.{where}: the table is {table.dtype} of shape {tuple(table.shape)}; this sketch has "
                f"{'int32' if self.is_fixed_point else 'float32'} of shape ({self.rows}, {self.cols})"
            )
        if not (table.is_contiguous() if isinstance(table, Tensor) else table.flags.c_contiguous):
            raise ValueError(f"CountSketch.{where}: the table is not contiguous; take a copy of it")


def compiled() -> ModuleType:
    """Return the kernels; numba takes a while to import."""
    from toolkit.learning import sketch_cpu

    return sketch_cpu
