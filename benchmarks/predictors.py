"""The predictors against each other on five kinds of series: prints the comparison tables of docs/prediction.md.

    python benchmarks/predictors.py [--data DIR] [--series A C D E V] [--tune 6] [--jobs 2]        # about eight minutes on one core

A  synthetic: tide, day, boats, breeze, 45 days of half hours, three seeds (tests/acoustic/prediction/series.py)
C  SNR from real wind alone: a year of hourly wind (NDBC 44005, 2012) through Wenz noise at 25 kHz: red noise
D  the same wind mixed with a real tide (a gauge of 1998): another place and year, so a mix and not a sea
E  a real acoustic channel: hourly share of tag transmissions decoded, 17 links, 30 days (Lake Superior, 2018)
V  ten-minute water level at Vlissingen, January to March 2018: a tide with storms

A needs no file. The others read files that are not shipped with the project (see docs/prediction.md for their origin) from --data, or
from TOOLKIT_DATA; a series whose files are not there is left out. The first 70 % of a series are history. With --tune N every method
tries N settings on the history alone (rolling origin, `toolkit.acoustic.prediction.tuning`; of a series with many rows, the
histories of three), and the best is used; with --tune 0 the parts' defaults are. RMSE in dB (E: share of packets, V: cm).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.acoustic.prediction.series import a_model, series_a  # noqa: E402
from toolkit.acoustic.prediction import Predictor  # noqa: E402
from toolkit.acoustic.prediction.evaluate import Z90, crps, diebold_mariano, errors, rolling  # noqa: E402
from toolkit.acoustic.prediction.lagged_features import LaggedFeatures  # noqa: E402
from toolkit.acoustic.prediction.lags_and_phases import LagsAndPhases  # noqa: E402
from toolkit.acoustic.prediction.tuning import Settings, candidates, tune  # noqa: E402
from toolkit.acoustic.water.noise import wenz  # noqa: E402

DATA = Path(os.environ.get("TOOLKIT_DATA") or ROOT / "data")
HOUR_S = 3600.0
ROWS_TUNED = 3
MAX_CELLS = 8192
PARTICLES = 2000


class Method(NamedTuple):
    """What a row of the table is called, its predictor, and settings that are not chosen."""

    label: str
    part: str
    settings: Settings = MappingProxyType({})
    tuned: bool = True

    def build(self, step_s: float, cells: tuple[int, ...], chosen: Settings) -> Predictor:
        known = Predictor.find(self.part)
        more: Settings = {"max_cells": MAX_CELLS} if "max_cells" in known.model_fields and self.part != "knn_compressed" else {}
        if "horizons_s" in known.model_fields:
            more["horizons_s"] = tuple(h * step_s for h in cells)
        return known.model_validate({"step_s": step_s, **more, **chosen, **self.settings})


MEMBERS = tuple({"type": name, "max_cells": MAX_CELLS} for name in ("ar", "knn", "lags_and_phases"))
METHODS = [
    Method("persistence", "persistence"),
    Method("moving average", "moving_average"),
    Method("EWMA", "ewma"),
    Method("EWMA 0.3, as in books", "ewma", {"alpha": 0.3, "carry": False}, tuned=False),
    Method("Holt, damped", "holt"),
    Method("line", "linear_regression"),
    Method("Kalman level", "kalman_level"),
    Method("Kalman trend", "kalman_trend"),
    Method("NLMS", "nlms"),
    Method("RLS", "rls"),
    Method("AR", "ar"),
    Method("ARMA", "arma"),
    Method("seasonal AR", "seasonal_ar"),
    Method("seasonal naive", "seasonal_naive"),
    Method("harmonic least squares", "harmonic_ls"),
    Method("harmonic Kalman", "harmonic"),
    Method("kNN", "knn"),
    Method("kNN, local linear", "knn", {"mode": "local_linear", "k": 80}),
    Method("kNN, micro-clusters", "knn_compressed"),
    Method("lags and phases", "lags_and_phases"),
    Method("lags and phases + trees", "lags_and_phases", {"boosted_trees": 60, "refit_s": 604_800.0}, tuned=False),
    Method("mean of AR, kNN, lags and phases", "combination", {"parts": MEMBERS, "weights": "equal"}, tuned=False),
    Method("the same, inverse errors", "combination", {"parts": MEMBERS, "weights": "inverse"}, tuned=False),
    Method("LightGBM alone", "lightgbm", tuned=False),
]


class Data(NamedTuple):
    """What is forecast: rows (cells,), NaN missing, their grid step, horizons in cells, what a unit is called and how many are in one."""

    rows: list[np.ndarray]
    step_s: float
    cells: tuple[int, ...]
    unit: str
    scale: float = 1.0


def wind_noise_db(directory: Path) -> np.ndarray:
    """SNR in dB per hour from the buoy's wind: 50 dB less Wenz noise above that of 5 m/s; NaN where no wind was measured."""
    table = np.genfromtxt(directory / "ndbc_44005_2012_stdmet_hourly.dat", skip_header=1, usecols=(0, 1, 2, 3, 6))
    stamps = [np.datetime64(f"{int(y):04d}-{int(m):02d}-{int(d):02d}T{int(h):02d}") for y, m, d, h, _ in table]
    hours = (np.array(stamps) - stamps[0]).astype("timedelta64[h]").astype(int)
    wind = np.full(hours[-1] + 1, np.nan)
    wind[hours] = np.where(table[:, 4] >= 99.0, np.nan, table[:, 4])
    known = np.where(np.isnan(wind), 0.0, wind)
    return np.where(np.isnan(wind), np.nan, 50.0 - (wenz(25.0, known, 0.5) - wenz(25.0, 5.0, 0.5)))


def tide_m(directory: Path, hours: int) -> np.ndarray:
    """Sea level in m about its mean per hour; NaN where the gauge gave none."""
    level = np.genfromtxt(directory / "sealevel_can1998_hourly.dtf", usecols=5)[:hours]
    level[level > 9.9] = np.nan
    return level - np.nanmean(level)


def lake(directory: Path) -> list[np.ndarray]:
    """Share of packets decoded per hour and link, of links that hear between a tenth and nine tenths of them on average."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in (directory / "lake_superior_2018_link_detections_hourly.csv").read_text(encoding="utf-8").splitlines()[1:]:
        _, sender, receiver, _, logged, detected = line.split(",")
        share = min(1.0, float(detected) / float(logged)) if float(logged) else np.nan
        found.setdefault((sender, receiver), []).append(share)
    rows = [np.array(shares) for _, shares in sorted(found.items())]
    return [row for row in rows if 0.1 < np.nanmean(row) < 0.9]


def series_d(directory: Path) -> np.ndarray:
    """0.62 of the wind's effect and 5.6 dB per metre of tide.

    The weights of the mix that this follows are not known; with these, persistence and an autoregression over 26 h err at 3 h by about
    what they did there (3.37 and 2.21 dB). What the others make of it was not looked at for this choice.
    """
    wind = wind_noise_db(directory) - 50.0
    level = tide_m(directory, len(wind))
    return 50.0 + 0.62 * wind[: len(level)] + 5.6 * level


def vlissingen(directory: Path) -> np.ndarray:
    """Water level in cm per ten minutes; NaN where the gauge gave none."""
    with np.load(directory / "vlissingen_10min_2018q1.npz") as archive:
        cells = np.floor(archive["time"].astype(np.float64) / 10.0).astype(int)
        level = np.full(cells[-1] - cells[0] + 1, np.nan)
        level[cells - cells[0]] = 100.0 * archive["level_m"]
    return level


SERIES: dict[str, Callable[[Path], Data]] = {
    "A": lambda directory: Data([series_a(seed) for seed in range(3)], 1800.0, (1, 6, 12), "dB"),
    "C": lambda directory: Data([wind_noise_db(directory / "sea")], HOUR_S, (1, 3, 6), "dB"),
    "D": lambda directory: Data([series_d(directory / "sea")], HOUR_S, (1, 3, 6), "dB"),
    "E": lambda directory: Data(lake(directory / "sea"), HOUR_S, (1, 3, 6), "share of packets"),
    "V": lambda directory: Data([vlissingen(directory / "tide-nl")], 600.0, (1, 18, 36), "cm"),
}
STRIDES = {"A": 1, "C": 4, "D": 4, "E": 2, "V": 6}
"""Forecasts are made from one in so many cells."""


class Result(NamedTuple):
    """Of one method on all rows of a series: per horizon the RMSE (mean of rows), the errors row by row, CRPS, coverage; what fell back."""

    rmse: list[float]
    gaps: list[np.ndarray]
    crps: list[float]
    coverage: list[float]
    fell_back: float
    settings: Settings
    seconds: float


def measure(method: Method, data: Data, tries: int, stride: int) -> Result:
    started = time.process_time()
    chosen: Settings = {}
    if method.part == "lightgbm":
        found = [lightgbm_alone(row, int(0.7 * len(row)), data, stride) for row in data.rows]
    else:
        if method.tuned and tries:
            chosen = choose(method, data, tries)
        part = method.build(data.step_s, data.cells, chosen)
        found = [rolling(part, row, int(0.7 * len(row)), data.cells, stride=stride) for row in data.rows]
    rmse, gaps, scores, coverage, fallen = [], [], [], [], []
    for h in data.cells:
        own = [errors(row, one[h]) for row, one in zip(data.rows, found, strict=True)]
        gap, rows = np.concatenate(own), np.concatenate([one[h] for one in found])
        known = gap == gap
        rmse.append(float(np.mean([np.sqrt(np.nanmean(row**2)) for row in own])))
        gaps.append(gap)
        scores.append(float(crps(gap[known], rows[known, 2]).mean()))
        coverage.append(float(np.mean(np.abs(gap[known]) <= Z90 * rows[known, 2])))
        fallen.append(float(rows[known, 3].mean()))
    return Result(rmse, gaps, scores, coverage, max(fallen), chosen, time.process_time() - started)


def choose(method: Method, data: Data, tries: int) -> Settings:
    """Settings that did best on the histories of at most three rows, by the mean of their scores."""
    scores: dict[str, list[float]] = {}
    settings: dict[str, Settings] = {}
    for row in data.rows[:: max(1, len(data.rows) // ROWS_TUNED)][:ROWS_TUNED]:
        history = row[: int(0.7 * len(row))]
        slow = {"refit_s": len(history) * data.step_s / 10.0} if "refit_s" in Predictor.find(method.part).model_fields else {}
        for more in candidates(method.part, tries):
            choice = tune(
                method.part, lambda _, more=more, slow=slow: method.build(data.step_s, data.cells, {**slow, **more}), history, data.cells,
                count=1,
            )
            settings[str(more)] = more
            scores.setdefault(str(more), []).append(choice.score)
    return settings[min(scores, key=lambda name: float(np.mean(scores[name])))]


def lightgbm_alone(row: np.ndarray, first: int, data: Data, stride: int) -> dict[int, np.ndarray]:
    """Boosted trees on the features of `lags_and_phases`, fitted once to the history; the number of trees from its last quarter."""
    import lightgbm

    part = LagsAndPhases(step_s=data.step_s, max_cells=MAX_CELLS)
    known = row == row
    filled = np.interp(np.arange(len(row)), np.flatnonzero(known), row[known])
    level = float(filled[:first].mean())
    found = {}
    for h in data.cells:
        features = LaggedFeatures(round(93_600 / data.step_s), (round(86_400 / data.step_s), round(89_424 / data.step_s)), part.turns, h)
        columns = features.at(filled - level, features.reach, 1.0, 0)
        origins = np.arange(features.reach, len(row))
        past = (origins + h < first) & known[np.minimum(origins + h, len(row) - 1)]
        late = past & (origins >= features.reach + 0.75 * (first - features.reach))
        early = past & ~late & (origins + h < features.reach + 0.75 * (first - features.reach))
        settings = {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 20, "num_threads": 1, "verbosity": -1, "max_bin": 63}
        trial = lightgbm.train(settings, lightgbm.Dataset(columns[early], row[origins[early] + h]), 200)
        gaps = {n: row[origins[late] + h] - trial.predict(columns[late], num_iteration=n) for n in (25, 50, 100, 200)}
        best = min(gaps, key=lambda n: float(gaps[n] @ gaps[n]))
        model = lightgbm.train(settings, lightgbm.Dataset(columns[past], row[origins[past] + h]), best)
        std = float(np.sqrt(np.mean(gaps[best] ** 2)))
        asked = np.arange(first, len(row) - h, stride)
        said = model.predict(columns[asked - features.reach])
        found[h] = np.stack([asked + h, said, np.full(len(asked), std), np.zeros(len(asked))], axis=1)
    return found


def floor_a(seeds: int = 3) -> list[float]:
    """RMSE in dB of forecasts by whoever knows series A's model and only not its weather to come, at the horizons of the table.

    A particle filter follows the weather through the measured SNR; every particle is run on to the target without noise of measurement.
    """
    ahead = (1, 6, 12)
    squares: dict[int, list[float]] = {h: [] for h in ahead}
    for seed in range(seeds):
        values = series_a(seed)
        rng = np.random.default_rng(1000 + seed)
        model = a_model(len(values))
        weather = model.deviation * rng.standard_normal(PARTICLES)
        for index, value in enumerate(values):
            if index:
                weather = model.rho * weather + model.step * rng.standard_normal(PARTICLES)
            gap = value - model.snr_db(index, weather)
            weight = np.exp(-0.5 * (gap / model.noise_db) ** 2) + 1e-300
            weather = weather[rng.choice(PARTICLES, PARTICLES, p=weight / weight.sum())]
            if index >= 0.7 * len(values):
                for h in ahead:
                    if index + h < len(values):
                        wander = model.deviation * np.sqrt(1 - model.rho ** (2 * h)) * rng.standard_normal(PARTICLES)
                        later = model.rho**h * weather + wander
                        squares[h].append((float(model.snr_db(index + h, later).mean()) - values[index + h]) ** 2)
    return [float(np.sqrt(np.mean(squares[h]))) for h in ahead]


def span(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 1800 else f"{seconds / 60:g} min"


def table(name: str, data: Data, results: list[Result]) -> None:
    """RMSE per horizon, in bold what is within 2 % of the best; CRPS, coverage, what fell back and p at the longest."""
    best = [min(result.rmse[i] for result in results) for i in range(len(data.cells))]
    knn = min((r for m, r in zip(METHODS, results, strict=True) if m.part == "knn"), key=lambda r: r.rmse[-1])
    digits = {"dB": 2, "cm": 1}.get(data.unit, 3)
    heads = [span(h * data.step_s) for h in data.cells]
    still = results[0].rmse[0]
    print(f"\nSeries {name}, RMSE in {data.unit}; p: Diebold-Mariano at {heads[-1]} against the better kNN there\n")
    print(f"| method | {' | '.join(heads)} | of persistence, {heads[0]} | CRPS {heads[-1]} | in 90 % | fell back | p |")
    print("|---" * (6 + len(data.cells)) + "|")
    for method, result in zip(METHODS, results, strict=True):
        shown = [f"**{v:.{digits}f}**" if v <= 1.02 * b else f"{v:.{digits}f}" for v, b in zip(result.rmse, best, strict=True)]
        p = diebold_mariano(result.gaps[-1], knn.gaps[-1], data.cells[-1])
        note = "better kNN" if result is knn else "< 0.001" if p < 0.001 else f"{p:.3f}"
        coverage = f"{min(result.coverage):.2f} to {max(result.coverage):.2f}"
        back = f"{result.fell_back:.0%}" if result.fell_back else ""
        first = f"{result.rmse[0] / still:.2f}"
        print(f"| {method.label} | {' | '.join(shown)} | {first} | {result.crps[-1]:.{digits}f} | {coverage} | {back} | {note} |")
    for method, result in zip(METHODS, results, strict=True):
        if result.settings:
            sys.stderr.write(f"{name} {method.label}: {result.settings}, {result.seconds:.0f} s\n")


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--data", type=Path, default=DATA, help="folder with sea/ and tide-nl/ (default: TOOLKIT_DATA)")
    cli.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    cli.add_argument("--tune", type=int, default=6, help="settings tried per method; 0: the defaults")
    cli.add_argument("--jobs", type=int, default=1)
    args = cli.parse_args()
    for name in args.series:
        try:
            data = SERIES[name](args.data)
        except FileNotFoundError as error:
            print(f"\nSeries {name} left out: {error.filename} is not there")
            continue
        results = Parallel(n_jobs=args.jobs)(delayed(measure)(method, data, args.tune, STRIDES[name]) for method in METHODS)
        table(name, data, results)
        if name == "A":
            print(f"| floor: the model known | {' | '.join(f'{value:.2f}' for value in floor_a())} |" + " |" * 5)
        sys.stdout.flush()
        sys.stderr.write(f"{name}: {sum(result.seconds for result in results):.0f} s of CPU\n")


if __name__ == "__main__":
    main()
