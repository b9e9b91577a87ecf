"""Print what runs have come to so far, as a page: a table for each, a row for each arm, means with 95 % intervals.

    python scripts/run_table.py METRIC,METRIC RUN [RUN ...] > docs/results/page.md

METRIC is one of report.csv, as `class_il`. A run that is not finished is told by the seeds that are. Seconds are those of the wall clock
that one run took, by log.txt.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from toolkit.analysis.statistics import mean_interval
from toolkit.core.record import read_record
from toolkit.core.rundir import RunDirectory
from toolkit.errors import UserError
from toolkit.scenario import Scenario


def table(run: Path, metrics: list[str]) -> list[str]:
    """The lines of one run."""
    scenario = Scenario.load(run / "scenario.yaml", own=True)
    directory, values, wall_s = RunDirectory(run), defaultdict(list), defaultdict(list)
    for record in sorted((run / "runs").glob("*.json")):
        found = read_record(directory, record.stem)
        for metric, _, value in found["rows"]:
            values[found["arm"], metric].append(value)
    for name, seconds in re.findall(r"finished (\S+)-s\d+ in ([\d.]+) s", (run / "log.txt").read_text()):
        wall_s[name].append(float(seconds))
    torch = json.loads((run / "versions.json").read_text())["torch"]
    where = getattr(scenario.program, "accelerator", "cpu")
    lines = [
        f"## {run.name}: {scenario.name}", "", scenario.question or "", "",
        f"Mean and 95 % interval over seeds; torch {torch}, computed on {'a CPU' if where == 'cpu' else 'a GPU'}.", "",
        "| arm | seeds | " + " | ".join(metrics) + " | s per run |", "|---" * (len(metrics) + 3) + "|",
    ]
    for arm in scenario.arms():
        cells, seeds = [], 0
        for metric in metrics:
            held = np.array(values[arm, metric], dtype=float)
            seeds = max(seeds, len(held))
            mean, low, high, _ = mean_interval(held)
            cells.append("" if not len(held) else f"{mean:.4g}" if len(held) < 2 else f"{mean:.4g} ± {(high - low) / 2:.2g}")
        took = f"{np.mean(wall_s[arm]):.0f}" if wall_s[arm] else ""
        lines.append(f"| {arm} | {seeds} | " + " | ".join(cells) + f" | {took} |")
    if not (run / "DONE").exists():
        lines += ["", "Not finished: call the script again."]
    return [*lines, "", *(f"- {caveat}" for caveat in scenario.caveats), ""]


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        sys.stderr.write(str(__doc__))
        return 2
    lines = ["# Results", "", "Made by `scripts/run_table.py` from run directories.", ""]
    for run in arguments[1:]:
        try:
            lines += table(Path(run), arguments[0].split(","))
        except (UserError, OSError) as error:
            sys.stderr.write(f"error: {run}: {error}\n")
            return 2
    sys.stdout.write("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
