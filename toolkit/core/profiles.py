"""Profiles: named sets of values in YAML files that a spec is filled from, and that explicit keys override."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from toolkit.core import yaml12
from toolkit.core.part import Spec, nearest
from toolkit.errors import listed, shortened

ENDINGS = (".yaml", ".yml")
"""What the name of a file of one's own ends with."""
FROM_FILE = re.compile(r"(\S+\.ya?ml): ")
"""How the `source` of values from such a file begins."""
MEASURE = "measure"
"""The key by which a profile names a module whose ``measure()`` returns the values that no file can hold."""


class Profiles:
    """The profiles of one folder.

    A `Profiled` spec has them.
    Every file has a `source` of its own, by which a record that was written out in full is known again. A name that ends like a file's
    (``./board.yaml``) is a file of the user's own, with the same keys; it may name a `profile` itself, whose values it overrides.
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

    def fill(self, value: object, fields: Mapping[str, FieldInfo], base: Path | None = None) -> object:
        """Return *value* with the keys that it leaves out taken from its profile; *base* is where files of the user's own lie.

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
        if _needed(fields) <= value.keys():
            return self._renamed(name, value, fields, base)
        return {**self._stated(name, fields, base), **value}

    def _stated(self, name: str, fields: Mapping[str, FieldInfo], base: Path | None) -> dict[str, Any]:
        """Return the values of a profile of this folder or of a file of the user's own, those that have to be measured included."""
        return self._own(name, fields, base) if name.endswith(ENDINGS) else _values(self.read(name))

    def _own(self, name: str, fields: Mapping[str, FieldInfo], base: Path | None) -> dict[str, Any]:
        """Return the values of a file of the user's own.

        Raises:
            PydanticCustomError: there is no such file, or it has keys that are none, or lacks some.
        """
        path = next((path for path in (*([base / name] if base else []), Path(name)) if path.is_file()), None)
        if path is None:
            places = " or in ".join(str(place) for place in dict.fromkeys((base or Path.cwd(), Path.cwd())))
            problem = f"there is no file {name} in {places}; a {self.kind} profile of this package has a name without ending"
            raise PydanticCustomError("part_name", "{problem}", {"problem": problem})
        values = yaml12.read(path)
        if not isinstance(values, dict):
            raise PydanticCustomError("part_name", "{problem}", {"problem": f"{name}: must be a mapping of settings of a {self.kind}"})
        unknown = [str(key) for key in values if key not in fields]
        if unknown:
            problem = f"{name}: unknown key '{unknown[0]}'{nearest(unknown[0], list(fields))}"
            raise PydanticCustomError("part_name", "{problem}", {"problem": problem})
        under = values.pop("profile", None)
        if under is not None:
            values = {**_values(self.read(str(under))), **values}
        lacking = sorted(_needed(fields) - values.keys() - {"source"}) if under is None else []
        if lacking:
            problem = f"{name}: lacks {', '.join(lacking)}; give them, or a profile: whose values they take"
            raise PydanticCustomError("part_name", "{problem}", {"problem": problem})
        return {**values, "source": f"{path.name}: {values.get('source') or 'no source given.'}"}

    def beside(self, name: str, value: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> list[str]:
        """Return the names of what in *value* is another than the profile *name* says; nothing of one that is measured."""
        stated = self.read(name)
        return [] if MEASURE in stated else [
            key for key, item in value.items() if key not in {"profile", "source"} and item != stated.get(key, _default(fields[key]))
        ]

    def _renamed(self, name: str, value: dict[str, Any], fields: Mapping[str, FieldInfo], base: Path | None) -> dict[str, Any]:
        source = str(value["source"])
        written = FROM_FILE.match(source)
        if written is not None:  # what the file gave cannot be told from what was set beside it
            return value if Path(name).name == written.group(1) else {**self._stated(name, fields, base), "profile": name}
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
        return {**self._stated(name, fields, base), **explicit, "profile": name}


class Profiled(Spec):
    """A spec whose values are taken from a profile; the name of the profile alone is short for all of it."""

    profile_folder: ClassVar[Profiles]

    profile: str | None = Field(
        None, description="a shipped profile by name, or a file of your own (./mine.yaml); keys given beside it override it"
    )
    source: str = Field("", description="where the numbers come from, and which are assumed")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, value: object, info: ValidationInfo) -> object:
        return cls.profile_folder.fill(value, cls.model_fields, (info.context or {}).get("base"))

    @classmethod
    def profiles(cls) -> list[str]:
        """Return the names that `profile` accepts."""
        return cls.profile_folder.names()

    def apart(self) -> list[str]:
        """Return the names of what is set otherwise than the profile says, or than the defaults without one."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        if self.profile in self.profiles():
            return self.profile_folder.beside(self.profile, values, type(self).model_fields)
        if self.profile is not None:
            return []
        return [name for name, field in type(self).model_fields.items() if values[name] != _default(field)]


def _default(field: FieldInfo) -> object:
    return field.get_default(call_default_factory=True)


def _needed(fields: Mapping[str, FieldInfo]) -> set[str]:
    """Return the keys that a record has when it is spelled out; earlier runs wrote down none that may be left open."""
    return {key for key, field in fields.items() if field.default is not None and field.default_factory is None}


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
