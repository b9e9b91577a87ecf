"""Nonsense is refused: every number of every part has bounds, and settings that cannot be meant are told."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

import toolkit
from tests.test_simulate import ROOT
from toolkit.core import bounds
from toolkit.core.part import Part, Spec
from toolkit.errors import UserError
from toolkit.scenario import Scenario, parse_setting
from toolkit.sweep import check

UNIMPORTED = ("toolkit.learning.sketch_triton",)
"""Modules without parts that need what is not installed everywhere."""


def specs() -> list[type[Spec]]:
    """Every record of settings in the package."""
    for module in pkgutil.walk_packages(toolkit.__path__, "toolkit."):
        if module.name not in UNIMPORTED and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, type[Spec]] = {}
    waiting: list[type[Spec]] = [Spec]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child.__module__.startswith("toolkit."):
                found[f"{child.__module__}.{child.__qualname__}"] = child
                waiting.append(child)
    return [found[name] for name in sorted(found)]


def numeric_fields() -> Iterator[tuple[type[Spec], str, FieldInfo]]:
    for spec in specs():
        if inspect.isabstract(spec) or (issubclass(spec, Part) and spec.is_family()):  # an interface, which is no part itself
            continue
        for name, field in spec.model_fields.items():
            if bounds.holds_numbers(field.annotation) and not bounds.holds_truths(field.annotation):
                yield spec, name, field


def told(spec: type[BaseModel], name: str, value: object) -> str:
    """What is said of one field's value, whatever else is missing or wrong."""
    try:
        spec.model_validate({name: value})
    except ValidationError as error:
        return "; ".join(item["msg"] for item in error.errors(include_url=False) if item["loc"][:1] == (name,))
    return ""


def shaped(field: FieldInfo, value: object) -> list[object]:
    """*value* as the shapes that a field may ask for: alone, or in a list or mapping."""
    return [value, *([value] * length for length in range(1, 4)), {"a": value}]


def test_there_is_something_to_walk() -> None:
    assert len(list(numeric_fields())) > 500


@pytest.mark.parametrize("value", [1e39, -1e39, float("nan"), float("inf"), True], ids=str)
def test_no_number_is_without_bounds(value: object) -> None:
    """Neither a number beyond all measure nor a truth value is taken by any field in any shape."""
    taken = [
        f"{spec.__module__}.{spec.__name__}.{name}"
        for spec, name, field in numeric_fields()
        if not all(told(spec, name, shape) for shape in shaped(field, value))
    ]
    assert not taken


def test_defaults_keep_their_bounds() -> None:
    for spec, name, field in numeric_fields():
        if not field.is_required() and field.default is not None:
            assert not told(spec, name, field.get_default(call_default_factory=True)), f"{spec.__name__}.{name}"


@pytest.mark.parametrize(("name", "whole", "expected"), [
    ("beacon_s", False, bounds.BOUNDS["s"]), ("speed_m_s", False, bounds.BOUNDS["m_s"]), ("nbytes", True, bounds.BOUNDS["bytes"]),
    ("peak_flops_per_s", False, bounds.BOUNDS["per_s"]), ("tide_loss_db_per_m", False, bounds.BOUNDS["db_per_m"]),
    ("seed", True, bounds.SEEDS), ("rounds", True, bounds.OTHER_COUNTS), ("alpha", False, bounds.OTHER_FLOATS),
])
def test_the_longest_unit_counts(name: str, whole: bool, expected: tuple[float, float]) -> None:
    assert bounds.bounds_of(name, whole=whole) == expected


SEA, SGD, GA = "sea_trial", "gs_sgd", "ga_lenet"


@pytest.mark.parametrize(("scenario", "setting", "says"), [
    (SEA, "seed=1000000000000000000000000000000", "seed: must be from 0 to 9.22337e+18"),
    (SEA, "fabric.epoch_s=1e-9", "fabric.epoch_s: input should be greater than or equal to 0.01"),
    (SEA, "fabric.history_step_s=1e-6", "fabric.history_step_s: input should be greater than or equal to 1"),
    (SEA, "program.interval_s=1e-9", "program.interval_s: input should be greater than or equal to 0.001"),
    (SEA, "fabric.history_s=1e12", "fabric.history_s: must be from -1e+10 to 1e+10"),
    (SEA, "fabric.epoch_s=true", "fabric.epoch_s: must be a number (got True)"),
    (SEA, "fabric.modem.capture_db=1e6", "fabric.modem.capture_db: must be from -300 to 300"),
    (SEA, "fabric.sea.start=9999-01-01", "must lie in the years 1700 to 2500"),
    (SEA, "fabric.sea.start=0001-01-01", "must lie in the years 1700 to 2500"),
    (SEA, "fabric.probe.horizons_s=[-3]", "fabric.probe.horizons_s.0: input should be greater than 0"),
    (SEA, "fabric.routing.prediction.phase_periods_s=[0]", "phase_periods_s.0: input should be greater than 0"),
    (SEA, "quick={fabric.nope: 3}", "quick: fabric: unknown key 'nope'"),
    (SEA, "compare.X={seeds: 3}", "arm 'X' sets 'seeds', which belongs to the comparison as a whole"),
    (SEA, "compare.X={name: y}", "arm 'X' sets 'name', which belongs to the comparison as a whole"),
    (SGD, "program.targets=[2.0]", "program.targets.0: input should be less than or equal to 1"),
    (SGD, "fabric.stragglers={type: fixed, factors: {worker0: -1}}", "factors.worker0: input should be greater than 0"),
    (SGD, "fabric.stragglers={type: fixed, factors: {worker0: 0}}", "factors.worker0: input should be greater than 0"),
    (SGD, "fabric.stragglers={type: fixed, factors: {nobody: 2}}", "fabric.stragglers: 'nobody' is not a node of this topology"),
    (SGD, "program.task.model.options.width=wide", "option 'width': input should be a valid integer"),
    (SGD, "program.task.model.options.width=-4", "model small_cnn cannot be built with"),
    (SGD, "program.task.model.options.num_classes=7", "option 'num_classes': is 7, and the data set has 10"),
    (SGD, "program.task.model.options.generator=1", "has no option 'generator'"),
    (GA, "program.weights=[-1, 0, 0]", "program.weights.0: input should be greater than or equal to 0"),
])
def test_nonsense_is_told(scenario: str, setting: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        check(Scenario.load(ROOT / "scenarios" / f"{scenario}.yaml", dict([parse_setting(setting)])))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


def test_more_states_of_the_sea_than_a_week_can_reckon_are_refused() -> None:
    still = {"fabric.sea.wind": "steady_wind", "fabric.sea.tide": "still_tide"}
    settings: dict[str, Any] = {"fabric.epoch_s": 0.01, "duration_s": 1e9, **still}
    with pytest.raises(UserError, match=r"make 1e\+11 states of the sea in this run, above 1e\+08"):
        check(Scenario.load(ROOT / "scenarios" / "sea_trial.yaml", settings))


def test_an_arm_that_is_another_experiment_is_told() -> None:
    """Pairs by seed stand for one cause only where sea and machines are the same."""
    plain = Scenario.load(ROOT / "scenarios" / "sea_trial.yaml")
    assert plain.experiments() == []
    arms = {"A": {}, "B": {"duration_s": 3600}, "C": {"fabric.layout.nodes": 10}, "D": {"fabric.mac": "aloha"}}
    told_of = Scenario.build({**plain.dump(), "compare": arms}).experiments()
    assert [sentence.partition(":")[0] for sentence in told_of] == [
        "arm B differs from A in duration_s", "arm C differs from A in fabric.layout",
    ]


def test_the_shipped_scenarios_name_their_experiments() -> None:
    """Only what is meant to compare machines or seas does."""
    different = {path.stem for path in sorted(Path(ROOT / "scenarios").glob("*.yaml")) if Scenario.load(path).experiments()}
    assert different <= {"federated", "ga_workers", "gtopk_validation", "oversubscription", "rdd_cloud", "rdd_latency"}
