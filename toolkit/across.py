"""Several run directories side by side: paired where the runs met the same world, unpaired elsewhere, and said which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import CONFIDENCE, mean_interval, of_difference, paired
from toolkit.core import yaml12
from toolkit.errors import RunDirectoryError
from toolkit.render.result import Result
from toolkit.scenario import EXPERIMENT, replaced, value_at

Floats = NDArray[np.float64]
FINGERPRINT = "channel_fingerprint"
"""The metric that tells two seas apart."""
COLUMNS = ["metric", "unit", "run", "arm", "other_run", "other_arm", "mean", "ci95_low", "ci95_high", "n", "how"]
PAIRED, UNPAIRED = "paired by seed", "unpaired"


@dataclass(frozen=True, eq=False)
class Across:
    """What `toolkit.compare` returns: runs by a short name, their means, and the differences between them."""

    runs: dict[str, Comparison]

    @property
    def infos(self) -> list[MetricInfo]:
        """The metrics that all runs have, in the order of the first."""
        shared = set.intersection(*({info.name for info in run.described} for run in self.runs.values()))
        return [info for info in next(iter(self.runs.values())).described if info.name in shared]

    @property
    def headline(self) -> list[MetricInfo]:
        """Those of them for short tables; all of them where none is marked."""
        return [info for info in self.infos if info.headline] or self.infos

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean and 95 % interval per run, arm and metric."""
        parts = []
        for name, run in self.runs.items():
            frame = run.summary.copy()
            frame.insert(0, "run", name)
            parts.append(frame)
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def pairs(self) -> list[tuple[str, str, str, str, str]]:
        """What is compared: run, arm, other run, other arm, and why they are not paired (empty where they are).

        Arms of the same name in the first run and each other one; where there is none, the first arm against each of the other run's.
        """
        (first, mine), *others = self.runs.items()
        found = []
        for other, theirs in others:
            same = [(arm, arm) for arm in mine.arms if arm in theirs.arms] or [(mine.arms[0], arm) for arm in theirs.arms]
            found += [(first, arm, other, against, why_unpaired(mine, arm, theirs, against)) for arm, against in same]
        return found

    @cached_property
    def differences(self) -> pd.DataFrame:
        """The first run minus each other one, arm by arm: mean, 95 % interval, and how it was found."""
        return pd.DataFrame([row for pair in self.pairs for row in self._rows(*pair)], columns=COLUMNS)

    def _rows(self, run: str, arm: str, other: str, against: str, why: str) -> Iterator[tuple[Any, ...]]:
        for info in self.infos:
            if info.better is None:
                continue
            mine, theirs = (values_of(self.runs[name], which, info.name) for name, which in ((run, arm), (other, against)))
            if not why:
                both = mine.index.intersection(theirs.index)
                interval = mean_interval(paired(np.asarray(mine[both], np.float64), np.asarray(theirs[both], np.float64)))
            else:
                interval = welch(np.asarray(mine, np.float64), np.asarray(theirs, np.float64))
            yield info.name, info.unit, run, arm, other, against, *of_difference(info, interval), UNPAIRED if why else PAIRED

    def notes(self) -> list[str]:
        """Return a sentence for whatever makes these runs less alike than their numbers: other worlds or versions, no seeds in common."""
        found = [f"{other}, {against} against {run}, {arm}: {UNPAIRED}, since {why}" for run, arm, other, against, why in self.pairs if why]
        first, *others = self.runs.items()
        for name, run in others:
            differ = [key for key in ("toolkit", "numpy", "torch") if run.versions.get(key) != first[1].versions.get(key)]
            found += [f"{name} was made by {key} {run.versions.get(key)}, {first[0]} by {first[1].versions.get(key)}" for key in differ]
        return list(dict.fromkeys(found))


def compare(*runs: str | Path) -> Across:
    """Put two or more run directories side by side: ``toolkit.compare("runs/a", "runs/b").differences``.

    Raises:
        RunDirectoryError: there are fewer than two, one is no finished run, or they have no metric in common.
    """
    if len(runs) < 2:
        raise RunDirectoryError("a comparison takes two run directories or more")
    found = Across(dict(zip(_names([Path(run) for run in runs]), map(Result.load, runs), strict=True)))
    if not found.infos:
        raise RunDirectoryError("these runs have no metric in common; they were told by different reports")
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the last steps of each path, as few as tell them apart."""
    whole = [path.resolve().parts for path in paths]
    if len(set(whole)) < len(whole):
        raise RunDirectoryError("the same run directory is named twice")
    return next(
        names for count in range(1, 1 + max(map(len, whole)))
        if len(set(names := ["/".join(parts[-count:]) for parts in whole])) == len(whole)
    )


def values_of(run: Comparison, arm: str, metric: str) -> pd.Series[float]:
    """Return the values of a metric by seed, those that are finite."""
    rows = run.report[(run.report["arm"] == arm) & (run.report["metric"] == metric)]
    values: pd.Series[float] = rows.set_index("seed")["value"]
    return values[np.isfinite(values)]


def why_unpaired(run: Comparison, arm: str, other: Comparison, against: str) -> str:
    """Return why two arms cannot be paired by seed; empty where both met the same worlds."""
    shared = set(run.seeds) & set(other.seeds)
    if not shared:
        return "they share no seeds"
    one, two = (_tree(comparison, name) for comparison, name in ((run, arm), (other, against)))
    different = [path for path in ("fabric.type", "program.type", *EXPERIMENT) if value_at(one, path) != value_at(two, path)]
    if different:
        return f"they differ in {', '.join(different)}"
    seas = [_fingerprints(comparison, name) for comparison, name in ((run, arm), (other, against))]
    if any(seas[0].get(seed, mark) != mark for seed, mark in seas[1].items()):
        return "the sea was another, as its fingerprint says"
    return ""


def _tree(run: Comparison, arm: str) -> dict[str, Any]:
    """The settings of an arm as they are written; nothing of them is built, since that might need parts that lie elsewhere."""
    tree: Any = yaml12.read(run.directory / "scenario.yaml")
    compare = tree.get("compare") if isinstance(tree, dict) else None
    overrides = compare.get(arm) if isinstance(compare, dict) else {}
    for path, value in (overrides if isinstance(overrides, dict) else {}).items():
        tree = replaced(tree, path, value)
    return tree if isinstance(tree, dict) else {}


def _fingerprints(run: Comparison, arm: str) -> dict[int, float]:
    rows = run.metrics[(run.metrics["arm"] == arm) & (run.metrics["name"] == FINGERPRINT)]
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows["value"], strict=True)}


def welch(mine: Floats, theirs: Floats) -> tuple[float, float, float, int]:
    """Return the difference of two means, its 95 % interval (Welch 1947), and the number of values of the smaller sample."""
    from scipy.special import stdtrit

    n = min(len(mine), len(theirs))
    mean = float(mine.mean() - theirs.mean()) if n else float("nan")
    if n < 2:
        return mean, float("nan"), float("nan"), n
    parts = [float(values.var(ddof=1)) / len(values) for values in (mine, theirs)]
    if sum(parts) == 0:
        return mean, mean, mean, n
    freedom = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (mine, theirs), strict=True))
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * sum(parts) ** 0.5
    return mean, mean - half, mean + half, n
