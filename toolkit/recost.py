"""python -m toolkit.recost RUN --set PATH=VALUE: what a finished run would have cost on other machines, links or schedules."""

from __future__ import annotations

import argparse
import os
import sys

from toolkit.called import program


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("recost"),
        description="Replay what the programs of a finished run asked for on another device, topology, network or schedule, without "
        "training again. What was learnt stays the same; seconds and joules are new.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("run", metavar="RUN", help="directory of a finished run")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings",
                     help="what is different, for example --set fabric.topology.link=ten_gigabit_ethernet; may be repeated")
    cli.add_argument("--out", metavar="DIR", help="run directory of the new prices (default: RUN-recost, RUN-recost-2 …)")
    cli.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the run name parts of this package")
    cli.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError, WorkerLostError
    from toolkit.stopping import signals_stop, stopped

    try:
        with signals_stop():
            return _recost(args)
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2
    except WorkerLostError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as told:
        return stopped(told)


def _recost(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit.core import trust
    from toolkit.render.console import console
    from toolkit.render.terminal import terminal_tables
    from toolkit.repricing import recost
    from toolkit.scenario import parse_setting

    trust.trust(args.trust)
    overrides = dict(parse_setting(text) for text in args.settings)
    result = recost(Path(args.run), overrides, out=args.out, jobs=args.jobs or len(os.sched_getaffinity(0)))
    out = console(quiet=args.quiet)
    terminal_tables(result, out, (result.directory / "answers.txt").read_text(encoding="utf-8").splitlines())
    out.print(f"\n{result.directory / 'report.html'}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    from toolkit.stopping import leave

    leave(main())
