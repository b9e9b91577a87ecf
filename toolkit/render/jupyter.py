"""A result in a notebook: the headline table, the paired differences, and the figures, in a block whose style touches nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from toolkit.analysis.comparison import Comparison
from toolkit.render.tables import differences_table, means_table

BLOCK = "toolkit-result"
"""The class of the block; every rule of its style begins with it."""
RULES = (
    ".better { color: #0b6b3a }", ".worse { color: #a5321d }", ".none { opacity: .6 }", "caption { text-align: left }",
    ".wide { overflow-x: auto }", "figure { margin: 1em 0 }", "img { max-width: 100%; height: auto; background: #fff }",
    "figcaption { opacity: .8; max-width: 46rem }",
)


def notebook(result: Comparison, pictures: Mapping[str, bytes], captions: Mapping[str, str]) -> str:
    """Return what a notebook shows; *pictures* are PNG by name, shown in the order of *captions*, those without one last."""
    style = " ".join(f".{BLOCK} {rule}" for rule in RULES)
    known = [name for name in captions if name in pictures]
    ordered = [*known, *(name for name in pictures if name not in known)]
    figures = [_figure(name, pictures[name], captions.get(name, "")) for name in ordered]
    return f'<div class="{BLOCK}"><style>{style}</style>{means_table(result)}{differences_table(result)}{"".join(figures)}</div>'


def _figure(name: str, png: bytes, caption: str) -> str:
    title = name.replace("_", " ")
    data = base64.b64encode(png).decode("ascii")
    picture = f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{escape(caption or title)}</figcaption></figure>"
