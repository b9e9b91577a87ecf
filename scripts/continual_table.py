"""Print what runs of continual learning have come to so far, as a page: a table for each directory, a row for each arm.

    python scripts/continual_table.py RUN [RUN ...] > docs/results/continual.md

A run that is not finished is told by the seeds that are. Seconds are those of the wall clock that one run took, by log.txt.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.analysis.statistics import mean_interval
from toolkit.core.part import Spec
from toolkit.core.record import read_record
from toolkit.core.rundir import RunDirectory
from toolkit.errors import UserError
from toolkit.scenario import Scenario

COLUMNS = (("class_il", "class-IL"), ("task_il", "task-IL"), ("forgetting", "forgetting"))


def table(run: Path) -> list[str]:
    """The lines of one directory."""
    scenario = Scenario.load(run / "scenario.yaml", own=True)
    directory, values, wall_s = RunDirectory(run), defaultdict(list), defaultdict(list)
    for record in sorted((run / "runs").glob("*.json")):
        found = read_record(directory, record.stem)
        for metric, _, value in found["rows"]:
            values[found["arm"], metric].append(value)
    for name, seconds in re.findall(r"finished (\S+)-s\d+ in ([\d.]+) s", (run / "log.txt").read_text()):
        wall_s[name].append(float(seconds))
    program: Any = scenario.program
    versions = json.loads((run / "versions.json").read_text())
    lines = [
        f"## {program.task.model.name} {_plain(program.task.model.options)}on {program.task.dataset.name}, {program.budget.epochs} "
        f"epochs per task, {program.stream.tasks} tasks", "",
        f"Seeds {scenario.seed} to {scenario.seed + scenario.seeds - 1}, mean and 95 % interval, in per cent; torch "
        f"{versions['torch']}, computed on {'a GPU' if program.accelerator != 'cpu' else 'a CPU, one thread'}.", "",
        "| arm | seeds | " + " | ".join(title for _, title in COLUMNS) + " | s per run |", "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for arm in scenario.arms():
        cells = []
        for metric, _ in COLUMNS:
            held = 100 * np.array(values[arm, metric], dtype=float)
            mean, low, high, _ = mean_interval(held)
            cells.append("" if not len(held) else f"{mean:.1f}" if len(held) < 2 else f"{mean:.1f} ± {(high - low) / 2:.1f}")
        took = f"{np.mean(wall_s[arm]):.0f}" if wall_s[arm] else ""
        lines.append(f"| {arm} | {len(values[arm, 'class_il'])} | " + " | ".join(cells) + f" | {took} |")
    if not (run / "DONE").exists():
        lines += ["", "Not finished: call the script again."]
    return [*lines, "", *(f"- {caveat}" for caveat in scenario.caveats), ""]


def _plain(options: dict[str, Any] | Spec) -> str:
    return "".join(f"({key} {value}) " for key, value in dict(options).items())


def main(runs: list[str]) -> int:
    lines = ["# Continual learning", "", "Made by `scripts/continual_table.py` from run directories.", ""]
    for run in runs:
        try:
            lines += table(Path(run))
        except (UserError, OSError) as error:
            sys.stderr.write(f"error: {run}: {error}\n")
            return 2
    sys.stdout.write("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
