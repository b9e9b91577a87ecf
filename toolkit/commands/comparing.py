"""toolkit compare: run directories side by side."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program
from toolkit.commands.telling import USUAL_EXIT, told

if TYPE_CHECKING:
    from rich.table import Table

    from toolkit.across import Across


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("compare"),
        description="Put run directories side by side: means with 95 % intervals, and the first run minus each other, arm by arm. They are "
        "paired by seed where both met the same world; where they did not, the differences are unpaired, and it says why.",
        epilog=USUAL_EXIT,
    )
    cli.add_argument("runs", metavar="RUN", nargs="+", help="directories of finished runs, two or more")
    cli.add_argument("--metric", metavar="NAME", action="append", default=[], help="this metric, not the headline ones; may be repeated")
    cli.add_argument("--csv", action="store_true", help="print the differences of all metrics as comma-separated values instead")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_compare, parser().parse_args(argv))


def _compare(args: argparse.Namespace) -> int:
    from toolkit.across import compare
    from toolkit.render.console import console, say, show

    found = compare(*args.runs)
    if args.csv:
        sys.stdout.write(found.differences.to_csv(index=False))
        return 0
    out = console()
    for table in tables(found, args.metric):
        show(out, "", table)
    for note in found.notes():
        say(out, note)
    return 0


def tables(found: Across, metrics: list[str]) -> list[Table]:
    """Return a table per metric: the arms of all runs, and the differences between runs.

    Raises:
        ScenarioError: the runs have no such metric.
    """
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from toolkit.core.part import nearest
    from toolkit.errors import ScenarioError, listed
    from toolkit.render.terminal import interval_text

    known = {info.name: info for info in found.infos}
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise ScenarioError(f"--metric {unknown[0]}: no run has it{nearest(unknown[0], list(known))} (have: {listed(known)})")
    made = []
    for info in [known[name] for name in metrics] or found.headline:
        table = Table("", "", escape(info.title), box=SIMPLE, pad_edge=False)
        rows = found.summary[found.summary["metric"] == info.name]
        for row in rows.to_dict("records"):
            mean = info.with_interval(row["mean"], row["ci95_low"], row["ci95_high"])
            table.add_row(Text(str(row["run"])), Text(str(row["arm"])), Text(mean))
        apart = found.differences[found.differences["metric"] == info.name].to_dict("records")
        if apart:
            table.add_section()
        for row in apart:
            names = str(row["arm"]) if row["arm"] == row["other_arm"] else f"{row['arm']} − {row['other_arm']}"
            interval = f" ({interval_text(info, row['ci95_low'], row['ci95_high'])})" if row["n"] > 1 else ""
            table.add_row(
                Text(f"{row['run']} − {row['other_run']}"), Text(names),
                Text(f"{info.text(row['mean'], sign=True)}{interval}, {row['how']}, n = {row['n']}"),
            )
        made.append(table)
    return made
