"""toolkit schema: the JSON schema of scenario files, by which editors complete and check them."""

from __future__ import annotations

import argparse
import sys

from toolkit.called import program
from toolkit.commands.telling import USUAL_EXIT, told

LINE = "# yaml-language-server: $schema=./scenario.schema.json"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    called = program("schema")
    cli = argparse.ArgumentParser(
        prog=called, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print the JSON schema of scenario files: every setting with its type, range and meaning, every part by its name.",
        epilog=f"For an editor with a YAML language server (VS Code, Neovim, Emacs, JetBrains):\n\n  {called} > scenario.schema.json\n\n"
        f"and as the first line of a scenario beside it\n\n  {LINE}\n\n{USUAL_EXIT}",
    )
    cli.add_argument("--out", metavar="FILE", help="write it there instead")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_schema, parser().parse_args(argv))


def _schema(args: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from toolkit.errors import RunDirectoryError
    from toolkit.scenario import Scenario

    text = json.dumps(Scenario.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
    if args.out is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(f"--out {args.out}: cannot be written ({error.strerror or error})") from error
    sys.stdout.write(f"{args.out}; the first line of a scenario beside it: {LINE}\n")
    return 0
