"""Figures of any run over a cluster: the headline metrics, and how busy the links were."""

from __future__ import annotations

from matplotlib.figure import Figure

from toolkit.analysis.comparison import Comparison
from toolkit.render.figures import Figures, new_figure, styled
from toolkit.render.overview import OVERVIEW_CAPTION, overview

LINKS = 40
LINKS_CAPTION = (
    "Share of what each link could have carried over the whole run that it did carry, mean over seeds; the busiest links first, "
    f"and no more than {LINKS} of them. Left out where the links do not differ."
)


def cluster_figures(result: Comparison) -> dict[str, Figure | None]:
    """Draw what this run holds, by name, in the order in which a reader wants it."""
    return {"overview": overview(result), "link_utilisation": link_utilisation(result)}


@styled
def link_utilisation(result: Comparison) -> Figure | None:
    """Arms against links, darker where a link was busier; only where more than three links differ."""
    rows = result.metrics[(result.metrics["name"] == "link_utilisation").to_numpy(bool)]
    if rows.empty:
        return None
    runs = result.report[["arm", "seed"]].drop_duplicates().groupby("arm")["seed"].count()
    table = rows.pivot_table(index="arm", columns="who", values="value", aggfunc="sum", observed=True).div(runs, axis=0)
    table = table.reindex([arm for arm in result.arms if arm in table.index]).fillna(0.0)
    spread = float((table.max(axis=1) - table.min(axis=1)).max())
    if table.shape[1] <= 3 or spread < 0.05:
        return None
    busiest = table.max(axis=0).sort_values(ascending=False, kind="stable").index[:LINKS]
    table = table[busiest]
    figure = new_figure(2.6 + 0.24 * len(busiest) + 0.08 * max(map(len, table.index)), 2.6 + 0.32 * len(table))
    panel = figure.subplots()
    image = panel.imshow(table.to_numpy(float), aspect="auto", cmap="viridis_r", vmin=0.0, vmax=max(0.1, float(table.to_numpy().max())))
    panel.set_xticks(range(len(busiest)), [str(link).replace(">", " → ") for link in busiest], rotation=90, fontsize=9)
    panel.set_yticks(range(len(table)), table.index)
    panel.grid(visible=False)
    figure.colorbar(image, ax=panel, label="utilisation")
    return figure


FIGURES = Figures(cluster_figures, {"overview": OVERVIEW_CAPTION, "link_utilisation": LINKS_CAPTION})
