"""What is remembered of operations on shapes is what torch would say, memory and strides included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from toolkit.learning import known_shapes
from toolkit.learning.known_shapes import result_on_meta, tensors_in
from toolkit.learning.work import count
from toolkit.models.resnet import resnet18

ATEN: Any = torch.ops.aten


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_shapes, "KNOWN", {})


def forms(result: Any) -> list[Any]:
    return [
        (tensor.shape, tensor.stride(), tensor.dtype, tensor.storage_offset(), tensor.untyped_storage().nbytes())
        for tensor in tensors_in(result)
    ]


CASES: list[tuple[Any, tuple[Any, ...]]] = [
    (ATEN.add.Tensor, (meta(4, 1, 3), meta(5, 1))),
    (ATEN.sum.dim_IntList, (meta(4, 5, 6), [1], True)),
    (ATEN.convolution.default, (meta(2, 3, 9, 9), meta(8, 3, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1)),
    (ATEN.native_batch_norm.default, (meta(2, 3, 4, 4), meta(3), meta(3), meta(3), meta(3), True, 0.1, 1e-5)),
    (ATEN.topk.default, (meta(4, 9), 3)),
    (ATEN._to_copy.default, (meta(3, 4).t(),)),
    (ATEN.gt.Scalar, (meta(3), 0.0)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_the_second_answer_is_the_first(case: tuple[Any, tuple[Any, ...]]) -> None:
    operation, arguments = case
    plain = operation(*arguments)
    first, second = (result_on_meta(operation, arguments, {}) for _ in range(2))
    assert list(known_shapes.KNOWN.values()) != [None]
    assert forms(plain) == forms(first) == forms(second)
    assert type(first) is type(second) or isinstance(second, tuple)


@pytest.mark.parametrize("operation", [ATEN.view.default, ATEN._unsafe_view.default, ATEN.expand.default])
def test_what_shares_memory_is_asked_each_time(operation: Any) -> None:
    """Else memory would be counted twice."""
    given = meta(1, 6)
    for _ in range(2):
        result = result_on_meta(operation, (given, [1, 6]), {})
        assert result.untyped_storage()._cdata == given.untyped_storage()._cdata


def test_numbers_of_another_kind_are_another_case() -> None:
    """2 and 2.0 give other types; True is no 1."""
    whole = torch.empty(3, dtype=torch.int64, device="meta")
    found = [result_on_meta(ATEN.mul.Tensor, (whole, number), {}).dtype for number in (2, 2.0, True, 2, 2.0)]
    assert found == [torch.int64, torch.float32, torch.int64, torch.int64, torch.float32]


def test_tensors_with_values_are_computed() -> None:
    assert torch.equal(result_on_meta(ATEN.add.Tensor, (torch.ones(2), torch.ones(2)), {}), torch.full((2,), 2.0))
    assert not known_shapes.KNOWN


def test_a_network_counts_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work, memory and the order of gradients, with nothing known, with all known, and without remembering."""
    model: nn.Module = resnet18(nf=8)
    counts = [count(model, (4, 3, 32, 32)) for _ in range(2)]
    assert known_shapes.KNOWN
    monkeypatch.setattr(known_shapes, "MOST_KNOWN", 0)
    monkeypatch.setattr(known_shapes, "KNOWN", {})
    assert counts[0] == counts[1] == count(model, (4, 3, 32, 32))
