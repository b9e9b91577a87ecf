from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import toolkit
from tests.methods.distributed.test_program import scenario
from toolkit.errors import UserError
from toolkit.recost import main
from toolkit.repricing import recost
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = {**scenario({"type": "gs_sgd", "density": 0.05}).dump(), "seeds": 2, "compare": {
        "gs-SGD": {},  # dense is in tests/methods/distributed/test_overlap.py
        "parameter-server": {"program.method": "parameter_server", "fabric.servers": 1},
        "Sketched-SGD": {"program.method": {"type": "sketched_sgd", "density": 0.05}, "fabric.servers": 1},
        "gTop-k": {"program.method": {"type": "gtop_k", "density": 0.05}},
    }}
    out = tmp_path_factory.mktemp("recost") / "run"
    toolkit.run(Scenario.build(tree), out=out)
    return out


def values(directory: Path, metric: str) -> pd.Series:
    report = pd.read_csv(directory / "report.csv")
    found = report[report["metric"] == metric].set_index(["arm", "seed"])["value"]
    assert len(found) == 8
    return found


def test_the_same_prices_give_the_same_report(finished: Path, tmp_path: Path) -> None:
    recost(finished, {}, out=tmp_path / "again")
    before, after = (pd.read_csv(path / "report.csv") for path in (finished, tmp_path / "again"))
    pd.testing.assert_frame_equal(before, after, rtol=1e-9)


def test_a_faster_link_changes_seconds_and_not_what_was_learnt(finished: Path, tmp_path: Path) -> None:
    recost(finished, {"fabric.topology.link": {"rate_bps": 8e9, "delay_s": 1e-5}}, out=tmp_path / "fast")
    assert (values(tmp_path / "fast", "final_accuracy") == values(finished, "final_accuracy")).all()
    assert (values(tmp_path / "fast", "end_s") < 0.2 * values(finished, "end_s")).all()
    assert (values(tmp_path / "fast", "bytes_total") == values(finished, "bytes_total")).all()


def test_repricing_gives_what_a_new_run_would(finished: Path, tmp_path: Path) -> None:
    """Another schedule and slower machines: the replay takes as long as training again on them."""
    overrides = {"fabric.collectives.all_reduce": "ring", "fabric.device.peak_flops_per_s": 1e9}
    recost(finished, overrides, out=tmp_path / "replayed")
    tree = Scenario.load(finished / "scenario.yaml").dump()
    tree["fabric"]["collectives"]["all_reduce"] = {"type": "ring"}
    tree["fabric"]["device"]["peak_flops_per_s"] = 1e9
    toolkit.run(Scenario.build(tree), out=tmp_path / "trained")
    for metric in ("end_s", "energy_total_j", "bytes_total"):
        pd.testing.assert_series_equal(values(tmp_path / "replayed", metric), values(tmp_path / "trained", metric), rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["program.steps=3"], "only settings under fabric"),
        (["fabric.workers=3"], "requests depend on it"),
        (["fabric.failures.crashes=[{node: worker1, at_s: 1}]"], "a crash changes what is learnt"),
        (["fabric.topology.link=gigabit_ethernt"], "gigabit_ethernet"),
        (["fabric.topologie=star"], "did you mean 'topology'"),
    ],
)
def test_a_mistake_gets_one_sentence(finished: Path, settings: list[str], sentence: str, capsys: Any) -> None:
    options = [item for setting in settings for item in ("--set", setting)]
    assert main([str(finished), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_whose_costs_fed_back_is_refused(tmp_path: Path) -> None:
    failures = {"crashes": [{"node": "worker2", "at_s": 0.05}], "detect_s": 0.1, "restart_s": 0.1}
    toolkit.run(Scenario.build({**scenario(fabric={"failures": failures}).dump(), "seeds": 1}), out=tmp_path / "run")
    with pytest.raises(UserError, match="arm test cannot be priced again: a worker crashed"):
        recost(tmp_path / "run", {})


def test_what_is_not_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a finished run"):
        recost(tmp_path, {})
