"""The report as one HTML file that needs nothing else: pictures and style are inside, and it runs no script.

A reader meets the question, the verdict, the main table and the figures; everything else is folded.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import NamedTuple

from toolkit.analysis.breakdown import QUANTITIES, spent
from toolkit.analysis.comparison import Comparison
from toolkit.analysis.statistics import multiplicity_note
from toolkit.analysis.verdict import verdict
from toolkit.render.page_style import STYLE
from toolkit.render.tables import all_metrics_table, costs_table, differences_table, means_table

NO_VERSIONS = {"report", "view", "quick", "standing", "command"}
"""Entries of ``versions.json`` that are no versions."""
PNG = b"\x89PNG"
READABLE = 0.55
"""Share of its own pixels below which a narrow page does not shrink a picture, so that its text stays readable: it scrolls instead."""
LARGEST = 0.75
"""Share of its own pixels above which a picture is not shown."""


@dataclass(frozen=True)
class ReportHeader:
    """What only the scenario knows: what was asked, what was found, how it was run and what to beware of."""

    title: str
    question: str = ""
    findings: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    command: str = ""


class Section(NamedTuple):
    """A part of the page."""

    name: str
    """What the contents list calls it; its address is made of this."""
    body: str
    folded: bool = False

    @property
    def address(self) -> str:
        return self.name.lower().replace(" ", "-")


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
    sections = [section for section in _sections(result, header, pictures, captions) if section.body]
    tag = result.standing.tag
    title = f"{header.title} ({tag})" if tag else header.title
    parts = [
        f"<h1>{escape(header.title)}{f' <small>{escape(tag)}</small>' if tag else ''}</h1>",
        f'<p class="question">{escape(header.question)}</p>' if header.question else "",
        _contents(sections), *map(_shown, sections),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f'<body class="tk">\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _sections(
    result: Comparison, header: ReportHeader, pictures: Mapping[str, bytes], captions: Mapping[str, str]
) -> Iterator[Section]:
    yield Section("Verdict", _verdict(result))
    yield Section("Results", means_table(result))
    yield Section("Figures", "".join(_figure(name, png, captions.get(name, "")) for name, png in pictures.items()))
    yield Section("What to beware of", _items(header.caveats))
    yield Section("Findings in full", "".join(f"<p>{escape(text)}</p>" for text in header.findings), folded=True)
    yield Section("Differences", _differences(result), folded=True)
    yield Section("All metrics", all_metrics_table(result), folded=True)
    yield from _costs(result)
    yield Section("What was run", _definitions(_run_facts(result) | dict(header.settings)) + _scenario(result), folded=True)
    yield Section("How to get the same again", _repeat(result, header.command), folded=True)


def _contents(sections: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#{section.address}">{escape(section.name)}</a></li>' for section in sections)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _shown(section: Section) -> str:
    """A section under its heading; the address of a folded one is inside, so that following it unfolds it."""
    if section.folded:
        return f'<details><summary>{escape(section.name)}</summary><div id="{section.address}">{section.body}</div></details>'
    return f'<section id="{section.address}"><h2>{escape(section.name)}</h2>{section.body}</section>'


def _verdict(result: Comparison) -> str:
    """The box at the top."""
    kind = "verdict" if result.standing.bears and len(result.arms) > 1 else "verdict none"
    return f'<div class="{kind}">{"".join(f"<p>{escape(text)}</p>" for text in verdict(result))}</div>'


def _differences(result: Comparison) -> str:
    note = multiplicity_note(result.differences, bears=result.standing.bears)
    explained = (
        "A verdict is given only where the 95 % interval of the paired difference excludes zero; it is not adjusted for the number "
        "of comparisons, as the verdict at the top of the page is. p is of the paired t-test; p (Holm) is adjusted for the rivals of one "
        "metric, its horizons together. "
    ) if result.standing.bears else ""
    return f'<p class="note">{escape(explained)}{escape(note)}</p>{differences_table(result)}'


def _costs(result: Comparison) -> Iterator[Section]:
    """Seconds, joules and bytes by kind of work, and by node."""
    found = spent(result)
    if found is None:
        return
    note = (
        "Sums over all nodes, means over seeds, from the ledger. Seconds are those that nodes were busy with it, so they add up to more "
        "than a run lasts; bytes are those that were sent or went to or from storage."
    )
    for name, corner, tables in (
        ("Costs by kind of work", "kind of work", found.by_work), ("Costs by node", "node", found.by_node)
    ):
        shown = "".join(costs_table(info, corner, tables[info.name]) for info in QUANTITIES if len(tables[info.name]))
        yield Section(name, f'<p class="note">{note}</p>{shown}' if shown else "", folded=True)


def _run_facts(result: Comparison) -> dict[str, str]:
    runs = len(result.report[["arm", "seed"]].drop_duplicates())
    facts = {"arms": ", ".join(result.arms), "seeds": ", ".join(map(str, result.seeds)), "runs": str(runs)}
    return facts | ({"quick look": "; ".join(result.standing.given_up) or "yes"} if result.standing.quick else {})


def _scenario(result: Comparison) -> str:
    """The scenario, every value spelled out."""
    path = result.directory / "scenario.yaml"
    if not path.is_file():
        return ""
    return f"<h3>The scenario, every value spelled out</h3><pre>{escape(path.read_text(encoding='utf-8'))}</pre>"


def _repeat(result: Comparison, command: str) -> str:
    typed = result.versions.get("command")
    facts = _flat({key: value for key, value in result.versions.items() if key not in NO_VERSIONS})
    parts = [
        f"<pre>{escape(command)}</pre>" if command else "",
        f"<p>It was run as</p><pre>{escape(shlex.join(map(str, typed)))}</pre>" if isinstance(typed, list) else "",
        _definitions(facts), _files(result),
    ]
    return "".join(parts)


def _definitions(facts: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(text)}</dd>' for key, text in facts.items())}</dl>" if facts else ""


def _items(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _figure(name: str, png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    text = caption or name.replace("_", " ")
    size = ""
    if png.startswith(PNG):
        wide_px = int.from_bytes(png[16:20], "big")  # where a PNG says its width
        size = f' style="--least: {READABLE * wide_px:.0f}px; max-width: {LARGEST * wide_px:.0f}px"'
    return (
        f'<figure><div class="wide"><img alt="{escape(name.replace("_", " "))}"{size} src="data:image/png;base64,{data}"></div>'
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
