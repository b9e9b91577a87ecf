"""Tables of the report page, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo, describe
from toolkit.analysis.statistics import UNTESTED
from toolkit.analysis.units import scaled
from toolkit.render.terminal import cell, interval_text, means_title, p_text

MARKS = {"better": "▲ better", "worse": "▼ worse", UNTESTED: "–"}
CUT_OFF = "; that of a share is cut off at 0 and 1, where its mean cannot lie, and told by its ends"


def means_table(result: Comparison) -> str:
    """Arms down, headline metrics across."""
    metrics = result.headline
    head = ["arm", *(result.shown(info).title for info in metrics)]
    rows = [[arm, *(cell(result, arm, info) for info in metrics)] for arm in result.arms]
    several = len(result.seeds) > 1
    student = " (Student t" + CUT_OFF * any(info.share for info in metrics) + ")" if several else ""
    return html_table(f"{means_title(result)}{student}.", head, rows)


def all_metrics_table(result: Comparison) -> str:
    """Metrics down, arms across."""
    rows = [[result.shown(info).title, *(cell(result, arm, info) for arm in result.arms)] for info in result.described]
    return html_table(f"{means_title(result)}; n where some seeds had no value.", ["metric", *result.arms], rows)


def differences_table(result: Comparison) -> str:
    """One row per metric and other arm, with the verdict on the first arm and the tests, where the run bears any."""
    if result.differences.empty:
        return ""
    first, judged = escape(result.arms[0]), result.standing.bears
    tests = ("p", "p (Holm)") if judged else ()
    head = "".join(f"<th>{text}</th>" for text in ("difference", "95 % interval", "n", *tests))
    rows = []
    last = ""
    for row in result.differences.to_dict("records"):
        info = result.shown(describe(str(row["metric"]), result.infos, str(row["unit"])))
        numbers = [
            info.text(row["mean"], sign=True), interval_text(info, row["ci95_low"], row["ci95_high"]), str(row["n"]),
            *((p_text(row["p"]), p_text(row["p_holm"])) if judged else ()),
        ]
        rows.append(
            f'<tr><th scope="row">{escape(info.title) if info.name != last else ""}</th><td class="left">{escape(str(row["other"]))}</td>'
            + "".join(f"<td>{escape(number)}</td>" for number in numbers) + (_verdict(str(row["verdict"])) if judged else "") + "</tr>"
        )
        last = info.name
    verdict = f'<th class="left">{first} is</th>' if judged else ""
    return (
        f'<p class="caption">{first} minus each other arm, paired by seed.</p><div class="wide"><table><thead><tr><th>metric</th>'
        f'<th class="left">against</th>{head}{verdict}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _verdict(verdict: str) -> str:
    kind = verdict if verdict in {"better", "worse"} else "none"
    return f'<td class="left {kind}">{MARKS.get(verdict, verdict)}</td>'


def costs_table(info: MetricInfo, corner: str, frame: pd.DataFrame) -> str:
    """One quantity by kind of work or node (down) and arm (across), each mean over seeds, and their sum."""
    values = frame.fillna(0.0)
    total = values.sum()
    shown = scaled(info, total)
    rows = [[str(name), *(shown.text(value) if value else "0" for value in row)] for name, row in zip(
        values.index, values.to_numpy(float).tolist(), strict=True
    )]
    rows.append(["in all", *(shown.text(float(value)) for value in total)])
    return html_table(f"{shown.title[:1].upper()}{shown.title[1:]} per run.", [corner, *map(str, values.columns)], rows)


def html_table(caption: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is wider than the page; the first cell of each row heads it."""
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>' for row in rows
    )
    above = f'<p class="caption">{escape(caption)}</p>'
    return f'{above}<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
