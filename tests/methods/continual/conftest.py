"""Counting the work of the same network again takes longer than running it: counts are kept for all runs of these tests."""

from __future__ import annotations

from typing import Any

import pytest
from toolkit.methods.continual.costs import CostTable

from toolkit.core.work import Work

KNOWN: dict[tuple[Any, ...], Work] = {}


@pytest.fixture(autouse=True)
def _count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = CostTable.call

    def counted(self: CostTable, name: str, shape: tuple[int, ...], *arguments: Any, training: bool) -> Work:
        trained = tuple(weight.requires_grad for weight in self.net.parameters())
        key = (str(self.net), name, shape, arguments, training, trained)
        if key not in KNOWN:
            KNOWN[key] = count(self, name, shape, *arguments, training=training)
        return KNOWN[key]

    monkeypatch.setattr(CostTable, "call", counted)
