"""Chooses the predictors' settings for the sea trials: 24 settings per method, on other weather and other networks than are tested.

    python benchmarks/tune_predictors.py          # about a minute; prints the table of docs/prediction.md
    python benchmarks/tune_predictors.py local    # the same for sea_local_noise.yaml: beacons every hour, ten days of them

The links are those of the scenarios' own networks: beacons every half hour, measured with fading where they are heard and entered as
censored where they are not, just as a node meets them. Tuning uses August 1994 and seeds 101 to 103; the table that is printed tests the
chosen settings on June 1996 with seeds 201 to 203 (the scenarios run seeds 1 to 5). A method sees three days, then forecasts through the
fourth. The truth is the mean SNR at the target, clipped at the level below which nothing is heard. Chosen is the least RMSE, averaged
over both seas and four horizons.
"""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.acoustic import history
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.harmonic_ls import PERIODS_S
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.core.streams import Streams
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parent.parent / "scenarios"
LINKS = 16


class Task(NamedTuple):
    """Which seas are tuned for, with beacons every *step_s*: cells of history and of the day that is forecast, horizons in cells."""

    seas: dict[str, str]
    step_s: float
    history: int
    day: int
    horizons: tuple[int, ...]


TASKS = {
    "trials": Task({"harbour": "sea_trial.yaml", "open": "sea_trial_open.yaml"}, 1800.0, 144, 48, (1, 2, 6, 12)),
    "local": Task({"local": "sea_local_noise.yaml"}, 3600.0, 240, 24, (1, 3, 6)),
}

PLAIN: dict[str, object] = {"mode": "level", "phase_db": 3.0, "eps_db": 0.1}

GRID: dict[str, list[dict[str, object]]] = {
    "persistence": [{}],
    "ewma": [{"alpha": alpha, "carry": False} for alpha in np.linspace(0.08, 1.0, 24).round(2).tolist()],
    "ar": [{"order": p, "ridge": r} for p, r in itertools.product((4, 8, 12, 24, 36, 48), (0.02, 0.1, 0.5, 2.0))],
    "harmonic": [
        {"level_step_db": s, "noise_db": r, "harmonics": n, "prior_db": a}
        for s, r, n, a in itertools.product((1.0, 2.0), (1.5, 3.0), (1, 3, 5), (3.0, 6.0))
    ],
    "knn": [
        {"window": m, "k": k, "same_phase_s": lags, "phase_periods_s": phases, **PLAIN}
        for m, k, lags, phases in itertools.product((3, 8, 24), (4, 8), ((), (86_400,)), ((), (86_400,)))
    ],
    "lags_and_phases": [
        {"order": p, "same_phase_s": lags, "periods_s": periods}
        for p, lags, periods in itertools.product((2, 4, 8, 12), ((), (86_400,)), ((86_400,), (86_400, 44_714.16), PERIODS_S))
    ],
}


class LinkRecord(NamedTuple):
    """One link over four days: what was measured, whether a beacon was heard, and the mean SNR, per half hour."""

    measured_db: np.ndarray
    heard: np.ndarray
    truth_db: np.ndarray


def links(task: Task, scenario: str, month: datetime, seeds: range) -> list[LinkRecord]:
    """Record upward links of the scenario's network in another month, each seed in days of its own."""
    found = []
    for seed in seeds:
        spec = Scenario.load(SCENARIOS / scenario).fabric
        days = round((task.history + task.day) * task.step_s / 86_400)
        wind = spec.sea.wind.model_copy(update={"typical_year": month.year})
        sea = spec.sea.model_copy(update={"start": month.replace(day=1 + days), "random_start_days": 29 - days - 1, "wind": wind})
        spec = spec.model_copy(update={"sea": sea, "history_s": days * 86_400.0})
        pasts = []
        for fading in (spec.fading, FastFading(kind="none")):  # the same channel with and without fast fading
            streams = Streams(seed)
            channel, _ = spec.open_channel(streams, 1.0)
            gain_db = spec.modem.ebn0_db(0.0)
            pasts.append(history.record(
                channel, fading, spec.modem.success_table(), gain_db, history_s=spec.history_s, step_s=spec.history_step_s,
                rng=streams.rng("history"),
            ))
        past, still = pasts
        level_db = LinkBudget(spec.modem).least_snr_db
        upward = history.upward_links(past)
        for index in np.random.default_rng(seed).choice(len(upward), min(LINKS, len(upward)), replace=False):
            i, j = upward[index]
            found.append(LinkRecord(past.snr_db[:, i, j], past.heard[:, i, j], np.maximum(still.snr_db[:, i, j], level_db)))
    return found


def rmse(task: Task, predictor: Predictor, records: list[LinkRecord], level_db: float) -> np.ndarray:
    """RMSE in dB per horizon over all links."""
    squares: dict[int, list[float]] = {h: [] for h in task.horizons}
    for record in records:
        state = predictor.init()
        for index, (value, good) in enumerate(zip(record.measured_db.tolist(), record.heard.tolist(), strict=True)):
            now_s = (index + 0.5) * predictor.step_s
            predictor.update(state, now_s, round(2 * value) / 2 if good else level_db + 3.0, censored=not good)
            if index < task.history or index % 2:
                continue
            for h in task.horizons:
                if index + h < len(record.truth_db):
                    forecast = predictor.predict(state, now_s + h * predictor.step_s)
                    assert forecast is not None
                    squares[h].append((max(forecast.mean_db, level_db) - record.truth_db[index + h]) ** 2)
    return np.array([np.sqrt(np.mean(squares[h])) for h in task.horizons])


def main() -> None:
    task = TASKS[sys.argv[1] if len(sys.argv) > 1 else "trials"]
    first = Scenario.load(SCENARIOS / next(iter(task.seas.values()))).fabric
    level_db = LinkBudget(first.modem).least_snr_db
    tuning = {sea: links(task, file, datetime(1994, 8, 1, 10, tzinfo=UTC), range(101, 104)) for sea, file in task.seas.items()}
    testing = {sea: links(task, file, datetime(1996, 6, 1, 10, tzinfo=UTC), range(201, 204)) for sea, file in task.seas.items()}
    columns = [f"{sea} {h * task.step_s / 3600:g} h" for sea in task.seas for h in task.horizons]
    lines = ["| method | settings | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for name, grid in GRID.items():
        parts = [Predictor.find(name).model_validate({"step_s": task.step_s, **settings}) for settings in grid]
        scores = [np.mean([rmse(task, part, tuning[sea], level_db) for sea in task.seas]) for part in parts]
        best = int(np.argmin(scores))
        sys.stderr.write(f"{name}: " + ", ".join(f"{score:.2f}" for score in scores) + "\n")
        result = np.concatenate([rmse(task, parts[best], testing[sea], level_db) for sea in task.seas])
        shown = ", ".join(f"{key} {value}" for key, value in grid[best].items()) or "none"
        lines.append(f"| {name} | {shown} | " + " | ".join(f"{value:.2f}" for value in result) + " |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
