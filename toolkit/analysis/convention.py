"""Reports by convention: `REPORT` in the module `report` beside a program or a fabric, `FIGURES` in the module `figures` beside that.

A program `pkg.prog` finds `pkg.report`; one without takes its fabric's; a fabric without is told by its costs alone. A fabric on which a
program is another experiment names the report of that itself (`Fabric.report_of`).
"""

from __future__ import annotations

import importlib
import importlib.util
import re

from toolkit.analysis import costs
from toolkit.analysis.report import Report
from toolkit.core.part import Part
from toolkit.errors import RunDirectoryError, ScenarioError
from toolkit.scenario import Scenario

OURS = re.compile(r"toolkit(\.[A-Za-z_]\w*)*\.report")
"""Modules that a run directory may name: it is data, and must not make anybody import what lies elsewhere."""
OLD_VIEW = re.compile(r"(?P<package>toolkit(\.[A-Za-z_]\w*)*)\.figures:[A-Z_]+")
"""How run directories used to name what they are shown as."""


def report_module(scenario: Scenario) -> str:
    """Return the name of the module whose `REPORT` tells the runs of *scenario*; empty where there is none but the costs."""
    told_by_fabric = scenario.fabric.report_of(scenario.program)
    return told_by_fabric or next((name for part in (scenario.program, scenario.fabric) if (name := _beside(type(part)))), "")


def find_report(module: str) -> Report:
    """Return the report of a module that `report_module` named.

    Raises:
        ScenarioError: the module has no `REPORT`, or it is something else.
    """
    if not module:
        return costs.COSTS
    found = getattr(importlib.import_module(module), "REPORT", None)
    if found is None:
        raise ScenarioError(f"{module}: has no REPORT; define one as a toolkit.analysis.report.Report, or remove the module")
    if not isinstance(found, Report):
        raise ScenarioError(f"{module}: REPORT must be a toolkit.analysis.report.Report, and is a {type(found).__name__}")
    return found


def recorded_module(versions: dict[str, object]) -> str:
    """Return the module that a run directory's ``versions.json`` names, if it is one of this package; else nothing.

    Raises:
        RunDirectoryError: the name is of this package, and there is no such module.
    """
    named, view = versions.get("report"), versions.get("view")
    if isinstance(view, str) and (old := OLD_VIEW.fullmatch(view)):
        package = "toolkit.methods.distributed" if old["package"] == "toolkit.cluster" else old["package"]
        named = f"{package}.report"
    if not isinstance(named, str) or not OURS.fullmatch(named):
        return ""
    if not _exists(named):
        raise RunDirectoryError(f"versions.json: the run is told by {named}, which this version of the toolkit does not have")
    return named


def figures_module(report: str) -> str:
    """Return the name of the module `figures` beside the module *report*; empty where there is none."""
    package, _, _ = report.rpartition(".")
    return f"{package}.figures" if package and _exists(f"{package}.figures") else ""


def _beside(part: type[Part]) -> str:
    package, _, _ = part.__module__.rpartition(".")
    return f"{package}.report" if package and _exists(f"{package}.report") else ""


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
