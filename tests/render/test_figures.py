"""Figures show what is there, say their units, cover no data with legends, and leave matplotlib as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests import fake_run
from toolkit.acoustic import figures
from toolkit.acoustic.figures import SEA_CAPTIONS, rmse_vs_horizon
from toolkit.render.figures import COLOURS, arm_colours, arm_markers, bars_with_intervals, save, style
from toolkit.render.result import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    return fake_run.build(tmp_path_factory.mktemp("figures") / "run")


@pytest.fixture(scope="module")
def drawn(result: Result) -> dict[str, Figure]:
    return result.plot()


def test_every_figure_is_drawn_and_has_a_caption(drawn: dict[str, Figure]) -> None:
    assert set(drawn) == set(SEA_CAPTIONS)


def test_axes_carry_units(drawn: dict[str, Figure]) -> None:
    labels = {name: [axis.get_xlabel() + "|" + axis.get_ylabel() for axis in figure.axes] for name, figure in drawn.items()}
    assert labels["outcome"] == ["delivery ratio|", "mean delay (s)|", "energy per delivered packet (J)|"]
    assert labels["rmse_vs_horizon"] == ["how far ahead (h)|forecast RMSE (dB)"]
    assert labels["link_forecast"] == ["time since the start (h)|SNR (dB)"]
    assert labels["network_map"][:2] == ["east (km)|north (km)", "east (km)|depth (m)"]
    assert labels["environment"][:2] == ["|wind (m/s)", "|tide (m)"]
    assert "dB re 1 µPa²/Hz" in labels["environment"][2]


@pytest.mark.parametrize("name", list(SEA_CAPTIONS))
def test_legends_lie_outside_the_panels(drawn: dict[str, Figure], name: str) -> None:
    figure = drawn[name]
    with style():
        figure.draw_without_rendering()
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_means_and_whiskers_are_those_of_the_summary(result: Result) -> None:
    info = result.headline[0]
    figure = bars_with_intervals(result, [info])
    summary = result.summary[result.summary["metric"] == info.name]
    (panel,) = figure.axes
    means = [line.get_xdata()[0] for line in panel.lines if line.get_markeredgecolor() == "white"]
    assert means == pytest.approx(summary["mean"].tolist())
    ends = np.concatenate([bars.get_segments()[0][:, 0] for bars in panel.collections])
    assert ends == pytest.approx(summary[["ci95_low", "ci95_high"]].to_numpy().ravel())


def test_an_arm_without_value_says_so(result: Result) -> None:
    infos = [info for info in result.headline if info.name == "rmse_db@1h"]
    (panel,) = bars_with_intervals(result, infos).axes
    assert [text.get_text() for text in panel.texts] == ["no value"]


def test_the_forecast_shown_looks_3_h_ahead_and_ends_where_the_truth_does(drawn: dict[str, Figure]) -> None:
    (panel,) = drawn["link_forecast"].axes
    channel, forecast = panel.lines[:2]
    assert forecast.get_label() == "forecast 3 h ahead"
    assert forecast.get_xdata()[[0, -1]].tolist() == [10_800.0, 43_200.0]
    assert channel.get_xdata()[[0, -1]].tolist() == [0.0, 43_200.0]
    assert np.corrcoef(np.interp(forecast.get_xdata(), *channel.get_data()), forecast.get_ydata())[0, 1] > 0.8


def test_depth_grows_downwards(drawn: dict[str, Figure]) -> None:
    bottom, top = drawn["network_map"].axes[1].get_ylim()
    assert bottom > top


def test_links_are_counted_both_ways(drawn: dict[str, Figure], result: Result) -> None:
    ledger = result.ledger_of("knn", 1)
    frames = ((ledger["kind"] == "tx") & (ledger["phase"] == "data")).sum()
    lines = drawn["network_map"].axes[0].collections[0]
    assert lines.get_array().sum() == frames


def test_up_to_ten_arms_each_have_a_colour_and_of_more_only_the_first() -> None:
    arms = [f"arm {i}" for i in range(64)]
    ten = arm_colours(arms[:10])
    assert list(ten.values()) == list(COLOURS)
    assert arm_colours(arms[:3]) == {arm: ten[arm] for arm in arms[:3]}
    many = arm_colours(arms)
    assert many[arms[0]] == COLOURS[0]
    assert set(many.values()) - {COLOURS[0]} == {many[arms[1]]}
    assert set(arm_markers(arms)) == set(arms)


def test_errors_stand_at_their_horizons_and_arms_by_less_than_those_differ(drawn: dict[str, Figure]) -> None:
    """Each arm's points are within an eighth of the narrowest gap between horizons, and no two arms' are the same."""
    (panel,) = drawn["rmse_vs_horizon"].axes
    assert panel.get_xscale() == "log"
    hours = np.array([1.0, 3.0, 6.0])
    lines = [np.asarray(line.get_xdata(), float) for line in panel.lines if len(line.get_xdata()) == 3]
    at = np.stack(list({tuple(line.round(9)) for line in lines}))
    assert len(at) >= 2
    nearest = np.log(6 / 3)
    assert np.abs(np.log(at / hours)).max() <= 0.125 * nearest + 1e-9
    assert panel.get_xticks().tolist() == hours.tolist()


def test_the_forecast_figure_names_what_it_leaves_out(drawn: dict[str, Figure]) -> None:
    told = drawn["link_forecast"].get_supxlabel()
    assert told == "not drawn: arms ewma <fast>; horizons 1 h, 6 h; 2 other seeds"


def test_a_long_note_stays_within_its_figure(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = ", ".join(f"DBCAR-harmonic {number}" for number in range(9))
    monkeypatch.setattr(figures, "_not_drawn", lambda *_: f"arms {arms}")
    figure = result.plot()["link_forecast"]
    figure.canvas.draw()
    (note,) = [text for text in figure.texts if text.get_text().startswith("not drawn")]
    assert note.get_window_extent().x1 <= figure.bbox.x1
    assert " ".join(note.get_text().split()) == f"not drawn: arms {arms}"


def test_delays_that_lie_far_apart_have_a_logarithmic_axis(result: Result) -> None:
    wide = result.report.assign(value=result.report["value"].where(
        ~((result.report["metric"] == "delay_mean_s") & (result.report["arm"] == "flooding")), 0.5))
    scales = [panel.get_xscale() for panel in replace(result, report=wide).plot()["outcome"].axes]
    assert scales == ["linear", "log", "linear"]
    assert result.plot()["outcome"].axes[1].get_xscale() == "linear"


def test_figures_without_data_are_left_out(tmp_path: Path) -> None:
    full = fake_run.build(tmp_path / "run")
    (tmp_path / "run" / "metrics.parquet").unlink()
    assert set(Result.load(full.directory).plot()) == {"outcome", "delay", "rmse_vs_horizon"}


def test_a_run_of_one_seed_has_no_whiskers(result: Result) -> None:
    single = replace(result, report=result.report[result.report["seed"] == 1])
    assert not single.plot()["outcome"].axes[0].collections


def test_any_run_has_an_overview(result: Result) -> None:
    plain = Result(result.directory, result.report[result.report["metric"] == "delay_mean_s"])
    path = plain.write_figures()["overview"]
    assert path == result.directory / "figures" / "overview.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_the_settings_of_matplotlib_alone(result: Result) -> None:
    before = dict(mpl.rcParams)
    rmse_vs_horizon(result)
    assert dict(mpl.rcParams) == before


def test_the_same_picture_is_the_same_bytes(result: Result, tmp_path: Path) -> None:
    first, second = (save(rmse_vs_horizon(result), tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert first == second
