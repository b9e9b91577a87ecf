"""What a comparison says: tables, JSON, and the figure."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.table import Table

from toolkit.acoustic.prediction.compare import Comparison, Grid, Score
from toolkit.acoustic.prediction.evaluate import Z90
from toolkit.errors import DataError
from toolkit.predict.spans import span_text
from toolkit.render.console import console, say, show, table
from toolkit.render.figures import FEW_ARMS, INK, arm_colours, arm_markers, new_figure, save, style
from toolkit.render.many import height_for, name_lines
from toolkit.render.terminal import p_text

SHOWN_CELLS = 240
SPRING_NEAP_D = 14.8


def moment(t_s: float, dated: bool) -> str:
    """A time as ISO 8601, or in seconds where it does not count from 1970."""
    if not dated:
        return f"{t_s:g} s"
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_json(found: Comparison, main_name: str, dated: bool) -> None:
    """One object per predictor and horizon."""
    rows = []
    for score in found.scores:
        reach = Z90 * score.next_std
        row: dict[str, object] = {key: _plain(value) for key, value in score._asdict().items()}
        row |= {
            "against": main_name, "at": moment(score.next_at_s, True) if dated else score.next_at_s, "mean": _plain(score.next_mean),
            "low90": _plain(score.next_mean - reach), "high90": _plain(score.next_mean + reach),
        }
        rows.append(row)
    sys.stdout.write(json.dumps(rows, indent=1) + "\n")


def _plain(value: object) -> object:
    return None if isinstance(value, float) and value != value else value


def print_tables(
    source: str, column: str, grid: Grid, found: Comparison, main_name: str, *, notes: list[str], dated: bool, history: float,
    decides: bool, remember: int,
) -> None:
    """What was read, one table per horizon, and what the columns mean."""
    out = console()
    missing = int(np.isnan(grid.values).sum())
    which = "every cell" if found.stride == 1 else f"one in {found.stride} cells"
    say(
        out,
        f"{source}, column {column}: {grid.samples} samples in {len(grid.values)} cells of {span_text(grid.step_s)}, "
        f"{missing} of them missing; forecasts from {which} after the first {history:.0%}",
    )
    for note in notes:
        say(out, f"- {note}")
    for horizon_s in dict.fromkeys(score.horizon_s for score in found.scores):
        scores = [score for score in found.scores if score.horizon_s == horizon_s]
        show(out, f"{span_text(horizon_s)} ahead", _table(scores, main_name, dated, decides))
    days = min(grid.hours[found.first] / 24.0, remember * grid.step_s / 86_400.0)
    if len(grid.values) > remember:
        span = remember * grid.step_s / 86_400.0
        say(out, f"predictors see the last {remember} cells ({span:.4g} days) at any time; --remember changes it")
    if days < SPRING_NEAP_D:
        say(
            out,
            f"the first forecast has {days:.1f} days to go by, less than the {SPRING_NEAP_D} days in which tides go from spring to neap "
            "and back: where a tide matters, its range has not been seen",
        )
    say(
        out,
        "skill: 1 - RMSE / RMSE of persistence; in 90 %: share of values within the forecast's 90 % interval; n: forecasts scored; fell "
        f"back: share of them in which something simpler answered; p: Diebold-Mariano test that the squared errors of {main_name} and this "
        "predictor are the same on average, in brackets after Holm's adjustment for the rivals in the table; last column: forecast beyond "
        "the record, 90 % interval",
    )


def _table(scores: list[Score], main_name: str, dated: bool, decides: bool) -> Table:
    at = moment(scores[0].next_at_s, dated).replace("T", " ").removesuffix(":00Z")
    shown = table()
    shown.add_column("predictor")
    heads = ["RMSE", "skill", "bias", "CRPS", "in 90 %", *(["Brier"] if decides else []), "n", "fell back", f"p ({main_name})", f"at {at}"]
    for head in heads:
        shown.add_column(head, justify="right")
    for score in sorted(scores, key=lambda item: item.rmse):
        p = "" if score.dm_p != score.dm_p else f"{p_text(score.dm_p)} ({p_text(score.holm_p)})"
        reach = Z90 * score.next_std
        low, high = score.next_mean - reach, score.next_mean + reach
        end = "" if score.next_mean != score.next_mean else f"{score.next_mean:.4g} ({low:.4g} … {high:.4g})"
        shown.add_row(
            score.predictor, f"{score.rmse:.4g}", "" if score.skill != score.skill else f"{score.skill:+.2f}", f"{score.bias:+.2g}",
            f"{score.crps:.3g}", f"{score.coverage90:.0%}", *([f"{score.brier:.3f}"] if decides else []), str(score.n),
            "" if not score.fell_back else f"{score.fell_back:.0%}", p, end, style="bold" if score.predictor == main_name else None,
        )
    return shown


def draw(path: Path, drawn: list[str], column: str, grid: Grid, found: Comparison, dated: bool) -> None:
    """Left, errors by horizon; right, the end of the record, what *drawn* said of it at the longest horizon, and what comes after it."""
    names = list(dict.fromkeys(score.predictor for score in found.scores))
    colours, markers = arm_colours(names), arm_markers(names)
    if len(names) > FEW_ARMS:
        colours |= arm_colours(drawn)
    with style():
        figure = new_figure(11.0, height_for(names, 4.2 + 0.15 * (len(names) // 6)))
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
        ends = {}
        for name in names:
            own = [score for score in found.scores if score.predictor == name]
            ends[name] = (own[-1].horizon_s / 3600.0, own[-1].rmse)
            left.plot(
                [score.horizon_s / 3600.0 for score in own], [score.rmse for score in own], color=colours[name], marker=markers[name],
                label=name, linewidth=2.0 if name in drawn else 1.0,
            )
        left.set(xlabel="horizon (h)", ylabel=f"RMSE of {column}", ylim=(0, None))
        handles, labels = left.get_legend_handles_labels()
        if len(names) > FEW_ARMS:
            name_lines(figure, left, ends)
        else:
            figure.legend(handles, labels, loc="outside lower center", fontsize="x-small", ncols=min(len(names), 6))
        start = max(found.first, len(grid.values) - SHOWN_CELLS)
        at = _axis(grid, np.arange(len(grid.values), dtype=np.float64), dated)
        right.plot(at[start:], grid.values[start:], color=INK, linewidth=1.0, label=column)
        ahead = max(found.forecasts[drawn[0]])
        for name in drawn:
            rows = found.forecasts[name][ahead]
            rows = rows[rows[:, 0] >= start]
            when, reach = at[rows[:, 0].astype(int)], Z90 * rows[:, 2]
            right.plot(when, rows[:, 1], color=colours[name], label=f"{name}, {span_text(ahead * grid.step_s)} before")
            if len(drawn) < 3:
                right.fill_between(when, rows[:, 1] - reach, rows[:, 1] + reach, color=colours[name], alpha=0.2, linewidth=0)
            beyond = [score for score in found.scores if score.predictor == name and score.next_mean == score.next_mean]
            cells = np.array([score.next_at_s / grid.step_s - grid.first_cell - 0.5 for score in beyond])
            right.errorbar(
                _axis(grid, cells, dated), [score.next_mean for score in beyond], yerr=[Z90 * score.next_std for score in beyond],
                color=colours[name], marker=markers[name], linestyle="none", capsize=2,
                label="beyond the record" if name == drawn[0] else None,
            )
        right.set(xlabel="UTC" if dated else "hours into the record", ylabel=column)
        if dated:
            right.tick_params(axis="x", labelrotation=30)
        right.legend(fontsize="x-small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)  # above, where it covers no value
        try:
            save(figure, path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: the figure cannot be written ({error})") from None


def _axis(grid: Grid, cells: np.ndarray, dated: bool) -> np.ndarray:
    """Middles of *cells* (n,), counted from the first of the grid, as dates or as hours from its start."""
    if not dated:
        return (cells + 0.5) * grid.step_s / 3600.0
    return ((grid.first_cell + cells + 0.5) * grid.step_s * 1000.0).astype("datetime64[ms]")
