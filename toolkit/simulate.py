"""python -m toolkit.simulate SCENARIO.yaml: run a scenario and report on it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from toolkit.called import program

if TYPE_CHECKING:
    from toolkit.scenario import Scenario


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("simulate"),
        description="Run every arm and seed of a scenario and report what each costs in seconds, bytes and joules, and how well it works.",
        epilog="exit status: 0 done, 1 a process was lost, 2 something in the input is wrong (said in one sentence), 130, 143 or 129 "
        "stopped by Ctrl-C, SIGTERM or SIGHUP. Finished runs are kept whatever happens.",
    )
    cli.add_argument("scenario", metavar="SCENARIO.yaml", help="what to run, for example scenarios/sea_trial.yaml")
    cli.add_argument("--out", metavar="DIR", help="run directory (default: runs/NAME-DATE-TIME)")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings",
                     help="override a setting, for example --set fabric.layout.nodes=60; may be repeated")
    cli.add_argument("--seeds", type=int, metavar="N", help="number of seeds")
    cli.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core); results do not depend on it")
    cli.add_argument("--backend", choices=("loky", "dask", "ray"), default="loky", help="what runs the processes (default: loky)")
    cli.add_argument("--address", metavar="ADDRESS", help="of a Dask scheduler (tcp://HOST:PORT) or Ray head; default: processes here")
    cli.add_argument("--quick", action="store_true", help="shrink the scenario to seconds")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the scenario name parts of this package")
    cli.add_argument("--check", action="store_true", help="only check the scenario and its input files")
    cli.add_argument("--resume", action="store_true", help="finish a run that was stopped (the newest one of this scenario, or --out)")
    cli.add_argument("--mix-versions", action="store_true", help="with --resume: go on with what other versions of the software began")
    cli.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return called(parser(), argv, lambda args: run_and_tell(args, read(args)))


def called(cli: argparse.ArgumentParser, argv: list[str] | None, act: Callable[[argparse.Namespace], int]) -> int:
    """Return the exit status of *act*, for a command that runs scenarios; whatever ends it early is told in a sentence."""
    args = cli.parse_args(argv)
    args.command = [*cli.prog.split(), *(sys.argv[1:] if argv is None else argv)]
    from toolkit.errors import UserError, WorkerLostError
    from toolkit.stopping import signals_stop, stopped

    try:
        with signals_stop():
            return act(args)
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}" + "\n")
        return 2
    except WorkerLostError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as told:
        return stopped(told)


def read(args: argparse.Namespace) -> Scenario:
    """Return the scenario that the command line asks for, its settings applied."""
    from toolkit.errors import ScenarioError
    from toolkit.scenario import read_for_command

    for name in ("seeds", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ScenarioError(f"--{name} {value}: must be at least 1")
    settings = [*args.settings, f"seeds={args.seeds}"] if args.seeds is not None else args.settings
    return read_for_command(args.scenario, settings, quick=args.quick, trusted=args.trust)


def run_and_tell(args: argparse.Namespace, scenario: Scenario) -> int:
    """Check or run *scenario* as the command line says, and print what came of it; return the exit status."""
    from toolkit.core.words import counted
    from toolkit.render.console import console
    from toolkit.scenario import telling_notes
    from toolkit.stopping import output_lost
    from toolkit.sweep import check, quick_facts, run

    out = console(quiet=args.quiet)
    if args.check:
        with telling_notes(_note):
            check(scenario)
        length = "to the end of their programs" if scenario.duration_s is None else f"of {scenario.duration_s / 3600:g} h each"
        arms, seeds = counted(len(scenario.arms()), "arm"), counted(scenario.seeds, "seed")
        out.print(f"{args.scenario}: good; {arms} x {seeds} {length}", markup=False)
        return 0
    from toolkit.progress import watch
    from toolkit.render.terminal import terminal_tables

    result = run(
        scenario, out=_directory(args, scenario), jobs=args.jobs or len(os.sched_getaffinity(0)), backend=args.backend,
        address=args.address, resume=args.resume, watch=None if args.quiet else watch, mix_versions=args.mix_versions, tell=_note,
        facts={"command": args.command, **(quick_facts(args.scenario) if args.quick else {})},
    )
    answers = (result.directory / "answers.txt").read_text(encoding="utf-8").splitlines()
    try:
        terminal_tables(result, out, answers)
        out.print(f"\n{result.directory / 'report.html'}", soft_wrap=True, markup=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return output_lost(error, result.directory)
    return 0


def _note(sentence: str) -> None:
    sys.stderr.write(f"note: {sentence}\n")


def _directory(args: argparse.Namespace, scenario: Scenario) -> str:
    """Where the run goes: --out, or a dated folder; with --resume the newest one of this scenario that is not done."""
    import time
    from pathlib import Path

    from toolkit.errors import RunDirectoryError

    if args.out is not None:
        return str(args.out)
    if args.resume:
        begun = sorted(path.parent for path in Path("runs").glob(f"{scenario.name}-*/scenario.yaml") if not (path.parent / "DONE").exists())
        if not begun:
            raise RunDirectoryError(f"runs: holds no unfinished run of {scenario.name}; name one with --out")
        return str(begun[-1])
    return str(Path("runs") / f"{scenario.name}-{time.strftime('%Y%m%d-%H%M%S')}")


if __name__ == "__main__":
    from toolkit.stopping import leave

    leave(main())
