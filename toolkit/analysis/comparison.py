"""The data of one run directory as frames, read or worked out when first asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from toolkit.analysis.metric import MetricInfo, ordered_metrics
from toolkit.analysis.standing import Standing
from toolkit.analysis.statistics import NO_VERDICT, REPORT_COLUMNS, complete, differences, summarise
from toolkit.analysis.units import scaled
from toolkit.core.charges import Charges, to_frame
from toolkit.core.ledger import Charge, Metric
from toolkit.core.rundir import reading
from toolkit.errors import RunDirectoryError
from toolkit.scenario import Scenario

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = re.compile(r"(?P<arm>.+)-s(?P<seed>\d+)-\d+")
"""Name of a file of a ledger, without its ending."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Arms x seeds of one run directory. The frames are read or worked out when first asked for, and kept."""

    directory: Path
    report: pd.DataFrame
    infos: tuple[MetricInfo, ...] = field(default=(), repr=False)
    """Descriptions of the metrics; one that has none is shown and never judged."""

    @classmethod
    def load(cls, directory: str | Path, infos: Sequence[MetricInfo] | None = None) -> Self:
        """Open a run directory.

        Raises:
            RunDirectoryError: there is no ``report.csv``, or a column of it is missing.
        """
        found = tuple(infos or ())
        return cls(Path(directory), complete(read_report(Path(directory)), found), found)

    @property
    def arms(self) -> list[str]:
        return list(self.report["arm"].unique())

    @property
    def seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.report["seed"].unique())

    @property
    def described(self) -> list[MetricInfo]:
        """The metrics that this comparison has, in the order in which they are shown."""
        return ordered_metrics(self.report, self.infos)

    @property
    def headline(self) -> list[MetricInfo]:
        """The metrics for short tables; all of them where none is marked."""
        return [info for info in self.described if info.headline] or self.described

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean and 95 % interval per arm and metric."""
        return summarise(self.report, self.infos)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """First arm minus each other arm, paired by seed; without verdicts where this run bears none."""
        rows = differences(self.report, self.infos)
        return rows if self.standing.bears else rows.assign(verdict=NO_VERDICT)

    @cached_property
    def standing(self) -> Standing:
        """Whether this run bears verdicts; ``versions.json`` says whether it is a quick look."""
        quick = self.versions.get("quick")
        return Standing(len(self.seeds), quick is not None, tuple(map(str, quick)) if isinstance(quick, list) else ())

    def shown(self, info: MetricInfo) -> MetricInfo:
        """Return *info* in the unit in which tables show the means of this comparison's arms."""
        return self._scaled.get(info.name, info)

    @cached_property
    def _scaled(self) -> dict[str, MetricInfo]:
        means = dict(list(self.summary.groupby("metric", sort=False)["mean"]))
        return {info.name: scaled(info, means[info.name]) for info in self.described}

    @cached_property
    def means(self) -> dict[tuple[str, str], tuple[float, float, float, int]]:
        """Mean, ends of the 95 % interval and number of seeds by arm and metric."""
        rows = self.summary
        values = zip(rows["mean"], rows["ci95_low"], rows["ci95_high"], rows["n"], strict=True)
        return {key: (float(mean), float(low), float(high), int(n)) for key, (mean, low, high, n) in zip(
            zip(rows["arm"], rows["metric"], strict=True), values, strict=True
        )}

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything observed over time: ``arm, seed`` and the columns of `Metric`."""
        path = self.directory / "metrics.parquet"
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["arm", "seed", *Metric._fields])

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """All rows of all ledgers: ``arm, seed`` and the columns of `Charge`."""
        return self.ledger_of()

    def ledger_of(
        self, arm: str | None = None, seed: int | None = None, *, kinds: Sequence[str] = (), columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return rows of the ledgers without reading the others: of one arm, one seed, some *kinds* of charge, some *columns*."""
        chosen = [
            (name, number, path) for (name, number), paths in self.shards.items() if arm in (None, name) and seed in (None, number)
            for path in paths
        ]
        if not chosen:
            return pd.DataFrame(columns=["arm", "seed", *(columns or Charge._fields)])
        tables = (labelled(table, name, number) for name, number, path in chosen for table in Charges([path]).tables(kinds, columns))
        return to_frame(tables, len(Charges([path for _, _, path in chosen])))

    @cached_property
    def shards(self) -> dict[tuple[str, int], list[Path]]:
        """The files of every run's ledger, oldest first, by arm and seed."""
        found: dict[tuple[str, int], list[Path]] = {}
        for path in sorted((self.directory / "ledger").glob("*.parquet")):
            match = SHARD.fullmatch(path.stem)
            if match:
                found.setdefault((match["arm"], int(match["seed"])), []).append(path)
        return found

    @cached_property
    def scenario(self) -> Scenario:
        """What was run, every value spelled out."""
        return Scenario.load(self.directory / "scenario.yaml", own=False)

    @cached_property
    def versions(self) -> dict[str, object]:
        """What `versions.json` says about the software that made the run."""
        return read_versions(self.directory)

    def write_tables(self) -> None:
        """Write ``summary.csv`` and ``differences.csv`` beside the report."""
        self.summary.to_csv(self.directory / "summary.csv", index=False)
        self.differences.to_csv(self.directory / "differences.csv", index=False)


def labelled(table: pa.Table, arm: str, seed: int) -> pa.Table:
    """Return *table* with the columns ``arm`` and ``seed`` before its own."""
    import pyarrow as pa

    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), pa.array([arm]))
    return table.add_column(0, "seed", pa.array(np.full(len(table), seed))).add_column(0, "arm", name)


def read_report(directory: Path) -> pd.DataFrame:
    """Return ``report.csv`` of a run directory.

    Raises:
        RunDirectoryError: it is not there, or a column is missing.
    """
    path = directory / "report.csv"
    if not path.is_file():
        raise RunDirectoryError(f"{directory}: holds no report.csv, so it is not a finished run directory")
    with reading(path):
        report = pd.read_csv(
            path, dtype={"arm": str, "metric": str, "unit": str, "seed": int, "value": float}, keep_default_na=False,
            na_values={"value": ["", "nan"]},
        )
    missing = [name for name in REPORT_COLUMNS if name not in report]
    if missing:
        raise RunDirectoryError(f"{path}: column {missing[0]!r} is missing")
    return report[REPORT_COLUMNS]


def read_versions(directory: Path) -> dict[str, object]:
    """Return what ``versions.json`` of a run directory says; nothing where there is none."""
    path = directory / "versions.json"
    with reading(path):
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
