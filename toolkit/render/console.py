"""The terminal that commands write to: its width, and the look of their tables."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 120
"""Columns where nobody says otherwise, and the most that tables and prose take."""
LEAST = 20


def console(*, quiet: bool = False) -> Console:
    """Return a console as wide as the terminal; where output is piped, as ``COLUMNS`` says, or 120 columns."""
    from rich.console import Console

    watched = sys.stdout is not None and sys.stdout.isatty()
    told = os.environ.get("COLUMNS", "")
    width = max(LEAST, int(told)) if told.isdecimal() else WIDTH
    return Console(quiet=quiet, highlight=False, width=None if watched else width)


def say(out: Console, text: str, style: str = "") -> None:
    """Print prose, wrapped between words at the width of *out* or 120 columns; what looks like markup is told as it is."""
    from rich.text import Text

    out.print(Text(text, style=style), width=min(WIDTH, out.width))


def table() -> Table:
    """Return an empty table in the look of all commands."""
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(box=SIMPLE, pad_edge=False)


def show(out: Console, title: str, filled: Table) -> None:
    """Print a table below its title, which may be wider than the table.

    On a terminal within its width. Where output is piped a table takes what it needs, up to 120 columns, so that no number is cut.
    """
    from rich.measure import Measurement

    if title:
        say(out, title, "bold")
    before = out.width
    if not out.is_terminal:
        out.width = max(before, min(WIDTH, Measurement.get(out, out.options.update(width=WIDTH), filled).maximum))
    try:
        out.print(filled, width=min(WIDTH, out.width))
    finally:
        out.width = before
