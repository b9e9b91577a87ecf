"""Reports by convention: what is beside a program or fabric is found, and a mistake in it is told before the first run."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pandas as pd
import pytest

import toolkit
from tests import fake_run
from toolkit.analysis.convention import find_report, recorded_module, report_module
from toolkit.analysis.costs import COSTS
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Run
from toolkit.cluster import report as cluster_report
from toolkit.errors import RunDirectoryError, ScenarioError
from toolkit.methods.distributed import report as distributed_report
from toolkit.render.result import Result
from toolkit.scenario import Scenario
from toolkit.simulate import main
from toolkit.sweep import check

PROGRAM = """
    from toolkit.core.program import Program
    from toolkit.core.work import Work

    class Gossip(Program):
        rounds: int = 3

        def run(self, ctx):
            for step in range(self.rounds):
                yield ctx.compute(Work(1e9 * (1 + ctx.rng("work").random())), "think")
                yield ctx.send((ctx.rank + 1) % ctx.size, 1000, "rumour")
                ctx.metric("heard", float(step + 1), who=str(ctx.node))
"""
REPORT = """
    from toolkit.analysis.costs import COSTS
    from toolkit.analysis.findings import verdicts
    from toolkit.analysis.metric import MetricInfo
    from toolkit.analysis.report import Report
    from toolkit.analysis.rows import named

    HEARD = MetricInfo("heard", "1", "rumours heard", "higher", 1, headline=True)
    REPORT = Report(
        metrics=(HEARD,), summarise=lambda run: [("heard", "1", named(run.metrics, "heard")["value"].max())],
        findings=lambda result: [verdicts(result, HEARD, ("more than", "fewer than"))], extends=COSTS,
    )
"""
FIGURES = """
    from toolkit.render.figures import Figures, bars_with_intervals

    FIGURES = Figures(lambda result: {"hearsay": bars_with_intervals(result, result.headline[:1])}, {"hearsay": "Who heard how much."})
"""
SETTINGS = {
    "name": "gossip", "seeds": 2, "fabric": {"type": "cluster", "workers": 3},
    "compare": {"long": {"program.rounds": 3}, "short": {"program.rounds": 2}},
}


@pytest.fixture
def family(tmp_path, monkeypatch):
    """Write a package of the given modules and return a scenario that runs its program."""
    names = (f"family{number}" for number in range(100))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TOOLKIT_TRUST", ",".join(f"family{number}" for number in range(100)))

    def write(**modules: str) -> Scenario:
        name = next(name for name in names if name not in sys.modules and not (tmp_path / name).exists())
        (tmp_path / name).mkdir()
        for module, text in {"__init__": "", "gossip": PROGRAM, **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(dedent(text), encoding="utf-8")
        importlib.invalidate_caches()
        return Scenario.build({**SETTINGS, "program": {"type": f"{name}.gossip"}})

    return write


def test_a_new_family_is_a_program_a_report_and_figures(family, tmp_path: Path) -> None:
    result = toolkit.run(family(report=REPORT, figures=FIGURES), out=tmp_path / "run")
    report = pd.read_csv(tmp_path / "run" / "report.csv")
    heard = report[report["metric"] == "heard"]
    assert heard[["arm", "seed", "value"]].to_numpy().tolist() == [["long", 1, 3.0], ["long", 2, 3.0], ["short", 1, 2.0], ["short", 2, 2.0]]
    one = result.ledger_of("long", 1)
    own = report[(report["arm"] == "long") & (report["seed"] == 1)].set_index("metric")["value"]
    assert own.to_dict() == pytest.approx({
        "heard": 3.0, "end_s": one.loc[one["kind"] == "idle", "dur_s"].max(), "energy_total_j": one["energy_j"].sum(),
        "bytes_total": 9000.0, "flops": one["flops"].sum(),
        **{f"energy_{name}_j": own[f"energy_{name}_j"] for name in ("computing", "links", "idle")},
    })
    findings = (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")
    assert findings == "Rumours heard of long, 3: more than short (2; difference +1 in every seed).\n"
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["hearsay.png"]
    assert "Who heard how much." in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert list(result.plot()) == ["hearsay"]


def test_a_family_without_a_report_gets_the_costs_and_nothing_of_training(family, tmp_path: Path) -> None:
    result = toolkit.run(family(), out=tmp_path / "run")
    found = set(result.report["metric"])
    assert {"end_s", "energy_total_j", "bytes_total", "bytes_busiest_worker", "flops"} <= found
    assert not found & {"heard", "gradients_per_s", "share_computing", "final_accuracy", "wire_s"}
    assert set(result.plot()) == {"overview"}
    assert Result.load(tmp_path / "run").infos == cluster_report.REPORT.infos
    assert "Time to the end of long" in (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("text", "says"), [
    ("REPROT = 1", "has no REPORT"),
    ("REPORT = 'toolkit.cluster.figures:VIEW'", "REPORT must be a toolkit.analysis.report.Report, and is a str"),
])
def test_a_report_that_is_none_is_told_before_the_first_run(family, tmp_path: Path, text: str, says: str) -> None:
    scenario = family(report=text)
    with pytest.raises(ScenarioError, match=says) as caught:
        toolkit.run(scenario, out=tmp_path / "run")
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "run").exists()
    with pytest.raises(ScenarioError, match=says):
        check(scenario)


def test_the_command_line_tells_it_too(family, tmp_path: Path, capsys) -> None:
    from toolkit.core import yaml12

    (tmp_path / "gossip.yaml").write_text(yaml12.dump(family(report="").dump()), encoding="utf-8")
    assert main([str(tmp_path / "gossip.yaml"), "--check"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_report_of_one_arm_alone_is_checked(family) -> None:
    good, bad = family(report=REPORT), family(report="")
    mixed = {**good.dump(), "compare": {"good": {}, "bad": {"program": {"type": bad.program.type_name()}}}}
    with pytest.raises(ScenarioError, match="has no REPORT"):
        check(Scenario.build(mixed))


def test_figures_that_are_none_are_told_and_the_tables_are_there(family, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"figures: has no FIGURES; define it as"):
        toolkit.run(family(report=REPORT, figures=""), out=tmp_path / "run")
    assert (tmp_path / "run" / "report.csv").is_file()
    assert (tmp_path / "run" / "summary.csv").is_file()


@pytest.mark.parametrize(("program", "fabric", "expected"), [
    ({"type": "periodic"}, {"type": "acoustic", "routing": "flooding", "sea": {}}, "toolkit.acoustic.report"),
    ({"type": "distributed", "method": "dense"}, {"type": "cluster"}, "toolkit.methods.distributed.report"),
    ({"type": "rehearsal", "cases": {"a": {"parameters": 5, "gradient_s": 1.0}}, "exchange": "dense"}, {"type": "cluster"},
     "toolkit.methods.rehearsal.report"),
])
def test_what_is_beside_a_program_comes_before_what_is_beside_its_fabric(program, fabric, expected: str) -> None:
    scenario = Scenario.build({"name": "x", "duration_s": 10.0, "program": program, "fabric": fabric})
    assert report_module(scenario) == expected
    assert isinstance(find_report(expected), Report)


def test_a_run_directory_makes_nobody_import_what_lies_elsewhere(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("__init__", "report", "figures"):
        (tmp_path / "elsewhere" / f"{name}.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    fake_run.build(tmp_path / "run")
    for versions in (
        {"report": "elsewhere.report"}, {"view": "elsewhere.figures:VIEW"}, {"report": "toolkit.report:x"}, {"report": "toolkitten.report"},
        {"report": "toolkit.methods.distributed.program"}, {"report": ["toolkit"]}, {"report": "toolkit..report"}, {},
    ):
        (tmp_path / "run" / "versions.json").write_text(json.dumps(versions), encoding="utf-8")
        assert Result.load(tmp_path / "run").infos == COSTS.infos
        assert "elsewhere" not in sys.modules


@pytest.mark.parametrize(("view", "module"), [
    ("toolkit.acoustic.figures:SEA_VIEW", "toolkit.acoustic.report"),
    ("toolkit.cluster.figures:CLUSTER_VIEW", "toolkit.methods.distributed.report"),
    ("toolkit.methods.rehearsal.figures:REHEARSAL_VIEW", "toolkit.methods.rehearsal.report"),
    ("toolkit.methods.continual.figures:CONTINUAL_VIEW", "toolkit.methods.continual.report"),
])
def test_run_directories_of_before_still_open(tmp_path: Path, view: str, module: str) -> None:
    fake_run.build(tmp_path / "run")
    (tmp_path / "run" / "versions.json").write_text(json.dumps({"view": view}), encoding="utf-8")
    result = Result.load(tmp_path / "run")
    assert (result.module, result.infos) == (module, find_report(module).infos)


def test_a_report_of_another_version_is_told() -> None:
    with pytest.raises(RunDirectoryError, match=r"told by toolkit\.methods\.tracking\.report"):
        recorded_module({"report": "toolkit.methods.tracking.report"})


def test_rows_of_a_report_stand_before_those_of_the_one_it_extends() -> None:
    a, b, c = (MetricInfo(name, "s", name) for name in "abc")
    base = Report((replace(a, label="a of base"), b), lambda run: [("b", "s", 1.0), ("a", "s", 2.0)])
    same = Report((c, a), lambda run: [("a", "s", 3.0), ("c", "s", 4.0)], extends=base)
    run = Run(pd.DataFrame(), pd.DataFrame(), 0.0, None, None)  # type: ignore[arg-type]
    assert same.rows(run) == [("b", "s", 1.0), ("a", "s", 3.0), ("c", "s", 4.0)]
    assert [info.label for info in same.infos] == ["c", "a", "b"]
    ordered = Report(same.metrics, same.summarise, extends=base, ordered=True)
    assert ordered.rows(run) == [("c", "s", 4.0), ("a", "s", 3.0), ("b", "s", 1.0)]


def test_distributed_tells_all_that_its_cluster_tells() -> None:
    assert {info.name for info in cluster_report.NETWORK.infos} <= {info.name for info in distributed_report.REPORT.infos}
