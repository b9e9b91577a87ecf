"""Figures of a cluster: legible with three arms and with seventeen, true to the summary, with units and no legend over data."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests import fake_cluster_run
from toolkit.analysis.curves import Curve, Curves, bands, learning_curves
from toolkit.analysis.statistics import mean_interval
from toolkit.cluster.figures import link_utilisation
from toolkit.methods.distributed.figures import CAPTIONS, PARTS, where_time_goes
from toolkit.render.figures import save, style
from toolkit.render.learning import FEW, learning
from toolkit.render.result import Result

LEARNING = ("learning_vs_time", "learning_vs_bytes", "learning_vs_energy")


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Result:
    return fake_cluster_run.build(tmp_path_factory.mktemp("few") / "run")


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Result:
    return fake_cluster_run.build(tmp_path_factory.mktemp("many") / "run", fake_cluster_run.MANY[: FEW + 1], (1, 2), steps=15)


@pytest.fixture(scope="module")
def drawn(few: Result, many: Result) -> dict[str, dict[str, Figure]]:
    return {"few": few.plot(), "many": many.plot()}


@pytest.mark.parametrize("size", ["few", "many"])
def test_every_figure_is_drawn_and_has_a_caption(drawn: dict[str, dict[str, Figure]], size: str) -> None:
    assert list(drawn[size]) == list(CAPTIONS)


def test_axes_carry_units(drawn: dict[str, dict[str, Figure]]) -> None:
    labels = {name: [axis.get_xlabel() + "|" + axis.get_ylabel() for axis in figure.axes] for name, figure in drawn["few"].items()}
    assert labels["overview"][:3] == ["final test accuracy|", "time to the end (s)|", "bytes sent by the busiest worker|"]
    assert labels["overview"][3:] == ["energy in all (J)|", "time to accuracy 0.7 (s)|", "time to accuracy 0.95 (s)|"]
    assert labels["learning_vs_time"] == ["simulated time (s)|test accuracy"]
    assert labels["learning_vs_bytes"] == ["bytes sent per worker|test accuracy"]
    assert labels["learning_vs_energy"] == ["energy in all (J)|test accuracy"]
    assert labels["where_time_goes"] == ["time of the mean worker (s)|", "share of its time|"]
    assert drawn["many"]["learning_vs_energy"].get_supxlabel() == "energy in all (J)"
    assert drawn["many"]["learning_vs_energy"].get_supylabel() == "test accuracy"


def test_ticks_of_bytes_say_their_unit(drawn: dict[str, dict[str, Figure]]) -> None:
    for size in ("few", "many"):
        panel = drawn[size]["learning_vs_bytes"].axes[0]
        low, high = panel.get_xlim()
        ticks = [tick for tick in panel.xaxis.get_majorticklocs() if low <= tick <= high]
        assert len(ticks) >= 2
        assert all(panel.xaxis.get_major_formatter()(tick).endswith((" kB", " MB", " bytes")) for tick in ticks)


@pytest.mark.parametrize("size", ["few", "many"])
@pytest.mark.parametrize("name", list(CAPTIONS))
def test_legends_lie_outside_the_panels_and_labels_do_not_overlap(drawn: dict[str, dict[str, Figure]], size: str, name: str) -> None:
    assert_legible(drawn[size][name])


@pytest.mark.slow
def test_seventeen_arms_are_legible(tmp_path: Path) -> None:
    drawn = fake_cluster_run.build(tmp_path / "run", fake_cluster_run.MANY, (1, 2, 3)).plot()
    assert list(drawn) == list(CAPTIONS)
    for figure in drawn.values():
        assert_legible(figure)


def assert_legible(figure: Figure) -> None:
    with style():
        figure.draw_without_rendering()
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
    for axis in figure.axes:
        low, high = sorted(axis.get_xlim())
        shown = [tick.label1 for tick in axis.xaxis.get_major_ticks() if low <= tick.get_loc() <= high and tick.label1.get_visible()]
        boxes = sorted((label.get_window_extent() for label in shown if label.get_text()), key=lambda box: box.x0)
        assert all(left.x1 <= right.x0 for left, right in pairwise(boxes)), axis.get_title()
    titles = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    assert not any(one.overlaps(other) for i, one in enumerate(titles) for other in titles[i + 1:])


@pytest.mark.parametrize("name", LEARNING)
def test_many_arms_get_a_panel_each_with_the_first_in_all(drawn: dict[str, dict[str, Figure]], many: Result, name: str) -> None:
    assert len(many.arms) > FEW
    panels = drawn["many"][name].axes
    assert [panel.get_title(loc="left") or panel.get_title() for panel in panels] == many.arms
    first = panels[0].lines[0].get_xydata()
    for panel in panels[1:]:
        solid = [line for line in panel.lines if len(line.get_xdata()) > 2]
        assert np.array_equal(solid[0].get_xydata(), first)
        assert len(solid) == 2
        assert len(panel.collections[0].get_segments()) == len(many.arms) - 2


def test_a_curve_passes_through_the_mean_over_seeds(few: Result) -> None:
    curves = learning_curves(few)
    assert curves is not None
    band = bands(curves, "t_s", log=False)["dense"]
    runs = curves.of["dense"]
    assert len(runs) == 3
    at_s = band.at[80]
    values = np.array([np.interp(at_s, run.t_s, run.value) for run in runs])
    mean, low, high, _ = mean_interval(values)
    assert band.mean[80] == pytest.approx(mean)
    assert (band.low[80], band.high[80]) == pytest.approx((low, high))


def test_a_curve_ends_where_the_first_seed_does_and_needs_all_seeds() -> None:
    nan = np.full(2, np.nan)
    short = Curve(np.array([0.0, 4.0]), np.array([0.0, 0.4]), nan, nan)
    long = Curve(np.array([1.0, 9.0]), np.array([0.1, 0.9]), nan, nan)
    curves = Curves("test_accuracy", {"a": [short, long]}, [])
    band = bands(curves, "t_s", log=False)["a"]
    assert (band.at[0], band.at[-1]) == (1.0, 4.0)
    assert band.mean == pytest.approx(0.1 * band.at)
    assert band.high - band.low == pytest.approx(0.0, abs=1e-12)
    assert bands(curves, "nbytes", log=True) == {}


def test_costs_of_a_curve_are_those_of_the_ledger(few: Result) -> None:
    curves = learning_curves(few)
    assert curves is not None
    report = few.report[(few.report["arm"] == "Top-k") & (few.report["seed"] == 2)].set_index("metric")["value"]
    run = curves.of["Top-k"][1]
    assert run.nbytes[0] == 0
    assert run.nbytes[-1] == pytest.approx(report["bytes_total"] / fake_cluster_run.WORKERS)
    assert run.energy_j[-1] == pytest.approx(report["energy_total_j"])
    reached = int(np.argmax(run.value >= 0.7))
    assert run.t_s[reached] == report["time_to_accuracy@0.7"]
    assert run.energy_j[reached] == pytest.approx(report["energy_to_accuracy@0.7"])
    assert run.nbytes[reached] == pytest.approx(report["bytes_to_accuracy@0.7"])


def test_a_wide_band_does_not_squeeze_the_curves(few: Result) -> None:
    apart = Curves("test_accuracy", {
        arm: [Curve(np.array([0.0, 9.0]), np.array([0.1, end]), np.full(2, np.nan), np.full(2, np.nan)) for end in (0.5, 0.9)]
        for arm in few.arms
    }, [])
    band = bands(apart, "t_s", log=False)["dense"]
    assert band.high[-1] > 2.0
    figure = learning(few, apart, "t_s")
    assert figure is not None
    assert figure.axes[0].get_ylim() == pytest.approx((0.1 - 0.04 * 0.8, 0.9 + 0.04 * 0.8))
    for shade in figure.axes[0].collections:
        edge = shade.get_paths()[0].vertices[:, 1]
        assert 0.0 <= edge.min() <= edge.max() <= 1.0, "accuracy is a share, and so is its band"


def test_bars_add_up_to_the_time_of_the_run(few: Result) -> None:
    figure = where_time_goes(few)
    assert figure is not None
    seconds, shares = figure.axes
    end_s = few.summary[few.summary["metric"] == "end_s"].set_index("arm")["mean"]
    for line, arm in enumerate(few.arms):
        widths = [bars[line].get_width() for bars in seconds.containers]
        assert len(widths) == len(PARTS)
        assert sum(widths) == pytest.approx(end_s[arm])
        assert sum(bars[line].get_width() for bars in shares.containers) == pytest.approx(1.0)


def test_links_are_drawn_only_where_they_differ(few: Result) -> None:
    figure = link_utilisation(few)
    assert figure is not None
    table = figure.axes[0].images[0].get_array()
    assert table[0].max() == pytest.approx(0.6)
    assert (np.diff(table.max(axis=0)) <= 0).all()
    even = few.metrics.copy()
    even.loc[even["name"] == "link_utilisation", "value"] = 0.3
    same = replace(few)
    even = even[~even["who"].eq("worker0>switch")]
    same.__dict__["metrics"] = even
    assert link_utilisation(same) is None


def test_without_ledger_only_the_curve_against_time_is_left(few: Result, tmp_path: Path) -> None:
    shutil.copytree(few.directory, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "ledger")
    bare = Result.load(tmp_path / "run")
    curves = learning_curves(bare)
    assert [axis for axis in ("t_s", "nbytes", "energy_j") if learning(bare, curves, axis) is not None] == ["t_s"]


def test_loss_is_drawn_where_nothing_else_was_measured(few: Result) -> None:
    loss = replace(few)
    loss.__dict__["metrics"] = few.metrics[few.metrics["name"] == "train_loss"]
    figure = learning(loss, learning_curves(loss), "t_s")
    assert figure is not None
    assert figure.axes[0].get_ylabel() == "training loss"


def test_a_run_that_learns_nothing_has_its_costs_drawn(few: Result) -> None:
    report = few.report[few.report["metric"].isin(["end_s", "bytes_busiest_worker", "energy_total_j"])]
    plain = replace(few, report=report)
    plain.__dict__["metrics"] = pd.DataFrame({name: few.metrics[name].iloc[:0] for name in few.metrics})
    assert list(plain.plot()) == ["overview"]


def test_one_seed_has_lines_and_no_bands(few: Result) -> None:
    single = replace(few, report=few.report[few.report["seed"] == 1])
    single.__dict__["metrics"] = few.metrics[few.metrics["seed"] == 1]
    figure = learning(single, learning_curves(single), "t_s")
    assert figure is not None
    (panel,) = figure.axes
    assert not panel.collections
    assert len([line for line in panel.lines if len(line.get_xdata()) > 2]) == 3


def test_the_same_picture_is_the_same_bytes(few: Result, tmp_path: Path) -> None:
    first, second = (save(learning(few, learning_curves(few), "nbytes"), tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert first == second


@pytest.mark.slow
def test_seventeen_arms_and_five_seeds_take_seconds(tmp_path: Path) -> None:
    result = fake_cluster_run.build(tmp_path / "run", fake_cluster_run.MANY, range(5), steps=100, workers=8)
    begun = time.process_time()
    curves = learning_curves(result)
    save(learning(result, curves, "nbytes"), tmp_path / "figure.png")
    assert time.process_time() - begun < 5.0
