"""python -m toolkit.predict SERIES.csv: forecast a column of a CSV and say how well that would have worked."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.acoustic.prediction import Predictor
    from toolkit.acoustic.prediction.compare import Comparison, Grid

INTERRUPTED = 130
UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
MOST_REMEMBERED = 8192
"""Cells of history that a predictor gets, unless told otherwise."""
SHOWN_CELLS = 240
SPRING_NEAP_D = 14.8


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog="python -m toolkit.predict",
        description="Forecast a column of a CSV: errors per horizon against rivals, how sure the forecasts are and whether rightly so, "
        "what comes after the end of the record, and a figure.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence), 130 interrupted",
    )
    cli.add_argument("series", metavar="SERIES.csv", help="a CSV with a header line")
    cli.add_argument("--column", default="snr_db", metavar="NAME", help="column to forecast (default: snr_db); empty cells are missing")
    cli.add_argument("--time", default="time", metavar="NAME", help="column of the times, seconds or ISO 8601 (default: time)")
    cli.add_argument("--predictor", nargs="+", default=["knn"], metavar="NAME",
                     help="the predictor in question, and others (default: knn)")
    cli.add_argument("--compare", nargs="+", metavar="NAME",
                     help="rivals besides persistence, or all (default: ewma ar harmonic, unless several predictors are given)")
    cli.add_argument("--set", metavar="PREDICTOR.NAME=VALUE", action="append", default=[], dest="settings",
                     help="a setting of a predictor, for example --set knn.k=8; may be repeated")
    cli.add_argument("--horizon", nargs="+", default=None, metavar="SPAN",
                     help="how far ahead, for example 30min 3h 1d (default: 1, 3 and 6 steps of the grid)")
    cli.add_argument("--step", metavar="SPAN", help="grid step, within which rows are averaged (default: the median time between two rows)")
    cli.add_argument("--history", type=float, default=0.7, metavar="SHARE",
                     help="share of the record before the first forecast (default: 0.7)")
    cli.add_argument("--exogenous", nargs="+", default=[], metavar="NAME",
                     help="columns of the same file that predictors may use (wind, …)")
    cli.add_argument("--known-ahead", nargs="+", default=[], metavar="NAME",
                     help="those of them that are known for the future, as a tide is")
    cli.add_argument("--threshold", type=float, metavar="X",
                     help="score also whether the column will be at X or above, as an SNR that decodes a frame is (Brier score)")
    cli.add_argument("--figure", metavar="FILE.png", help="where the figure goes (default: SERIES-forecasts.png here; none with --json)")
    cli.add_argument("--json", action="store_true", help="print one JSON object per predictor and horizon, and nothing else")
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

    from toolkit.acoustic.prediction.compare import compare, read_grid
    from toolkit.errors import ScenarioError

    path = Path(args.series)
    if not 0.0 < args.history < 1.0:
        raise ScenarioError(f"--history {args.history:g}: must be above 0 and below 1")
    grid = read_grid(path, args.column, args.time, None if args.step is None else span_s("--step", args.step))
    horizons = _horizons(args.horizon, grid.step_s)
    parts = _parts(args, path, grid, horizons)
    main_name = args.predictor[0]

    def done(name: str) -> None:
        if not args.json and sys.stderr.isatty():
            sys.stderr.write(f"\r{name:<24}")

    found = compare(parts, grid, horizons, args.history, main_name, done, args.threshold)
    if not args.json and sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 24 + "\r")
    figure = Path(args.figure or f"{path.stem}-forecasts.png")
    if args.figure or not args.json:
        _draw(figure, main_name, args.column, grid, found)
    if args.json:
        _print_json(found, main_name)
    else:
        _print_tables(args, main_name, grid, found)
        sys.stdout.write(f"\n{figure}\n")
    return 0


def span_s(option: str, text: str) -> float:
    """Read a span such as 90s, 30min, 3h, 1d, or plain seconds; *option* is named in the error."""
    import re

    from toolkit.errors import ScenarioError

    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(s|min|h|d|)\s*", text)
    seconds = float(match[1]) * UNITS_S[match[2] or "s"] if match else 0.0
    if not 0.0 < seconds < float("inf"):
        raise ScenarioError(f"{option} {text}: must be a span such as 90s, 30min, 3h or 1d")
    return seconds


def span_text(seconds: float) -> str:
    """A span as people say it: 45 s, 30 min, 3 h."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"


def _horizons(texts: list[str] | None, step_s: float) -> list[int]:
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


def _parts(args: argparse.Namespace, path: Path, grid: Grid, horizons: Sequence[int]) -> dict[str, Predictor]:
    """The predictor in question, persistence and the rivals, by name."""
    from pydantic import ValidationError
    from pydantic_core import PydanticCustomError

    from toolkit.acoustic.prediction import Predictor
    from toolkit.core import yaml12
    from toolkit.core.part import explain, nearest
    from toolkit.errors import ScenarioError

    known = [name for name in Predictor.member_names() if name != "oracle"]  # nobody knows the truth of a record
    rivals = args.compare or ([] if len(args.predictor) > 1 else ["ewma", "ar", "harmonic"])
    names = list(dict.fromkeys([*args.predictor, "persistence", *(known if "all" in rivals else rivals)]))
    chosen: dict[str, dict[str, object]] = {name: {} for name in names}
    for text in args.settings:
        place, equals, value = text.partition("=")
        name, dot, setting = place.strip().partition(".")
        if not (equals and dot and setting):
            raise ScenarioError(f"--set {text}: must look like predictor.name=value, for example knn.k=8")
        if name not in chosen:
            raise ScenarioError(f"--set {text}: '{name}' is not among the predictors compared{nearest(name, names)}")
        chosen[name][setting] = yaml12.parse(value, f"--set {text}")
    for column in args.known_ahead:
        if column not in args.exogenous:
            raise ScenarioError(f"--known-ahead {column}: is not among the columns of --exogenous{nearest(column, args.exogenous)}")
    around = {"file": str(path), "time": args.time, "columns": args.exogenous, "known_ahead": args.known_ahead}
    parts: dict[str, Predictor] = {}
    for name, settings in chosen.items():
        if name not in known:
            raise ScenarioError(f"'{name}' is not a predictor{nearest(name, known)} (known: {', '.join(known)})")
        try:
            member = Predictor.find(name)
            fields = member.model_fields
            given: dict[str, object] = {"step_s": grid.step_s}
            if "horizons_s" in fields:
                given["horizons_s"] = [h * grid.step_s for h in horizons]
            if "max_cells" in fields:
                default = int(fields["max_cells"].default)
                given["max_cells"] = max(default, min(len(grid.values) + 1, MOST_REMEMBERED), 2 * max(horizons) + 64)
            if args.exogenous and "exogenous" in fields:
                given["exogenous"] = around
            parts[name] = member.model_validate({**given, **settings})
        except ValidationError as error:
            raise ScenarioError([f"{name}.{line}" for line in explain(error)]) from None
        except PydanticCustomError as error:
            raise ScenarioError(f"{name}: {error.message()}") from None
    if args.exogenous and not any("exogenous" in type(part).model_fields for part in parts.values()):
        raise ScenarioError(f"--exogenous {' '.join(args.exogenous)}: none of {', '.join(parts)} uses columns beside the series")
    return parts


def _print_json(found: Comparison, main_name: str) -> None:
    import json

    rows = [
        {key: None if isinstance(value, float) and value != value else value for key, value in score._asdict().items()}
        | {"against": main_name}
        for score in found.scores
    ]
    sys.stdout.write(json.dumps(rows, indent=1) + "\n")


def _print_tables(args: argparse.Namespace, main_name: str, grid: Grid, found: Comparison) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from toolkit.acoustic.prediction.evaluate import Z90
    from toolkit.render.terminal import p_text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    missing = int(np.isnan(grid.values).sum())
    which = "every cell" if found.stride == 1 else f"one in {found.stride} cells"
    console.print(
        f"{args.series}, column {args.column}: {grid.samples} samples in {len(grid.values)} cells of {span_text(grid.step_s)}, "
        f"{missing} of them missing; forecasts from {which} after the first {args.history:.0%}"
    )
    for horizon_s in dict.fromkeys(score.horizon_s for score in found.scores):
        table = Table(title=f"{span_text(horizon_s)} ahead", title_justify="left", title_style="bold")
        table.add_column("predictor")
        decides = ["Brier"] if args.threshold is not None else []
        for head in ("RMSE", "skill", "bias", "CRPS", "in 90 %", *decides, f"p ({main_name})", "from the end on"):
            table.add_column(head, justify="right")
        scores = [score for score in found.scores if score.horizon_s == horizon_s]
        for score in sorted(scores, key=lambda item: item.rmse):
            p = "" if score.dm_p != score.dm_p else p_text(score.dm_p)
            end = "" if score.next_mean != score.next_mean else f"{score.next_mean:.4g} ± {Z90 * score.next_std:.2g}"
            table.add_row(
                score.predictor, f"{score.rmse:.4g}", "" if score.skill != score.skill else f"{score.skill:+.2f}", f"{score.bias:+.2g}",
                f"{score.crps:.3g}", f"{score.coverage90:.0%}", *[f"{score.brier:.3f}" for _ in decides], p, end,
                style="bold" if score.predictor == main_name else None,
            )
        console.print(table)
    days = grid.hours[found.first] / 24.0
    if days < SPRING_NEAP_D:
        console.print(
            f"the first forecast has {days:.1f} days to go by, less than the {SPRING_NEAP_D} days in which tides go from spring to neap "
            "and back: where a tide matters, its range has not been seen"
        )
    console.print(
        "skill: 1 - RMSE / RMSE of persistence; in 90 %: share of values within the forecast's 90 % interval; p: Diebold-Mariano test "
        f"that the squared errors of {main_name} and this predictor are the same on average; from the end on: forecast beyond the record "
        "± half of its 90 % interval"
    )


def _draw(path: Path, main_name: str, column: str, grid: Grid, found: Comparison) -> None:
    """Left, errors by horizon; right, the end of the record with what was forecast of it at the longest horizon."""
    from toolkit.acoustic.prediction.evaluate import Z90
    from toolkit.errors import DataError
    from toolkit.render.figures import INK, arm_colours, arm_markers, new_figure, save, style

    names = list(dict.fromkeys(score.predictor for score in found.scores))
    colours, markers = arm_colours(names), arm_markers(names)
    with style():
        figure = new_figure(11.0, 4.2 + 0.15 * (len(names) // 6))
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
        for name in names:
            own = [score for score in found.scores if score.predictor == name]
            left.plot(
                [score.horizon_s / 3600.0 for score in own], [score.rmse for score in own], color=colours[name], marker=markers[name],
                label=name, linewidth=2.0 if name == main_name else 1.0,
            )
        left.set(xlabel="horizon (h)", ylabel=f"root mean square error of {column}", ylim=(0, None))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize="x-small", ncols=min(len(names), 6))
        ahead = max(found.forecasts[main_name])
        start = max(found.first, len(grid.values) - SHOWN_CELLS)
        hours = grid.hours
        right.plot(hours[start:], grid.values[start:], color=INK, linewidth=1.0, label=column)
        rows = found.forecasts[main_name][ahead]
        rows = rows[rows[:, 0] >= start]
        at, reach = hours[rows[:, 0].astype(int)], Z90 * rows[:, 2]
        right.plot(at, rows[:, 1], color=colours[main_name], label=f"{main_name}, said {span_text(ahead * grid.step_s)} before")
        right.fill_between(
            at, rows[:, 1] - reach, rows[:, 1] + reach, color=colours[main_name], alpha=0.2, linewidth=0, label="its 90 % interval"
        )
        right.set(xlabel="hours into the record", ylabel=column)
        right.legend(fontsize="x-small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)  # above, where it covers no value
        try:
            save(figure, path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: the figure cannot be written ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
