"""Make data/channel_replay/links.csv: what the modems of channel_replay.yaml would have logged in the weather of sea_trial.yaml.

    python scripts/make_channel_log.py

Every node sends a beacon each half hour for two and a half days; a receiver that decodes it logs time, sender, itself and the frame's SNR.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np

from toolkit.acoustic import history
from toolkit.acoustic.fabric import Acoustic
from toolkit.core.streams import Streams
from toolkit.scenario import Scenario

ROOT = Path(__file__).parent.parent
SEED, STEP_S, RUN_S = 1, 1800.0, 43_200.0


def main() -> None:
    replay = Scenario.load(ROOT / "scenarios" / "channel_replay.yaml").fabric
    assert isinstance(replay, Acoustic)
    span_s = replay.history_s + RUN_S
    fabric = Scenario.load(ROOT / "scenarios" / "sea_trial.yaml", {
        "fabric.layout": replay.layout.model_dump(mode="json"), "fabric.mobility": "static", "fabric.sea.random_start_days": 0,
        "fabric.sea.start": (replay.sea.start + timedelta(seconds=RUN_S)).isoformat(), "fabric.history_s": span_s,
    }).fabric
    assert isinstance(fabric, Acoustic)
    streams = Streams(SEED)
    channel, water = fabric.open_channel(streams, 0.0)
    log = history.record(
        channel, fabric.fading, fabric.modem.success_table(), fabric.modem.ebn0_db(0.0), span_s, STEP_S, streams.rng("history")
    )
    lines = ["time,sender,receiver,snr_db"]
    for when, heard, snr_db in zip(log.t_s.tolist(), log.heard, log.snr_db, strict=True):
        stamp = (water.origin + timedelta(seconds=when)).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines += [
            f"{stamp},{sender},{receiver},{snr_db[sender, receiver]:.1f}" for sender, receiver in zip(*np.nonzero(heard), strict=True)
        ]
    path = ROOT / "data" / "channel_replay" / "links.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}: {len(lines) - 1} rows\n")


if __name__ == "__main__":
    main()
