"""Settings as a tree that people read: what differs from the defaults, as text or as HTML that folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from toolkit.core.part import Part, Spec
from toolkit.core.profiles import Profiled

LONGEST = 100
"""Characters of a value above which it is cut."""


class Branch(NamedTuple):
    """A setting: its name, its value on one line, what it is, and the settings inside it."""

    name: str
    value: str
    about: str
    inner: tuple[Branch, ...]


def branches(spec: Spec) -> tuple[Branch, ...]:
    """Return the settings of *spec* that are not the defaults, in the order in which they are declared."""
    found = []
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if field.is_required() or not _is_default(value, field.get_default(call_default_factory=True)):
            found.append(_branch(name, value, field.description or ""))
    return tuple(found)


def _is_default(value: object, default: object) -> bool:
    """Whether *value* is the *default*, which may be the name of a part or profile."""
    if isinstance(default, str) and isinstance(value, Part):
        return value.type_name() == default and not branches(value)
    if isinstance(default, str) and isinstance(value, Profiled):
        return value.profile == default and not value.apart()
    return value == default


def _branch(name: str, value: object, about: str = "") -> Branch:
    if isinstance(value, Part):
        return Branch(name, value.type_name(), about, branches(value))
    if isinstance(value, Profiled):
        told = tuple(_branch(each, getattr(value, each), type(value).model_fields[each].description or "") for each in value.apart())
        return Branch(name, value.profile or "", about, told)
    if isinstance(value, Spec):
        return Branch(name, "", about, branches(value))
    if isinstance(value, Mapping) and value:
        return Branch(name, "", about, tuple(_branch(str(key), item) for key, item in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, Spec | Mapping) for item in value):
        return Branch(name, "", about, tuple(_branch(str(number), item) for number, item in enumerate(value)))
    text = str(value)
    return Branch(name, text if len(text) <= LONGEST else f"{text[:LONGEST]}…", about, ())


def as_text(tree: Sequence[Branch], indent: str = "") -> Iterator[str]:
    """Yield the lines of *tree*, what is inside indented by two."""
    for branch in tree:
        yield f"{indent}{branch.name}: {branch.value}".rstrip()
        yield from as_text(branch.inner, f"{indent}  ")


def as_html(title: str, tree: Sequence[Branch]) -> str:
    """Return *tree* as nested lists that fold, in a block whose style is its own."""
    style = ".toolkit-outline ul { list-style: none; margin: 0; padding-left: 1.2em } .toolkit-outline summary { cursor: pointer }"
    return f'<div class="toolkit-outline"><style>{style}</style><strong>{escape(title)}</strong>{_items(tree, opened=True)}</div>'


def _items(tree: Sequence[Branch], *, opened: bool) -> str:
    lines = []
    for branch in tree:
        label = f'<span title="{escape(branch.about)}">{escape(branch.name)}</span>: <code>{escape(branch.value)}</code>'
        if branch.inner:
            state = " open" if opened else ""
            label = f"<details{state}><summary>{label}</summary>{_items(branch.inner, opened=False)}</details>"
        lines.append(f"<li>{label}</li>")
    return f"<ul>{''.join(lines)}</ul>"
