"""Learning curves of a comparison: what every run had learnt, against what it had cost by then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.costs import spent_until
from toolkit.analysis.statistics import CONFIDENCE

Floats = NDArray[np.float64]
NAMES = ("seen_accuracy", "test_accuracy", "test_loss", "train_loss")
"""What a curve may be of; the first that a comparison has is drawn."""
GRID = 160
POINTS = 60
"""Most points of a run's curve that are priced."""
COST_COLUMNS = ["t0_s", "dur_s", "node", "kind", "nbytes", "energy_j"]


class Curve(NamedTuple):
    """What one run had learnt, and what it had cost by then. Costs are NaN where the ledger is not at hand."""

    t_s: Floats
    value: Floats
    nbytes: Floats
    """Per worker."""
    energy_j: Floats


class Band(NamedTuple):
    """The curves of one arm as mean and interval over seeds on a common grid."""

    at: Floats
    mean: Floats
    low: Floats
    high: Floats
    """Ends of the 95 % interval; NaN with one seed."""

    def cut_off(self) -> Band:
        """Return the band of a share: none of it lies outside 0 to 1."""
        return self._replace(low=np.maximum(self.low, 0.0), high=np.minimum(self.high, 1.0))


class Curves(NamedTuple):
    """All learning curves of a comparison."""

    name: str
    of: dict[str, list[Curve]]
    """By arm, one per seed."""
    targets: list[float]

    @property
    def is_share(self) -> bool:
        """Whether values lie between 0 and 1."""
        return self.name.endswith("accuracy")


def learning_curves(result: Comparison) -> Curves | None:
    """The learning curve of every run, accuracy if there is any, else loss, with what it had cost by each point."""
    metrics = result.metrics
    present = set(metrics["name"].unique())
    name = next((name for name in NAMES if name in present), None)
    if name is None:
        return None
    rows = metrics[(metrics["name"] == name).to_numpy(bool)].sort_values("t_s", kind="stable")
    shards = result.shards
    counts = result.report[result.report["metric"] == "workers"]
    workers = {(arm, int(seed)): value for arm, seed, value in zip(counts["arm"], counts["seed"], counts["value"], strict=True)}
    of: dict[str, list[Curve]] = {arm: [] for arm in result.arms}
    for key, own in rows.groupby(["arm", "seed"], sort=True, observed=True):
        arm, seed = str(key[0]), int(str(key[1]))
        kept = np.unique(np.linspace(0, len(own) - 1, POINTS).round().astype(int))
        t_s, value = own["t_s"].to_numpy(float)[kept], own["value"].to_numpy(float)[kept]
        sent = energy_j = np.full(len(t_s), np.nan)
        if (arm, seed) in shards:
            sent, energy_j = spent_until(_costs(shards[arm, seed]), t_s)
        if arm in of:
            of[arm].append(Curve(t_s, value, sent / workers.get((arm, seed), np.nan), energy_j))
    targets = np.unique(metrics.loc[(metrics["name"] == "target").to_numpy(bool), "value"].to_numpy(float)).tolist()
    return Curves(name, {arm: curves for arm, curves in of.items() if curves}, targets if name == "test_accuracy" else [])


def _costs(paths: Sequence[Path]) -> pd.DataFrame:
    """Only what pricing needs of a ledger: a whole one of many runs would take longer to read than to draw."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=COST_COLUMNS, read_dictionary=["kind"]) for path in paths]
    frame: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    return frame


def bands(curves: Curves, axis: str, *, log: bool) -> dict[str, Band]:
    """Mean and interval of every arm against *axis* (a field of `Curve`), over the stretch in which all its seeds have data."""
    found = {}
    for arm, runs in curves.of.items():
        pairs = []
        for curve in runs:
            x: Floats = getattr(curve, axis)
            usable = np.isfinite(x) & np.isfinite(curve.value) & ((x > 0) | (not log))
            if usable.any():
                pairs.append((np.log(x[usable]) if log else x[usable], curve.value[usable]))
        if len(pairs) < len(runs):
            continue
        low, high = max(x[0] for x, _ in pairs), min(x[-1] for x, _ in pairs)
        if not low < high:
            continue
        grid = np.linspace(low, high, GRID)
        values = np.stack([np.interp(grid, x, y) for x, y in pairs])
        mean, half = values.mean(axis=0), _half_interval(values)
        found[arm] = Band(np.exp(grid) if log else grid, mean, mean - half, mean + half)
    return found


def _half_interval(values: Floats) -> Floats:
    """Half of the Student t interval of the mean over the first axis (seeds)."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return np.full(values.shape[1], np.nan)
    half: Floats = stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * values.std(axis=0, ddof=1) / n**0.5
    return half
