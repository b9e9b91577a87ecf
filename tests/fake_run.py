"""A made-up run directory of the sea: three arms, three seeds, everything that reports and figures look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from toolkit.analysis.statistics import REPORT_COLUMNS
from toolkit.core.ledger import Ledger
from toolkit.render.result import Result

ARMS = ("knn", "ewma <fast>", "flooding")
SEEDS = (1, 2, 3)
REPORT = "toolkit.acoustic.report"
NODES = 8
ENERGY_J = ((0.5, -0.4, 0.1), (-0.3, 0.6, 0.0), (0.2, 0.3, -0.6))


def report_frame() -> pd.DataFrame:
    """The first arm delivers more in every seed, and is slower; energies do not differ beyond luck."""
    rows: list[tuple[object, ...]] = []
    for place, arm in enumerate(ARMS):
        for seed in SEEDS:
            shared = 0.02 * seed
            rows += [
                (arm, seed, "delivery_ratio", "1", 0.9 - 0.1 * place - shared + 0.001 * seed * place),
                (arm, seed, "delay_mean_s", "s", 20.0 - 5.0 * place + 0.1 * seed * place),
                (arm, seed, "energy_per_delivered_j", "J", 10.0 + ENERGY_J[place][seed - 1]),
            ]
            if arm != "flooding":
                rows += [(arm, seed, f"rmse_db@{hours}h", "dB", 1.0 + place + 0.2 * hours + shared) for hours in (1, 3, 6)]
            if arm == "knn" and seed == 1:
                rows.append((arm, seed, "lost_no_route", "1", 0.03))
    return pd.DataFrame(rows, columns=REPORT_COLUMNS)


def observe(ledger: Ledger, arm: str, rng: np.random.Generator) -> None:
    """Places, weather, and for arms that predict the forecasts of one link."""
    for node in range(NODES):
        sink = node == NODES - 1
        ledger.metric(0.0, "is_sink", float(sink), str(node))
        ledger.metric(0.0, "x_m", rng.uniform(0, 3000), str(node))
        ledger.metric(0.0, "y_m", rng.uniform(0, 3000), str(node))
        ledger.metric(0.0, "depth_m", 0.0 if sink else rng.uniform(20, 400), str(node))
    for t_s in np.arange(-43_200.0, 43_201.0, 1800.0).tolist():
        ledger.metric(t_s, "wind_m_s", 6 + 3 * np.sin(t_s / 20_000), "sea")
        ledger.metric(t_s, "tide_m", np.cos(t_s / 7_100), "sea")
        for who in ("harbour", "3"):
            ledger.metric(t_s, "noise_psd_db", 45 + 4 * np.sin(t_s / 20_000) + (who == "3"), who)
        if arm == "flooding" or t_s < 0:
            continue
        truth_db = 8 + 5 * np.cos(t_s / 7_100)
        ledger.metric(t_s, "link_snr_db", truth_db, "2->7")
        for step in (3600, 10_800, 21_600):
            if t_s >= step:
                ledger.metric(t_s, "link_forecast_db", truth_db + rng.normal(), "2->7", step)
                ledger.metric(t_s, "link_forecast_std_db", 1.0 + step / 10_000, "2->7", step)


def charge(ledger: Ledger, rng: np.random.Generator) -> None:
    """Data over random links, of which every eighth packet is lost, and one beacon."""
    for packet in range(40):
        node, peer = rng.choice(NODES, 2, replace=False).tolist()
        ledger.charge(60.0 * packet, 0.5, node, peer, "tx", phase="data", nbytes=64, energy_j=1.0, outcome="sent", packet=packet)
        ledger.charge(60.0 * packet, 0.5, peer, node, "rx", phase="data", nbytes=64, energy_j=0.1, outcome="delivered", packet=packet)
        ledger.charge(60.0 * packet, 0.5 + packet, node, peer, "send", outcome="lost" if packet % 8 == 7 else "delivered", packet=packet)
    ledger.charge(5.0, 0.1, 0, -1, "tx", phase="beacon", nbytes=12, energy_j=0.2, outcome="sent")


def build(directory: Path) -> Result:
    """Write the run directory and open it."""
    rng = np.random.default_rng(7)
    (directory / "ledger").mkdir(parents=True)
    frames = []
    for arm in ARMS:
        for seed in SEEDS:
            ledger = Ledger(directory / "ledger" / f"{arm}-s{seed}")
            observe(ledger, arm, rng)
            charge(ledger, rng)
            frames.append(ledger.metrics().assign(arm=arm, seed=seed))
            ledger.close(directory / "scratch.parquet")
    (directory / "scratch.parquet").unlink()
    pd.concat(frames, ignore_index=True).to_parquet(directory / "metrics.parquet")
    report_frame().to_csv(directory / "report.csv", index=False)
    (directory / "versions.json").write_text(json.dumps({"toolkit": "0.1.0", "numpy": "2", "report": REPORT}), encoding="utf-8")
    return Result.load(directory)
