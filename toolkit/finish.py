"""From finished runs to the report: tables, figures and the page, made anew from what the runs left on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import pandas as pd

from toolkit.analysis.convention import find_report, report_module
from toolkit.analysis.standing import in_line
from toolkit.analysis.statistics import REPORT_COLUMNS, complete
from toolkit.core.record import read_record
from toolkit.core.rundir import RunDirectory
from toolkit.render.html import ReportHeader, write_html
from toolkit.render.result import Result
from toolkit.scenario import Scenario


def finish(scenario: Scenario, directory: RunDirectory, runs: Sequence[tuple[str, int]]) -> Result:
    """Collect the records of *runs* (arm, seed) into the run directory's reports and return the result.

    ``report.csv`` holds no times of day and no durations of the wall clock: the same runs give the same bytes.
    """
    arms = list(scenario.arms())
    ordered = sorted(runs, key=lambda run: (arms.index(run[0]), run[1]))
    rows, observed = [], []
    for arm, seed in ordered:
        record = read_record(directory, f"{arm}-s{seed}")
        rows += [(arm, seed, metric, unit, value) for metric, unit, value in record["rows"]]
        metrics = pd.read_parquet(directory.metrics(f"{arm}-s{seed}"))
        metrics.insert(0, "arm", arm)
        metrics.insert(1, "seed", seed)
        observed.append(metrics)
    path = directory.path
    module = report_module(scenario)
    report = find_report(module)
    complete(pd.DataFrame(rows, columns=REPORT_COLUMNS), report.infos).to_csv(path / "report.csv", index=False)
    pd.concat(observed, ignore_index=True).to_parquet(path / "metrics.parquet", compression="zstd", index=False)
    result = Result.load(path, module=module)
    result.write_tables()
    shutil.rmtree(path / "figures", ignore_errors=True)
    result.write_figures()
    findings = report.sentences(result)
    (path / "answers.txt").write_text("".join(f"{finding}\n" for finding in findings), encoding="utf-8")
    length = "to the end of the programs" if scenario.duration_s is None else f"{scenario.duration_s / 3600:g} h measured per run"
    settings = {"simulated": length, **scenario.fabric.extras()}
    settings |= {f"arm {arm}": in_line(overrides) for arm, overrides in scenario.compare.items() if overrides}
    header = ReportHeader(
        scenario.name.replace("_", " "), scenario.question, findings, settings, [*scenario.caveats, *scenario.experiments()],
        "python -m toolkit.simulate scenario.yaml",
    )
    write_html(result, header, result.captions)
    (path / "DONE").touch()
    return result
