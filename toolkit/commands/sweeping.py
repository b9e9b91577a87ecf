"""toolkit sweep: a scenario at every point of a grid of settings, each point an arm."""

from __future__ import annotations

import argparse

from toolkit import simulate
from toolkit.called import program


def parser() -> argparse.ArgumentParser:
    """The command line: that of simulate, with several values in a --set."""
    cli = simulate.parser()
    cli.prog = program("sweep")
    cli.description = (
        "Run a scenario at every combination of settings, each an arm of one comparison: --set fabric.layout.nodes=20,40,60 --set "
        "fabric.mac=csma,aloha makes six arms, nodes_20+mac_csma and so on. A --set with one value is set for all. Of a scenario that has "
        "arms already, each runs at every point, or those that --arm names."
    )
    cli.add_argument("--arm", metavar="NAME", action="append", default=[], help="only this arm of the scenario; may be repeated")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return simulate.called(parser(), argv, _sweep)


def _sweep(args: argparse.Namespace) -> int:
    from toolkit.arms import grid, parse_values
    from toolkit.errors import ScenarioError

    values = dict(parse_values(text) for text in args.settings)
    swept = {path: each for path, each in values.items() if len(each) > 1}
    if not swept:
        raise ScenarioError("--set: give a setting several values to sweep over, with commas between: --set fabric.layout.nodes=20,40")
    args.settings = [text for text in args.settings if text.partition("=")[0].strip() not in swept]
    plain = simulate.read(args)
    scenario = grid(plain, swept, arms=args.arm)
    return simulate.run_and_tell(args, scenario.changed({"name": f"{plain.name[:94]}-sweep"}))
