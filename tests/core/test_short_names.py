"""A part that a scenario names by its module is told by its short name once it is resolved, and is the same part."""

from __future__ import annotations

import re
from pathlib import Path

from toolkit.core import yaml12
from toolkit.scenario import Scenario

SEA_TRIAL = Path(__file__).parents[2] / "scenarios" / "sea_trial.yaml"
LONG = {
    "fabric.mac": "toolkit.acoustic.mac.csma", "fabric.mobility": {"type": "toolkit.acoustic.mobility.anchored_drift"},
    "fabric.routing.prediction.type": "toolkit.acoustic.prediction.knn", "program.type": "toolkit.acoustic.traffic.poisson", "compare": {},
}


def test_long_names_resolve_to_short_ones(tmp_path: Path) -> None:
    short = {path: yaml12.parse(re.sub(r"toolkit\.\w+\.\w+\.", "", str(value)), path) if value else {} for path, value in LONG.items()}
    long = Scenario.load(SEA_TRIAL, LONG)
    assert long == Scenario.load(SEA_TRIAL, short)
    assert "toolkit." not in "".join(line for line in str(long).splitlines() if "type:" in line)
    (tmp_path / "resolved.yaml").write_text(str(long), encoding="utf-8")
    assert Scenario.load(tmp_path / "resolved.yaml") == long
