"""What every MAC keeps: frames are conserved, the order of the queue holds, the same seed gives the same run."""

from __future__ import annotations

import pytest

from toolkit.acoustic.mac import Mac, next_slot
from toolkit.laws import Law, laws_of, title


@pytest.mark.parametrize("name", Mac.member_names())
@pytest.mark.parametrize("law", laws_of(Mac), ids=title)
def test_law(law: Law, name: str) -> None:
    law(Mac.find(name)())


def test_the_beginning_of_a_slot_is_not_missed_by_rounding() -> None:
    for slot_s in (0.1, 0.3, 1.05333):
        for number in range(1000):
            assert next_slot(number * slot_s, slot_s) == number
            assert next_slot(number * slot_s + 0.5 * slot_s, slot_s) == number + 1
