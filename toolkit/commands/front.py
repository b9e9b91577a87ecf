"""toolkit COMMAND: the front door. It imports the command that is called, and nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from toolkit.called import as_command
from toolkit.commands import COMMANDS, GROUPS
from toolkit.version import VERSION


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    prefix = "python -m toolkit" if argv is None and Path(sys.argv[0]).stem == "__main__" else "toolkit"
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in {"-h", "--help"}:
        sys.stdout.write(usage(prefix))
        return 0
    if words[0] in {"-V", "--version"}:
        sys.stdout.write(f"toolkit {VERSION}\n")
        return 0
    word = words[0] if words[0] in COMMANDS else words[0].replace("-", "_")
    if word not in COMMANDS:
        sys.stderr.write(f"error: {unknown(words[0])}\n")
        return 2
    with as_command(prefix):
        status: int = importlib.import_module(COMMANDS[word].module).main(words[1:])
        return status


def usage(prefix: str = "toolkit") -> str:
    """Return what ``--help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [
        f"usage: {prefix} COMMAND [ARGUMENTS]", "",
        "What does a networked or learning method cost, in seconds, bytes and joules, and how well does it work?",
    ]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {word:{width}}  {command.about}" for word, command in commands.items())]
    lines += [
        "", f"'{prefix} COMMAND --help' says more, for example '{prefix} simulate --help'. Begin with:", "",
        f"  {prefix} simulate scenarios/sea_trial.yaml --quick", f"  {prefix} list", f"  {prefix} describe dbcar", "",
        "exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    ]
    return "\n".join(lines) + "\n"


def unknown(word: str) -> str:
    """Say that there is no such command, and which may have been meant."""
    import difflib

    from toolkit.errors import shortened

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    return f"{shortened(word)}: is not a command{f'; did you mean {near[0]!r}?' if near else ''} (known: {', '.join(COMMANDS)})"
