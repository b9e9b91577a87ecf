"""Laws of every predictor: it is deterministic, looks at nothing that has not happened, and says how sure it is."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest

from toolkit.acoustic.prediction import Predictor
from toolkit.laws import Law, laws_of, title
from toolkit.laws.prediction import SCALES, STEP_S, ask, no_predictor_knows_the_unit, wavy

PLAIN = {"same_phase_s": ()}
VARIANTS = {  # settings under which a part is another method, or finds its answer another way
    "knn centered": {"mode": "centered"},
    "knn delta": {"mode": "delta", "k": 8},
    "knn local_linear": {"mode": "local_linear", "k": 12, "phase_periods_s": (44_714.16, 86_400.0)},
    "knn exclusion": {"exclusion": 4, "weights": "gaussian", "k": 4},
    "knn quick": {"search": "quick", **PLAIN},
    "knn paa": {"search": "paa", **PLAIN},
    "knn incremental": {"search": "incremental", **PLAIN},
    "knn_compressed quantised": {"store": "quantised", "segments": 4},
    "nlms plain": {"normalised": False, "mu": 1e-4},
    "ewma plain": {"carry": False},
    "lags_and_phases boosted": {"boosted_trees": 8},
    "combination equal": {"weights": "equal"},
}
if importlib.util.find_spec("lightgbm") is None:
    del VARIANTS["lags_and_phases boosted"]
ALL = sorted([*Predictor.members(), *VARIANTS])
POWERS_OF_TWO = tuple((a, b) for a, b in SCALES if a > 0 and math.frexp(a)[0] == 0.5 and not b)
OWN: dict[tuple[str, str], dict[str, Any]] = {
    # trees split at x <= c: the other way round, and after rounding, some values fall on the other side
    ("lags_and_phases boosted", "no_predictor_knows_the_unit"): {"scales": POWERS_OF_TWO},
    # steps are rounded half to even, so their borders belong to the other side
    ("knn_compressed quantised", "no_predictor_knows_the_unit"): {"scales": tuple((a, b) for a, b in SCALES if a > 0 and not b)},
}
"""What a law asks of settings under which less can be kept."""
NOT_ASKED = {("ewma plain", "half_of_the_samples_are_enough"), ("nlms plain", "no_predictor_knows_the_unit")}
"""Without its carry the average stays behind where the rest carries on; the step of plain LMS has a unit, and is tested below."""


def make(name: str) -> Predictor:
    return Predictor.find(name.split()[0]).model_validate(VARIANTS.get(name, {}))


SLOW = {("knn quick", "white_noise_cannot_be_forecast"), ("knn quick", "the_spread_is_honest")}
"""In noise a quick search leaves nothing out. It finds what brute force finds (test_searches.py), of which the same laws are asked."""
CASES = [
    pytest.param(law, name, marks=pytest.mark.slow if (name, law.__name__) in SLOW else ())
    for law in laws_of(Predictor) for name in ALL if (name, law.__name__) not in NOT_ASKED
]


@pytest.mark.parametrize(("law", "name"), CASES, ids=lambda case: case if isinstance(case, str) else title(case))
def test_law(law: Law, name: str) -> None:
    law(make(name), **OWN.get((name, law.__name__), {}))


def test_what_is_not_asked_does_not_hold() -> None:
    """An exemption that is needed no more is one too many."""
    from toolkit.laws import LawBroken

    for name, law in NOT_ASKED:
        (asked,) = (each for each in laws_of(Predictor) if each.__name__ == law)
        with pytest.raises(LawBroken):
            asked(make(name))


@pytest.mark.parametrize("scale", [(a, b) for a, b in SCALES if abs(a) >= 0.01], ids=str)
def test_plain_lms_knows_the_unit_of_its_step_alone(scale: tuple[float, float]) -> None:
    """Below a hundredth mu would have to be above 2."""
    scaled = Predictor.find("nlms").model_validate({**VARIANTS["nlms plain"], "mu": 1e-4 / scale[0] ** 2})
    no_predictor_knows_the_unit(make("nlms plain"), (scale,), scaled)


@pytest.mark.parametrize("name", ["rls", "nlms", "knn_compressed"])
def test_what_keeps_horizons_does_fall_back(name: str) -> None:
    """So that nobody claims it to be asked less."""
    from toolkit.acoustic.prediction.evaluate import rolling

    values = wavy(900, 4)
    values[np.random.default_rng(5).random(900) < 0.5] = np.nan
    assert make(name).keeps_horizons
    assert rolling(make(name), values, 500, (6,), stride=3)[6][:, 3].mean() > 0.2


@pytest.mark.parametrize("name", ["knn", "ar"])
def test_what_is_kept_does_not_depend_on_when_it_was_asked_for(name: str) -> None:
    """Also where the history is full and drops its oldest cells, with a gap before the block."""
    values = wavy(190)
    values[150:168] = np.nan
    predictor = Predictor.find(name).model_validate({"max_cells": 96})
    answers = []
    for asked_at in (168, 180, 189):
        state = predictor.init()
        for index, value in enumerate(values.tolist()):
            if value == value:
                predictor.update(state, (index + 0.5) * STEP_S, value)
            if index == asked_at:
                ask(predictor, state, index, 6)
        answers.append(ask(predictor, state, 189, 6))
    assert answers[0] == answers[1] == answers[2]


def test_the_oracle_sees_the_present_only() -> None:
    predictor = make("oracle")
    state = predictor.init(lambda at_s: 7.0 if at_s < 100 else math.nan)
    predictor.update(state, 0.0, 3.0)
    assert predictor.predict(state, 50.0) == (7.0, 0.0, False)
    assert predictor.predict(state, 150.0) is None
