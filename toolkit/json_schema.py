"""The JSON schema of settings, for editors: every part by its name, every field with its type, range and meaning.

It is laxer than the toolkit, which knows what fits together: what the schema refuses the toolkit refuses too, but for text in place of a
number. Parts of one's own are taken with whatever settings.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from toolkit.catalogue import Member, first_sentence, members, part_families, plain
from toolkit.core.part import Part, Spec, import_part, usual_part
from toolkit.core.profiles import Profiled
from toolkit.description import limits, plain_value, unit

Schema = dict[str, Any]
PLAIN: dict[object, Schema] = {
    int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"}, str: {"type": "string"}, Path: {"type": "string"},
    datetime: {"type": "string"}, type(None): {"type": "null"}, Any: {}, object: {}, dict: {"type": "object"}, list: {"type": "array"},
}
SIDES = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
LENGTHS = {"min_length": "minItems", "max_length": "maxItems"}


def schema_of(spec: type[Spec]) -> Schema:
    """Return the JSON schema (draft 2020-12) of files that *spec* is read from."""
    return _Writer().whole(spec)


class _Writer:
    """Collects definitions, each made once, so that families which hold each other end."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def whole(self, spec: type[Spec]) -> Schema:
        first = self._settings(spec)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": spec.__name__, **first, "$defs": self.definitions}

    def _reference(self, name: str, make: Any, what: object) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # is being made
            self.definitions[name] = make(what)
        return {"$ref": f"#/$defs/{name}"}

    def of(self, annotation: object) -> Schema:
        """The schema of a type."""
        origin, inner = get_origin(annotation), get_args(annotation)
        if annotation in PLAIN:
            return dict(PLAIN[annotation])
        if origin is Annotated:
            return {**self.of(inner[0]), **_constraints(inner[1:])}
        if origin is Literal:
            return {"enum": list(inner)}
        if origin in {Union, types.UnionType}:
            return {"anyOf": [self.of(each) for each in inner]}
        if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
            return {"type": "array", "prefixItems": [self.of(each) for each in inner], "minItems": len(inner), "maxItems": len(inner)}
        if origin in {list, tuple, Sequence}:
            return {"type": "array", "items": self.of(inner[0])}
        if origin in {dict, Mapping}:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if isinstance(annotation, TypeVar):
            return {}
        if inspect.isclass(annotation) and issubclass(annotation, Part):
            if not annotation.is_family():  # one member and no other, as a part of a part
                return self._reference(_name(annotation), self._settings, annotation)
            return self._reference(f"family.{plain(annotation.family)}", self._family, annotation)
        if inspect.isclass(annotation) and issubclass(annotation, Spec):
            return self._reference(_name(annotation), self._group, annotation)
        raise TypeError(f"a setting of type {annotation!r} has no JSON schema yet")

    def _settings(self, spec: type[Spec]) -> Schema:
        """A mapping of the settings of *spec*, older names of them included."""
        properties = {name: self._field(name, field) for name, field in spec.model_fields.items()}
        for old, new in spec.renamed.items():
            properties[old] = {**properties[new], "deprecated": True, "description": f"older name of {new}"}
        required = [name for name, field in spec.model_fields.items() if field.is_required() and name not in spec.renamed.values()]
        about = first_sentence(inspect.getdoc(spec))
        found: Schema = {"type": "object", "description": about, "properties": properties, "additionalProperties": False}
        return {**found, "required": required} if required else found

    def _group(self, spec: type[Spec]) -> Schema:
        settings = self._settings(spec)
        if issubclass(spec, Profiled):
            settings["properties"]["type"] = {"type": "string", "description": "the same as profile"}
            what = f"a {spec.profile_folder.kind} profile, or a file of your own (./mine.yaml)"
            short = {"description": what, "anyOf": [{"enum": spec.profiles()}, {"type": "string", "pattern": r"\.ya?ml$"}]}
            return {"anyOf": [short, settings]}
        return {"anyOf": [spec.short, settings]} if spec.short is not None else settings

    def _family(self, family: type[Part]) -> Schema:
        """The name of a member, one with its settings, or a part of one's own."""
        known = next(each for each in part_families() if (each.module, each.item) == (family.__module__, family.__name__))
        found = members(known)
        names = sorted({*found, *(name.replace("_", "-") for name in found)})
        own = {"type": "string", "not": {"enum": names}, "description": f"a {family.family} of your own: gossip, mypkg.gossip"}
        anything: Schema = {"type": "object", "properties": {"type": own}, "required": ["type"]}
        return {
            "description": first_sentence(inspect.getdoc(family)),
            "oneOf": [
                {"enum": names}, own, anything,
                *(self._reference(f"{known.key}.{name}", self._member, member) for name, member in found.items()),
            ],
        }

    def _untyped(self, family: Any, name: str) -> Schema:
        """Settings of the member *name* without its type."""
        part = family.find(name)
        return {**self._reference(f"{_name(part)}.settings", self._settings, part)}

    def _member(self, member: Member) -> Schema:
        kind = {"enum": sorted({member.name, member.name.replace("_", "-")})}
        try:
            part = getattr(import_part(member.module), member.item)
        except PydanticCustomError:  # what it needs is not installed here, and may be where the scenario runs
            return {"type": "object", "description": member.about, "properties": {"type": kind}, "required": ["type"]}
        settings = self._settings(part)
        return {
            **settings, "properties": {"type": kind, **settings["properties"]}, "required": ["type", *settings.get("required", ())],
        }

    def _field(self, name: str, field: FieldInfo) -> Schema:
        found = {**self.of(field.annotation), **_constraints(field.metadata)}
        usual = usual_part(field)
        if usual:  # its settings alone will do
            found = {"anyOf": [found, self._untyped(field.annotation, usual)]}
        if field.annotation in {int, float}:
            found |= {SIDES[side]: value for side, value in limits(name, field).items()}
        about = " ".join(filter(None, [field.description, f"({unit(name, field.annotation)})" if unit(name, field.annotation) else ""]))
        if not field.is_required():
            about = f"{about}; default {plain_value(field.get_default(call_default_factory=True))}"
        return {**found, "description": about} if about else found


def _name(spec: type[Spec]) -> str:
    return f"{spec.__module__.partition('.')[2]}.{spec.__name__}"


def _constraints(metadata: Sequence[object]) -> Schema:
    """Bounds and lengths that pydantic keeps beside a type."""
    found: Schema = {}
    for bound in metadata:
        for names in (SIDES, LENGTHS):
            found |= {said: value for own, said in names.items() if (value := getattr(bound, own, None)) is not None}
        if isinstance(bound, FieldInfo):
            found |= _constraints(bound.metadata)
    return found
