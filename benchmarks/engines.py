"""How much of two processes a comparison uses, on each engine that is installed.

    OMP_NUM_THREADS=1 python benchmarks/engines.py        # three minutes, on a machine with nothing else to do

Runs the sea trial's arms over half a day with one process, then with two on loky, Dask and Ray, and prints wall times and the efficiency
T(1) / (2 T(2)): start of the processes and imports included, and the report, which one process makes. Exit status 1 if loky's efficiency
over the runs alone, as ``log.txt`` times them, is below 0.9.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import time
from pathlib import Path

import toolkit
from toolkit.scenario import Scenario

SCENARIO = Path(__file__).parent.parent / "scenarios" / "sea_trial.yaml"
SEEDS = 4
REQUIRED = 0.9


def timed(scenario: Scenario, backend: str, jobs: int) -> tuple[float, float]:
    """Wall time in s of the comparison, and the sum of its runs' own times."""
    with tempfile.TemporaryDirectory() as folder:
        begun_s = time.perf_counter()
        toolkit.run(scenario, out=Path(folder) / "run", jobs=jobs, backend=backend)
        wall_s = time.perf_counter() - begun_s
        runs_s = sum(float(found) for found in re.findall(r"finished \S+ in ([\d.]+) s", (Path(folder) / "run" / "log.txt").read_text()))
    return wall_s, runs_s


def main() -> int:
    scenario = Scenario.load(SCENARIO, {"duration_s": 43_200, "seeds": SEEDS})
    timed(Scenario.load(SCENARIO, {"duration_s": 7200, "seeds": 1}), "loky", 1)  # compile
    alone_s, runs_s = timed(scenario, "loky", 1)
    report_s = alone_s - runs_s
    print(f"one process: {alone_s:.1f} s, of which {report_s:.1f} s are the report")
    efficiency = {}
    for backend, module in (("loky", "joblib"), ("dask", "distributed"), ("ray", "ray")):
        if importlib.util.find_spec(module) is None:
            print(f"{backend}: not installed")
            continue
        wall_s, _ = timed(scenario, backend, 2)
        efficiency[backend] = (alone_s - report_s) / (2 * (wall_s - report_s))
        print(f"{backend}, two processes: {wall_s:.1f} s; efficiency {alone_s / (2 * wall_s):.2f}, of the runs {efficiency[backend]:.2f}")
    return int(efficiency["loky"] < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
