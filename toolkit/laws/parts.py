"""Laws of every part: it is frozen, says what its settings are, is built again from what it writes, and refuses nonsense."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from toolkit.core import bounds
from toolkit.core.part import Part, explain
from toolkit.laws import require


def it_says_what_it_is(part: Part) -> None:
    """The class has a docstring, and every setting a description."""
    require(type(part).__doc__, f"class {type(part).__name__} has no docstring; its first sentence is what 'toolkit list' shows")
    for name, field in type(part).model_fields.items():
        require(field.description, f"setting '{name}' has no description: Field(…, description=\"…\")")


def it_is_built_again_from_what_it_writes(part: Part) -> None:
    """Runs are resumed, priced again and read elsewhere from their resolved scenario."""
    tree = part.dump()
    again = type(part).model_validate({key: value for key, value in tree.items() if key != "type"})
    require(again == part, f"what it writes ({tree}) builds another part")
    require(again.dump() == tree, "what is built from what it writes is written otherwise")


def it_is_frozen(part: Part) -> None:
    """A part holds settings only; what changes lives in the state that it makes."""
    for name in type(part).model_fields:
        try:
            setattr(part, name, getattr(part, name))
        except (ValidationError, TypeError, AttributeError):
            continue
        require(False, f"setting '{name}' can be changed after it was built; leave frozen=True as it is")


def a_setting_out_of_bounds_gets_one_sentence(part: Part) -> None:
    """Numbers have bounds, and the sentence names the setting and the value."""
    kept = {key: value for key, value in part.dump().items() if key != "type"}
    for name, field in type(part).model_fields.items():
        if field.annotation not in {int, float}:
            continue
        for value in _outside(name, field):
            said = _refusal(type(part), {**kept, name: value})
            require(said, f"setting '{name}' takes {value:g}; give it bounds: Field(…, ge=…, le=…)")
            require(any(name in line for line in said), f"the sentence for {name} = {value:g} does not name it: {said[0]}")


def an_unknown_setting_gets_one_sentence(part: Part) -> None:
    """A key that is none is refused, and the nearest one named."""
    said = _refusal(type(part), {**{key: value for key, value in part.dump().items() if key != "type"}, "no_such_setting": 1})
    require(said and "no_such_setting" in said[0], "a setting that it does not have is taken without a word")


def _refusal(part: type[Part], tree: dict[str, Any]) -> list[str]:
    try:
        part.model_validate(tree)
    except ValidationError as error:
        return explain(error)
    return []


def _outside(name: str, field: Any) -> list[float]:
    """Values just outside of a number's bounds: its own, or those that its unit sets."""
    own = [(getattr(bound, side), sign) for bound in field.metadata for side, sign in SIDES if getattr(bound, side, None) is not None]
    least, most = bounds.bounds_of(name, whole=field.annotation is int)
    outside = [value + sign for value, sign in own] or [2 * least - 1, 2 * most + 1]
    return [int(value) for value in outside] if field.annotation is int else outside


SIDES = (("ge", -1), ("gt", -1), ("le", 1), ("lt", 1))

LAWS = (
    it_says_what_it_is, it_is_built_again_from_what_it_writes, it_is_frozen,
    a_setting_out_of_bounds_gets_one_sentence, an_unknown_setting_gets_one_sentence,
)
