"""What the package says of itself, as pages: every part with its settings, every metric. Written before the pages are built."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit import catalogue
from toolkit.analysis.report import Report
from toolkit.commands.describing import found

OUT = Path(__file__).parent / "generated"
LINE = re.compile(r"\s*\n\s*")


def setup(app: Any) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    app.connect("builder-inited", lambda _: write())
    return {"parallel_read_safe": True}


def write() -> None:
    """Write all pages that are not as they should be."""
    for name, text in {**parts(), "metrics.md": metrics()}.items():
        path = OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def parts() -> dict[str, str]:
    """A page for each family, and one that lists them."""
    pages = {f"parts/{family.key}.md": "\n".join(family_page(family)) for family in catalogue.families()}
    head = [
        "# What there is", "",
        "Everything that a scenario can name, by family: `type: dbcar` where a routing protocol is expected. `toolkit list` and "
        "`toolkit describe` say the same on a terminal, of parts of your own too.", "",
        "| family | what it is | members |", "|---|---|---|",
    ]
    for family in catalogue.families():
        names = ", ".join(f"`{name}`" for name in catalogue.members(family))
        head.append(f"| [{family.key}](parts/{family.key}.md) | {cell(family.about)} | {names} |")
    head += ["", "```{toctree}", ":hidden:", "", *(f"parts/{family.key}" for family in catalogue.families()), "```", ""]
    return {**pages, "parts.md": "\n".join(head)}


def family_page(family: catalogue.Family) -> Iterator[str]:
    """The members of one family, with their settings."""
    yield from (f"# {family.key}", "", family.about, "")
    for name, member in catalogue.members(family).items():
        title, text, rows = found(f"{family.key}/{name}")
        yield from (f"## {name}", "", f"*{title.partition(': ')[2]}*", "", plain(text or member.about), "")
        if rows:
            yield from ("| setting | type | unit | range | default | meaning |", "|---|---|---|---|---|---|")
            for row in rows:
                yield f"| `{row.path}` | " + " | ".join(map(cell, (row.kind, row.unit, row.range, row.default, row.about))) + " |"
            yield ""


def metrics() -> str:
    """Every metric of every report, with its unit and which way is good."""
    lines = [
        "# Metrics", "",
        "What stands in the column `metric` of `report.csv`, by what is told with it. A star stands for a value: `accuracy@*` for the "
        "accuracy at a step. ↑ says that higher is better, ↓ that lower is; one without is shown and never judged.", "",
    ]
    for module, title in reports():
        report: Report = importlib.import_module(module).REPORT
        lines += [f"## {title}", "", "| metric | unit | | meaning |", "|---|---|---|---|"]
        for info in sorted(report.infos, key=lambda info: info.name):
            way = {"higher": "↑", "lower": "↓"}.get(info.better or "", "")
            unit = "" if info.unit == "1" else info.unit
            lines.append(f"| `{info.name}` | {unit} | {way} | {cell(info.label.replace('{}', '*'))} |")
        lines.append("")
    return "\n".join(lines)


def reports() -> Iterator[tuple[str, str]]:
    """The modules that hold a report, and what they tell."""
    for path in sorted(catalogue.PACKAGE.rglob("report.py")):
        module = ".".join(("toolkit", *path.relative_to(catalogue.PACKAGE).with_suffix("").parts))
        if module != "toolkit.analysis.report":
            yield module, path.parent.name.replace("_", " ").capitalize()


def plain(text: str) -> str:
    """A docstring as prose: its own headings and literals as Markdown has them."""
    return re.sub(r"``([^`]+)``", r"`\1`", text).strip()


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return LINE.sub(" ", plain(text)).replace("|", "\\|")


if __name__ == "__main__":
    write()
