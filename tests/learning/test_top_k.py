from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.learning.top_k import select_by_threshold, top_k, top_k_work
from toolkit.learning.top_k_cpu import FEW


def by_sorting(values: np.ndarray, k: int) -> np.ndarray:
    """The definition: larger magnitude first, then lower index; reported in rising order."""
    return np.sort(np.lexsort((np.arange(len(values)), -np.abs(values)))[:k])


def cases() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(5003).astype(np.float32)
    return {
        "normal": normal,
        "few levels": np.round(normal * 2) / 2,
        "all equal": np.full(100, -3.5, np.float32),
        "zeros": np.zeros(37, np.float32),
        "zeros of both signs": np.where(normal > 0, np.float32(0), np.float32(-0.0))[:50],
        "one bin": (1 + rng.integers(0, 65536, 3000) * 2.0**-23).astype(np.float32),
        "one bin, sorted": (1 + rng.integers(0, 65536, FEW) * 2.0**-23).astype(np.float32),
        "one bin, equals among few": np.repeat((1 + np.arange(8) * 2.0**-23).astype(np.float32), FEW // 8),
        "one bin, counted": (1 + rng.integers(0, 65536, FEW + 1) * 2.0**-23).astype(np.float32),
        "subnormal": (rng.integers(-1000, 1000, 500) * 1e-45).astype(np.float32),
        "with infinity": np.concatenate([normal[:20], np.array([np.inf, -np.inf, np.inf], np.float32)]),
        "power law": (np.arange(1, 4001) ** -1.0).astype(np.float32)[::-1].copy(),
        "single": np.array([2.0], np.float32),
    }


@pytest.mark.parametrize("name", cases())
def test_it_is_the_definition(name: str) -> None:
    values = cases()[name]
    for k in {1, 2, 15, 16, 17, len(values) // 2, len(values) - 1, len(values)}:
        if 1 <= k <= len(values):
            expected = by_sorting(values, k)
            np.testing.assert_array_equal(top_k(values, k), expected)
            np.testing.assert_array_equal(select_by_threshold(torch.from_numpy(values), k).numpy(), expected)


def test_a_hand_made_case() -> None:
    values = np.array([1, -3, 2, 3, -2, 0], np.float32)
    assert top_k(values, 1).tolist() == [1]
    assert top_k(values, 2).tolist() == [1, 3]
    assert top_k(values, 3).tolist() == [1, 2, 3]
    assert top_k(values, 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_it_keeps_the_kind_and_takes_views_as_they_come() -> None:
    values = np.random.default_rng(2).standard_normal(400).astype(np.float32)
    expected = by_sorting(values[::2], 20)
    found = top_k(torch.from_numpy(values)[::2], 20)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.int64
    assert found.tolist() == expected.tolist()
    values.flags.writeable = False
    numpy_found = top_k(values[::2], 20)
    assert isinstance(numpy_found, np.ndarray)
    assert numpy_found.dtype == np.int64
    assert numpy_found.tolist() == expected.tolist()
    assert top_k(torch.from_numpy(values.copy()).requires_grad_(), 3).tolist() == by_sorting(values, 3).tolist()


def test_scaling_by_a_power_of_two_changes_nothing() -> None:
    values = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    np.testing.assert_array_equal(top_k(values, 77), top_k(values * np.float32(2.0**-40), 77))


@pytest.mark.parametrize("k", [0, -1, 11])
def test_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k is {k}; of 10 values it can be 1 to 10"):
        top_k(np.ones(10, np.float32), k)


@pytest.mark.parametrize("values", [np.ones(4), np.ones((2, 2), np.float32), torch.ones(4, dtype=torch.float16), np.ones(4, np.int32)])
def test_other_types_and_shapes_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="it takes a vector"):
        top_k(values, 1)


def test_nan_is_refused_where_it_is() -> None:
    values = np.random.default_rng(4).standard_normal(1000).astype(np.float32)
    values[617] = np.nan
    with pytest.raises(ValueError, match="value 617 is NaN"):
        top_k(values, 5)
    with pytest.raises(ValueError, match="value 617 is NaN"):
        select_by_threshold(torch.from_numpy(values), 5)
    # A NaN whose bits differ from infinity's in the lower half alone, and with a sign.
    values.view(np.uint32)[617] = 0xFF800001
    with pytest.raises(ValueError, match="value 617 is NaN"):
        top_k(torch.from_numpy(values), 5)


def test_the_work_is_two_passes_over_the_values() -> None:
    operations, read, written, _ = top_k_work(1_000_000, 1000)
    assert 2 * 4_000_000 <= read <= 2.01 * 4_000_000
    assert written == 2 * 8 * 1000  # candidates, then the chosen
    assert operations == 6_000_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_chooses_the_same() -> None:
    for values in cases().values():
        k = -(-len(values) // 3)
        assert top_k(torch.from_numpy(values).cuda(), k).tolist() == top_k(values, k).tolist()
