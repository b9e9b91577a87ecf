"""Modems with a MAC around a medium of which everything is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from toolkit.laws import still_water
from toolkit.laws.still_water import Cell


@pytest.fixture
def cell() -> Callable[..., Cell]:
    return still_water.cell
