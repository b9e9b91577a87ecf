"""A grid of settings as the arms of one scenario: every combination of the values, named after them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core import yaml12
from toolkit.errors import ScenarioError, shortened
from toolkit.scenario import Scenario, parse_setting

MOST_ARMS = 10_000


def grid(scenario: Scenario | str | Path, values: Mapping[str, Sequence[Any]], *, arms: Sequence[str] = ()) -> Scenario:
    """Return *scenario* with an arm for every combination of *values*, for `toolkit.run`.

        toolkit.grid("scenarios/sea_trial.yaml", {"fabric.layout.nodes": [20, 40], "fabric.mac": ["csma", "aloha"]})

    has the arms ``nodes_20+mac_csma``, ``nodes_20+mac_aloha`` and so on. A scenario that has arms already gets each of them at every point
    (``DBR+nodes_20``), or only those that *arms* names.

    Args:
        scenario: a `Scenario`, or the path of one.
        values: dotted path to the values that it takes, each as in a file: a number, a text, a mapping with a type.
        arms: names of the scenario's own arms; all of them without it.

    Raises:
        ScenarioError: a path or value does not fit, or there is no such arm; one sentence per mistake.
    """
    if not isinstance(scenario, Scenario):
        scenario = Scenario.load(scenario)
    for path, each in values.items():
        if isinstance(each, str) or not isinstance(each, Sequence) or not each:
            raise ScenarioError(f"{path}: needs a list of values, and is {shortened(repr(each))}")
    own = _chosen(scenario, arms)
    names = short_names(list(values))
    labels = [[f"{names[path]}_{label}" for label in _labels(each)] for path, each in values.items()]
    count = len(own)
    for each in values.values():
        count *= len(each)
    if count > MOST_ARMS:
        raise ScenarioError(f"the grid has {count} arms, above {MOST_ARMS}")
    compare: dict[str, dict[str, Any]] = {}
    for arm, overrides in own.items():
        for label, point in zip(itertools.product(*labels), itertools.product(*values.values()), strict=True):
            name = "+".join([*([arm] if arm else []), *label])
            kept = {key: item for key, item in overrides.items() if key not in values}
            compare[name[:100]] = {**kept, **dict(zip(values, point, strict=True))}
    if len(compare) < count:
        raise ScenarioError("two arms of the grid would have the same name; give shorter values, or fewer of them")
    quick = {key: value for key, value in scenario.quick.items() if key.partition(".")[0] != "compare"}
    found = scenario.changed({"compare": compare, "quick": quick})
    found.arms()
    return found


def _chosen(scenario: Scenario, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    own = scenario.compare or {"": {}}
    unknown = [name for name in arms if name not in scenario.compare]
    if unknown:
        raise ScenarioError(f"{unknown[0]}: the scenario has no such arm (has: {', '.join(scenario.compare) or 'none'})")
    return {name: own[name] for name in arms} if arms else own


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return for each dotted path its last steps, as few as tell it from the others."""
    found = {}
    for path in paths:
        steps = path.split(".")
        others = [other.split(".") for other in paths if other != path]
        for count in range(1, len(steps) + 1):
            if all(other[-count:] != steps[-count:] for other in others):
                break
        found[path] = _plain(".".join(steps[-count:]))
    return found


def _labels(values: Sequence[Any]) -> list[str]:
    """Return what each value is called in the name of an arm; those that would be called alike are counted."""
    texts = [_plain(str(value["type"]) if isinstance(value, Mapping) and "type" in value else _text(value)) for value in values]
    alike, so_far = Counter(texts), Counter[str]()
    found = []
    for text in texts:
        so_far[text] += 1
        found.append(text if alike[text] == 1 else f"{text}.{so_far[text]}")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple | Mapping):
        return "-".join(map(_text, value.values() if isinstance(value, Mapping) else value))
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        return Path(value).stem
    return "none" if value is None else str(value)


def _plain(text: str) -> str:
    """Return *text* with the characters alone that a file's name may have."""
    return re.sub(r"[^A-Za-z0-9_.@-]+", "-", text)[:40]


def parse_values(text: str) -> tuple[str, list[Any]]:
    """Split ``path=1,2,3`` of the command line: values with commas between them, each read as YAML (``[1, 2],[3]`` are two lists)."""
    path, _ = parse_setting(f"{text.partition('=')[0]}=" if "=" in text else text)
    values = yaml12.parse(f"[{text.partition('=')[2]}]", f"--set {shortened(text)}")
    return path, values
