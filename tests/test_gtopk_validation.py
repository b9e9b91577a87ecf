"""The comparison with gTop-k's authors: fits can be simulated, one seed claims nothing, bad files are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import DataError
from toolkit.methods.rehearsal.cases import cases_table, validation_table
from toolkit.methods.rehearsal.measured import MeasuredRuns
from toolkit.render.result import Result
from toolkit.scenario import Scenario
from toolkit.sweep import run

SCENARIO = Path(__file__).parents[1] / "scenarios" / "gtopk_validation.yaml"
HEADER = "model,batch,method,workers,samples_per_s\n"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(Scenario.load(SCENARIO), out=tmp_path_factory.mktemp("gtopk") / "run")


def held(result: Result) -> pd.DataFrame:
    program: Any = result.scenario.program
    return validation_table(cases_table(result), program.measured)


def test_the_fitted_constants_as_local_work_give_the_predicted_steps(result: Result, tmp_path: Path) -> None:
    """What the table adds up, the simulator says too."""
    table = held(result)
    rows = table[(table["exchange"] == "gtop_k") & (table["workers"] == 32) & (table["constant_s"] > 0)]
    arm = result.scenario.arms()["gTop-k-32"].dump()
    for row in rows.itertuples():
        arm["program"]["cases"][row.case]["local_s"] = row.constant_s
    again = cases_table(run(Scenario.build(arm), out=tmp_path / "run")).set_index("case")
    assert (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8").startswith("Nothing is foretold"), "there is one group size only"
    assert len(rows) == 4
    for row in rows.itertuples():
        assert again.loc[row.case, "step_s"] == pytest.approx(row.predicted_step_s, rel=1e-12)


def test_simulated_exchanges_follow_the_closed_forms(result: Result) -> None:
    """Spec 2, with alpha = 0.436 ms and beta = 9e-6 ms a byte; adding is all but free on that machine."""
    alpha, beta = 0.436e-3, 9e-9
    for row in held(result).itertuples():
        levels, pairs = np.log2(row.workers), 8 * round(0.001 * row.parameters)
        forms = {
            "dense": 2 * (row.workers - 1) * alpha + 2 * (row.workers - 1) / row.workers * 4 * row.parameters * beta,
            "top_k": levels * alpha + (row.workers - 1) * pairs * beta,
            "gtop_k": 2 * levels * (alpha + pairs * beta),
        }
        assert row.exchange_s == pytest.approx(forms[row.exchange], rel=1e-4), (row.exchange, row.case, row.workers)


def test_the_mean_error_of_the_fit_is_zero(result: Result) -> None:
    table = held(result)
    rest = (table["measured_step_s"] - table["predicted_step_s"])[table["fitted"]]
    means = rest.groupby([table["exchange"], table["case"]]).mean()
    assert means.abs().max() < 1e-12


def test_one_seed_claims_nothing(result: Result) -> None:
    """Without intervals there are no differences to judge."""
    assert result.differences.empty
    assert "no difference shown" not in (result.directory / "report.html").read_text(encoding="utf-8")


def test_a_rehearsal_never_loads_torch() -> None:
    code = "import toolkit.scenario, sys; toolkit.scenario.Scenario.load(sys.argv[1]).check(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(SCENARIO)], check=True, cwd=SCENARIO.parents[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("net,32,dense,4,10\n", "no row of net with method 'dense' on 8 workers"),
        ("nett,32,dense,8,10\n", "no model 'net'; did you mean 'nett'"),
        ("net,32,dense,8,10\nnet,32,dense,8,11\n", "line 3: net with method 'dense' on 8 workers stands there twice"),
        ("net,32,dense,8,0\n", "line 2: batch and samples_per_s must be above 0"),
        ("net,32,dense,8,fast\n", "line 2: column 'samples_per_s' holds 'fast'"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "throughput.csv"
    path.write_text(HEADER + text, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        MeasuredRuns(file=path).find("net", "dense", 8)


@pytest.mark.parametrize("change", [{"fabric.workers": 1, "fabric.servers": 0}, {}])
def test_arms_that_only_differ_in_size_or_links_are_reported_too(tmp_path: Path, change: dict[str, object]) -> None:
    arms = {"a": change, "b": {"fabric.workers": 2}, "c": {"fabric.workers": 2, "fabric.topology.link": "ten_gigabit_ethernet"}}
    exchange = {"program.measured": None, "program.cases": {"net": {"parameters": 1000, "gradient_s": 1.0}}, "compare": arms}
    found = run(Scenario.load(SCENARIO, exchange), out=tmp_path / "run")
    answers = (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")
    assert "2 workers: an exchange takes" in answers
    assert "on b, c " in answers, "two stars are told apart by the names of their arms"
    assert (found.directory / "figures" / "by_network.png").exists()
