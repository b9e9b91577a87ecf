"""Parts: the components a scenario is put together from, found by the name of their module.

`type: dbcar` in a field declared as `Routing` imports `toolkit.acoustic.routing.dbcar`, and nothing else, and takes the one
final subclass of `Routing` in it. Adding a part is adding a file; there is no registry. A part of an outside package is
named by its full module path (`type: mypackage.olsr`).

A part holds hyper-parameters only and is frozen; whatever changes lives in a state object that the part's `init` returns.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from types import ModuleType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


def nearest(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to *name*, or nothing when none is near."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


class Spec(BaseModel):
    """A frozen record of settings that refuses keys it does not know and names the nearest one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __hash__(self) -> int:
        """Of the values, lists and dicts among them, so that settings can be the key of a cache."""
        return hash((type(self), *(_hashable(getattr(self, name)) for name in type(self).model_fields)))

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = list(cls.model_fields)
        unknown = [str(key) for key in value if key not in known]
        if unknown:
            hint = nearest(unknown[0], known) or f"; known are {', '.join(known) or 'none'}"
            raise PydanticCustomError("unknown_key", "unknown key '{key}'{hint}", {"key": unknown[0], "hint": hint})
        return value


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _hashable(each)) for key, each in sorted(value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


class Part(Spec):
    """Base of every component.

    A class that sets `family` in its own body is abstract: it names an interface, and `modules` says where its members live
    (patterns with one ``{}`` for the part's name; by default the package that defines the family).
    """

    family: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def is_family(cls) -> bool:
        return "family" in cls.__dict__

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_family():
            return handler(source)
        return core_schema.with_info_plain_validator_function(
            cls._validate_member,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.dump()),
        )

    @classmethod
    def _validate_member(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"type": value}
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise PydanticCustomError(
                "part_type", "needs a 'type' naming a {family}: one of {names}",
                {"family": cls.family, "names": ", ".join(cls.member_names())},
            )
        member = cls.find(value["type"])
        try:
            return member.model_validate({k: v for k, v in value.items() if k != "type"}, context=info.context)
        except ValidationError as error:
            raise PydanticCustomError("part", "invalid part", {"errors": error.errors(include_url=False)}) from error

    @classmethod
    def find(cls, name: str) -> type[Self]:
        """Return the member of this family whose module is called *name*.

        Raises:
            PydanticCustomError: no such module, or the module has no single member of this family.
        """
        stem = name.replace("-", "_")
        candidates = [stem] if "." in stem else [pattern.format(stem) for pattern in cls._patterns()]
        for path in candidates:
            if not _exists(path):
                continue
            module = _import(path)
            members = [
                item for item in vars(module).values()
                if inspect.isclass(item) and issubclass(item, cls) and item.__module__ == path and not item.is_family()
            ]
            if len(members) == 1:
                return members[0]
        names = cls.member_names()
        raise PydanticCustomError(
            "part_name", "'{name}' is not a {family}{hint} (known: {names})",
            {"name": name, "family": cls.family, "hint": nearest(stem, names), "names": ", ".join(names)},
        )

    @classmethod
    def members(cls) -> dict[str, type[Self]]:
        """Import and return every member of this family by name (for listings, tests and error messages)."""
        found: dict[str, type[Self]] = {}
        for pattern in cls._patterns():
            package_name, _, _ = pattern.partition(".{}")
            for module in pkgutil.iter_modules(importlib.import_module(package_name).__path__):
                path = pattern.format(module.name)
                if not _exists(path):
                    continue
                for item in vars(importlib.import_module(path)).values():
                    if inspect.isclass(item) and issubclass(item, cls) and item.__module__ == path and not item.is_family():
                        found[module.name] = item
        return dict(sorted(found.items()))

    @classmethod
    def member_names(cls) -> list[str]:
        return list(cls.members())

    @classmethod
    def _patterns(cls) -> tuple[str, ...]:
        return cls.modules or (f"{cls.__module__}.{{}}",)

    @classmethod
    def type_name(cls) -> str:
        """The name that finds this part again from a scenario."""
        module = cls.__module__
        for pattern in cls._patterns():
            head, _, tail = pattern.partition("{}")
            if module.startswith(head) and module.endswith(tail):
                stem = module[len(head) : len(module) - len(tail)]
                if stem and "." not in stem:
                    return stem
        return module

    def dump(self) -> dict[str, Any]:
        """Return a plain tree (JSON types) from which the same part can be built again."""
        return {"type": self.type_name(), **self.model_dump(mode="json")}


EXTRAS = {"torch": "learn", "pywt": "learn", "sklearn": "learn", "gsw": "sea"}
"""Which optional group of dependencies brings a package."""


def _import(path: str) -> ModuleType:
    """Import the module of a part; a missing optional package is a mistake of the set-up that one sentence can mend."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        raise PydanticCustomError(
            "part_name", "'{name}' needs {package}, which is not installed: pip install 'toolkit[{extra}]'",
            {"name": path.rsplit(".", 1)[-1], "package": package, "extra": EXTRAS[package]},
        ) from error


def _exists(path: str) -> bool:
    try:
        return importlib.util.find_spec(path) is not None
    except ModuleNotFoundError:
        return False


def explain(error: ValidationError) -> list[str]:
    """Turn a pydantic error into one sentence per mistake: ``path: what is wrong, what was given``."""
    return _explain(error.errors(include_url=False), ())


def _explain(errors: list[Any], prefix: tuple[Any, ...]) -> list[str]:
    lines: list[str] = []
    for item in errors:
        place = prefix + tuple(item["loc"])
        if item["type"] == "part":
            lines += _explain(item["ctx"]["errors"], place)
            continue
        path = ".".join(str(step) for step in place) or "scenario"
        message = item["msg"].removeprefix("Value error, ")
        value = item.get("input")
        if item["type"] == "missing":
            lines.append(f"{path}: is required and missing")
        elif item["type"] in {"unknown_key", "part_name", "part_type"} or isinstance(value, dict | list):
            lines.append(f"{path}: {message}")
        else:
            lines.append(f"{path}: {message[:1].lower()}{message[1:]} (got {value!r})")
    return lines
