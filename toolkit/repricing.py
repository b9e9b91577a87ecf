"""Pricing a finished run again: its requests on another fabric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.record import read_record
from toolkit.core.rundir import RunDirectory
from toolkit.core.wholefile import is_whole
from toolkit.errors import RunDirectoryError, ScenarioError
from toolkit.scenario import Scenario, replaced
from toolkit.sweep import run

if TYPE_CHECKING:
    from toolkit.render.result import Result

FIXED = ("workers", "servers")
"""Settings of a cluster that change what programs ask, and so cannot be changed afterwards."""


def recost(directory: Path, overrides: dict[str, Any], *, out: str | Path | None = None, jobs: int = 1) -> Result:
    """Replay the run in *directory* with *overrides* (dotted paths under ``fabric``) and report the new costs.

    Raises:
        RunDirectoryError: *directory* is no finished run, or one that kept no requests.
        ScenarioError: an override is not of the fabric, or changes what the programs ask; or costs fed back into what was learnt.
    """
    if not (directory / "DONE").is_file():
        raise RunDirectoryError(f"{directory}: is not a finished run; finish it with --resume first")
    before = Scenario.load(directory / "scenario.yaml", own=False)
    for name, arm in before.arms().items():
        reason = arm.fabric.feedback() or arm.program.feedback()
        if reason:
            raise ScenarioError(f"{directory}: arm {name} cannot be priced again: {reason}; run the scenario with the new settings instead")
        if arm.duration_s is not None:
            raise ScenarioError(f"{directory}: was cut off at duration_s = {arm.duration_s:g}; how far it came depends on the costs")
    for path in overrides:
        _refuse_what_programs_see(path)
    tree = before.dump()
    for path, value in overrides.items():
        tree = replaced(tree, path, value)
    tree["compare"] = {
        name: {path: value for path, value in arm.items() if not _overridden(path, overrides)} for name, arm in tree["compare"].items()
    }
    after = Scenario.build(tree, directory)
    missing = [name for name in after.arms() if not list((directory / "requests").glob(f"{name}-s*.parquet"))]
    if missing:
        raise RunDirectoryError(f"{directory}: holds no requests of arm {missing[0]}, so it cannot be priced again")
    for name in after.arms():
        for seed in range(after.seed, after.seed + after.seeds):
            _refuse_damaged(RunDirectory(directory), f"{name}-s{seed}")
    return run(after, out=out or _free(directory), jobs=jobs, call_traces=(directory / "requests").resolve())


def _refuse_damaged(directory: RunDirectory, run: str) -> None:
    """Raise a RunDirectoryError where the requests of *run* are not those that it wrote."""
    path = directory.requests(run)
    expected = read_record(directory, run)["files"].get(path.relative_to(directory.path).as_posix())
    if expected is None or not is_whole(path, expected):
        raise RunDirectoryError(f"{path}: is missing or not as it was written, so it cannot be priced again; finish the run with --resume")


def _refuse_what_programs_see(path: str) -> None:
    first, _, rest = path.partition(".")
    if first != "fabric":
        raise ScenarioError(f"--set {path}: only settings under fabric can be changed afterwards; run the scenario again for this one")
    if rest in FIXED:
        raise ScenarioError(f"--set {path}: the programs' requests depend on it; run the scenario again with it")
    if rest.startswith("failures.crashes"):
        raise ScenarioError(f"--set {path}: a crash changes what is learnt; run the scenario again with it")
    if not rest:
        raise ScenarioError(f"--set {path}: name a setting of the fabric, e.g. fabric.device")


def _overridden(path: str, overrides: dict[str, Any]) -> bool:
    """Whether an arm's own setting gives way, since the same one (or what it is part of) is set for all."""
    return any(path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in overrides)


def _free(directory: Path) -> Path:
    """Return RUN-recost, or the first such name with a number that is not taken."""
    path = directory.with_name(f"{directory.name}-recost")
    number = 2
    while path.exists():
        path = directory.with_name(f"{directory.name}-recost-{number}")
        number += 1
    return path
