"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import UNDECIDED, multiplicity_note

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 120
SIGNS = {"better": "▲", "worse": "▼", UNDECIDED: " "}
COLOURS = {"better": "green", "worse": "red", UNDECIDED: "dim"}


def terminal_tables(result: Comparison, console: Console, findings: Sequence[str] = ()) -> None:
    """Print the headline metrics per arm (mean ± half of the 95 % interval), the paired differences, and *findings*, within 120 columns."""
    from rich.text import Text

    width = min(WIDTH, console.width)
    console.print()
    for table in [*_means(result, width), *_differences(result, width)]:
        console.print(table, width=width)
    console.print(Text(multiplicity_note(result.differences), style="dim"), width=width)
    if findings:
        console.print()
    for finding in findings:
        console.print(Text(finding, style="bold"), width=width)


def cell(result: Comparison, arm: str, info: MetricInfo) -> str:
    """The mean of one arm with its interval, or a dash; the number of seeds is told where some had no value."""
    summary = result.summary
    row = summary[(summary["arm"] == arm) & (summary["metric"] == info.name)]
    if row.empty or not row["n"].iloc[0]:
        return "–"
    mean, low, high, n = row[["mean", "ci95_low", "ci95_high", "n"]].iloc[0].to_list()
    few = f" (n={int(n)})" if n < len(result.seeds) else ""
    return info.with_interval(mean, low, high) + few


def _means(result: Comparison, width: int) -> Iterator[Table]:
    """One row per arm, one column per metric."""
    from rich.text import Text

    columns = {info: {arm: Text(cell(result, arm, info), no_wrap=True) for arm in result.arms} for info in result.headline}
    return _tables(f"Mean ± half of the 95 % interval over {len(result.seeds)} seeds", "arm", columns, width)


def _differences(result: Comparison, width: int) -> Iterator[Table]:
    """One row per rival, one column per metric: the paired difference, its interval and a sign for the verdict."""
    from rich.text import Text

    rows = {(row["metric"], row["other"]): row for row in result.differences.to_dict("records")}
    columns = {}
    for info in result.headline:
        texts = {}
        for other in result.arms[1:]:
            row = rows.get((info.name, other))
            if row is None:
                texts[other] = Text("–")
                continue
            verdict = str(row["verdict"])
            interval = f" ({interval_text(info, row['ci95_low'], row['ci95_high'])})" if row["n"] > 1 else ""
            texts[other] = Text(f"{info.text(row['mean'], sign=True)}{interval} {SIGNS[verdict]}", style=COLOURS[verdict], no_wrap=True)
        if any((info.name, other) in rows for other in texts):
            columns[info] = texts
    title = f"{result.arms[0]} minus each other arm, paired by seed, with the 95 % interval (▲ better, ▼ worse)"
    return _tables(title, "against", columns, width)


def _tables(title: str, corner: str, columns: Mapping[MetricInfo, Mapping[str, Text]], width: int) -> Iterator[Table]:
    """Share *columns* (metric to text per row) out over as many tables as it takes to stay within *width*."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    heading: Text | None = Text(title)
    for group in _fitting(columns, width):
        table = Table(title=heading, box=SIMPLE, title_justify="left", pad_edge=False)
        heading = None
        table.add_column(corner, no_wrap=True)
        for info in group:
            table.add_column(Text(info.title), justify="right", width=_width(info, columns[info]))
        for row in columns[group[0]]:
            table.add_row(Text(row), *(columns[info][row] for info in group))
        yield table


def _fitting(columns: Mapping[MetricInfo, Mapping[str, Text]], width: int) -> Iterator[list[MetricInfo]]:
    used, group = 0, list[MetricInfo]()
    for info, texts in columns.items():
        first = 4 + max(map(len, texts))
        need = 3 + _width(info, texts)
        if group and used + need > width:
            yield group
            group = []
        used = need + (used if group else first)
        group.append(info)
    if group:
        yield group


def _width(info: MetricInfo, texts: Mapping[str, Text]) -> int:
    """Columns that the longest text takes; titles break between words."""
    return max(*(len(text) for text in texts.values()), *map(len, info.title.split()))


def interval_text(info: MetricInfo, low: float, high: float) -> str:
    """``low … high`` with signs."""
    return f"{info.text(low, sign=True)} … {info.text(high, sign=True)}" if low == low else "–"


def p_text(p: float) -> str:
    """A p-value to three decimals."""
    if p != p:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
