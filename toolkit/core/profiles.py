"""Profiles: named sets of values in YAML files that a spec is filled from, and that explicit keys override."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from toolkit.core import yaml12
from toolkit.core.part import nearest
from toolkit.errors import listed, shortened

MEASURE = "measure"
"""The key by which a profile names a module whose ``measure()`` returns the values that no file can hold."""


class Profiles:
    """The profiles of one folder.

    A spec that has them needs the fields `profile` and `source`, and calls `fill` from a validator that runs before all others.
    Every file has a `source` of its own, by which a record that was written out in full is known again.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        """Name the *folder* of ``NAME.yaml`` files, and what they are profiles of for messages (``device``)."""
        self.folder = folder
        self.kind = kind

    def names(self) -> list[str]:
        """Return the names that `profile` accepts."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def read(self, name: str) -> dict[str, Any]:
        """Return the values in the file *name*.

        Raises:
            PydanticCustomError: there is no such profile; the sentence names the nearest.
        """
        known = self.names()
        if name not in known:
            raise PydanticCustomError(
                "part_name", "'{name}' is not a {kind} profile{hint} (known: {names})",
                {"name": shortened(name), "kind": self.kind, "hint": nearest(name, known), "names": listed(known)},
            )
        return dict(_file(self.folder / f"{name}.yaml"))

    def fill(self, value: object, fields: Mapping[str, FieldInfo]) -> object:
        """Return *value* with the keys that it leaves out taken from its profile.

        The name of a profile alone stands for the whole profile (``device: raspberry_pi_5``). A record that spells out every
        field is taken as it stands: it was written by an earlier run, and has to give the same numbers again. If only its
        `profile` has been changed since (an arm with ``device.profile: raspberry_pi_5``), the new profile takes the place of
        what the old one gave, and what had been set explicitly stays.
        """
        if isinstance(value, str):
            value = {"profile": value}
        if not isinstance(value, dict):
            return value
        if "type" in value and "profile" not in value:  # what --set device.busy_w=3 makes of the short form
            value = {"profile": value["type"], **{key: item for key, item in value.items() if key != "type"}}
        name = value.get("profile")
        if not isinstance(name, str):
            return value
        stated = self.read(name)
        if not fields.keys() <= value.keys():
            return {**_values(stated), **value}
        return self._renamed(name, value, fields)

    def _renamed(self, name: str, value: dict[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
        source = str(value["source"])
        owner = next((other for other in self.names() if source.startswith(str(self.read(other)["source"]))), None)
        if owner == name or (owner is None and source):
            return value
        before = self.read(owner) if owner else {}
        explicit = {}
        for key, item in value.items():
            if key in before or MEASURE not in before:  # what was measured cannot be told from what was set
                given = before.get(key, fields[key].default if key in fields else None)
                if key not in {"profile", "source"} and item != given:
                    explicit[key] = item
        return {**_values(self.read(name)), **explicit, "profile": name}


@cache
def _file(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml12.read(path)
    return values


def _values(stated: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a profile, those that have to be measured included."""
    module = stated.pop(MEASURE, None)
    if module is None:
        return stated
    measured: dict[str, Any] = importlib.import_module(module).measure()
    return {**stated, **measured, "source": f"{stated['source']} {measured['source']}"}
