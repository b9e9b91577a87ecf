"""docs/records.md: what it shows is read as it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from toolkit.acoustic.environment import Span
from toolkit.scenario import Scenario
from toolkit.simulate import main

GUIDE = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
COLUMNS = {"wind.csv": "wind_speed_m_s", "gauge.csv": "height_m", "noise.csv": "noise_db"}


@pytest.mark.parametrize("offset", ["", "Z", "+00:00"])
def test_the_scenario_of_the_guide_runs_on_plain_files(tmp_path: Path, offset: str) -> None:
    """Files of two columns, named and unnamed, in UTC unless they say otherwise."""
    for name, column in COLUMNS.items():
        rows = [f"2024-05-{day:02d}T{hour:02d}:00:00{offset},{10 + hour % 5}" for day in range(1, 8) for hour in range(24)]
        (tmp_path / name).write_text("\n".join([f"time,{column}" if offset else "t,x", *rows]) + "\n", encoding="utf-8")
    sea = yaml.safe_load(re.search(r"```yaml\n(fabric:.*?)```", GUIDE, re.DOTALL).group(1))["fabric"]["sea"]
    tree = {
        "name": "records", "duration_s": 7200.0, "program": {"type": "periodic", "interval_s": 1800.0},
        "fabric": {"type": "acoustic", "routing": "dbr", "sea": sea, "history_s": 86_400, "layout": {"nodes": 4, "sinks": 1}},
    }
    (tmp_path / "records.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert main([str(tmp_path / "records.yaml"), "--check"]) == 0
    water = Scenario.load(tmp_path / "records.yaml").fabric.sea
    wind = water.wind.init(Span(datetime(2024, 5, 4, tzinfo=UTC), 0.0, 7200.0), np.random.default_rng(1))
    assert wind([0.0, 3600.0, 1800.0]).tolist() == [10.0, 11.0, 10.5]


@pytest.mark.parametrize("line", re.findall(r"^ *- (\{type: daily_noise.*?\})", GUIDE, re.MULTILINE))
def test_the_daily_noise_of_the_guide_is_valid(line: str) -> None:
    tree = {"name": "noise", "duration_s": 7200.0, "program": "periodic", "fabric": {
        "type": "acoustic", "routing": "dbr", "sea": {"noise": [yaml.safe_load(line)]}}}
    Scenario.build(tree)


def test_a_run_in_which_nothing_would_count_is_refused(tmp_path: Path, capsys) -> None:
    tree = {"name": "short", "duration_s": 600.0, "program": "periodic",
            "fabric": {"type": "acoustic", "routing": "dbr", "sea": {}, "history_s": 0, "drain_s": 600.0}}
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert main([str(tmp_path / "short.yaml")]) == 2
    assert "fabric.drain_s: 600 s is not below duration_s = 600 s, so no packet would count" in capsys.readouterr().err
