"""Chooses the predictors' settings for the sea trial: 24 settings per method, on August 1994, never on the month that is tested.

    python benchmarks/tune_predictors.py          # two minutes; prints the table of docs/prediction.md

Series are link SNRs in half-hour cells: real wind and tide of Sand Point through the noise of each scenario, a shadowing of 1.5 dB per
cell, mean level such that the link comes and goes; values below the decode level are entered as the network enters them (3 dB below it).
A method sees three days and then forecasts through the fourth, as in the scenarios. Chosen is the least RMSE over both seas and all
horizons; the last table shows the chosen settings on June 1996, the month of the scenarios.
"""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.evaluate import errors, rolling
from toolkit.core.streams import Streams
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parent.parent / "scenarios"
HORIZONS = (1, 2, 6, 12)
HISTORY, DAY = 144, 48
DECODE_DB = 5.0

GRID: dict[str, list[dict[str, object]]] = {
    "persistence": [{}],
    "ewma": [{"alpha": alpha} for alpha in np.linspace(0.08, 1.0, 24).round(2).tolist()],
    "ar": [{"order": p, "ridge": r} for p, r in itertools.product((4, 8, 12, 24, 36, 48), (0.02, 0.1, 0.5, 2.0))],
    "harmonic": [
        {"level_step_db": s, "noise_db": r, "harmonics": n, "prior_db": a}
        for s, r, n, a in itertools.product((1.0, 2.0), (1.5, 3.0), (1, 3, 5), (3.0, 6.0))
    ],
    "knn": [
        {"window": m, "k": k, "same_phase_s": lags, "phase_periods_s": phases}
        for m, k, lags, phases in itertools.product((3, 6, 12), (6, 10), ((), (86_400,)), ((), (86_400,)))
    ],
}


def series(scenario: str, month: datetime, days: int, seed: int) -> np.ndarray:
    """Half-hourly SNR in dB of one made-up link in real weather."""
    sea = Scenario.load(SCENARIOS / scenario).fabric.sea.model_copy(update={"start": month, "random_start_days": 0})
    wind = sea.wind.model_copy(update={"typical_year": month.year})
    state = sea.model_copy(update={"wind": wind}).init(0.0, days * 86_400.0, 25_000.0, Streams(seed))
    rng = np.random.default_rng(seed)
    place = np.array([[2000.0, 2000.0, 200.0]])
    t_s = np.arange(0.0, days * 86_400.0, 1800.0) + 900.0
    noise_db = np.array([float(state.noise_psd_db(float(t), place)[0]) for t in t_s])
    tide_db = sea.tide_loss_db_per_m * state.tide.height_m(t_s)
    snr_db = rng.uniform(46.0, 54.0) - noise_db - tide_db + 1.5 * rng.standard_normal(len(t_s))
    return np.where(snr_db < DECODE_DB, DECODE_DB - 3.0, snr_db)


def rmse(predictor: Predictor, rows: list[np.ndarray]) -> np.ndarray:
    """RMSE in dB per horizon over all windows of four days in *rows*."""
    found: dict[int, list[np.ndarray]] = {h: [] for h in HORIZONS}
    for row in rows:
        for start in range(0, len(row) - HISTORY - DAY + 1, 2 * DAY):
            part = row[start : start + HISTORY + DAY]
            for h, forecasts in rolling(predictor, part, HISTORY, HORIZONS, stride=2).items():
                found[h].append(errors(part, forecasts))
    return np.array([np.sqrt(np.mean(np.concatenate(found[h]) ** 2)) for h in HORIZONS])


def main() -> None:
    seas = {"harbour": "sea_trial.yaml", "open": "sea_trial_open.yaml"}
    tuning = {sea: [series(file, datetime(1994, 8, 1, 10, tzinfo=UTC), 30, seed) for seed in range(3)] for sea, file in seas.items()}
    testing = {sea: [series(file, datetime(1996, 6, 1, 10, tzinfo=UTC), 29, seed) for seed in range(3)] for sea, file in seas.items()}
    lines = ["| method | settings | " + " | ".join(f"{sea} {h / 2:g} h" for sea in seas for h in HORIZONS) + " |"]
    lines.append("|---" * (2 + len(seas) * len(HORIZONS)) + "|")
    for name, grid in GRID.items():
        parts = [Predictor.find(name).model_validate(settings) for settings in grid]
        scores = [np.mean([rmse(part, tuning[sea]) for sea in seas]) for part in parts]
        best = int(np.argmin(scores))
        sys.stderr.write(f"{name}: " + ", ".join(f"{score:.2f}" for score in scores) + "\n")
        result = np.concatenate([rmse(parts[best], testing[sea]) for sea in seas])
        shown = ", ".join(f"{key} {value}" for key, value in grid[best].items()) or "none"
        lines.append(f"| {name} | {shown} | " + " | ".join(f"{value:.2f}" for value in result) + " |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
