"""Figures of learning over the sea: what was learnt against hours, joules per node and bytes on the air, and which updates counted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from toolkit.acoustic.figures import SEA_CAPTIONS, environment, network_map
from toolkit.analysis.comparison import Comparison
from toolkit.analysis.curves import Curve, Curves
from toolkit.analysis.metric import describe
from toolkit.at_sea.report import SPENDING, spent_until
from toolkit.render.figures import INK, Figures, bars_with_intervals, styled
from toolkit.render.learning import learning
from toolkit.render.overview import OVERVIEW_CAPTION, overview

__all__ = ["FIGURES", "SEA_CAPTIONS", "environment", "learning_figures", "network_map"]

LEARNT = (
    "Test accuracy of the first node that lives, {}. Lines are means over seeds, bands their 95 % interval; a line begins and ends where "
    "all seeds have data."
)
CAPTIONS = {
    "overview": f"{OVERVIEW_CAPTION} Hours, joules and bytes to an accuracy are averaged over the seeds that reached it.",
    "learning_vs_hours": LEARNT.format("against simulated hours"),
    "learning_vs_energy": LEARNT.format("against the energy that the mean node had spent by then: modem, board and idling"),
    "learning_vs_bytes": LEARNT.format(
        "against what all modems had put on the air by then, over the number of nodes: content and headers, receipts, acknowledgements, "
        "beacons"
    ),
    "updates": (
        "Share of the updates that came in time for their round, and how many came too late or never, per arm; each light dot is one seed. "
        "Arms whose nodes tell each other nothing have none."
    ),
    "network_map": SEA_CAPTIONS["network_map"],
    "environment": SEA_CAPTIONS["environment"],
}
AXES = {"t_s": "simulated time (h)", "energy_j": "energy per node (J)", "nbytes": "bytes on the air per node"}


def learning_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    curves = sea_curves(result)
    return {
        "overview": overview(result),
        "learning_vs_hours": _against(result, curves, "t_s"),
        "learning_vs_energy": _against(result, curves, "energy_j"),
        "learning_vs_bytes": _against(result, curves, "nbytes"),
        "updates": updates(result),
        "network_map": network_map(result),
        "environment": environment(result),
    }


def sea_curves(result: Comparison) -> Curves | None:
    """The accuracy of every run against hours, joules and bytes on the air per node."""
    metrics = result.metrics
    rows = metrics[(metrics["name"] == "test_accuracy").to_numpy(bool)].sort_values(["t_s", "step"], kind="stable")
    if not len(rows):
        return None
    sinks = metrics[(metrics["name"] == "is_sink").to_numpy(bool)]
    of: dict[str, list[Curve]] = {arm: [] for arm in result.arms}
    for (arm, seed), own in rows.groupby(["arm", "seed"], sort=True, observed=True):
        here = sinks[((sinks["arm"] == arm) & (sinks["seed"] == seed)).to_numpy(bool)]
        nodes = int((here["value"] == 0.0).sum())
        t_s = own["t_s"].to_numpy(float)
        nbytes = energy_j = np.full(len(t_s), np.nan)
        ledger = result.ledger_of(str(arm), int(str(seed)), columns=SPENDING)
        if len(ledger) and nodes:
            nbytes, energy_j = spent_until(ledger, t_s, nodes)
        of[str(arm)].append(Curve(t_s / 3600.0, own["value"].to_numpy(float), nbytes / max(nodes, 1), energy_j / max(nodes, 1)))
    targets = np.unique(metrics.loc[(metrics["name"] == "target").to_numpy(bool), "value"].to_numpy(float)).tolist()
    return Curves("test_accuracy", {arm: runs for arm, runs in of.items() if runs}, targets)


def _against(result: Comparison, curves: Curves | None, axis: str) -> Figure | None:
    figure = learning(result, curves, axis)
    if figure is None:
        return None
    if len(figure.axes) == 1:
        figure.axes[0].set_xlabel(AXES[axis])
    else:
        figure.supxlabel(AXES[axis], fontsize=12, color=INK)
    return figure


@styled
def updates(result: Comparison) -> Figure | None:
    """Which updates counted, came late or never came."""
    present = set(result.report["metric"])
    names = [name for name in ("counted_share", "late_updates", "lost_updates") if name in present]
    return bars_with_intervals(result, [describe(name, result.infos) for name in names]) if names else None


FIGURES = Figures(learning_figures, CAPTIONS)
