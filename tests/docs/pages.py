"""The pages that people read: what they link to, the commands that they give, the code that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache

from tests.test_simulate import ROOT

PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "generated" not in path.parts
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
RUNNERS = ("python", ".venv/bin/python", "torchrun", "toolkit", ".venv/bin/toolkit")
ELSEWHERE = ("http://", "https://", "mailto:")


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """A page without its code, whose brackets are no links."""
    lines = FENCE.sub("", text_of(page)).splitlines()
    return re.sub(r"`[^`\n]*`", "", "\n".join(line for line in lines if not line.startswith("    ")))


def links(page: str) -> Iterator[str]:
    """What a page links to, or shows, inside the project."""
    for target in LINK.findall(prose(page)):
        if not target.startswith(ELSEWHERE):
            yield target


@cache
def anchors(page: str) -> frozenset[str]:
    """The names of a page's headings, as the forge and Sphinx make them."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        found.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return frozenset(found)


def commands(page: str) -> Iterator[list[str]]:
    """The command lines of a page that call this project, as words; comments and settings before them left out."""
    text = text_of(page)
    lines = [line[4:] for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]
    lines += [line for language, block in FENCE.findall(text) if language in {"sh", "bash", "console"} for line in block.splitlines()]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        for part in re.split(r"\s&&\s|\s\|\s", line):
            try:
                words = shlex.split(re.sub(r"\[(-[^\]]*)\]", r"\1", part), comments=True)  # what may be left out stands in brackets
            except ValueError:  # an apostrophe in a comment that is no command
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] in RUNNERS:
                yield words[: words.index(">")] if ">" in words else words


def blocks(page: str, language: str) -> list[str]:
    """The code of one language on a page, block by block."""
    return [block for name, block in FENCE.findall(text_of(page)) if name == language]
