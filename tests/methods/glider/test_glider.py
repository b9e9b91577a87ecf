"""A glider that learns and ships what it has learnt: what is ashore is what was sent, learning keeps to its power, waiting has an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from toolkit.errors import UserError
from toolkit.scenario import Scenario
from toolkit.sweep import run

pytestmark = pytest.mark.usefixtures("undrawn_module")

SCENARIO = Path(__file__).parents[3] / "scenarios" / "glider_continual.yaml"
SMALL: dict[str, Any] = {
    "duration_s": 7200, "fabric.history_s": 0, "fabric.drain_s": 600, "fabric.links": "ideal", "fabric.mobility": "static", "seeds": 1,
    "fabric.layout": {"positions_m": [[0, 0, 50]], "sink_positions_m": [[300, 0, 0], [0, 400, 0]], "depth_m": 100},
    "program.learner.stream.tasks": 2, "program.learner.budget.epochs": 1, "program.learner.frames_per_s": 1.0, "program.power_w": None,
    "program.interval_s": 900, "program.least_success": None, "quick": {},
}


def glider(out: Path, **changes: Any) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
    """Run a small one; return its rows, its observations and its ledger."""
    result = run(Scenario.load(SCENARIO, {**SMALL, "compare": {"one": {}}, **changes}), out=out)
    return result.report.set_index("metric")["value"], result.metrics, result.ledger


def of(metrics: pd.DataFrame, name: str) -> pd.Series:
    return metrics[metrics["name"] == name].set_index("step")["value"]


@pytest.mark.usefixtures("drawn")
def test_whole_changes_make_the_copy_what_the_glider_was_when_it_sent(tmp_path: Path) -> None:
    rows, metrics, ledger = glider(tmp_path / "run", **{"program.change": "whole"})
    own, ashore = of(metrics, "test_accuracy"), of(metrics, "ashore_accuracy")
    assert rows["changes_sent"] == rows["changes_taken"] == len(own) >= 1
    for step in own.index:
        assert ashore[step] == pytest.approx(own[step], abs=0.01)  # last bits of a sum
    assert ashore.iloc[-1] > ashore[0] + 0.1
    assert rows["change_bytes"] == len(own) * 4 * (int(rows["change_bytes"]) // len(own) // 4)
    assert len(own) <= 2  # nothing is left to be sent once all is learnt
    sent = ledger[ledger["kind"] == "message"]
    assert (sent["outcome"] == "delivered").all()
    spent = ledger[ledger["node"] == 0].groupby("kind", observed=True)["energy_j"].sum()
    assert rows["glider_j"] == pytest.approx(spent.sum(), rel=1e-9)
    assert rows["glider_sending_j"] == pytest.approx(spent["tx"], rel=1e-9)


def test_the_mean_ashore_is_that_of_steps_held_until_the_next_change(tmp_path: Path) -> None:
    rows, metrics, _ = glider(tmp_path / "run")
    seen = metrics[metrics["name"] == "ashore_accuracy"].sort_values("step")
    ends = [*seen["t_s"].iloc[1:], 7200.0]
    by_hand = sum(value * (end - begin) for value, begin, end in zip(seen["value"], seen["t_s"], ends, strict=True)) / 7200.0
    assert rows["ashore_mean"] == pytest.approx(by_hand, rel=1e-12)


def test_a_held_board_learns_the_same_later_and_draws_no_more(tmp_path: Path) -> None:
    fast, _, _ = glider(tmp_path / "fast", **{"program.learner.frames_per_s": None})
    slow, _, _ = glider(tmp_path / "slow", **{"program.learner.frames_per_s": None, "program.power_w": 0.002})
    assert slow["glider_mean_w"] <= 0.002 * 1.02  # the last step is not waited for
    assert slow["glider_mean_w"] > 0.0019
    assert slow["learnt_h"] > 10 * fast["learnt_h"]
    left = [next((tmp_path / name / "models").glob("*.safetensors")).read_bytes() for name in ("fast", "slow")]
    assert left[0] == left[1]


def test_waiting_for_water_has_an_end(tmp_path: Path) -> None:
    """Where nobody is known no forecast is good, so each change waits out its patience and is sent all the same."""
    changes = {"program.least_success": 0.9, "program.patience_s": 1800, "program.look_s": 700, "fabric.links": "water"}
    rows, metrics, _ = glider(tmp_path / "run", **changes, **{"fabric.routing.beacon_s": 86400, "fabric.modem.source_level_db": 150})
    assert of(metrics, "chance").notna().all()
    known = metrics[(metrics["name"] == "chance") & (metrics["value"] >= 0.9)]
    waited = of(metrics, "waited_s")
    assert ((waited == 1800.0) | (len(known) > 0)).all()
    assert rows["changes_sent"] >= 1


@pytest.mark.parametrize("patience_s", [1000.1, 600.0, 0.0, 599.9999999999999])
def test_patience_ends_whatever_the_clock_makes_of_it(patience_s: float) -> None:
    """Sums of waits miss the end by less than the clock can tell; a glider that waited for the rest would wait for ever."""

    class Clock:
        now, looks = 123456.7, 0

        def chance_of_frame(self, bits: int) -> tuple[float, tuple[float, ...]]:
            self.looks += 1
            return 0.0, (0.0,)

        def metric(self, *_: object) -> None: ...

        def sleep(self, delay_s: float) -> float:
            return delay_s

    waits = {"program.least_success": 0.9, "program.patience_s": patience_s, "program.look_s": 1.7}
    spec, clock = Scenario.load(SCENARIO, {**SMALL, "compare": {}, **waits}), Clock()
    for steps, delay_s in enumerate(spec.program._await_water(clock)):  # type: ignore[attr-defined]
        clock.now += delay_s
        assert steps < 3000
    assert clock.now - 123456.7 == pytest.approx(patience_s, abs=1e-6)


def test_ideal_links_are_never_waited_for(tmp_path: Path) -> None:
    rows, metrics, _ = glider(tmp_path / "run", **{"program.least_success": 0.9})
    assert (of(metrics, "waited_s") == 0.0).all()
    assert rows["changes_sent"] >= 1


def test_a_dead_glider_sends_nothing(tmp_path: Path) -> None:
    rows, metrics, ledger = glider(tmp_path / "run", **{"fabric.battery_j": 200.0, "program.change": "whole"})
    died_s = metrics.loc[metrics["name"] == "death", "t_s"]
    assert len(died_s) == 1
    mine = ledger[(ledger["node"] == 0) & ledger["kind"].isin(["tx", "compute"])]
    assert (mine["t0_s"] <= died_s.iloc[0] + 1e-9).all()
    assert rows["ashore_accuracy"] < 0.3


@pytest.mark.parametrize(("changes", "says"), [
    ({"fabric.routing": {"type": "dbr"}, "fabric.links": "water", "program.least_success": 0.5},
     r"program.least_success: 0.5 needs forecasts, and fabric.routing 'dbr' makes none"),
    ({"fabric.routing": {"type": "carp"}, "fabric.links": "water", "program.least_success": 0.5}, "'carp' makes none"),
    ({"fabric": {"type": "cluster", "workers": 1, "servers": 1}, "duration_s": None}, "'cluster' ends with its programs"),
    ({"program.learner.learn": False}, "program.learner.learn: what a glider sends is what it has learnt"),
    ({"program.change": {"type": "sketched", "rows": 2}}, "rows"),
    ({"program.change": "zipped"}, "zipped"),
    ({"fabric.transport": None}, "a glider that ships what it learns needs fabric: cluster, or a sea whose fabric.transport is reliable"),
    ({"fabric.transport": {"type": "best_effort"}}, "some may be lost on the way here; set transport: reliable"),
])
def test_what_a_glider_cannot_do_is_one_sentence(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Scenario.load(SCENARIO, {**SMALL, "compare": {}, **changes}).check()


def test_two_runs_leave_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        glider(tmp_path / name, **{"fabric.links": "water", "fabric.modem.source_level_db": 150})
    for file in ("report.csv", "metrics.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
