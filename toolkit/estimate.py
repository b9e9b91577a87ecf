"""python -m toolkit.estimate SCENARIO.yaml: what each arm is going to take, before anything is trained."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program

if TYPE_CHECKING:
    from rich.table import Table

    from toolkit.core.program import Estimate
    from toolkit.scenario import Scenario


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("estimate"),
        description="Say what every arm of a scenario will take per run: operations, bytes, memory, simulated time and energy. Nothing is "
        "trained; the numbers follow from the networks' shapes, the methods' plans and the machine.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("scenario", metavar="SCENARIO", help="YAML file")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings", help="what is different; may be repeated")
    cli.add_argument("--quick", action="store_true", help="with the scenario's own quick settings")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the scenario name parts of this package")
    cli.add_argument("--csv", action="store_true", help="print comma-separated values in SI units instead of a table")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        return _estimate(args)
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2


def _estimate(args: argparse.Namespace) -> int:
    from toolkit.scenario import read_for_command

    refuse_unforeseeable(args.scenario)
    scenario = read_for_command(args.scenario, args.settings, quick=args.quick, trusted=args.trust)
    found = estimates(scenario)
    if args.csv:
        sys.stdout.write("arm,flops,moved_nbytes,sent_nbytes,memory_nbytes,storage_nbytes,time_s,energy_j\n")
        for arm, row in found.items():
            sys.stdout.write(",".join([arm, *(f"{value:.6g}" for value in row)]) + "\n")
        return 0
    from toolkit.render.console import console, show

    show(console(), "What one run of each arm will take; nothing was trained", _table(found))
    return 0


def estimates(scenario: Scenario) -> dict[str, Estimate]:
    """Return the estimate of every arm.

    Raises:
        ScenarioError: a program cannot say what it will take, or an arm does not fit its machine.
    """
    from toolkit.errors import ScenarioError

    found = {}
    for name, arm in scenario.arms().items():
        arm.check()
        estimate = arm.program.estimate(arm.fabric)
        if estimate is None:
            raise ScenarioError(f"arm {name}: {unforeseeable(arm.program.type_name())}")
        found[name] = estimate
    return found


def unforeseeable(program: str) -> str:
    """Say that a program of this type cannot be estimated."""
    return f"program '{program}' cannot say beforehand what it takes; run it, with --quick for a first look"


def refuse_unforeseeable(scenario: str) -> None:
    """Raise a ScenarioError if the scenario's program has no estimate; seen in its source, since loading it may take torch and seconds.

    What cannot be seen so is left to `estimates`.
    """
    import ast
    import importlib.util
    from pathlib import Path

    from toolkit.core import yaml12
    from toolkit.core.program import Program
    from toolkit.errors import ScenarioError

    tree = yaml12.read(Path(scenario))
    program = tree.get("program") if isinstance(tree, dict) else None
    kind = program.get("type") if isinstance(program, dict) else program
    if not isinstance(kind, str) or "." in kind:
        return
    for pattern in Program.modules:
        try:
            spec = importlib.util.find_spec(pattern.format(kind.replace("-", "_")))
        except ModuleNotFoundError:
            continue
        if spec is not None and spec.origin is not None:
            source = ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
            if not any(isinstance(node, ast.FunctionDef) and node.name == "estimate" for node in source):
                raise ScenarioError(f"program.type: {unforeseeable(kind)}")


def _table(found: dict[str, Estimate]) -> Table:
    """One row per arm, every column in a unit of its own."""
    from rich.text import Text

    from toolkit.analysis.metric import MetricInfo
    from toolkit.analysis.units import scaled
    from toolkit.render.console import table

    told = (
        MetricInfo("flops", "FLOP", "operations", digits=0), MetricInfo("moved_nbytes", "B", "moved in memory", digits=0),
        MetricInfo("sent_nbytes", "B", "sent", digits=0), MetricInfo("memory_nbytes", "B", "memory needed", digits=0),
        MetricInfo("storage_nbytes", "B", "on storage", digits=0), MetricInfo("time_s", "s", "time"),
        MetricInfo("energy_j", "J", "energy", digits=2),
    )
    shown = table()
    shown.add_column("arm", no_wrap=True)
    infos = [scaled(info, [row[place] for row in found.values()]) for place, info in enumerate(told)]
    for info in infos:
        shown.add_column(Text(info.title), justify="right")
    for arm, row in found.items():
        shown.add_row(Text(arm), *(info.text(value) for info, value in zip(infos, row, strict=True)))
    return shown


if __name__ == "__main__":
    sys.exit(main())
