"""What a setting is: its type, unit, range, default and meaning, as the fields of a part say them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from toolkit.core import bounds
from toolkit.core.part import Part, Spec
from toolkit.core.profiles import Profiled

UNITS = {
    "m_s": "m/s", "j_per_bit": "J/bit", "db_per_m": "dB/m", "s": "s", "min": "min", "hours": "h", "days": "d", "d": "d", "m": "m",
    "db": "dB", "db2": "dB²", "hz": "Hz", "bps": "bit/s", "w": "W", "j": "J", "bytes": "bytes", "flops": "FLOP", "deg": "degrees",
}
"""Ending of a field's name to its unit, as people write it."""
WORDS: dict[object, str] = {
    int: "whole number", float: "number", bool: "true or false", str: "text", Path: "file", datetime: "date and time",
    type(None): "nothing", Any: "any value", object: "any value", dict: "mapping", list: "list",
}
TOLD_BOUND = 1e5
"""A bound that only the unit sets is told where it is zero, or as near as this."""
SIDES = ("ge", "gt", "le", "lt")
"""What pydantic calls the bounds of a number."""


class Setting(NamedTuple):
    """One setting of a part, in words."""

    path: str
    kind: str
    unit: str
    range: str
    default: str
    about: str


def settings(spec: type[Spec], prefix: str = "") -> Iterator[Setting]:
    """Yield the settings of a part, and after a group of settings (`layout`) those in it, by their dotted paths."""
    for name, field in spec.model_fields.items():
        yield Setting(
            f"{prefix}{name}", kind(field.annotation), unit(name, field.annotation), told_range(name, field), told_default(field),
            field.description or "",
        )
        inner = [part for part in walk(field.annotation) if inspect.isclass(part) and issubclass(part, Spec) and not issubclass(part, Part)]
        for group in inner:
            if not issubclass(group, Profiled):
                yield from settings(group, f"{prefix}{name}.")


def walk(annotation: object) -> Iterator[object]:
    """Yield a type and the types that it is made of."""
    yield annotation
    for inner in get_args(annotation):
        if not isinstance(inner, list):
            yield from walk(inner)


def kind(annotation: object) -> str:
    """Return a type in words: ``list of numbers``, ``one of raised, plain``, ``a MAC``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(inner[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(kind(each) for each in inner if each is not type(None)))
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return f"list of {len(inner)}: {', '.join(map(kind, inner))}"
    if origin in {list, tuple, Sequence}:
        return f"list of {plural(kind(inner[0]))}" if inner else "list"
    if origin in {dict, Mapping}:
        return f"mapping of names to {plural(kind(inner[1]))}" if inner[1] not in {Any, object} else "mapping"
    if isinstance(annotation, TypeVar):
        return "any value"
    if inspect.isclass(annotation) and issubclass(annotation, Part):
        family = annotation.family
        return f"{'an' if family[:1].lower() in 'aeiou' else 'a'} {family}"
    if inspect.isclass(annotation) and issubclass(annotation, Profiled):
        return f"name of a {annotation.profile_folder.kind} profile, file, or settings"
    if inspect.isclass(annotation) and issubclass(annotation, Spec):
        return "settings"
    return WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def plural(word: str) -> str:
    """Return *word* as several: ``whole numbers``."""
    return f"{word}s" if word in {"whole number", "number", "text", "file", "mapping", "list"} else f"({word})"


def unit(name: str, annotation: object) -> str:
    """Return the unit that a field's name ends with; nothing of what is no number."""
    if not bounds.holds_numbers(annotation):
        return ""
    if name.endswith("_per_s"):
        what = name.removesuffix("_per_s").rpartition("_")[2]
        return f"{'FLOP' if what == 'flops' else what}/s"
    for ending in sorted(UNITS, key=len, reverse=True):
        if name == ending or name.endswith(f"_{ending}") or (ending == "bytes" and name.endswith("nbytes")):
            return UNITS[ending]
    return ""


def limits(name: str, field: FieldInfo) -> dict[str, float]:
    """Return the bounds of a number by pydantic's names (``ge``, ``gt``, ``le``, ``lt``): its own, and those that its unit sets."""
    found = {side: value for bound in field.metadata for side in SIDES if (value := getattr(bound, side, None)) is not None}
    annotation: Any = field.annotation
    least, most = bounds.bounds_of(name, whole=not bounds.holds_floats(annotation))
    if not {"ge", "gt"} & found.keys():
        found["ge"] = least
    if not {"le", "lt"} & found.keys():
        found["le"] = most
    return found


def told_range(name: str, field: FieldInfo) -> str:
    """Return the range of a number in words: ``above 0``, ``0 to 1``."""
    annotation: Any = field.annotation
    if not bounds.holds_numbers(annotation) or bounds.holds_truths(annotation):
        return ""
    own = {side for bound in field.metadata for side in SIDES if getattr(bound, side, None) is not None}
    shown = {side: value for side, value in limits(name, field).items() if side in own or abs(value) <= TOLD_BOUND}
    if {"ge", "le"} <= shown.keys():
        return f"{shown['ge']:g} to {shown['le']:g}"
    words = {"ge": "{:g} or more", "gt": "above {:g}", "le": "at most {:g}", "lt": "below {:g}"}
    return ", ".join(words[side].format(value) for side, value in shown.items())


def told_default(field: FieldInfo) -> str:
    """Return the default as YAML would have it; ``required`` where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return plain_value(value)


def plain_value(value: object) -> str:
    """Return a value on one line as YAML: ``true``, ``[1, 2]``, ``{type: ewma}``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Part):
        return value.type_name()
    if isinstance(value, Profiled) and value.profile is not None:
        return value.profile
    if isinstance(value, Spec):
        return "as below"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(plain_value, value))}]"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)
