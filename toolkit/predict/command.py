"""The command line of prediction: forecast a column of a table and say how well that would have worked."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program
from toolkit.predict.spans import span_s

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
MOST_REMEMBERED = 8192
"""Cells of history that a predictor gets, unless told otherwise."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("predict"),
        description="Forecast a column of a table: errors per horizon against rivals, how sure the forecasts are and whether rightly so, "
        "what comes after the end of the record, and a figure.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence), 130 interrupted",
    )
    cli.add_argument("series", metavar="SERIES", help="a text table (any separator, header or not, .gz too), .parquet or .npz")
    cli.add_argument("--column", default="snr_db", metavar="NAME", help="column to forecast, or its number (default: snr_db)")
    cli.add_argument("--time", nargs="+", default=[], metavar="NAME",
                     help="column of the times, or several (year month day hour …); none for rows that follow each other by --step "
                     "(default: time, or what is plainly a time)")
    cli.add_argument("--predictor", nargs="+", default=["knn"], metavar="NAME",
                     help="the predictor in question, and others that are drawn too (default: knn); package.module for one of your own")
    cli.add_argument("--compare", nargs="+", metavar="NAME",
                     help="rivals besides persistence, or all (default: ewma ar harmonic, unless several predictors are given)")
    cli.add_argument("--set", metavar="PREDICTOR.NAME=VALUE", action="append", default=[], dest="settings",
                     help="a setting of a predictor, for example --set knn.k=8; may be repeated")
    cli.add_argument("--tune", type=int, default=0, metavar="N",
                     help="try N settings of every method on the past alone and compare with the best (default: 0, the defaults)")
    cli.add_argument("--horizon", nargs="+", default=None, metavar="SPAN",
                     help="how far ahead, for example 30min 3h 1d (default: 1, 3 and 6 steps of the grid)")
    cli.add_argument("--step", metavar="SPAN",
                     help="grid step, within which rows are averaged (default: the usual time between two rows; if irregular, one that "
                     "fills the cells)")
    cli.add_argument("--history", type=float, default=0.7, metavar="SHARE",
                     help="share of the record before the first forecast (default: 0.7)")
    cli.add_argument("--remember", type=int, default=MOST_REMEMBERED, metavar="CELLS",
                     help=f"cells of history that predictors see at any time (default: {MOST_REMEMBERED})")
    cli.add_argument("--exogenous", nargs="+", default=[], metavar="NAME",
                     help="columns of the same file that predictors may use (wind, …)")
    cli.add_argument("--known-ahead", nargs="+", default=[], metavar="NAME",
                     help="those of them that are known for the future, as a tide is")
    cli.add_argument("--threshold", type=float, metavar="X",
                     help="score also whether the column will be at X or above, as an SNR that decodes a frame is (Brier score)")
    cli.add_argument("--figure", metavar="FILE.png", help="where the figure goes (default: SERIES-forecasts.png here; none with --json)")
    cli.add_argument("--json", action="store_true", help="print one JSON object per predictor and horizon, and nothing else")
    reading = cli.add_argument_group("reading the table", "by default found out where it is unambiguous, and said")
    reading.add_argument("--sep", metavar="CHAR", help="what separates columns")
    reading.add_argument("--decimal", choices=(".", ","), help="decimal point or comma")
    reading.add_argument("--comment", metavar="CHAR", help="lines that begin so are left out")
    reading.add_argument("--time-format", metavar="FORMAT", help="how times are written, as strptime takes it: %%d/%%m/%%Y %%H:%%M")
    reading.add_argument("--time-unit", metavar="UNIT",
                         help="what numbers count: s, ms, us, ns, min, h, d, year, unix, excel, matlab, or like 'd since 1700-01-01'")
    reading.add_argument("--tz", metavar="ZONE", help="time zone of times that name none, such as Europe/Amsterdam (default: UTC)")
    reading.add_argument("--missing", nargs="+", default=[], metavar="CODE",
                         help="values that stand for missing, such as 999; none: no value does")
    reading.add_argument("--where", action="append", default=[], metavar="NAME=VALUE", help="only rows with this value; may be repeated")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        return _predict(args)
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _predict(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit.acoustic.prediction.compare import compare
    from toolkit.acoustic.prediction.exogenous import Exogenous
    from toolkit.core.part import nearest
    from toolkit.errors import ScenarioError
    from toolkit.predict.output import draw, print_json, print_tables
    from toolkit.predict.parts import build, wanted
    from toolkit.predict.reading import ReadOptions, read_record
    from toolkit.predict.tables import TableOptions
    from toolkit.predict.times import TimeOptions

    path = Path(args.series)
    if not 0.0 < args.history < 1.0:
        raise ScenarioError(f"--history {args.history:g}: must be above 0 and below 1")
    if args.tune < 0 or args.remember < 64:
        raise ScenarioError(f"--tune {args.tune}, --remember {args.remember}: must be at least 0 and 64")
    for column in args.known_ahead:
        if column not in args.exogenous:
            raise ScenarioError(f"--known-ahead {column}: is not among the columns of --exogenous{nearest(column, args.exogenous)}")
    asked = wanted(args.predictor, args.compare, args.settings, args.tune)
    record = read_record(path, ReadOptions(
        column=args.column, time=tuple(args.time), table=TableOptions(args.sep, args.decimal, args.comment),
        times=TimeOptions(args.time_unit, args.time_format, args.tz), missing=tuple(args.missing), where=tuple(args.where),
        step_s=None if args.step is None else span_s("--step", args.step), beside=tuple(args.exogenous),
    ))
    grid = record.grid
    horizons = _horizons(args.horizon, grid.step_s)
    around = Exogenous.of(record.times_s, record.beside, tuple(args.known_ahead)) if args.exogenous else None
    notes = list(record.notes)
    shown = not args.json and sys.stderr.isatty()

    def done(name: str) -> None:
        if shown:
            sys.stderr.write(f"\r{name:<24}")

    first = max(1, int(args.history * len(grid.values)))
    parts = build(asked, grid, horizons, first, args.remember, around, notes, done)
    found = compare(parts, grid, horizons, args.history, asked.names[0], done=done, threshold=args.threshold)
    if shown:
        sys.stderr.write("\r" + " " * 24 + "\r")
    figure = Path(args.figure or f"{path.name.split('.')[0]}-forecasts.png")
    if args.figure or not args.json:
        draw(figure, list(dict.fromkeys(args.predictor)), args.column, grid, found, record.dated)
    if args.json:
        print_json(found, asked.names[0], record.dated)
    else:
        print_tables(
            str(args.series), args.column, grid, found, asked.names[0], notes=notes, dated=record.dated, history=args.history,
            decides=args.threshold is not None, remember=args.remember,
        )
        sys.stdout.write(f"\n{figure}\n")
    return 0


def _horizons(texts: Sequence[str] | None, step_s: float) -> list[int]:
    """Horizons in cells, rising, each once."""
    from toolkit.errors import ScenarioError

    if texts is None:
        return [1, 3, 6]
    cells = []
    for text in texts:
        ahead = round(span_s("--horizon", text) / step_s)
        if ahead < 1:
            raise ScenarioError(f"--horizon {text}: is below half of the grid step of {step_s:g} s; give a longer one, or a smaller --step")
        cells.append(ahead)
    return sorted(set(cells))
