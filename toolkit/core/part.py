"""Parts: the components a scenario is put together from, found by the name of their module.

`type: dbcar` in a field declared as `Routing` imports `toolkit.acoustic.routing.dbcar`, and nothing else, and takes the one
final subclass of `Routing` in it. Adding a part is adding a file; there is no registry. A part of one's own lies beside the
scenario's file (`type: gossip`, `type: mypackage.olsr`), or in another package that is trusted by name (`toolkit.core.trust`).

A part holds hyper-parameters only and is frozen; whatever changes lives in a state object that the part's `init` returns.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from toolkit.core import bounds, trust
from toolkit.errors import LONG, Note, listed, shortened


def nearest(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to *name*, or nothing when none is near."""
    match = difflib.get_close_matches(name[:LONG], known, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


class RenamedSetting(Note):
    """A scenario uses a setting's older name."""


class Spec(BaseModel):
    """A frozen record of settings that refuses keys it does not know and names the nearest one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __hash__(self) -> int:
        """Equal settings have equal hashes, lists and mappings in them included: a spec is the key of what is worked out from it."""
        return hash((type(self), *(_hashable(getattr(self, name)) for name in type(self).model_fields)))

    renamed: ClassVar[Mapping[str, str]] = {}
    """Older names of fields, which are still read, with a word of warning."""
    short: ClassVar[Mapping[str, Any] | None] = None
    """What may stand in a file instead of the mapping, as a JSON schema."""

    @field_validator("*", mode="before")
    @classmethod
    def _settings_of_the_usual_part(cls, value: object, info: ValidationInfo) -> object:
        """Settings without a type are those of the part that stands in the field where nothing is said: ``mac: {window: 7}``."""
        usual = usual_part(cls.model_fields[str(info.field_name)])
        return {"type": usual, **value} if usual and isinstance(value, dict) and "type" not in value else value

    @field_validator("*", mode="before")
    @classmethod
    def _a_truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        if bounds.holds_numbers(annotation) and not bounds.holds_truths(annotation) and any(
            isinstance(number, bool) for number in bounds.numbers_in(value)
        ):
            raise ValueError("must be a number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _numbers_are_possible(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        annotation: Any = cls.model_fields[name].annotation
        if bounds.holds_numbers(annotation):
            wrong = bounds.flaw(name, value, whole=not bounds.holds_floats(annotation))
            if wrong:
                raise ValueError(wrong)
        return value

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for old, new in cls.renamed.items():
            if old in value:
                warnings.warn(f"the setting '{old}' is now called '{new}'", RenamedSetting, stacklevel=2)
                value = {**{key: item for key, item in value.items() if key != old}, new: value[old]}
        known = list(cls.model_fields)
        unknown = [str(key) for key in value if key not in known]
        if unknown:
            hint = nearest(unknown[0], known) or f"; known are {listed(known) or 'none'}"
            raise PydanticCustomError("unknown_key", "unknown key '{key}'{hint}", {"key": shortened(unknown[0]), "hint": hint})
        return value


def _hashable(value: object) -> Hashable:
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    assert isinstance(value, Hashable)
    return value


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
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_family():
            return handler(source)
        return core_schema.with_info_plain_validator_function(
            cls._validate_member,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.dump()),
        )

    @classmethod
    def _validate_member(cls, value: object, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"type": value}
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise PydanticCustomError(
                "part_type", "needs a 'type' naming a {family}: one of {names}",
                {"family": cls.family, "names": listed(cls.member_names())},
            )
        member = cls.find(value["type"], (info.context or {}).get("home"))
        try:
            return member.model_validate({k: v for k, v in value.items() if k != "type"}, context=info.context)
        except ValidationError as error:
            raise PydanticCustomError("part", "invalid part", {"errors": error.errors(include_url=False)}) from error

    @classmethod
    def find(cls, name: str, home: Path | None = None) -> type[Self]:
        """Return the member of this family whose module is called *name*; *home* is the folder of the user's own modules, if any.

        Raises:
            PydanticCustomError: no such module, one that may not be imported, or one that has no single member of this family.
        """
        stem = name.replace("-", "_")
        dotted = "." in stem and all(step.isidentifier() for step in stem.split("."))
        candidates = [stem] if dotted else [pattern.format(stem) for pattern in cls._patterns()]
        if dotted or (stem.isidentifier() and not any(map(module_exists, candidates))):
            refusal = trust.refusal(stem, home)
            if refusal and dotted and home is not None and not trust.is_beside(stem, home) and trust.is_beside(stem.split(".")[0], home):
                refusal = f"there is no module '{stem}' beside the scenario{nearest(stem, trust.beside(home, stem.rpartition('.')[0]))}"
            if refusal and (dotted or (home is not None and trust.is_beside(stem, home))):
                raise PydanticCustomError("part_name", "{refusal}", {"refusal": refusal})
            if not refusal:
                candidates = [stem]
        for path in candidates:
            if not module_exists(path):
                continue
            module = import_part(path)
            members = cls._members_in(module)
            if len(members) == 1:
                return members[0]
            if not path.startswith(f"{trust.OURS}."):
                raise PydanticCustomError("part_name", "{problem}", {"problem": cls._not_one(module, members)})
        if dotted and not stem.startswith(f"{trust.OURS}."):
            problem = f"there is no module '{shortened(stem)}'{nearest(stem, _siblings(stem))}"
            raise PydanticCustomError("part_name", "{problem}", {"problem": problem})
        names = cls.member_names()
        own = [each for each in trust.beside(home) if each not in names] if home is not None else []
        raise PydanticCustomError(
            "part_name", "'{name}' is not a {family}{hint} (known: {names})",
            {"name": shortened(name), "family": cls.family, "hint": nearest(stem, names + own), "names": listed(names)},
        )

    @classmethod
    def _not_one(cls, module: ModuleType, members: list[type[Self]]) -> str:
        """Say why a *module* of the user's own is no member of this family: it defines several, or none, or one that lacks methods."""
        file = getattr(module, "__file__", None)
        place = f"'{module.__name__}' ({Path(file).name})" if file else f"'{module.__name__}'"
        if members:
            return f"{place} defines {len(members)} of family {cls.family}, {listed(each.__name__ for each in members)}; a file holds one"
        classes = parts_of(module)
        unfinished = [item for item in classes if issubclass(item, cls) and inspect.isabstract(item)]
        if unfinished:
            return f"{place}: {not_yet(unfinished[0])}"
        base = next(base for base in cls.__mro__ if "family" in base.__dict__)
        others = [item for item in classes if not inspect.isabstract(item)]
        instead = f"; {others[0].__name__} in it is of family {others[0].family}" if others else ""
        return f"{place} has no {cls.family} in it: a class derived from {base.__module__}.{base.__name__}{instead}"

    @classmethod
    def members(cls) -> dict[str, type[Self]]:
        """Import and return every member of this family by name (for listings, tests and error messages)."""
        found: dict[str, type[Self]] = {}
        for pattern in cls._patterns():
            package_name, _, _ = pattern.partition(".{}")
            for module in pkgutil.iter_modules(importlib.import_module(package_name).__path__):
                path = pattern.format(module.name)
                if not module_exists(path):
                    continue
                for member in cls._members_in(importlib.import_module(path)):
                    found[module.name] = member
        return dict(sorted(found.items()))

    @classmethod
    def _members_in(cls, module: ModuleType) -> list[type[Self]]:
        """The classes of this family that *module* defines; ``Family[State]``, which pydantic leaves there, is not one."""
        return [
            item for item in vars(module).values()
            if inspect.isclass(item) and issubclass(item, cls) and item.__module__ == module.__name__
            and not item.is_family() and not inspect.isabstract(item) and not item.__pydantic_generic_metadata__["args"]
        ]

    @classmethod
    def member_names(cls) -> list[str]:
        return list(cls.members())

    @classmethod
    def _patterns(cls) -> tuple[str, ...]:
        family = next(base for base in cls.__mro__ if "family" in base.__dict__)
        return cls.modules or (f"{family.__module__}.{{}}",)

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


def usual_part(field: FieldInfo) -> str:
    """Return the name of the part that a field holds where a scenario does not say; empty of a field that holds none, or has to be said."""
    kind = field.annotation
    is_family = inspect.isclass(kind) and issubclass(kind, Part) and kind.is_family()
    return field.default if is_family and isinstance(field.default, str) else ""


def default_part(name: str, description: str | None = None) -> Any:
    """Declare a field that holds the part called *name* where a scenario does not say; it is found when the settings are checked."""
    return Field(default=name, description=description)


EXTRAS = {"torch": "learn", "safetensors": "learn", "pywt": "learn", "sklearn": "learn", "gsw": "sea"}
"""Which optional group of dependencies brings a package."""


def parts_of(module: ModuleType) -> list[type[Part]]:
    """Return the classes of parts that a module defines itself, those that lack methods among them."""
    return [
        item for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Part) and item.__module__ == module.__name__ and not item.is_family()
        and not item.__pydantic_generic_metadata__["args"]
    ]


def not_yet(part: type[Part]) -> str:
    """Say which methods a class lacks to be a part."""
    return f"class {part.__name__} is no {part.family} yet, since it does not define {listed(sorted(part.__abstractmethods__))}"


def import_part(path: str) -> ModuleType:
    """Import the module of a part; a missing optional package is a mistake of the set-up that one sentence can mend."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            if path.startswith(f"{trust.OURS}."):
                raise
            raise _does_not_import(path, error) from error
        raise PydanticCustomError(
            "part_name", "'{name}' needs {package}, which is not installed: pip install 'toolkit[{extra}]'",
            {"name": path.rsplit(".", 1)[-1], "package": package, "extra": EXTRAS[package]},
        ) from error
    except Exception as error:
        if path.startswith(f"{trust.OURS}."):
            raise
        raise _does_not_import(path, error) from error


def _siblings(path: str) -> list[str]:
    """The modules in the package of *path*, by their whole names; none where there is no such package, which is imported already."""
    name = path.rpartition(".")[0]
    places = getattr(sys.modules.get(name), "__path__", ())
    return [f"{name}.{each.name}" for each in pkgutil.iter_modules(places)]


def _does_not_import(path: str, error: Exception) -> PydanticCustomError:
    return PydanticCustomError("part_name", "'{name}' does not import ({why})", {"name": path, "why": trust.why(error)})


def module_exists(path: str) -> bool:
    """Whether there is a module called *path*; the packages around it are imported for that."""
    if path in sys.modules:
        return True
    try:
        return importlib.util.find_spec(path) is not None
    except (ImportError, ValueError):  # no such package, or no name of a module at all
        return False
    except Exception as error:  # the package around it is imported first
        raise _does_not_import(path, error) from error


TOLD_WHOLE = {"unknown_key", "part_name", "part_type"}
"""Mistakes whose sentence says the value already."""


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
        path = ".".join(shortened(str(step)) for step in place) or "scenario"
        message = item["msg"].removeprefix("Value error, ")
        value = item.get("input")
        if item["type"] == "missing":
            lines.append(f"{path}: is required and missing")
        elif item["type"] in TOLD_WHOLE or (isinstance(value, dict | list) and item["type"] == "value_error"):
            lines.append(f"{path}: {message}")
        else:
            lines.append(f"{path}: {message[:1].lower()}{message[1:]} (got {shortened(repr(value))})")
    return lines
