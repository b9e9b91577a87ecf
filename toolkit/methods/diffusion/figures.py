"""Figures of distillations: quality against what an image costs."""

from __future__ import annotations

from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.render.figures import Figures, arm_colours, arm_markers, label_above, new_figure, styled


def diffusion_figures(result: Comparison) -> dict[str, Figure]:
    """Draw what this comparison holds."""
    drawn = quality_against_cost(result)
    return {} if drawn is None else {"quality_against_cost": drawn}


@styled
def quality_against_cost(result: Comparison) -> Figure | None:
    """A line per arm through its numbers of steps: clf-FID against time and energy of one image."""
    summary = result.summary.set_index(["metric", "arm"])[["mean", "ci95_low", "ci95_high"]].astype(float)
    table = {key: row.to_numpy(float) for key, row in summary.iterrows()}
    names = set(result.summary["metric"])
    steps = sorted(int(name.partition("@")[2]) for name in names if name.startswith("clf_fid@"))
    steps = [step for step in steps if f"latency_s@{step}_1" in names]
    if not steps:
        return None
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(10.5, 5.0)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, cost, title in zip(
        panels, ("latency_s", "energy_j"), ("time of one image (ms)", "energy of one image (mJ)"), strict=True
    ):
        for arm in result.arms:
            there = [step for step in steps if (f"clf_fid@{step}", arm) in table]
            x = [1e3 * table[f"{cost}@{step}_1", arm][0] for step in there]
            rows = [table[f"clf_fid@{step}", arm] for step in there]
            low = [row[0] - row[1] if row[1] == row[1] and row[1] > 0 else 0.0 for row in rows]
            high = [row[2] - row[0] if row[2] == row[2] else 0.0 for row in rows]
            panel.errorbar(
                x, [row[0] for row in rows], yerr=[low, high], color=colours[arm], marker=markers[arm], markeredgecolor="white",
                capsize=3, label=arm,
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(title)
        panel.set_xticks(x, [f"{value:.3g}" for value in x])
        panel.minorticks_off()
    panels[0].set_ylabel("clf-FID")
    label_above(figure, panels[0], columns=4)
    return figure


FIGURES = Figures(diffusion_figures, captions={
    "quality_against_cost": "clf-FID with its 95 % interval over seeds, against time and energy of one image sampled by itself. Marks of "
    "an arm are its numbers of steps; down and to the left is better. Both axes are logarithmic.",
})
