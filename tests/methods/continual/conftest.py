"""Counting the work of the same network again takes longer than running it: counts are kept for all runs of these tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from toolkit.learning.meter import CallCosts
from toolkit.learning.work import Count

KNOWN: dict[tuple[Any, ...], Count] = {}


@pytest.fixture(autouse=True)
def _count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = CallCosts.count

    def counted(self: CallCosts, method: str, shape: Sequence[int], *arguments: Any, training: bool, **settings: Any) -> Count:
        trained = tuple(weight.requires_grad for weight in self.network.parameters())
        key = (str(self.network), method, tuple(shape), arguments, training, trained)
        if key not in KNOWN:
            KNOWN[key] = count(self, method, shape, *arguments, training=training, **settings)
        return KNOWN[key]

    monkeypatch.setattr(CallCosts, "count", counted)
