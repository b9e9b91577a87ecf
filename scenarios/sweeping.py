"""What the sweep scripts share: points of settings, run by toolkit.run one after the other, into one table and one figure.

A point is the base scenario with some settings changed. It leaves a run directory with its own report; a point whose directory is
finished is not run again, and one that was stopped is resumed where it stopped.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import toolkit
from toolkit.analysis.metric import MetricInfo, describe
from toolkit.analysis.statistics import REPORT_COLUMNS, differences, mean_of
from toolkit.core import yaml12
from toolkit.core.words import counted
from toolkit.errors import RunDirectoryError, ScenarioError, UserError
from toolkit.render.figures import arm_colours, arm_markers, new_figure, save, style
from toolkit.render.result import Result
from toolkit.scenario import Scenario

HERE = Path(__file__).parent
BEACONS = {"beacon_s": 1800}
KNN = {"type": "knn", "window": 3, "k": 8, "same_phase_s": [], "phase_periods_s": [86400], "phase_db": 3.0, "eps_db": 0.1, "mode": "level"}
ARMS: dict[str, dict[str, Any]] = {
    "DBCAR-kNN": {"type": "dbcar", **BEACONS, "prediction": KNN},
    "DBCAR-persistence": {"type": "dbcar", **BEACONS, "prediction": {"type": "persistence"}},
    "DBCAR-EWMA": {"type": "dbcar", **BEACONS, "prediction": {"type": "ewma", "alpha": 0.24, "carry": False}},
    "DBCAR-AR": {"type": "dbcar", **BEACONS, "prediction": {"type": "ar", "order": 4, "ridge": 0.1}},
    "DBCAR-oracle": {"type": "dbcar", **BEACONS, "prediction": {"type": "oracle"}},
    "DBR": {"type": "dbr"},
    "flooding": {"type": "flooding"},
}
USUAL = ("DBCAR-kNN", "DBCAR-persistence", "DBR", "flooding")
SHARES = ("delivery_ratio", "final_accuracy")
"""Metrics that are drawn from just below the least to 1."""


@dataclass(frozen=True)
class Study:
    """What is swept, and what is told of it."""

    scenario: str = "sea_trial_open.yaml"
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {"fabric.routing": each} for name, each in ARMS.items()})
    """Arms by name, as overrides of the scenario."""
    usual: tuple[str, ...] = USUAL
    """The arms that are run where none are named."""
    metrics: tuple[str, ...] = ("delivery_ratio", "energy_per_delivered_j", "delay_mean_s")
    report: str = "toolkit.acoustic.report"
    """The module whose `REPORT` describes the metrics."""

    def info(self, table: pd.DataFrame, metric: str) -> MetricInfo:
        """The description of a metric of *table*."""
        infos = importlib.import_module(self.report).REPORT.infos
        return describe(metric, infos, str(table.loc[table["metric"] == metric, "unit"].iloc[0]))

    def chosen(self, texts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Arms by name, as overrides of the scenario.

        Raises:
            ScenarioError: a name that is not known, or settings that are none.
        """
        arms: dict[str, Mapping[str, Any]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            routing = yaml12.parse(value, f"--arms {text}") if equals else None
            if isinstance(routing, dict):
                arms[name] = {"fabric.routing": routing}
            elif not equals and name in self.arms:
                arms[name] = self.arms[name]
            else:
                raise ScenarioError(f"--arms {text}: must be one of {', '.join(self.arms)}, or like EEDBR={{type: eedbr}}")
        return arms


ROUTING = Study()


@dataclass(frozen=True)
class Point:
    """One value of one swept setting: `settings` are its columns in the table, `overrides` what it changes in the scenario."""

    name: str
    settings: dict[str, float | str]
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """Points along one axis."""

    name: str
    title: str
    """What the axis shows, with its unit."""
    axis: str
    """The column of the table that it shows."""
    points: list[Point] = field(default_factory=list)
    log: bool = False


def parser(description: str, out: str, study: Study = ROUTING, duration_s: float = 7200.0) -> argparse.ArgumentParser:
    """The options that all sweeps have."""
    cli = argparse.ArgumentParser(description=description, epilog="A sweep that was stopped goes on where it stopped when called again.")
    cli.add_argument("--out", type=Path, default=Path("runs") / out, help=f"folder of points, table and figure (default: runs/{out})")
    cli.add_argument("--arms", nargs="+", default=list(study.usual), metavar="ARM", help=f"of {', '.join(study.arms)}, or "
                     f"NAME={{type: …}} with settings of fabric.routing (default: {' '.join(study.usual)})")
    cli.add_argument("--seeds", type=int, default=5, help="seeds per point (default: 5)")
    cli.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    cli.add_argument("--duration", type=float, default=duration_s, metavar="S",
                     help=f"simulated seconds that are measured (default: {duration_s:.0f})")
    cli.add_argument("--quick", action="store_true", help="two seeds, two values, ten minutes, a small network: seconds, and no result")
    return cli


def run_all(sweeps: Sequence[Sweep], base: dict[str, Any], args: argparse.Namespace, study: Study = ROUTING) -> pd.DataFrame:
    """Run every point of *sweeps* with the overrides *base*, once each, and return one table.

    Its columns are sweep, the settings of the points, arm, seed, metric, unit and value; a point of two sweeps has its rows twice.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    arms = study.chosen(args.arms)
    points = {point.name: point for sweep in sweeps for point in sweep.points}
    results: dict[str, Result] = {}
    for place, (name, point) in enumerate(points.items()):
        question = ", ".join(f"{key} = {value}" for key, value in point.settings.items())
        scenario = Scenario.load(HERE / study.scenario, {
            **base, "duration_s": args.duration, "seeds": args.seeds, "quick": {}, "caveats": [], **point.overrides, "compare": arms,
            "name": name, "question": question,
        })
        sys.stderr.write(f"point {place + 1} of {len(points)}: {name}\n")
        results[name] = run_point(scenario, args.out / name, args.jobs)
    tables = []
    for sweep in sweeps:
        for point in sweep.points:
            report = results[point.name].report
            tables.append(pd.DataFrame({"sweep": sweep.name, **point.settings}, index=report.index).join(report))
    return pd.concat(tables, ignore_index=True)


def run_point(scenario: Scenario, directory: Path, jobs: int) -> Result:
    """Run one point, or as much of it as *directory* does not hold yet; a directory of another scenario is an error."""
    if (directory / "DONE").exists():
        done = Result.load(directory)
        if done.scenario.dump() != scenario.dump():
            raise RunDirectoryError(f"{directory}: holds a point of other settings; give another --out, or remove it")
        return done
    return toolkit.run(scenario, out=directory, jobs=jobs, resume=directory.exists())


def summary_of(table: pd.DataFrame, sweep: Sweep, metric: str, study: Study = ROUTING) -> pd.DataFrame:
    """Mean and 95 % interval over seeds of one metric along one sweep: arm, the axis, mean, low, high, n."""
    rows = table[(table["sweep"] == sweep.name) & (table["metric"] == metric)]
    groups = rows.groupby(["arm", sweep.axis], sort=False)["value"]
    info = study.info(table, metric)
    found = [(arm, value, *mean_of(info, group.to_numpy(float))) for (arm, value), group in groups]
    return pd.DataFrame(found, columns=["arm", sweep.axis, "mean", "low", "high", "n"])


def draw(table: pd.DataFrame, sweeps: Sequence[Sweep], path: Path, study: Study = ROUTING) -> None:
    """One figure: a column per sweep and a row per metric (side by side for a single sweep), a line per arm with 95 % intervals."""
    arms = list(table["arm"].unique())
    colours, markers = arm_colours(arms), arm_markers(arms)
    infos = [study.info(table, metric) for metric in study.metrics]
    with style():
        if len(sweeps) == 1:
            figure = new_figure(1.0 + 3.8 * len(infos), 4.2)
            panels = figure.subplots(1, len(infos), squeeze=False).T
        else:
            figure = new_figure(1.6 + 3.4 * len(sweeps), 1.0 + 2.5 * len(infos))
            panels = figure.subplots(len(infos), len(sweeps), squeeze=False, sharex="col", sharey="row")
        for column, sweep in enumerate(sweeps):
            for row, info in enumerate(infos):
                panel = panels[row, column]
                found = summary_of(table, sweep, info.name, study)
                for arm, aside in zip(arms, _aside(found[sweep.axis].to_numpy(float), len(arms), sweep.log), strict=True):
                    own = found[(found["arm"] == arm) & found["mean"].notna()].sort_values(sweep.axis)
                    reach = [(own["mean"] - own["low"]).fillna(0.0), (own["high"] - own["mean"]).fillna(0.0)]
                    at = own[sweep.axis] * aside if sweep.log else own[sweep.axis] + aside
                    panel.errorbar(at, own["mean"], yerr=reach, color=colours[arm], marker=markers[arm], capsize=3, label=arm)
                if sweep.log:
                    panel.set_xscale("log")
                ticks = sorted(found[sweep.axis].unique())
                panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                panel.set_xticks([], minor=True)
                if info.name in SHARES:
                    least = min(float(summary_of(table, one, info.name, study)["mean"].min()) for one in sweeps)
                    panel.set_ylim(max(0.0, least - 0.1), 1.02)
                else:
                    panel.set_yscale("log")
                panel.set_xlabel(sweep.title if row == len(infos) - 1 or len(sweeps) == 1 else "")
                panel.set_ylabel(textwrap.fill(info.title, 22) if column == 0 else "")
            panels[0, column].set_title(sweep.name)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        seeds = table["seed"].nunique()
        title = f"mean and 95 % interval over {counted(seeds, 'seed')}; arms set a little apart so that none covers another"
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(arms), 5), title=title)
        save(figure, path)


def _aside(values: np.ndarray, count: int, log: bool) -> np.ndarray:
    """How far each of *count* arms is drawn from its value: to be added, or on a logarithmic axis to be multiplied with."""
    steps = 0.012 * (np.arange(count) - (count - 1) / 2)
    return np.asarray((values.max() / values.min()) ** steps if log else steps * np.ptp(values))


def print_tables(table: pd.DataFrame, sweeps: Sequence[Sweep], study: Study = ROUTING) -> None:
    """Means with half of their intervals, as Markdown, a table per sweep and metric."""
    arms = list(table["arm"].unique())
    seeds = table["seed"].nunique()
    for sweep in sweeps:
        for metric in study.metrics:
            info = study.info(table, metric)
            found = summary_of(table, sweep, metric, study).set_index(["arm", sweep.axis])
            values = [point.settings[sweep.axis] for point in sweep.points]
            sys.stdout.write(f"\n{sweep.name}: {info.title}, mean ± half of the 95 % interval over {counted(seeds, 'seed')}\n\n")
            sys.stdout.write(_head(sweep.title, values))
            for arm in arms:
                cells = [info.with_interval(*found.loc[(arm, value), ["mean", "low", "high"]]) for value in values]
                sys.stdout.write(f"| {arm} | " + " | ".join(cells) + " |\n")


def print_differences(table: pd.DataFrame, sweeps: Sequence[Sweep], study: Study = ROUTING) -> None:
    """First arm minus each other, paired by seed, as Markdown; in bold where the 95 % interval excludes zero."""
    arms = list(table["arm"].unique())
    for sweep in sweeps:
        values = [point.settings[sweep.axis] for point in sweep.points]
        sys.stdout.write(f"\n{sweep.name}: {arms[0]} minus the others, paired by seed\n\n")
        sys.stdout.write(_head(sweep.title, values))
        for metric in study.metrics:
            info = study.info(table, metric)
            rows = table[(table["sweep"] == sweep.name) & (table["metric"] == metric)]
            for other in arms[1:]:
                cells = []
                for value in values:
                    told = differences(rows.loc[(rows[sweep.axis] == value) & rows["arm"].isin([arms[0], other]), REPORT_COLUMNS], [info])
                    cells.append("–" if told.empty else _difference(info, *told.iloc[0][["mean", "ci95_low", "ci95_high"]]))
                sys.stdout.write(f"| {info.title}, {other} | " + " | ".join(cells) + " |\n")


def _head(title: str, values: Sequence[float | str]) -> str:
    return f"| {title} | " + " | ".join(f"{value:g}" for value in values) + " |\n" + "|---" * (len(values) + 1) + "|\n"


def _difference(info: MetricInfo, mean: float, low: float, high: float) -> str:
    text = f"{info.text(mean, sign=True)} ({info.text(low, sign=True)} … {info.text(high, sign=True)})"
    return f"**{text}**" if low > 0 or high < 0 else text


def main(sweeps: Sequence[Sweep], base: dict[str, Any], args: argparse.Namespace, study: Study = ROUTING) -> pd.DataFrame:
    """Run, write and print; return the table."""
    table = run_all(sweeps, base, args, study)
    table.to_csv(args.out / "sweep.csv", index=False)
    table.to_parquet(args.out / "sweep.parquet", index=False)
    draw(table, sweeps, args.out / "sweep.png", study)
    print_tables(table, sweeps, study)
    print_differences(table, sweeps, study)
    sys.stdout.write(f"\n{table}\n\n{args.out / 'sweep.csv'}\n{args.out / 'sweep.parquet'}\n{args.out / 'sweep.png'}\n")
    return table


def told(do: Any) -> int:
    """Call *do*; a user's mistake is one sentence and exit status 2."""
    try:
        do()
    except UserError as error:
        sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
        return 2
    return 0
