"""Availability: long-run shares, and answers that do not depend on what was asked before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.methods.federated.availability import Availability, uniform
from toolkit.methods.federated.availability.always import Always
from toolkit.methods.federated.availability.diurnal import Diurnal
from toolkit.methods.federated.availability.on_off import OnOff

EVERYBODY = np.arange(3000)
KINDS = [Always(), OnOff(on_s=30.0, off_s=90.0), Diurnal(there_share=0.25, period_s=100.0, spread_s=40.0)]


@pytest.mark.parametrize(("kind", "share"), list(zip(KINDS, (1.0, 0.25, 0.25), strict=True)), ids=repr)
def test_the_long_run_share_is_what_it_should_be_at_all_times(kind: Availability, share: float) -> None:
    presence = kind.init(3000, 7)
    shares = [presence.there(now_s, EVERYBODY).mean() for now_s in np.linspace(0.0, 2000.0, 41)]
    assert np.mean(shares) == pytest.approx(share, abs=0.01)
    if isinstance(kind, OnOff):
        assert np.ptp(shares) < 0.1


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_a_client_is_there_until_it_leaves(kind: Availability) -> None:
    early = kind.init(3000, 7)
    there, until_s = early.there(50.0, EVERYBODY), early.until_s(50.0, EVERYBODY)
    assert (until_s[there] > 50.0).all()
    first_s = float(until_s[there].min())
    if np.isinf(first_s):
        return
    leaver = int(np.flatnonzero(there & (until_s == first_s))[0])
    assert kind.init(3000, 7).there(first_s - 1e-6, EVERYBODY)[leaver]
    assert not kind.init(3000, 7).there(first_s + 1e-6, EVERYBODY)[leaver]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_answers_depend_neither_on_earlier_questions_nor_on_who_is_asked_about(kind: Availability) -> None:
    often, once, some = (kind.init(3000, 3) for _ in range(3))
    for now_s in np.linspace(0.0, 500.0, 77):
        often.there(float(now_s), EVERYBODY[50:1000])
    assert np.array_equal(often.there(501.0, EVERYBODY), once.there(501.0, EVERYBODY))
    assert np.array_equal(often.until_s(501.0, EVERYBODY)[100:110], some.until_s(501.0, EVERYBODY[100:110]))


def test_times_there_are_exponential() -> None:
    presence: Any = OnOff(on_s=30.0, off_s=90.0).init(3000, 1)
    there = presence.there(0.0, EVERYBODY)
    assert presence.until_s(0.0, EVERYBODY)[there].mean() == pytest.approx(30.0, rel=0.1)
    assert np.median(presence.until_s(0.0, EVERYBODY)[there]) == pytest.approx(30.0 * np.log(2), rel=0.1)


def test_the_draws_are_uniform_and_unlike() -> None:
    drawn = np.array([uniform(9, EVERYBODY, count) for count in range(20)])
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.02
    assert not np.array_equal(drawn[0], uniform(10, EVERYBODY, 0))
