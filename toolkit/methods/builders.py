"""Functions that a scenario names with options: their options checked by the types in their signature, before anything is called."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from toolkit.core import trust
from toolkit.core.part import nearest
from toolkit.errors import listed, shortened


def checked_options(what: str, call: Callable[..., Any], options: Mapping[str, Any], reserved: tuple[str, ...] = ()) -> None:
    """Raise a ValueError, in one sentence about *what*, where *call* does not take *options*; *reserved* ones are not the user's to give.

    Options without a type in the signature, or with one that is no type of plain values, are taken as they are.
    """
    signature = inspect.signature(call)
    accepted = [name for name, item in signature.parameters.items() if item.kind is not item.VAR_KEYWORD and name not in reserved]
    open_ended = any(item.kind is item.VAR_KEYWORD for item in signature.parameters.values())
    kinds = type_hints(call)
    for option, value in options.items():
        if option not in accepted and (not open_ended or option in reserved):
            known = f" (known: {listed(accepted)})" if accepted else ""
            raise ValueError(f"{what} has no option '{shortened(str(option))}'{nearest(str(option), accepted)}{known}")
        if option not in kinds:
            continue
        try:
            adapter = TypeAdapter(kinds[option], config=ConfigDict(strict=True, arbitrary_types_allowed=True))
        except (PydanticUserError, NameError, TypeError):  # a type that pydantic does not know is not judged
            continue
        try:
            adapter.validate_json(json.dumps(value, default=str))
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise ValueError(f"{what}, option '{option}': {why[:1].lower()}{why[1:]} (got {shortened(repr(value))})") from error


def type_hints(call: Callable[..., Any]) -> dict[str, Any]:
    """The types in a signature, of a class those of its ``__init__``; none where they cannot be worked out."""
    try:
        return get_type_hints(call.__init__ if inspect.isclass(call) else call)
    except (NameError, TypeError, AttributeError):
        return {}


def own_module(name: str, home: Path | None, ours: str) -> Any:
    """Import and return the module *name*, beside the scenario or in a package that is trusted.

    Of this package only *ours*, a module or what lies in it, holds what a file may have called.

    Raises:
        ValueError: it may not be imported, is not there, or does not import; one sentence.
    """
    if not all(step.isidentifier() for step in name.split(".")):
        raise ValueError(f"'{shortened(name)}' is not the name of a module")
    if name.partition(".")[0] == trust.OURS and not f"{name}.".startswith(f"{ours}."):
        raise ValueError(f"'{shortened(name)}' is part of the toolkit and nothing to be called from here")
    refusal = trust.refusal(name, home)
    if refusal:
        raise ValueError(refusal)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ValueError(f"'{name}' does not import ({trust.why(error)})") from error
