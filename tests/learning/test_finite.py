"""Whether numbers are finite: equal to asking each of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toolkit.learning.finite import NotFiniteError, check_finite, is_finite

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("flaw", [float("nan"), float("inf"), float("-inf")])
def test_one_flaw_anywhere_is_seen(dtype: torch.dtype, size: int, flaw: float) -> None:
    for place in {0, size // 2, size - 1}:
        x = torch.ones(size, dtype=dtype)
        assert is_finite(x)
        x[place] = flaw
        assert not is_finite(x)
        with pytest.raises(NotFiniteError, match=f"the vector: element {place} is"):
            check_finite(x, "the vector")


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_whose_sum_overflows_are_finite(dtype: torch.dtype) -> None:
    assert is_finite(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype))


@pytest.mark.parametrize("x", [
    torch.zeros(0), torch.zeros(2, 0), torch.arange(5), torch.tensor([True, False]), torch.zeros(3, 4)[:, ::2],
])
def test_empty_whole_and_spread_ones_are_finite(x: Tensor) -> None:
    assert is_finite(x)


def test_infinities_that_cancel_are_seen() -> None:
    assert not is_finite(torch.tensor([float("inf"), float("-inf")]))
