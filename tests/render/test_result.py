"""What a run directory holds is read back, shown in a terminal, and costs no more imports than asked for."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from tests import fake_run
from toolkit.analysis.metric import MetricInfo
from toolkit.errors import RunDirectoryError
from toolkit.render.result import Result
from toolkit.render.terminal import terminal_tables


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    return fake_run.build(tmp_path_factory.mktemp("report") / "run")


def test_result_reads_back_what_was_written(result: Result) -> None:
    assert (result.arms, result.seeds) == (list(fake_run.ARMS), [1, 2, 3])
    assert len(result.ledger) == 9 * 121
    assert list(result.ledger.columns[:3]) == ["arm", "seed", "t0_s"]
    one = result.ledger_of("ewma <fast>", 2)
    assert set(one["arm"]) == {"ewma <fast>"}
    assert set(one["seed"]) == {2}
    both = result.ledger.groupby(["arm", "seed"], observed=True)["energy_j"].sum()
    assert both.loc[("ewma <fast>", 2)] == pytest.approx(one["energy_j"].sum())
    assert result.ledger_of("nobody", 1).empty


def test_written_tables_read_back_the_same(result: Result) -> None:
    result.write_tables()
    summary = pd.read_csv(result.directory / "summary.csv")
    pd.testing.assert_frame_equal(summary, result.summary, check_dtype=False)
    verdicts = pd.read_csv(result.directory / "differences.csv").set_index(["metric", "other"])["verdict"]
    assert verdicts["delivery_ratio", "flooding"] == "better"
    assert verdicts["delay_mean_s", "flooding"] == "worse"
    assert verdicts["energy_per_delivered_j", "flooding"] == "no difference shown"


def test_an_arm_called_none_stays_an_arm(tmp_path: Path) -> None:
    rows = ["arm,seed,metric,unit,value", "none,1,gain,dB,1", "none,2,gain,dB,", "NA,1,gain,dB,2", "NA,2,gain,dB,3"]
    (tmp_path / "report.csv").write_text("\n".join(rows), encoding="utf-8")
    result = Result.load(tmp_path, (MetricInfo("gain", "dB", "gain", "higher", 2, headline=True),))
    assert result.arms == ["none", "NA"]
    assert result.summary["n"].tolist() == [1, 2]


def test_a_folder_without_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no report\\.csv"):
        Result.load(tmp_path)
    (tmp_path / "report.csv").write_text("arm,seed,metric,value\n", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="'unit' is missing"):
        Result.load(tmp_path)


def test_terminal_tables_fit_120_columns(result: Result) -> None:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    terminal_tables(result, console, ["A long answer is wrapped, word by word. " * 5, "The first arm is the better one [really]."])
    text = console.file.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert re.search(r"knn +0\.860 ± 0\.050", text)
    assert "ewma <fast>" in text
    assert "[really]" in text
    assert "paired by seed" in text
    assert "…" not in text.replace(" … ", "")  # nothing was cut off


def test_pyplot_is_never_imported() -> None:
    code = (
        "import toolkit.render.result, sys; assert not {'matplotlib', 'scipy.stats', 'rich'} & set(sys.modules)\n"
        "import toolkit.acoustic.figures, toolkit.render.html; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
