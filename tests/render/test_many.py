"""With more than ten arms lines are named at their ends and marks numbered; names do not meet, and none is moved further than it must."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from toolkit.render.axes import log_y
from toolkit.render.figures import new_figure, style
from toolkit.render.many import apart, height_for, name_lines, tell_marks


@pytest.mark.parametrize("places", [[0.5], [0.1, 0.9], [0.5, 0.5, 0.5], [0.0, 0.01, 0.02, 0.7, 0.71], np.linspace(0, 1, 30).tolist()])
def test_names_are_moved_apart_in_their_order_and_keep_their_middle(places: list[float]) -> None:
    moved = apart(np.array(places), 0.03)
    assert (np.diff(moved) >= 0.03 - 1e-12).all()
    assert (moved >= 0.0).all()
    assert (moved <= 1.0).all()
    if 0.1 < min(places) <= max(places) < 0.9:
        assert moved.mean() == pytest.approx(np.mean(places)), "nothing pushes it away from an edge"


def test_places_that_are_far_enough_apart_stay() -> None:
    assert apart(np.array([0.1, 0.2, 0.9]), 0.05).tolist() == [0.1, 0.2, 0.9]
    assert apart(np.array([]), 0.05).tolist() == []


@pytest.mark.parametrize("count", [3, 10, 11, 25])
def test_every_line_is_told_once_and_no_names_meet(count: int) -> None:
    arms = [f"method {i}" for i in range(count)]
    with style():
        figure = new_figure(9.0, height_for(arms, 4.6))
        panel = figure.subplots()
        for place, arm in enumerate(arms):
            panel.plot([0, 1], [0, 0.01 * place], label=arm)
        name_lines(figure, panel, {arm: (1.0, 0.01 * place) for place, arm in enumerate(arms)})
        figure.draw_without_rendering()
        texts = figure.legends[0].get_texts() if count <= 10 else panel.texts
        assert sorted(text.get_text() for text in texts) == sorted(arms)
        boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1.5 for lower, upper in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_numbers_of_marks_are_those_of_the_key() -> None:
    arms = [f"method {i}" for i in range(12)]
    with style():
        figure = new_figure(9.0, 4.6)
        panel = figure.subplots()
        tell_marks(figure, arms[2:], [(panel, {arm: (place, place) for place, arm in enumerate(arms[2:])})], all_arms=arms)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["3  method 2", "4  method 3"]
    assert [text.get_text() for text in panel.texts][:2] == ["3", "4"]


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (2.0, 7.0), (0.01, 3.0), (1.0, 1e6)])
def test_a_logarithmic_axis_has_ticks_whatever_it_spans(low: float, high: float) -> None:
    with style():
        panel = new_figure(6.0, 4.0).subplots()
        panel.plot([0, 1], [low, high])
        log_y(panel)
        bottom, top = panel.get_ylim()
        inside = [tick for tick in panel.get_yticks() if bottom <= tick <= top]
    assert 2 <= len(inside) <= 16
