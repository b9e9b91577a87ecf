"""Laws: what every member of a family keeps, whoever wrote it. `toolkit check` and the tests of this package hold parts against them.

A law is a function of one part that returns nothing, or raises `LawBroken` with a sentence; its docstring says what it asks. The module
of this package that is called like a family's package (`routing`, `mac`, `prediction`) holds the `LAWS` of that family.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from toolkit.core.part import Part, Spec
from toolkit.core.trust import why
from toolkit.errors import ToolkitError

Law = Callable[[Any], None]


class LawBroken(ToolkitError):  # noqa: N818 - what happened
    """A part does not keep a law."""


def require(holds: object, otherwise: str) -> None:
    """Raise `LawBroken` with the sentence *otherwise* where something does not hold."""
    if not holds:
        raise LawBroken(otherwise)


def laws_of(part: type[Part]) -> tuple[Law, ...]:
    """Return the laws of a part: those of all parts, and those of its family."""
    family = next(base for base in part.__mro__ if "family" in base.__dict__)
    modules = [f"{__name__}.parts", f"{__name__}.{family.__module__.rpartition('.')[2]}"]
    return tuple(law for module in modules if importlib.util.find_spec(module) is not None for law in importlib.import_module(module).LAWS)


class Verdict(NamedTuple):
    """What came of holding a part against a law."""

    law: str
    broken: str
    """Why it does not hold; empty where it does."""


def title(law: Law) -> str:
    """Return a law's name in words."""
    return law.__name__.replace("_", " ")


def judged(part: Spec, laws: Sequence[Law] | None = None) -> Iterator[Verdict]:
    """Hold *part* against the laws of its family, or others, one after the other."""
    if laws is None:
        assert isinstance(part, Part)
        laws = laws_of(type(part))
    for law in laws:
        try:
            law(part)
        except LawBroken as error:
            yield Verdict(title(law), str(error))
        except Exception as error:
            yield Verdict(title(law), why(error))
        else:
            yield Verdict(title(law), "")
