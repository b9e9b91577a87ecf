"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import multiplicity_note
from toolkit.analysis.verdict import verdict
from toolkit.core.words import counted
from toolkit.render.console import WIDTH, say, show, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SIGNS = {"better": "▲", "worse": "▼"}
COLOURS = {"better": "green", "worse": "red"}


def terminal_tables(result: Comparison, console: Console, findings: Sequence[str] = ()) -> None:
    """Print the verdict, the headline metrics per arm (mean ± half of the 95 % interval), the paired differences, and *findings*."""
    width = min(WIDTH, console.width)
    tag = result.standing.tag
    console.print()
    if tag:
        say(console, f"{tag[:1].upper()}{tag[1:]}.", "bold")
    for sentence in verdict(result):
        say(console, sentence, "bold" if result.standing.bears else "")
    console.print()
    for title, each in [*_means(result, width), *_differences(result, width)]:
        show(console, title, each)
    say(console, multiplicity_note(result.differences, bears=result.standing.bears), "dim")
    if findings:
        console.print()
    for finding in findings:
        say(console, finding)


def cell(result: Comparison, arm: str, info: MetricInfo) -> str:
    """The mean of one arm with its interval, or a dash; the number of seeds is told where some had no value."""
    mean, low, high, n = result.means.get((arm, info.name), (float("nan"), float("nan"), float("nan"), 0))
    if not n:
        return "–"
    few = f" (n={n})" if n < len(result.seeds) else ""
    return result.shown(info).with_interval(mean, low, high) + few


def means_title(result: Comparison) -> str:
    """What the table of means shows."""
    if len(result.seeds) < 2:
        return "Values of one seed"
    return f"Mean ± half of the 95 % interval over {counted(len(result.seeds), 'seed')}"


def _means(result: Comparison, width: int) -> Iterator[tuple[str, Table]]:
    """One row per arm, one column per metric."""
    from rich.text import Text

    columns = {result.shown(info): {arm: Text(cell(result, arm, info), no_wrap=True) for arm in result.arms} for info in result.headline}
    return _tables(means_title(result), "arm", columns, width)


def _differences(result: Comparison, width: int) -> Iterator[tuple[str, Table]]:
    """One row per rival, one column per metric: the paired difference, its interval and a sign for the verdict."""
    from rich.text import Text

    rows = {(row["metric"], row["other"]): row for row in result.differences.to_dict("records")}
    columns = {}
    for own in result.headline:
        texts, info = {}, result.shown(own)
        for other in result.arms[1:]:
            row = rows.get((info.name, other))
            if row is None:
                texts[other] = Text("–")
                continue
            verdict = str(row["verdict"])
            interval = f" ({interval_text(info, row['ci95_low'], row['ci95_high'])})" if row["n"] > 1 else ""
            text = f"{info.text(row['mean'], sign=True)}{interval} {SIGNS.get(verdict, ' ')}"
            texts[other] = Text(text, style=COLOURS.get(verdict, "dim"), no_wrap=True)
        if any((info.name, other) in rows for other in texts):
            columns[info] = texts
    signs = " (▲ better, ▼ worse)" if result.standing.bears else ""
    title = f"{result.arms[0]} minus each other arm, paired by seed, with the 95 % interval{signs}"
    return _tables(title, "against", columns, width)


def _tables(title: str, corner: str, columns: Mapping[MetricInfo, Mapping[str, Text]], width: int) -> Iterator[tuple[str, Table]]:
    """Share *columns* (metric to text per row) out over as many tables as it takes to stay within *width*."""
    from rich.text import Text

    for place, group in enumerate(_fitting(columns, width)):
        part = table()
        part.add_column(corner, no_wrap=True)
        for info in group:
            part.add_column(Text(info.title), justify="right", width=_width(info, columns[info]))
        for row in columns[group[0]]:
            part.add_row(Text(row), *(columns[info][row] for info in group))
        yield title if not place else "", part


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
    """``low … high`` with signs; where all seeds say the same there is no width to tell."""
    if low == high:
        return "in every seed"
    return f"{info.text(low, sign=True)} … {info.text(high, sign=True)}" if low == low else "–"


def p_text(p: float) -> str:
    """A p-value to three decimals."""
    if p != p:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
