"""toolkit check: a part of one's own, or any other, held against the laws of its family."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from toolkit.called import program
from toolkit.commands.telling import columns, told

if TYPE_CHECKING:
    from toolkit.core.part import Part


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("check"),
        description="Hold a part against the laws that every member of its family keeps: of a routing protocol, that packets are "
        "conserved, loops end and the same seed gives the same run. A device, modem or link file is held against those of its kind.",
        epilog="exit status: 0 all laws hold, 1 one does not (said in a sentence), 2 something in the input is wrong",
    )
    cli.add_argument("part", metavar="PART", help="a file (./gossip.py, ./board.yaml), a module (mypkg.gossip), or a member (routing/dbr)")
    cli.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings",
                     help="a setting of the part; may be repeated")
    cli.add_argument("--list", action="store_true", help="only say which laws there are")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_check, parser().parse_args(argv))


def _check(args: argparse.Namespace) -> int:
    import inspect
    import time

    from toolkit.errors import ScenarioError
    from toolkit.laws import judged, laws_of, title

    if args.part.endswith((".yaml", ".yml")):
        return _check_profile(args.part)
    kind = class_named(args.part)
    laws = laws_of(kind)
    if args.list:
        for law in laws:
            _tell(f"{title(law)}: {' '.join((inspect.getdoc(law) or '').split())}")
        return 0
    part = _built(kind, args.settings)
    broken = count = 0
    begun_s = time.perf_counter()
    for verdict in judged(part, laws):
        count += 1
        broken += bool(verdict.broken)
        _tell(f"{'BROKEN' if verdict.broken else 'kept  '}  {verdict.law}{f': {verdict.broken}' if verdict.broken else ''}")
        sys.stdout.flush()
    if not count:
        raise ScenarioError(f"{args.part}: there are no laws for a {kind.family}")
    _tell(f"\n{part.type_name()} ({kind.family}): {count - broken} of {count} laws kept, {time.perf_counter() - begun_s:.0f} s")
    return 1 if broken else 0


def class_named(name: str) -> type[Part]:
    """Return the class of a part of one's own, or of a member of this package."""
    from pathlib import Path

    from toolkit import catalogue
    from toolkit.core import trust
    from toolkit.errors import ScenarioError
    from toolkit.named import member_of, own_part

    if name.endswith(".py") or "." in name or trust.is_beside(name, Path.cwd()):
        return own_part(name)
    family, member = catalogue.find(name)
    if not family.is_of_parts:
        raise ScenarioError(f"{name}: is a {family.word}, and laws are kept by parts and by profiles in files of your own")
    return member_of(family.module, family.item, member.name)


def _built(kind: type[Part], settings: list[str]) -> Part:
    from pydantic import ValidationError

    from toolkit.core import yaml12
    from toolkit.core.part import explain
    from toolkit.errors import ScenarioError
    from toolkit.scenario import replaced

    tree: dict[str, Any] = {}
    for text in settings:
        path, equals, value = text.partition("=")
        if not equals:
            raise ScenarioError(f"--set {text}: must look like name=value")
        tree = replaced(tree, path.strip(), yaml12.parse(value, f"--set {text}"))
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError([f"{kind.type_name()}.{line}" for line in explain(error)]) from error


def _check_profile(path: str) -> int:
    from toolkit.laws.profiles import judged_file

    kind, verdicts = judged_file(path)
    for verdict in verdicts:
        _tell(f"{'BROKEN' if verdict.broken else 'kept  '}  {verdict.law}{f': {verdict.broken}' if verdict.broken else ''}")
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    _tell(f"\n{path} ({kind}): {len(verdicts) - broken} of {len(verdicts)} laws kept")
    return 1 if broken else 0


def _tell(text: str) -> None:
    import textwrap

    for line in text.split("\n"):
        sys.stdout.write(textwrap.fill(line, columns(), subsequent_indent=" " * 8, break_on_hyphens=False) + "\n")
