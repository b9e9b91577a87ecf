"""From runs to statements: a tidy report of arms x seeds becomes means with intervals and paired differences.

The functions here are pure, frame in and frame out. `Result` holds one run directory and calls them when asked.
A report has one row per (arm, seed, metric): columns ``arm, seed, metric, unit, value``. Arms keep the order of the report, and
the first arm is the one that the others are compared with.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.core.ledger import Charge, Metric
from toolkit.errors import RunDirectoryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from toolkit.scenario import Scenario

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
REPORT_COLUMNS = ["arm", "seed", "metric", "unit", "value"]
SUMMARY_COLUMNS = ["arm", "metric", "unit", "mean", "ci95_low", "ci95_high", "n"]
DIFFERENCE_COLUMNS = ["metric", "unit", "arm", "other", "mean", "ci95_low", "ci95_high", "n", "p", "family", "p_holm", "verdict"]
SHARD = re.compile(r"(?P<arm>.+)-s(?P<seed>\d+)-\d+")


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is and how it is shown.

    `name` may hold one ``*`` (``rmse_db@*``) to stand for a family; ``{}`` in `label` is then what the star matched.
    `better` says which way is good; a metric without a direction is shown and never judged. `headline` metrics go into the
    short tables. `absent` is the value of a run that has no row of a metric that other runs have (no loss of a kind: 0).
    """

    name: str
    unit: str
    label: str
    better: Literal["higher", "lower"] | None = None
    digits: int = 3
    headline: bool = False
    absent: float = float("nan")

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.name)

    def named(self, name: str) -> MetricInfo:
        """The entry of one member of the family."""
        head, star, tail = self.name.partition("*")
        middle = name[len(head) : len(name) - len(tail)] if star else ""
        label = self.label.replace("{}", middle.replace("_", " "))
        return MetricInfo(name, self.unit, label, self.better, self.digits, self.headline, self.absent)

    @property
    def title(self) -> str:
        """Label with its unit, as on an axis."""
        return self.label if self.unit in {"", "1"} else f"{self.label} ({self.unit})"

    def text(self, value: float, *, sign: bool = False) -> str:
        """A value as it is printed; one without sign that is too small for `digits` decimals keeps two significant figures."""
        if not np.isfinite(value):
            return "–"
        if sign:
            return f"{value:+.{self.digits}f}"
        small = value != 0 and abs(value) < 0.5 * 10.0**-self.digits
        return f"{value:.2g}" if small else f"{value:.{self.digits}f}"

    def with_interval(self, mean: float, low: float, high: float) -> str:
        """``mean ± half of the interval``, or the mean alone where there is no interval."""
        half = (high - low) / 2
        return f"{self.text(mean)} ± {self.text(half)}" if np.isfinite(half) else self.text(mean)


def describe(name: str, infos: Sequence[MetricInfo], unit: str = "") -> MetricInfo:
    """Return the entry for the metric *name*: the first that matches, or a plain one without direction."""
    found = next((info for info in infos if info.matches(name)), None)
    return found.named(name) if found else MetricInfo(name, unit, name.replace("_", " "))


def family(name: str, infos: Sequence[MetricInfo]) -> str:
    """Return what the metric *name* is tested together with: ``rmse_db@*`` for one horizon of many, else itself."""
    return next((info.name for info in infos if info.matches(name)), name)


def ordered_metrics(report: pd.DataFrame, infos: Sequence[MetricInfo]) -> list[MetricInfo]:
    """Return the metrics present in *report* (or a summary) in the order of *infos*; unknown ones come last."""
    units = dict(zip(report["metric"], report["unit"], strict=True))
    rank = {name: next((i for i, info in enumerate(infos) if info.matches(name)), len(infos)) for name in units}
    return [describe(name, infos, units[name]) for name in sorted(units, key=lambda name: (rank[name], _natural(name)))]


def _natural(name: str) -> tuple[tuple[bool, float, str], ...]:
    """Sort key that puts ``@6h`` before ``@12h``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return tuple((i % 2 == 0, float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts))


def complete(report: pd.DataFrame, infos: Sequence[MetricInfo]) -> pd.DataFrame:
    """Add the rows that a run left out because it had nothing to count (see `MetricInfo.absent`).

    Without them a mean over seeds would only be taken over the seeds in which the thing happened.
    """
    runs = report[["arm", "seed"]].drop_duplicates()
    have = set(zip(report["arm"], report["seed"], report["metric"], strict=True))
    added = [
        {"arm": run.arm, "seed": run.seed, "metric": info.name, "unit": info.unit, "value": info.absent}
        for info in ordered_metrics(report, infos) if np.isfinite(info.absent)
        for run in runs.itertuples(index=False) if (run.arm, run.seed, info.name) not in have
    ]
    return pd.concat([report, pd.DataFrame(added)], ignore_index=True)[REPORT_COLUMNS] if added else report


def mean_interval(values: Floats) -> tuple[float, float, float, int]:
    """Mean, 95 % Student t interval of the mean, and number of the finite *values*; one value has no interval."""
    from scipy.special import stdtrit  # scipy.stats would cost a second of import

    values = values[np.isfinite(values)]
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return mean, float("nan"), float("nan"), n
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * float(values.std(ddof=1)) / n**0.5
    return mean, mean - half, mean + half, n


def summarise(report: pd.DataFrame, infos: Sequence[MetricInfo] = ()) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, one row per arm and metric; n counts the seeds with a finite value."""
    report = complete(report, infos)
    metrics = ordered_metrics(report, infos)
    groups = {key: group["value"].to_numpy(float) for key, group in report.groupby(["arm", "metric"], sort=False)}
    rows = [
        (arm, info.name, info.unit, *mean_interval(groups[arm, info.name]))
        for arm in report["arm"].unique() for info in metrics if (arm, info.name) in groups
    ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def differences(report: pd.DataFrame, infos: Sequence[MetricInfo] = ()) -> pd.DataFrame:
    """First arm minus each other arm, paired by seed, for every metric that has a direction.

    Pairing removes what the two arms share (weather, traffic, positions). The verdict is that of the first arm, and one is
    only given where the 95 % interval of the mean difference excludes zero. `p` is of the paired t-test; `p_holm` is
    adjusted by Holm's method for all rows of the same `family`: one metric against all rivals, and the horizons or reasons of a
    metric that has several together.
    """
    report = complete(report, infos)
    arms = list(report["arm"].unique())
    rows = []
    for info in ordered_metrics(report, infos):
        if info.better is None:
            continue
        table = report[report["metric"] == info.name].pivot(index="seed", columns="arm", values="value")
        for other in arms[1:]:
            if arms[0] not in table or other not in table:
                continue
            gap = _paired(table[arms[0]].to_numpy(float), table[other].to_numpy(float))
            if not len(gap):
                continue
            mean, low, high, n = mean_interval(gap)
            rows.append((info.name, info.unit, arms[0], other, mean, low, high, n, _p_value(gap),
                         family(info.name, infos), np.nan, _verdict(low, high, info.better)))
    frame = pd.DataFrame(rows, columns=DIFFERENCE_COLUMNS)
    adjusted = frame.groupby("family", sort=False)["p"].transform(lambda p: holm(p.to_numpy(float)))
    return frame.assign(p_holm=adjusted.astype(float))


def _paired(first: Floats, second: Floats) -> Floats:
    both = np.isfinite(first) & np.isfinite(second)
    gap = first[both] - second[both]
    rounding = 1e-12 * np.maximum(np.abs(first[both]), np.abs(second[both]))
    return np.where(np.abs(gap) <= rounding, 0.0, gap)


def _p_value(gap: Floats) -> float:
    """Two-sided p of the paired t-test."""
    from scipy.special import stdtr

    n = len(gap)
    if n < 2:
        return float("nan")
    error = float(gap.std(ddof=1)) / n**0.5
    if error == 0:
        return 1.0 if gap[0] == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(float(gap.mean())) / error))


def _verdict(low: float, high: float, better: str) -> str:
    if not (low > 0 or high < 0):
        return "no difference shown"
    return "better" if (low > 0) == (better == "higher") else "worse"


def holm(p: Floats) -> Floats:
    """Holm's step-down adjustment of the finite *p*; NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def multiplicity_note(frame: pd.DataFrame) -> str:
    """Say how many comparisons a frame of differences holds, and what chance alone would make of them."""
    tested = int(frame["p"].notna().sum())
    if not tested:
        return "No paired comparison could be made: that takes two arms and at least two common seeds."
    called = int((frame["verdict"] != "no difference shown").sum())
    held = int((frame["p_holm"] < 1 - CONFIDENCE).sum())
    seeds = int(frame["n"].max())
    families = frame["family"].nunique()
    return (
        f"{tested} paired comparisons over {seeds} seeds. Intervals that exclude zero: {called}, where chance alone would give about "
        f"{(1 - CONFIDENCE) * tested:.2g}. After Holm's adjustment within each of {families} famil{'ies' if families > 1 else 'y'} (one "
        f"metric against all rivals, all horizons of it together), p stays below 0.05 in {held}; nothing adjusts across families."
    )


@dataclass(frozen=True)
class View:
    """How the results of one fabric are shown: its metrics, its figures and what their captions say."""

    metrics: tuple[MetricInfo, ...] = ()
    figures: Callable[[Result], dict[str, Figure]] | None = None
    captions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, path: str) -> View:
        """Import the view named ``module:NAME``."""
        module, _, name = path.partition(":")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, View):
            raise TypeError(f"{path} is not a View")
        return found


@dataclass(frozen=True, eq=False)
class Result:
    """One run directory. The frames are read or worked out when first asked for, and kept."""

    directory: Path
    report: pd.DataFrame
    view: View = field(default_factory=View, repr=False)

    @classmethod
    def load(cls, directory: str | Path, view: View | None = None) -> Self:
        """Open a run directory. Without *view*, the one that ``versions.json`` names under ``view`` is used, if any."""
        directory = Path(directory)
        path = directory / "report.csv"
        if not path.is_file():
            raise RunDirectoryError(f"{directory}: holds no report.csv, so it is not a finished run directory")
        report = pd.read_csv(
            path, dtype={"arm": str, "metric": str, "unit": str}, keep_default_na=False,
            na_values={"value": ["", "nan"]},
        )
        missing = [name for name in REPORT_COLUMNS if name not in report]
        if missing:
            raise RunDirectoryError(f"{path}: column {missing[0]!r} is missing")
        result = cls(directory, report[REPORT_COLUMNS])
        named = result.versions.get("view")
        chosen = view or (View.find(named) if isinstance(named, str) else View())
        return cls(directory, complete(result.report, chosen.metrics), chosen)

    @property
    def arms(self) -> list[str]:
        return list(self.report["arm"].unique())

    @property
    def seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.report["seed"].unique())

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean and 95 % interval per arm and metric."""
        return summarise(self.report, self.view.metrics)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """First arm minus each other arm, paired by seed."""
        return differences(self.report, self.view.metrics)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything observed over time: ``arm, seed`` and the columns of `Metric`."""
        path = self.directory / "metrics.parquet"
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["arm", "seed", *Metric._fields])

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """All rows of all ledgers: ``arm, seed`` and the columns of `Charge`."""
        return self._read_ledger(None, None)

    def ledger_of(self, arm: str, seed: int) -> pd.DataFrame:
        """The ledger of one run, without reading the others."""
        return self._read_ledger(arm, seed)

    def _read_ledger(self, arm: str | None, seed: int | None) -> pd.DataFrame:
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for path in sorted((self.directory / "ledger").glob("*.parquet")):
            match = SHARD.fullmatch(path.stem)
            if match is None or (arm is not None and (match["arm"], int(match["seed"])) != (arm, seed)):
                continue
            table = pq.read_table(path, read_dictionary=["kind", "phase", "outcome"])
            name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), pa.array([match["arm"]]))
            table = table.add_column(0, "seed", pa.array(np.full(len(table), int(match["seed"]))))
            tables.append(table.add_column(0, "arm", name))
        if not tables:
            return pd.DataFrame(columns=["arm", "seed", *Charge._fields])
        frame: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
        return frame

    @cached_property
    def scenario(self) -> Scenario:
        """What was run, every value spelled out."""
        from toolkit.scenario import Scenario

        return Scenario.load(self.directory / "scenario.yaml")

    @cached_property
    def versions(self) -> dict[str, Any]:
        """What `versions.json` says about the software that made the run."""
        path = self.directory / "versions.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def plot(self) -> dict[str, Figure]:
        """Draw the figures of this run by name; nothing is written."""
        from toolkit.figures import overview

        return self.view.figures(self) if self.view.figures is not None else overview(self)

    def write_tables(self) -> None:
        """Write ``summary.csv`` and ``differences.csv`` beside the report."""
        self.summary.to_csv(self.directory / "summary.csv", index=False)
        self.differences.to_csv(self.directory / "differences.csv", index=False)

    def write_figures(self) -> dict[str, Path]:
        """Draw all figures into ``figures/`` and return their paths by name."""
        from toolkit.figures import save

        return {name: save(figure, self.directory / "figures" / f"{name}.png") for name, figure in self.plot().items()}

    def _repr_html_(self) -> str:
        from toolkit.html import notebook

        return notebook(self)


def headline(result: Result) -> list[MetricInfo]:
    """The metrics for short tables; all of them where none is marked."""
    metrics = ordered_metrics(result.report, result.view.metrics)
    return [info for info in metrics if info.headline] or metrics


def terminal_tables(result: Result, console: Console, answers: Sequence[str] = ()) -> None:
    """Print the headline metrics per arm, the paired differences, and *answers*, within 120 columns."""
    from toolkit.terminal import show

    show(result, console, answers)
