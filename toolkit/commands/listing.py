"""toolkit list: what there is, family by family, and what of one's own lies in the current folder."""

from __future__ import annotations

import argparse
import sys

from toolkit.called import program
from toolkit.commands.telling import USUAL_EXIT, columns, told


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("list"),
        description="List what a scenario can name: the families, or the members of one, each with the first sentence that it says of "
        "itself. Parts that lie in the current folder are listed too. Nothing is imported or run.",
        epilog=USUAL_EXIT,
    )
    cli.add_argument("family", metavar="FAMILY", nargs="?",
                     help="a family, for example routing, mac, predictor, device (default: all, in short)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_list, parser().parse_args(argv))


def _list(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit import catalogue

    own = catalogue.own(Path())
    if args.family is None:
        for family in catalogue.families():
            names = [*catalogue.members(family), *(f"{member.name} (here)" for member in own.get(family.key, []))]
            sys.stdout.write(_filled(family.key, family.about) + _filled("", ", ".join(names)))
        sys.stdout.write("\n'toolkit list FAMILY' says what each is, 'toolkit describe NAME' all of one.\n")
        return 0
    chosen = catalogue.family_called(args.family)
    if chosen is None:
        from toolkit.core.part import nearest
        from toolkit.errors import ScenarioError

        known = [family.key for family in catalogue.families()]
        raise ScenarioError(f"{args.family}: is not a family{nearest(catalogue.plain(args.family), known)} (known: {', '.join(known)})")
    sys.stdout.write(f"{chosen.key}: {chosen.about}\n\n")
    found = catalogue.members(chosen)
    width = max(map(len, found), default=0)
    for member in found.values():
        sys.stdout.write(_filled(member.name, member.about, width))
    for member in own.get(chosen.key, []):
        sys.stdout.write(_filled(member.name, f"({member.path} here) {member.about}", width))
    return 0


def _filled(name: str, text: str, width: int = 16) -> str:
    import textwrap

    head = f"{name:{width}}  "
    return textwrap.fill(text, columns(), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False) + "\n"
