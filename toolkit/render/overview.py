"""The headline metrics of any comparison, on axes that fit bytes and factors of ten."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.render.axes import SPREAD, bytes_x, log_x, scaled_x
from toolkit.render.figures import LABEL_WIDTH, Figures, bars_with_intervals, styled

OVERVIEW_CAPTION = (
    "The headline metrics per arm. Each light dot is one seed, the large mark their mean and the bar its 95 % interval."
)


@styled
def overview(result: Comparison) -> Figure | None:
    """Headline metrics per arm; logarithmic where arms differ by more than a factor of ten."""
    infos = [info for info in result.headline if np.isfinite(result.report.loc[result.report["metric"] == info.name, "value"]).any()]
    if not infos:
        return None
    return metrics_figure(result, infos)


def metrics_figure(result: Comparison, infos: Sequence[MetricInfo]) -> Figure:
    """One panel per metric, on axes that fit its values; call it within `style`."""
    figure = bars_with_intervals(result, infos)
    for panel, info in zip(figure.axes, infos, strict=False):
        values = result.report.loc[result.report["metric"] == info.name, "value"].to_numpy(float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        if info.unit != "1" and values.min() > 0 and values.max() / values.min() > SPREAD:
            log_x(panel, values.min(), values.max(), small=True)
        shown = result.shown(info)
        if info.unit != "B" and shown.per != 1.0:
            scaled_x(panel, shown.per)
            panel.set_xlabel(fill(shown.title, LABEL_WIDTH))
        if info.unit == "B":
            bytes_x(panel)
            panel.set_xlabel(fill(info.label, LABEL_WIDTH))  # the ticks say the unit
    return figure


FIGURES = Figures(lambda result: {} if (figure := overview(result)) is None else {"overview": figure}, {"overview": OVERVIEW_CAPTION})
"""For reports that bring no figures of their own."""
