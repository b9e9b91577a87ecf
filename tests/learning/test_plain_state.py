"""States as plain trees: a freshly begun state takes them up and is the old one, and a tree shares nothing with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.learning.plain_state import plain, restored


@dataclass(frozen=True)
class Settings:
    parts: tuple[slice, ...]


@dataclass
class Inner:
    error: Tensor
    momentum: float = 0.5


@dataclass
class State:
    settings: Settings
    inner: Inner
    net: nn.Module
    generator: torch.Generator
    later: Tensor | None = None
    counts: list[int] = field(default_factory=list)
    by_name: dict[str, Tensor] = field(default_factory=dict)


def begun() -> State:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    return State(Settings((slice(0, 3),)), Inner(torch.zeros(3)), net, torch.Generator().manual_seed(1))


def test_a_begun_state_becomes_the_kept_one() -> None:
    old, new = begun(), begun()
    old.inner = Inner(torch.tensor([1.0, 2.0]), 0.25)
    old.net[1].eval()
    old.net[0].requires_grad_(False)
    torch.rand(5, generator=old.generator)
    old.later, old.counts, old.by_name = torch.ones(2), [3, 4], {"a": torch.ones(1)}
    found = restored(new, plain(old))
    assert found is new
    assert torch.equal(new.inner.error, old.inner.error)
    assert new.inner.momentum == 0.25
    assert torch.equal(new.later, old.later)
    assert (new.counts, new.settings) == ([3, 4], old.settings)
    assert torch.equal(new.by_name["a"], old.by_name["a"])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(new.net.state_dict().values(), old.net.state_dict().values(), strict=True))
    assert [module.training for module in new.net.modules()] == [True, True, False]
    assert [weight.requires_grad for weight in new.net.parameters()] == [False, False, True, True]
    assert torch.equal(torch.rand(5, generator=new.generator), torch.rand(5, generator=old.generator))


def test_a_tree_shares_nothing_with_its_state() -> None:
    state = begun()
    tree = plain(state)
    state.inner.error.add_(1)
    with torch.no_grad():
        state.net[0].weight.add_(1)
    assert not tree["inner"]["error"].any()
    assert not torch.equal(tree["net"]["tensors"]["0.weight"], state.net[0].weight)


@pytest.mark.parametrize("what", [object(), {1, 2}, torch.float32])
def test_what_cannot_be_kept_is_named(what: Any) -> None:
    with pytest.raises(TypeError, match=f"holds a {type(what).__name__}"):
        plain([what])


def test_a_tree_of_another_state_is_refused() -> None:
    tree = plain(begun())
    del tree["inner"]
    with pytest.raises(KeyError):
        restored(begun(), tree)
