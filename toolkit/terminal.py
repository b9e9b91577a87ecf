"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from toolkit.report import MetricInfo, Result, headline, multiplicity_note

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120
COLUMNS = 3
"""Metrics per table of differences."""
SIGNS = {"better": "▲", "worse": "▼", "no difference shown": " "}
COLOURS = {"better": "green", "worse": "red", "no difference shown": "dim"}


def show(result: Result, console: Console, answers: Sequence[str] = ()) -> None:
    """Print the headline metrics per arm (mean ± half of the 95 % interval), the paired differences, and *answers*."""
    from rich.text import Text

    console.print()
    for number, metrics in enumerate(_fitting(result, min(WIDTH, console.width))):
        console.print(_means(result, metrics, continued=number > 0))
    for table in _differences(result):
        console.print(table)
    console.print(Text(multiplicity_note(result.differences), style="dim"))
    if answers:
        console.print()
    for answer in answers:
        console.print(Text(answer, style="bold"))


def cell(result: Result, arm: str, info: MetricInfo) -> str:
    """The mean of one arm with its interval, or a dash; the number of seeds is told where some had no value."""
    summary = result.summary
    row = summary[(summary["arm"] == arm) & (summary["metric"] == info.name)]
    if row.empty or not row["n"].iloc[0]:
        return "–"
    mean, low, high, n = row[["mean", "ci95_low", "ci95_high", "n"]].iloc[0].to_list()
    few = f" (n={int(n)})" if n < len(result.seeds) else ""
    return info.with_interval(mean, low, high) + few


def _fitting(result: Result, width: int) -> Iterator[list[MetricInfo]]:
    """Share the headline metrics out over as many tables as it takes to stay within *width* columns."""
    first = max(len(arm) for arm in result.arms) + 4
    used, group = first, list[MetricInfo]()
    for info in headline(result):
        need = 3 + max(len(text) for text in [*(cell(result, arm, info) for arm in result.arms), *info.title.split()])
        if group and used + need > width:
            yield group
            used, group = first, []
        used, group = used + need, [*group, info]
    if group:
        yield group


def _means(result: Result, metrics: Sequence[MetricInfo], *, continued: bool) -> object:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    title = None if continued else f"Mean ± half of the 95 % interval over {len(result.seeds)} seeds"
    table = Table(title=title, box=SIMPLE, title_justify="left", pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for info in metrics:
        table.add_column(Text(info.title), justify="right")
    for arm in result.arms:
        table.add_row(Text(arm), *(Text(cell(result, arm, info), no_wrap=True) for info in metrics))
    return table


def _differences(result: Result) -> Iterator[object]:
    """One row per rival, one column per metric: the paired difference, its interval and a sign for the verdict."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    metrics = [info for info in headline(result) if info.name in set(result.differences["metric"])]
    rows = {(row["metric"], row["other"]): row for row in result.differences.to_dict("records")}
    title: Text | None = Text(f"{result.arms[0]} minus each other arm, paired by seed, with the 95 % interval (▲ better, ▼ worse)")
    for start in range(0, len(metrics), COLUMNS):
        table = Table(title=title, box=SIMPLE, title_justify="left", pad_edge=False)
        title = None
        table.add_column("against", no_wrap=True)
        for info in metrics[start : start + COLUMNS]:
            table.add_column(Text(info.title), justify="right")
        for other in result.arms[1:]:
            cells = []
            for info in metrics[start : start + COLUMNS]:
                row = rows.get((info.name, other))
                if row is None:
                    cells.append(Text("–", style="dim"))
                    continue
                verdict = str(row["verdict"])
                interval = f" ({interval_text(info, row['ci95_low'], row['ci95_high'])})" if row["n"] > 1 else ""
                text = f"{info.text(row['mean'], sign=True)}{interval} {SIGNS[verdict]}"
                cells.append(Text(text, style=COLOURS[verdict], no_wrap=True))
            table.add_row(Text(other), *cells)
        yield table


def interval_text(info: MetricInfo, low: float, high: float) -> str:
    """``low … high`` with signs."""
    return f"{info.text(low, sign=True)} … {info.text(high, sign=True)}" if low == low else "–"


def p_text(p: float) -> str:
    """A p-value to three decimals."""
    if p != p:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
