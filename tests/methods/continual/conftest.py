"""Counting the work of the same network again takes longer than running it: counts are kept for all runs of these tests."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.learning.work import StepWork
from toolkit.methods.continual import costs

KNOWN: dict[tuple[Any, ...], StepWork] = {}


@pytest.fixture(autouse=True)
def _count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = costs.step_work

    def counted(call: costs.Call, shape: tuple[int, ...], *, training: bool) -> StepWork:
        trained = tuple(weight.requires_grad for weight in call.parameters())
        key = (str(call), call.name, call.arguments, shape, training, trained)
        if key not in KNOWN:
            KNOWN[key] = count(call, shape, training=training)
        return KNOWN[key]

    monkeypatch.setattr(costs, "step_work", counted)
