"""The report as one HTML file that needs nothing else: pictures and style are inside, and it runs no script."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo, describe
from toolkit.analysis.statistics import UNDECIDED, multiplicity_note
from toolkit.render.terminal import cell, interval_text, p_text

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --paper: #ffffff; --tint: #f4f6f8;
  --good: #0b6b3a; --bad: #a5321d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4af; --line: #3a424b; --paper: #15181c;
  --tint: #1e2329; --good: #6fd39b; --bad: #ff9d85; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, li, dd, figcaption { max-width: 46rem; }
.question { font-size: 1.15rem; color: var(--soft); margin: 0 0 1.2rem; }
.answers { background: var(--tint); border-left: 4px solid #0072b2; padding: .8rem 1.2rem; border-radius: 4px; }
.answers p { margin: .45rem 0; }
.answers p:first-child { font-weight: 600; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid var(--soft); }
th[scope=row], thead th:first-child, .left { text-align: left; }
.better { color: var(--good); font-weight: 600; }
.worse { color: var(--bad); font-weight: 600; }
.none { color: var(--soft); }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.2rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.6rem 0; }
figure img { width: 100%; height: auto; background: #fff; border-radius: 4px; }
pre { background: var(--tint); padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; font-size: .9rem; }
a { color: inherit; }
@media (max-width: 40rem) { body { font-size: 16px; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; } .wide { overflow: visible; }
  table { font-size: 8pt; } th, td { padding: .2rem .35rem; white-space: normal; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""
SHOWN_AS = {"report", "view"}
"""Entries of ``versions.json`` that are no versions."""
MARKS = {"better": "▲ better", "worse": "▼ worse", UNDECIDED: UNDECIDED}


@dataclass(frozen=True)
class ReportHeader:
    """What only the scenario knows: what was asked, what was found, how it was run and what to beware of."""

    title: str
    question: str = ""
    findings: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    command: str = ""


def write_html(result: Comparison, header: ReportHeader, captions: Mapping[str, str]) -> Path:
    """Write ``report.html`` into the run directory with the pictures found in ``figures/``, and return its path.

    Pictures come in the order of *captions*, and those without a caption last.
    """
    paths = {path.stem: path for path in sorted((result.directory / "figures").glob("*.png"))}
    known = [name for name in captions if name in paths]
    pictures = {name: paths[name].read_bytes() for name in [*known, *(name for name in paths if name not in known)]}
    path = result.directory / "report.html"
    path.write_text(page(result, header, pictures, captions), encoding="utf-8")
    return path


def page(result: Comparison, header: ReportHeader, pictures: Mapping[str, bytes], captions: Mapping[str, str]) -> str:
    """The whole report; *pictures* are PNG by name, in the order in which they are shown."""
    parts = [
        f"<h1>{escape(header.title)}</h1>",
        f'<p class="question">{escape(header.question)}</p>' if header.question else "",
        _findings(header.findings),
        "<h2>What was run</h2>", _definitions(_run_facts(result) | dict(header.settings)),
        "<h2>Results</h2>", means_table(result),
        "<h2>Figures</h2>" if pictures else "",
        *(_figure(name, png, captions.get(name, "")) for name, png in pictures.items()),
        _differences_section(result),
        "<h2>All metrics</h2>", all_metrics_table(result),
        "<h2>What to beware of</h2>" if header.caveats else "", _items(header.caveats),
        "<h2>How to get the same again</h2>",
        f"<pre>{escape(header.command)}</pre>" if header.command else "",
        _definitions(_flat({key: value for key, value in result.versions.items() if key not in SHOWN_AS})), _files(result),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(header.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def means_table(result: Comparison) -> str:
    """Arms down, headline metrics across."""
    metrics = result.headline
    head = ["arm", *(info.title for info in metrics)]
    rows = [[arm, *(cell(result, arm, info) for info in metrics)] for arm in result.arms]
    seeds = len(result.seeds)
    return _table(f"Mean ± half of the 95 % interval (Student t) over {seeds} seed{'s' * (seeds != 1)}.", head, rows)


def all_metrics_table(result: Comparison) -> str:
    """Metrics down, arms across."""
    metrics = result.described
    rows = [[info.title, *(cell(result, arm, info) for arm in result.arms)] for info in metrics]
    return _table("Mean ± half of the 95 % interval; n where some seeds had no value.", ["metric", *result.arms], rows)


def differences_table(result: Comparison) -> str:
    """One row per metric and other arm, with the verdict on the first arm."""
    if result.differences.empty:
        return ""
    first = escape(result.arms[0])
    head = "".join(f"<th>{text}</th>" for text in ("difference", "95 % interval", "n", "p", "p (Holm)"))
    rows = []
    last = ""
    for row in result.differences.to_dict("records"):
        info = describe(str(row["metric"]), result.infos, str(row["unit"]))
        verdict = str(row["verdict"])
        kind = verdict if verdict in {"better", "worse"} else "none"
        numbers = [
            info.text(row["mean"], sign=True), interval_text(info, row["ci95_low"], row["ci95_high"]), str(row["n"]),
            p_text(row["p"]), p_text(row["p_holm"]),
        ]
        rows.append(
            f'<tr><th scope="row">{_title(info) if info.name != last else ""}</th><td class="left">{escape(str(row["other"]))}</td>'
            + "".join(f"<td>{escape(number)}</td>" for number in numbers)
            + f'<td class="left {kind}">{MARKS[verdict]}</td></tr>'
        )
        last = info.name
    return (
        f'<div class="wide"><table><caption>{first} minus each other arm, paired by seed.</caption><thead><tr><th>metric</th>'
        f'<th class="left">against</th>{head}<th class="left">{first} is</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _title(info: MetricInfo) -> str:
    return escape(info.title)


def _differences_section(result: Comparison) -> str:
    note = multiplicity_note(result.differences)
    explained = (
        "A verdict is given only where the 95 % interval of the paired difference excludes zero; it is not adjusted for the number "
        "of comparisons. p is of the paired t-test; p (Holm) is adjusted for the rivals of one metric, its horizons together."
    )
    return f'<h2>Differences</h2><p class="note">{escape(explained)} {escape(note)}</p>{differences_table(result)}'


def _findings(findings: Sequence[str]) -> str:
    return f'<div class="answers">{"".join(f"<p>{escape(text)}</p>" for text in findings)}</div>' if findings else ""


def _run_facts(result: Comparison) -> dict[str, str]:
    seeds = result.seeds
    runs = len(result.report[["arm", "seed"]].drop_duplicates())
    return {"arms": ", ".join(result.arms), "seeds": ", ".join(map(str, seeds)), "runs": str(runs)}


def _table(caption: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>' for row in rows
    )
    return f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _definitions(facts: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(text)}</dd>' for key, text in facts.items())}</dl>" if facts else ""


def _items(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def _figure(name: str, png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    text = caption or name.replace("_", " ")
    return (
        f'<figure><img alt="{escape(name.replace("_", " "))}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key} ") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return flat


def _files(result: Comparison) -> str:
    """Relative links to the files beside the report."""
    names = ("report.csv", "summary.csv", "differences.csv", "metrics.parquet", "scenario.yaml")
    links = [f'<a href="{name}">{name}</a>' for name in names if (result.directory / name).is_file()]
    return f"<p>Beside this page: {', '.join(links)}.</p>" if links else ""
