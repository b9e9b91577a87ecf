"""A still sea of which everything is known: the medium's laws are tested in it, not the weather's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from toolkit.laws import still_water
from toolkit.laws.still_water import Pool


@pytest.fixture
def pool() -> Callable[..., Pool]:
    return still_water.pool
