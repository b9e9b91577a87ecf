"""python -m toolkit.timeline RUN: write one run of a run directory as a timeline for chrome://tracing or Perfetto."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from toolkit.called import program

if TYPE_CHECKING:
    from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("timeline"),
        description="Write what every node computed and sent in one finished run as a Chrome trace (JSON): one process per node, with "
        "lanes for computing and sending. Open it in chrome://tracing or https://ui.perfetto.dev.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("run", metavar="RUN", help="run directory, as python -m toolkit.simulate leaves it")
    cli.add_argument("--arm", metavar="A", help="arm (default: the first)")
    cli.add_argument("--seed", type=int, metavar="S", help="seed (default: the first)")
    cli.add_argument("--out", metavar="FILE", help="the file to write (default: RUN/timeline/ARM-sSEED.json)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        path, events = write(args.run, args.arm, args.seed, args.out)
    except UserError as error:
        sys.stderr.write(f"error: {error}" + "\n")
        return 2
    sys.stdout.write(f"{path}: {events} events" + "\n")
    return 0


def write(run: str | Path, arm: str | None = None, seed: int | None = None, out: str | Path | None = None) -> tuple[Path, int]:
    """Write the timeline of one arm and seed; return the file and the number of its events.

    Raises:
        UserError: the directory holds no finished run, not this arm or seed, or no ledger of it; or the file cannot be written.
    """
    from pathlib import Path

    from toolkit.analysis.comparison import Comparison
    from toolkit.cluster.timeline import trace_events, write_trace
    from toolkit.core.part import nearest
    from toolkit.core.rundir import reading
    from toolkit.errors import RunDirectoryError

    result = Comparison.load(run)
    chosen = result.arms[0] if arm is None else arm
    if chosen not in result.arms:
        raise RunDirectoryError(f"--arm {chosen}: {run} has no such arm{nearest(chosen, result.arms)} (has: {', '.join(result.arms)})")
    seeds = sorted(int(number) for number in result.report.loc[result.report["arm"] == chosen, "seed"].unique())
    number = seeds[0] if seed is None else seed
    if number not in seeds:
        raise RunDirectoryError(f"--seed {number}: {run} has no such seed of {chosen} (has: {', '.join(map(str, seeds))})")
    with reading(Path(run) / "ledger"):
        ledger = result.ledger_of(chosen, number)
    if ledger.empty:
        raise RunDirectoryError(f"{Path(run) / 'ledger'}: holds no ledger of {chosen}, seed {number}, so there is no timeline to write")
    with reading(Path(run) / "metrics.parquet"):
        metrics = result.metrics
        metrics = metrics[(metrics["arm"] == chosen) & (metrics["seed"] == number)]
    path = Path(out) if out is not None else Path(run) / "timeline" / f"{chosen}-s{number}.json"
    with reading(Path(run) / "scenario.yaml"):
        workers = _workers(Path(run) / "scenario.yaml", chosen)

    def name_of(node: int) -> str:
        if workers is None:
            return f"node {node}"
        return f"worker{node}" if node < workers else f"server{node - workers}"

    with reading(Path(run) / "ledger"):
        try:
            return path, write_trace(path, trace_events(ledger, metrics, name_of))
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be written ({error.strerror}); give another --out") from error


def _workers(scenario: Path, arm: str) -> int | None:
    """Number of workers of an arm; None where the run is not of a cluster.

    The settings are read as plain text: to build the scenario would load all that its program needs, torch included.
    """
    from toolkit.core import yaml12
    from toolkit.scenario import replaced

    if not scenario.is_file():
        return None
    tree: Any = yaml12.read(scenario)
    for key, value in tree.get("compare", {}).get(arm, {}).items():
        tree = replaced(tree, key, value)
    fabric = tree.get("fabric", {})
    return int(fabric["workers"]) if fabric.get("type") == "cluster" and "workers" in fabric else None


if __name__ == "__main__":
    sys.exit(main())
