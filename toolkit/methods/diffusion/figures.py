"""Figures of distillations: quality against what an image costs."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.learning.diffusion.grid import grid
from toolkit.methods.diffusion.left import samples
from toolkit.render.axes import log_y
from toolkit.render.figures import Figures, arm_colours, arm_markers, label_above, new_figure, styled


def diffusion_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this comparison holds."""
    return {
        "quality_against_cost": quality_against_cost(result), "cost_by_steps": cost_by_steps(result), "samples": sample_grids(result),
    }


@styled
def quality_against_cost(result: Comparison) -> Figure | None:
    """A line per arm through its numbers of steps: clf-FID against time and energy of one image; only where images differ."""
    summary = result.summary.set_index(["metric", "arm"])[["mean", "ci95_low", "ci95_high"]].astype(float)
    table = {key: row.to_numpy(float) for key, row in summary.iterrows()}
    names = set(result.summary["metric"])
    steps = sorted(int(name.partition("@")[2]) for name in names if name.startswith("clf_fid@"))
    steps = [step for step in steps if f"latency_s@{step}_1" in names]
    if not any(len({table[f"clf_fid@{step}", arm][0] for arm in result.arms if (f"clf_fid@{step}", arm) in table}) > 1 for step in steps):
        return None  # the same images by all arms
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
        panel.set_xlabel(title)
        panel.set_xticks(x, [f"{value:.3g}" for value in x])
        panel.minorticks_off()
    log_y(panels[0])
    panels[0].set_ylabel("clf-FID")
    label_above(figure, panels[0], columns=4)
    return figure


@styled
def cost_by_steps(result: Comparison) -> Figure | None:
    """A line per arm: time and energy of one image by steps, one at a time and in the largest batch; only where machines differ."""
    means = result.summary.set_index(["metric", "arm"])["mean"].astype(float)
    prices = sorted({
        (int(steps), int(size)) for name in set(result.summary["metric"]) if name.startswith("latency_s@")
        for steps, size in [name.partition("@")[2].split("_")]
    })
    if not any(len({means[f"latency_s@{steps}_{size}", arm] for arm in result.arms}) > 1 for steps, size in prices):
        return None
    colours, markers = arm_colours(result.arms), arm_markers(result.arms)
    figure = new_figure(10.5, 5.4)
    panels = figure.subplots(1, 2)
    batches = sorted({size for _, size in prices})
    for panel, cost, title in zip(
        panels, ("latency_s", "energy_j"), ("time of one image (ms)", "energy of one image (mJ)"), strict=True
    ):
        for arm in result.arms:
            for size, line in zip((batches[0], batches[-1]), ("-", ":"), strict=True):
                steps = [each for each, of in prices if of == size]
                panel.plot(
                    steps, [1e3 * means[f"{cost}@{each}_{size}", arm] for each in steps], color=colours[arm], marker=markers[arm],
                    markeredgecolor="white", linestyle=line, label=arm if line == "-" else None,
                )
        panel.set_xscale("log", base=2)
        panel.set_xticks(steps, [str(each) for each in steps])
        panel.minorticks_off()
        log_y(panel)
        panel.set_xlabel("steps of sampling")
        panel.set_ylabel(title)
    label_above(figure, panels[0], columns=5)
    return figure


@styled
def sample_grids(result: Comparison) -> Figure | None:
    """A row per arm, a grid of images per number of steps; all of the first seed, from the same noise."""
    seed = result.seeds[0]
    found = {arm: samples(result.directory / "models" / f"{arm}-s{seed}") for arm in result.arms}
    steps = sorted({step for grids in found.values() for step in grids}, reverse=True)
    arms = [arm for arm in result.arms if found[arm]]
    if not steps:
        return None
    figure = new_figure(0.6 + 3.1 * len(steps), 0.4 + 1.62 * len(arms))
    panels = figure.subplots(len(arms), len(steps), squeeze=False)
    for row, arm in zip(panels, arms, strict=True):
        for panel, step in zip(row, steps, strict=True):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.grid(visible=False)
            if step in found[arm]:
                picture = grid(torch.from_numpy(found[arm][step]).float() / 127.5 - 1, columns=8)
                panel.imshow(picture.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        row[0].set_ylabel(arm)
    for panel, step in zip(panels[0], steps, strict=True):
        panel.set_title(f"{step} step{'s' * (step > 1)}")
    return figure


FIGURES = Figures(diffusion_figures, captions={
    "quality_against_cost": "clf-FID with its 95 % interval over seeds, against time and energy of one image sampled by itself. Marks of "
    "an arm are its numbers of steps; down and to the left is better. Both axes are logarithmic.",
    "cost_by_steps": "Time and energy of one image against steps of sampling, on each machine: solid lines one image at a time, dotted "
    "lines the largest batch. All axes are logarithmic.",
    "samples": "Images of the first seed, drawn from the same noise in every arm; not chosen.",
})
