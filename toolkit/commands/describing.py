"""toolkit describe: one part, profile, network or data set, and every setting that it has."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program
from toolkit.commands.telling import USUAL_EXIT, columns, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.catalogue import Family, Member
    from toolkit.description import Setting


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("describe"),
        description="Say what one member of a family is and does, with its sources, and every setting: type, unit, range, default and "
        "meaning. 'scenario' describes the scenario itself, 'acoustic' and 'cluster' what networks are made of.",
        epilog=USUAL_EXIT,
    )
    cli.add_argument("name", metavar="NAME",
                     help="for example dbcar, or routing/dbcar where several are called so; a part in this folder too")
    cli.add_argument("--json", action="store_true", help="print the settings as JSON and nothing else")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_describe, parser().parse_args(argv))


def _describe(args: argparse.Namespace) -> int:
    head, text, rows = found(args.name)
    if args.json:
        import json

        sys.stdout.write(json.dumps([row._asdict() for row in rows], indent=1, ensure_ascii=False) + "\n")
        return 0
    sys.stdout.write(f"{head}\n\n{text.strip()}\n")
    if rows:
        sys.stdout.write("\nsettings\n")
    for line in _lines(rows):
        sys.stdout.write(f"{line}\n")
    return 0


def found(name: str) -> tuple[str, str, list[Setting]]:
    """Return what *name* is in one line, what it says of itself, and its settings.

    Raises:
        UserError: there is no such thing, or it needs a package that is not installed.
    """
    import inspect
    from pathlib import Path

    from toolkit import catalogue
    from toolkit.description import settings

    if name == "scenario":
        from toolkit.scenario import Scenario

        return "scenario: what is run", inspect.getdoc(Scenario) or "", list(settings(Scenario))
    for members in catalogue.own(Path()).values():
        for member in members:
            if name == member.name or Path(name) == member.path:
                from toolkit.named import own_part

                part = own_part(str(member.path))
                return f"{member.name}: {part.family}, {member.path}", inspect.getdoc(part) or "", list(settings(part))
    family, member = catalogue.find(name)
    if family.is_of_parts:
        from toolkit.named import member_of

        part = member_of(family.module, family.item, member.name)
        return f"{member.name}: {family.word}, {member.module}", inspect.getdoc(part) or "", list(settings(part))
    return _other(family, member)


def _other(family: Family, member: Member) -> tuple[str, str, list[Setting]]:
    """A profile with its values, a network or a data set with its arguments."""
    import ast

    from toolkit import catalogue
    from toolkit.description import Setting

    head = f"{member.name}: {family.word}, {member.path.relative_to(catalogue.PACKAGE.parent)}"
    if not member.module:
        from toolkit.core import yaml12
        from toolkit.description import plain_value, settings
        from toolkit.named import class_of

        known = {row.path: row for row in settings(class_of(family.module, family.item))}
        values = yaml12.read(member.path)
        rows = [known[key]._replace(default=plain_value(value)) for key, value in values.items() if key in known and key != "source"]
        return head, str(values.get("source", "")), rows
    where = catalogue.source(member.path, member.module)
    node = next(each for each in where.tree.body if isinstance(each, ast.FunctionDef) and each.name == member.item)
    taken = [*node.args.args, *node.args.kwonlyargs]
    defaults = [*[None] * (len(node.args.args) - len(node.args.defaults)), *node.args.defaults, *node.args.kw_defaults]
    rows = [
        Setting(each.arg, ast.unparse(each.annotation) if each.annotation else "", "", "", ast.unparse(value) if value else "required", "")
        for each, value in zip(taken, defaults, strict=True) if each.arg != "generator"
    ]
    own = ast.get_docstring(node) or ""
    return head, own if family.key == "model" else f"{ast.get_docstring(where.tree) or ''}\n\n{own}", rows


def _lines(rows: list[Setting]) -> Iterator[str]:
    import textwrap

    for row in rows:
        facts = ", ".join(filter(None, [row.kind, row.unit, row.range]))
        default = "required" if row.default == "required" else f"default {row.default}"
        yield from textwrap.wrap(
            f"{row.path}: {facts}; {default}", columns(), initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
        )
        if row.about:
            yield from textwrap.wrap(row.about, columns(), initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False)
