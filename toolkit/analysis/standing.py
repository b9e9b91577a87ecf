"""What a run can be asked: whether it is a quick look or has one seed only, and so bears no verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.core.words import counted, listed
from toolkit.errors import ScenarioError, shortened
from toolkit.scenario import Scenario, replaced, value_at

OURS = re.compile(r"toolkit(\.[A-Za-z_]\w*)+")
MOST = 8
"""So many settings that a quick look shrank are named."""


@dataclass(frozen=True)
class Standing:
    """Why a run bears no verdicts, if it does not."""

    seeds: int
    quick: bool = False
    """Whether it is a quick look: ``--quick`` was given, or the scenario has all the values of its `quick`."""
    given_up: tuple[str, ...] = ()
    """What a quick look shrank: ``program.steps 20 instead of 200``."""

    @property
    def bears(self) -> bool:
        """Whether verdicts may be given."""
        return self.seeds > 1 and not self.quick

    @property
    def tag(self) -> str:
        """A few words for titles: ``quick look, one seed: no verdicts``; empty where verdicts may be given."""
        reasons = ["quick look"] * self.quick + ["one seed"] * (self.seeds == 1)
        return f"{', '.join(reasons)}: no verdicts" if reasons else ""

    @property
    def sentences(self) -> list[str]:
        """The same for readers, with what was given up."""
        told = []
        if self.quick:
            told.append(f"This is a quick look, which shows that everything works, and nothing is concluded from it. {self._shrunk()}")
        if self.seeds == 1:
            told.append("With one seed nothing tells a difference from luck: there are no intervals, and no verdicts.")
        return told

    def _shrunk(self) -> str:
        if not self.given_up:
            return "The scenario has no quick settings, so nothing was made smaller."
        more = len(self.given_up) - MOST
        rest = f" and {counted(more, 'more setting')}" if more > 0 else ""
        return f"It gives up: {'; '.join(self.given_up[:MOST])}{rest}."


def shrunk(scenario: Scenario) -> bool:
    """Whether *scenario* has all the values of its own `quick`, the number of seeds aside."""
    settings = {path: value for path, value in scenario.quick.items() if path != "seeds"}
    if not settings:
        return False
    tree = scenario.dump()
    try:
        return all(Scenario.build(replaced(tree, path, value), home=scenario.home) == scenario for path, value in settings.items())
    except ScenarioError:
        return False


def given_up(quick: Mapping[str, Any], whole: object = None) -> list[str]:
    """Say what the settings *quick* shrink of the tree *whole*: ``program.steps 20 instead of 200``; what is the same is left out."""
    told: list[str] = []
    for path, value in quick.items():
        before = value_at(whole, path)
        if path.startswith("compare.") and isinstance(value, dict):
            known = before if isinstance(before, dict) else {}
            told += [f"{key} {_short(item)} in arm {path.partition('.')[2]}" for key, item in value.items() if known.get(key) != item]
        elif path == "compare" and isinstance(value, dict):
            instead = f" instead of {len(before)}" if isinstance(before, dict) else ""
            told.append(f"{counted(len(value), 'arm')}{instead}")
        else:
            told += _changes(path, value, before)
    return told


def _changes(path: str, value: object, before: object) -> Iterator[str]:
    """What *value* changes of what was *before* at a path, setting by setting; what a mapping no longer has is named."""
    if isinstance(value, dict) and value:
        known = before if isinstance(before, dict) else {}
        gone = [str(key) for key in known if key not in value]
        if gone:
            yield f"{path} without {listed(gone)}"
        for key, item in value.items():
            yield from _changes(f"{path}.{key}", item, known.get(key))
    elif value != before:
        yield f"{path} {_short(value)}" + ("" if before is None else f" instead of {_short(before)}")


def _short(value: object) -> str:
    return shortened(in_line(value))


def in_line(value: object) -> str:
    """A setting on one line, as YAML has it: ``fabric.routing: {type: dbcar}, fabric.trace: false``."""
    if isinstance(value, dict):
        items = {key: f"{{{in_line(item)}}}" if isinstance(item, dict) else in_line(item) for key, item in value.items()}
        return ", ".join(f"{key}: {text}" for key, text in items.items())
    if isinstance(value, list):
        return f"[{', '.join(map(in_line, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else short_type(str(value))


def short_type(name: str) -> str:
    """Return the short name of a part that was named by its module: ``csma`` for ``toolkit.acoustic.mac.csma``; other texts as they are."""
    if not OURS.fullmatch(name):
        return name
    head, _, last = name.rpartition(".")
    return head.rpartition(".")[2] if last in {"program", "fabric"} else last
