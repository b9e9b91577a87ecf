from __future__ import annotations

import pickle
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from toolkit.learning import sketch_gpu
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_hash import LINE, MULTIPLIERS, SHIFTS, keys
from toolkit.learning.top_k import top_k

MASK = 2**64 - 1


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def by_definition(sketch: CountSketch, vector: np.ndarray) -> np.ndarray:
    """T[j, h_j(i)] += s_j(i) v[i], in float64 (times the unit in fixed point)."""
    columns, signs = sketch.cells(np.arange(len(vector)))
    table = np.zeros((sketch.rows, sketch.cols))
    for row in range(sketch.rows):
        np.add.at(table[row], columns[row], signs[row] * np.asarray(vector, np.float64))
    return table


def through_torch(sketch: CountSketch, vector: np.ndarray, offset: int = 0) -> torch.Tensor:
    """The table by the path of other devices, on the CPU."""
    values = torch.from_numpy(vector)
    table = sketch.empty(values)
    assert not sketch_gpu.encode(values, sketch.seed, table, offset, 0.0 if sketch.fraction_bits is None else 2.0**sketch.fraction_bits)
    return table


# What the hash is, and how good


def test_the_hash_is_what_its_description_says() -> None:
    """In Python's integers, which neither wrap nor have a sign."""
    sketch = CountSketch(3, 4800, seed=11)
    indices = np.array([0, 1, 15, 16, 17, 4799, 10**6 + 3, 2**40 + 5])
    columns, signs = sketch.cells(indices)
    for row, (a, b) in enumerate(keys(11, 3).tolist()):
        for n, index in enumerate(indices.tolist()):
            x = (a * (index // LINE) + b) & MASK
            x = (x ^ x >> SHIFTS[0]) * MULTIPLIERS[0] & MASK
            x = (x ^ x >> SHIFTS[1]) * MULTIPLIERS[1] & MASK
            x ^= x >> SHIFTS[2]
            lane = index % LINE
            assert columns[row, n] == ((x >> 32) * 300 >> 32) * LINE + (lane ^ (x >> 16 & 15))
            assert signs[row, n] == (-1 if x >> lane & 1 else 1)


def test_keys_are_odd_and_a_row_keeps_its_own() -> None:
    assert (keys(5, 9)[:, 0] % 2 == 1).all()
    np.testing.assert_array_equal(keys(5, 9)[:3], keys(5, 3))
    assert len({tuple(pair) for seed in range(50) for pair in keys(seed, 9).tolist()}) == 450


@pytest.mark.parametrize(("size", "cols"), [(1_000_000, 50_000), (2_000_000, 100_000), (200_000, 4_992), (10**6, 2**15)])
@pytest.mark.parametrize("seed", [1, 42])
def test_buckets_are_evenly_loaded_and_signs_balanced(size: int, cols: int, seed: int) -> None:
    """Check 4, also at the sizes at which another hash left half of the buckets empty."""
    columns, signs = CountSketch(5, cols, seed).cells(np.arange(size))
    for row in range(5):
        load = np.bincount(columns[row], minlength=cols)
        assert load.sum() == size
        assert 0.5 < load.var() / load.mean() <= 1.5
        assert (load == 0).mean() < 0.01
        assert abs(signs[row].mean(dtype=np.float64)) <= 4 / np.sqrt(size)


def test_consecutive_strided_and_distant_coordinates_spread_alike() -> None:
    """Load var/mean over lines is 1 for ideal hashing, whatever arithmetic structure the indices have."""
    for step in (16, 32, 160, 4096, 16 * 50_000, 2**20, 2**33):
        columns, _ = CountSketch(5, 1600, seed=3).cells(np.arange(20_000) * step)
        for row in range(5):
            load = np.bincount(columns[row] // LINE, minlength=100)
            assert 0.5 < load.var() / load.mean() < 1.6, step


def test_rows_collide_as_if_they_knew_nothing_of_each_other() -> None:
    """Check 4: the same coordinate meets the same bucket of two rows once in cols, over 20 seeds; 16 coordinates do so at once."""
    size, cols, seeds = 200_000, 160, range(20)
    equal = total = 0
    for seed in seeds:
        columns, _ = CountSketch(5, cols, seed).cells(np.arange(size))
        for one, other in combinations(range(5), 2):
            equal += int((columns[one] == columns[other]).sum())
            total += size
    assert equal / total == pytest.approx(1 / cols, rel=0.05)


def test_a_pair_of_coordinates_collides_once_in_cols_and_never_within_a_group() -> None:
    cols = 320
    collisions = pairs = 0
    for seed in range(10):
        columns, _ = CountSketch(3, cols, seed).cells(np.arange(32_000))
        for row in columns:
            groups = row.reshape(-1, LINE)
            assert all(len(set(group)) == LINE for group in groups[:50].tolist())
            load = np.bincount(row, minlength=cols).astype(np.int64)
            collisions += int((load * (load - 1) // 2).sum())
            pairs += 32_000 * 31_999 // 2
    assert collisions / pairs == pytest.approx(1 / cols, rel=0.01)


def test_signs_of_colliding_coordinates_are_independent() -> None:
    columns, signs = CountSketch(5, 160, seed=4).cells(np.arange(80_000))
    for row in range(5):
        order = np.argsort(columns[row], kind="stable")
        same_cell = np.diff(columns[row][order]) == 0
        products = (signs[row][order][1:] * signs[row][order][:-1])[same_cell]
        assert abs(products.mean(dtype=np.float64)) < 4 / np.sqrt(len(products) / LINE)


# What a table is


@pytest.mark.parametrize("rows", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 5003])
def test_a_table_is_its_definition(rows: int, size: int) -> None:
    sketch, vector = CountSketch(rows, 320, seed=7), normal(size)
    table = sketch.encode(vector)
    np.testing.assert_allclose(table, by_definition(sketch, vector), atol=2e-5)
    np.testing.assert_array_equal(sketch.encode(torch.from_numpy(vector)).numpy(), table)


@pytest.mark.parametrize("rows", [1, 3, 5, 7, 9, 11])
def test_estimates_are_medians_of_the_cells(rows: int) -> None:
    sketch, vector = CountSketch(rows, 160, seed=8, size=3001), normal(3001)
    table = sketch.encode(vector)
    columns, signs = sketch.cells(np.arange(3001))
    expected = np.median(table[np.arange(rows)[:, None], columns] * signs, axis=0)
    np.testing.assert_array_equal(sketch.estimate(table), expected)
    some = np.random.default_rng(1).permutation(3001)[:200]
    np.testing.assert_array_equal(sketch.estimate(table, some), expected[some])
    np.testing.assert_array_equal(sketch.estimate(torch.from_numpy(table), torch.from_numpy(some)).numpy(), expected[some])
    np.testing.assert_array_equal(sketch.estimate(torch.from_numpy(table)).numpy(), expected)
    assert len(sketch.estimate(table, some[:0])) == 0


@pytest.mark.parametrize("fraction_bits", [None, 12])
def test_plain_torch_computes_the_same(fraction_bits: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch_gpu, "CHUNK", 1000)  # so that several chunks meet, within groups too
    for rows in (1, 3, 5, 7, 9):
        sketch, vector = CountSketch(rows, 320, seed=9, fraction_bits=fraction_bits), normal(5003)
        for offset in (0, 5, 10**9 + 7):
            table = sketch.encode(vector, offset=offset)
            other = through_torch(sketch, vector, offset)
            if fraction_bits is None:
                np.testing.assert_allclose(other.numpy(), table, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(other.numpy(), table)
        estimates = sketch_gpu.estimate(torch.from_numpy(table), sketch.seed, sketch.unit, 5003)
        np.testing.assert_array_equal(estimates.numpy(), sketch.estimate(table, size=5003))


@pytest.mark.parametrize("fraction_bits", [None, 12])
@pytest.mark.parametrize("ends", [[1000, 1003, 2005], [3, 5, 16, 18, 4999], [16, 32, 4096], [5003]])
def test_pieces_in_order_give_the_bits_of_the_whole(fraction_bits: int | None, ends: list[int]) -> None:
    sketch, vector = CountSketch(5, 320, seed=1, size=5003, fraction_bits=fraction_bits), normal(5003)
    table = sketch.empty(vector)
    for begin, end in pairwise([0, *ends, 5003]):
        assert sketch.encode(vector[begin:end], out=table, offset=begin) is table
    np.testing.assert_array_equal(table, sketch.encode(vector))


def test_fixed_point_is_exactly_linear() -> None:
    """Check 1."""
    sketch = CountSketch(5, 1600, seed=2, size=50_000, fraction_bits=16, workers=4)
    rng = np.random.default_rng(5)
    u, v = (rng.integers(-(2**20), 2**20, 50_000).astype(np.float32) * np.float32(2.0**-16) for _ in range(2))
    tables = sketch.encode(u), sketch.encode(v)
    assert tables[0].dtype == np.int32
    np.testing.assert_array_equal(tables[0] + tables[1], sketch.encode(u + v))
    np.testing.assert_array_equal(sketch.encode(u, out=tables[1].copy()), sketch.encode(v, out=tables[0].copy()))
    np.testing.assert_array_equal(tables[0] * 2.0**-16, by_definition(sketch, u))


def test_fixed_point_rounds_half_to_even_in_every_lane_and_piece() -> None:
    sketch = CountSketch(1, 160, seed=2, fraction_bits=0)
    halves = np.resize(np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.499, 3.501], np.float32), 21)
    for vector, offset in ((halves, 0), (halves, 7)):
        columns, signs = sketch.cells(np.arange(offset, offset + 21))
        expected = np.zeros(160)
        np.add.at(expected, columns[0], signs[0] * np.round(vector))
        np.testing.assert_array_equal(sketch.encode(vector, offset=offset)[0], expected)


def test_float32_is_linear_up_to_rounding() -> None:
    """Check 1."""
    sketch = CountSketch(5, 1600, seed=3, size=100_000)
    u, v = normal(100_000, 1), normal(100_000, 2)
    combined = sketch.encode(np.float32(2) * u - np.float32(3) * v)
    apart = 2 * sketch.encode(u) - 3 * sketch.encode(v)
    assert np.abs(combined - apart).max() <= 1e-5 * np.abs(combined).max()


def test_as_many_columns_as_the_hash_can_tell_apart_return_the_vector() -> None:
    """A cell that nobody shares holds its value; the median forgives what two rows of five confuse."""
    sketch, vector = CountSketch(5, 16 * 4000, seed=1, size=320), normal(320)
    table = sketch.encode(vector)
    np.testing.assert_array_equal(sketch.estimate(table), vector)
    np.testing.assert_array_equal(sketch.top_k(table, 32), top_k(vector, 32))


# How good the estimates are


def test_an_estimate_is_unbiased_over_seeds() -> None:
    """Check 2."""
    size, cols, seeds = 4096, 128, 2000
    vector = normal(size, 6)
    norm, place = float(np.linalg.norm(vector)), np.array([1234])
    one, five = [], []
    for seed in range(seeds):
        table = CountSketch(5, cols, seed).encode(vector)
        one.append(float(CountSketch(1, cols, seed).estimate(table[:1], place)[0] - vector[1234]))  # a row keeps its keys
        five.append(float(CountSketch(5, cols, seed).estimate(table, place)[0] - vector[1234]))
    assert abs(np.mean(one)) <= 4 * np.std(one) / np.sqrt(seeds)
    assert abs(np.mean(five)) <= 4 * np.std(five) / np.sqrt(seeds)
    assert np.std(one) == pytest.approx(norm / np.sqrt(cols), rel=0.05)
    assert np.sqrt(np.mean(np.square(five))) <= 0.55 * norm / np.sqrt(cols)


def test_errors_of_five_rows_have_the_size_that_theory_gives_them() -> None:
    """Check 2: the median of five normal errors has a standard deviation of 0.536 of one."""
    sketch, vector = CountSketch(5, 10_000, seed=1, size=500_000), normal(500_000, 7)
    errors = sketch.estimate(sketch.encode(vector)) - vector
    assert 0.4 <= errors.std() / (np.linalg.norm(vector) / np.sqrt(10_000)) <= 0.55
    assert abs(errors.mean()) <= 0.05 * errors.std()


def recall(chosen: np.ndarray, true: np.ndarray) -> float:
    return len(np.intersect1d(chosen, true)) / len(true)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_planted_spikes_are_found(seed: int, together: bool) -> None:
    """Check 5, with 4,992 columns for 5,000; also of neighbours, whose collisions come sixteen at a time."""
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(1_000_000, dtype=np.float32)
    spikes = rng.integers(999_900) + np.arange(100) if together else rng.permutation(1_000_000)[:100]
    vector[spikes] = np.float32(10 * np.linalg.norm(vector) / np.sqrt(4_992)) * rng.choice(np.array([-1, 1], np.float32), 100)
    sketch = CountSketch(5, 4_992, seed, size=1_000_000)
    table = sketch.encode(vector)
    assert recall(sketch.top_k(table, 100), spikes) >= (0.8 if together else 0.85)
    assert recall(sketch.top_k(table, 200), spikes) == 1.0


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_the_head_of_a_power_law_is_found(order: str) -> None:
    """Check 5; sorted by magnitude the largest are neighbours, and collide in bundles if they do."""
    rng = np.random.default_rng(1)
    vector = (np.arange(1, 1_000_001) ** -1.0).astype(np.float32) * rng.choice(np.array([-1, 1], np.float32), 1_000_000)
    if order == "shuffled":
        rng.shuffle(vector)
    sketch = CountSketch(5, 10_000, seed=1, size=1_000_000)
    assert recall(sketch.top_k(sketch.encode(vector), 4_000), top_k(vector, 1_000)) >= 0.95


# What every rank must agree on


def test_a_sketch_travels_and_hashes_as_before() -> None:
    sketch = CountSketch(5, 320, seed=6, size=1000)
    vector = normal(1000)
    table = sketch.encode(vector)
    copy = pickle.loads(pickle.dumps(sketch))
    assert copy == sketch
    assert len(pickle.dumps(sketch)) < 500  # no tables of hashes
    np.testing.assert_array_equal(copy.encode(vector), table)
    assert (CountSketch(5, 320, seed=7).encode(vector) != table).any()


def test_equal_tables_give_equal_choices_with_ties_to_the_lower_index() -> None:
    sketch = CountSketch(3, 160, seed=1, size=100)
    assert sketch.top_k(np.zeros((3, 160), np.float32), 4).tolist() == [0, 1, 2, 3]
    table = sketch.encode(normal(100))
    expected = top_k(sketch.estimate(table), 10)
    np.testing.assert_array_equal(sketch.top_k(table, 10), expected)
    chosen = sketch.top_k(torch.from_numpy(table), 10)
    assert isinstance(chosen, torch.Tensor)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == expected.tolist()


def test_it_takes_views_read_only_arrays_and_gradients() -> None:
    sketch, vector = CountSketch(3, 160, seed=1), normal(400)
    expected = sketch.encode(vector[::2].copy())
    np.testing.assert_array_equal(sketch.encode(torch.from_numpy(vector)[::2]).numpy(), expected)
    np.testing.assert_array_equal(sketch.encode(torch.from_numpy(vector[::2].copy()).requires_grad_()).numpy(), expected)
    vector.flags.writeable = False
    np.testing.assert_array_equal(sketch.encode(vector[::2]), expected)


# What it costs


def test_bytes_and_work_count_what_is_touched() -> None:
    sketch = CountSketch(5, 10_000, seed=1)
    assert sketch.nbytes == sketch.encode(normal(10)).nbytes == 200_000
    operations, read, written, kernels = sketch.encode_work(1_000_000)
    assert read == 4e6 + 5 * 4e6  # the vector, and a cell per row
    assert written == 5 * 4e6 + 200_000  # the cell again, and the zeros before
    assert 2 * 5e6 < operations < 4 * 5e6
    operations, read, written, kernels = sketch.decode_work(1_000_000)
    assert (read, written) == (5 * 4e6, 4e6)
    assert operations > 2 * 7 * 1e6  # seven exchanges
    whole = sketch.top_k_work(1_000_000, 1000)
    assert all(more > less for more, less in zip(whole, (operations, read, written, kernels), strict=True))


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rows": 4}, "rows is 4; it must be odd"), ({"rows": 0}, "rows is 0"), ({"cols": 5000}, "cols is 5000; .* for example 4992"),
     ({"cols": 0}, "cols is 0"), ({"seed": -1}, "seed is -1"), ({"size": 0}, "size is 0"), ({"workers": 0}, "workers is 0"),
     ({"fraction_bits": 100}, "fraction_bits is 100")],
)
def test_what_cannot_be_is_refused(change: dict[str, int], message: str) -> None:
    """Check 3 and others."""
    with pytest.raises(ValueError, match=message):
        CountSketch(**({"rows": 5, "cols": 160, "seed": 1} | change))


def test_vectors_and_tables_that_do_not_fit_are_refused() -> None:
    sketch = CountSketch(3, 160, seed=1, size=100)
    table = sketch.encode(normal(100))
    with pytest.raises(ValueError, match="it takes 1-D float32"):
        sketch.encode(np.ones(10))
    with pytest.raises(ValueError, match="it takes 1-D float32"):
        sketch.encode(torch.ones(2, 5))
    with pytest.raises(ValueError, match="coordinates 50 to 150 do not lie in a vector of 100"):
        sketch.encode(normal(100), offset=50)
    with pytest.raises(ValueError, match=r"shape \(3, 144\); this sketch has float32 of shape \(3, 160\)"):
        sketch.encode(normal(100), out=np.zeros((3, 144), np.float32))
    with pytest.raises(ValueError, match="the table is int32"):
        sketch.estimate(table.astype(np.int32))
    with pytest.raises(ValueError, match="not contiguous"):
        sketch.estimate(np.asfortranarray(table))
    with pytest.raises(ValueError, match="indices run from 5 to 100; they must lie in 0 to 99"):
        sketch.estimate(table, np.array([5, 100]))
    with pytest.raises(ValueError, match="indices run from -1"):
        sketch.estimate(table, np.array([-1]))
    with pytest.raises(ValueError, match="k is 101; of 100"):
        sketch.top_k(table, 101)
    with pytest.raises(ValueError, match="size is None; give the length"):
        CountSketch(3, 160, seed=1).estimate(table)


def test_a_table_that_is_not_finite_chooses_nothing() -> None:
    sketch, vector = CountSketch(3, 160, seed=1, size=100), normal(100)
    vector[3] = np.nan
    table = sketch.encode(vector)
    where = rf"cell \(0, {int(sketch.cells(np.array([3]))[0][0, 0])}\) of the table is nan"
    with pytest.raises(ValueError, match=where):
        sketch.top_k(table, 5)
    with pytest.raises(ValueError, match=where):
        sketch.top_k(torch.from_numpy(table), 5)


@pytest.mark.parametrize("place", [0, 5, 20, 35])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31)])
def test_fixed_point_refuses_what_it_cannot_hold(place: int, value: float) -> None:
    """In the head, in whole groups and in the tail."""
    sketch = CountSketch(3, 160, seed=1, fraction_bits=0)
    vector = normal(36)
    vector[place] = value
    message = "exceeds" if np.isfinite(value) else "NaN or infinity"
    with pytest.raises(ValueError, match=message):
        sketch.encode(vector, offset=11)
    assert sketch_gpu.encode(torch.from_numpy(vector), 1, sketch.empty(torch.from_numpy(vector)), 11, 1.0)


def test_fixed_point_leaves_room_for_the_sum_over_workers() -> None:
    alone, four = CountSketch(3, 160, seed=1, fraction_bits=8), CountSketch(3, 160, seed=1, fraction_bits=8, workers=4)
    assert alone.reach == (2**31 - 1) / 256
    vector = np.zeros(40, np.float32)
    vector[7] = 2.0**22  # of 2**23 that fit alone, and of 2**21 that each of four may use
    alone.encode(vector)
    with pytest.raises(ValueError, match="tables that 4 workers sum"):
        four.encode(vector)
    with pytest.raises(ValueError, match="a cell exceeds"):  # a sum that wraps, of terms that fit
        alone.encode(vector, out=alone.encode(vector))
    vector[7] = np.float32(2.0**21 - 1)
    tables = [four.encode(vector) for _ in range(4)]
    np.testing.assert_array_equal(four.estimate(sum(tables[1:], tables[0]), np.array([7])), [4 * (2.0**21 - 1)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rows", [1, 3, 5, 7])
@pytest.mark.parametrize("fraction_bits", [None, 12])
def test_a_gpu_computes_the_same(rows: int, fraction_bits: int | None) -> None:
    sketch, vector = CountSketch(rows, 1600, seed=9, size=100_003, fraction_bits=fraction_bits), normal(100_003)
    table = sketch.encode(vector)
    on_gpu = sketch.encode(torch.from_numpy(vector).cuda())
    pieces = sketch.empty(on_gpu)
    for begin, end in pairwise([0, 1003, 50_000, 100_003]):
        sketch.encode(torch.from_numpy(vector[begin:end]).cuda(), out=pieces, offset=begin)
    for other in (on_gpu, pieces):
        if fraction_bits is None:
            np.testing.assert_allclose(other.cpu().numpy(), table, rtol=1e-5, atol=1e-3)
        else:
            np.testing.assert_array_equal(other.cpu().numpy(), table)
    estimates = sketch.estimate(torch.from_numpy(table).cuda())
    np.testing.assert_array_equal(estimates.cpu().numpy(), sketch.estimate(table))
    assert sketch.top_k(torch.from_numpy(table).cuda(), 500).tolist() == sketch.top_k(table, 500).tolist()
