"""Metrics of continual learning on a matrix small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.learning import continual_metrics as measure

R = np.array([[0.9, 0.1, 0.0], [0.6, 0.8, 0.2], [0.7, 0.5, 1.0]])
"""Task 0 is forgotten by 0.3 and regains 0.1; task 1 loses 0.3."""


def test_by_hand() -> None:
    assert measure.average(R) == pytest.approx((0.7 + 0.5 + 1.0) / 3)
    assert measure.forgetting(R) == pytest.approx((0.2 + 0.3) / 2)
    assert measure.backward_transfer(R) == pytest.approx((-0.2 - 0.3) / 2)
    assert measure.forward_transfer(R, [0.1, 0.3, 0.1]) == pytest.approx(((0.1 - 0.3) + (0.2 - 0.1)) / 2)
    assert measure.stability(R) == pytest.approx(0.6)
    assert measure.plasticity(R) == pytest.approx(0.9)
    assert measure.trade_off(R) == pytest.approx(2 * 0.6 * 0.9 / 1.5)


def test_the_two_forms_of_forgetting_differ_where_a_task_ends_at_its_best() -> None:
    """CLFD's counts what was gained at last as negative; mammoth's never goes below zero."""
    gained = R.copy()
    gained[2, :2] = 0.95, 0.9
    assert measure.forgetting(gained) == pytest.approx(-(0.05 + 0.1) / 2)
    assert measure.forgetting(gained, "mammoth") == 0.0


def test_what_was_not_examined_is_not_forgotten() -> None:
    """A matrix with nothing above its diagonal, as most write it."""
    ragged = np.where(np.triu(np.ones_like(R), 1) > 0, np.nan, R)
    for form in ("paper", "mammoth"):
        assert measure.forgetting(ragged, form) == measure.forgetting(R, form)


def test_they_are_pure() -> None:
    """Asking in any order, any number of times, changes neither matrix nor answer."""
    matrix = R.copy()
    first = measure.forgetting(matrix)
    for ask in (measure.backward_transfer, measure.average, measure.plasticity):
        ask(matrix)
    assert measure.forgetting(matrix) == first
    assert np.array_equal(matrix, R)


def test_one_task_has_nothing_to_forget() -> None:
    assert measure.average([[0.5]]) == 0.5
    assert np.isnan(measure.forgetting([[0.5]]))
    assert np.isnan(measure.backward_transfer([[0.5]]))


def test_a_matrix_has_to_be_square() -> None:
    with pytest.raises(ValueError, match=r"must be square"):
        measure.average(np.zeros((2, 3)))


def test_incremental_accuracy_weighs_tasks_by_their_classes() -> None:
    """Check 6 of learning without old data: A_t of 4 + 2 + 2 classes, A their mean, A_T the last; F over all tasks but the last."""
    seen = measure.incremental(R, [4, 2, 2])
    assert seen == pytest.approx([0.9, (4 * 0.6 + 2 * 0.8) / 6, (4 * 0.7 + 2 * 0.5 + 2 * 1.0) / 8], abs=1e-9)
    assert measure.incremental(R, [1, 1, 1])[-1] == pytest.approx(measure.average(R), abs=1e-9)
    assert measure.forgetting(R) == pytest.approx(0.25, abs=1e-9)
