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
from toolkit.core import yaml12
from toolkit.core.record import read_record
from toolkit.core.rundir import RunDirectory
from toolkit.errors import UserError

COLUMNS = (("class_il", "class-IL"), ("task_il", "task-IL"), ("forgetting", "forgetting"))


def table(run: Path) -> list[str]:
    """The lines of one directory."""
    scenario: Any = yaml12.read(run / "scenario.yaml")
    directory, values, wall_s = RunDirectory(run), defaultdict(list), defaultdict(list)
    for record in sorted((run / "runs").glob("*.json")):
        found = read_record(directory, record.stem)
        for metric, _, value in found["rows"]:
            values[found["arm"], metric].append(value)
    for name, seconds in re.findall(r"finished (\S+)-s\d+ in ([\d.]+) s", (run / "log.txt").read_text()):
        wall_s[name].append(float(seconds))
    program, seed = scenario["program"], scenario["seed"]
    task, versions = program["task"], json.loads((run / "versions.json").read_text())
    model = " ".join([task["model"]["name"], *(f"({key} {value})" for key, value in task["model"]["options"].items())])
    data = task["dataset"] if isinstance(task["dataset"], str) else task["dataset"]["type"]
    where = "a GPU" if program.get("accelerator", "cpu") != "cpu" else "a CPU, one thread each run"
    lines = [
        f"## {model} on {data}, {program['stream']['tasks']} tasks, {program['budget']['epochs']} epochs each", "",
        f"Seeds {seed} to {seed + scenario['seeds'] - 1}, mean and 95 % interval, in per cent; torch {versions['torch']}, on {where}.",
        "", "| arm | seeds | " + " | ".join(title for _, title in COLUMNS) + " | s per run |", "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for arm in scenario["compare"]:
        cells = []
        for metric, _ in COLUMNS:
            held = 100 * np.array(values[arm, metric], dtype=float)
            mean, low, high, _ = mean_interval(held)
            cells.append("" if not len(held) else f"{mean:.1f}" if len(held) < 2 else f"{mean:.1f} ± {(high - low) / 2:.1f}")
        took = f"{np.mean(wall_s[arm]):.0f}" if wall_s[arm] else ""
        lines.append(f"| {arm} | {len(values[arm, 'class_il'])} | " + " | ".join(cells) + f" | {took} |")
    if not (run / "DONE").exists():
        lines += ["", "Not finished: call the script again."]
    return [*lines, "", *(f"- {caveat}" for caveat in scenario["caveats"]), ""]


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
