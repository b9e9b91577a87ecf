"""Codes of changes: what is sent has the size that is said, and both ends make the same of it."""

from __future__ import annotations

import pytest
import torch

from toolkit.methods.glider.changes import Change
from toolkit.methods.glider.changes.quantised import Quantised
from toolkit.methods.glider.changes.sketched import Sketched
from toolkit.methods.glider.changes.whole import Whole

CODES: list[Change] = [Whole(), Quantised(), Quantised(levels=1, bucket=32), Sketched(k=16, rows=3, cols=64)]


def vector(size: int = 1001) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("code", CODES, ids=str)
@pytest.mark.parametrize("size", [16, 1001])
def test_what_is_sent_has_the_size_that_is_said(code: Change, size: int) -> None:
    sent = code.encode(vector(size), torch.Generator().manual_seed(1))
    assert sent.dtype == torch.uint8
    assert sent.numel() == code.nbytes(size)
    assert torch.equal(code.decode(sent, size), code.decode(sent.clone(), size))
    assert code.decode(sent, size).shape == (size,)


def test_whole_is_whole() -> None:
    assert torch.equal(Whole().decode(Whole().encode(vector(), torch.Generator()), 1001), vector())


def test_quantised_is_right_on_the_mean_and_never_off_by_more_than_a_level() -> None:
    code, draws = Quantised(levels=7, bucket=128), torch.Generator().manual_seed(2)
    found = torch.stack([code.decode(code.encode(vector(), draws), 1001) for _ in range(600)])
    largest = vector().abs().max()
    assert float((found - vector()).abs().max()) <= float(largest) / 7 * (1 + 1e-5)
    assert float((found.mean(0) - vector()).abs().max()) < 5 * float(largest) / 7 / 2 / 600**0.5  # a level's error is at most half wide


def test_a_sketch_gives_a_sparse_change_back() -> None:
    sparse = torch.zeros(2000)
    sparse[torch.tensor([3, 500, 1999])] = torch.tensor([5.0, -7.0, 9.0])
    code = Sketched(k=3, rows=5, cols=256)
    assert torch.equal(code.decode(code.encode(sparse, torch.Generator()), 2000), sparse)


@pytest.mark.parametrize("code", [Quantised(), Sketched(k=256, rows=5, cols=512)], ids=str)
def test_what_one_message_leaves_out_is_in_the_next(code: Change) -> None:
    """The rest shrinks from message to message, as the sender sends the difference to what the shore has by then."""
    target, ashore, draws = vector(), torch.zeros(1001), torch.Generator().manual_seed(3)
    rests = []
    for _ in range(60):
        ashore += code.decode(code.encode(target - ashore, draws), 1001)
        rests.append(float((target - ashore).norm()))
    assert rests[-1] < 0.05 * float(target.norm())
    assert rests[-1] < rests[0]
