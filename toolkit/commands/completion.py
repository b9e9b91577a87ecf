"""toolkit completion: what bash or zsh are told about the commands, their options and the names that they take."""

from __future__ import annotations

import argparse
import importlib
import sys

from toolkit.called import program
from toolkit.commands import COMMANDS
from toolkit.commands.telling import told

BASH = """\
_toolkit() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [ "${{word#-}}" = "$word" ]; then
    COMPREPLY+=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _toolkit toolkit
"""
ZSH = """\
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    called = program("completion")
    cli = argparse.ArgumentParser(
        prog=called, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print the completion of commands, options, families and members for a shell.",
        epilog=f'bash: put  eval "$({called} bash)"  into ~/.bashrc\nzsh:  put  eval "$({called} zsh)"   into ~/.zshrc',
    )
    cli.add_argument("shell", choices=("bash", "zsh"), help="the shell")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_completion, parser().parse_args(argv))


def _completion(args: argparse.Namespace) -> int:
    sys.stdout.write((ZSH if args.shell == "zsh" else "") + script())
    return 0


def script() -> str:
    """Return the completion for bash; zsh reads it too."""
    from toolkit import catalogue

    families = catalogue.families()
    members = sorted({name for family in families for name in catalogue.members(family)})
    words = {
        "list": [family.key for family in families], "describe": ["scenario", *members], "new": [family.key for family in families],
        "check": members, "completion": ["bash", "zsh"],
    }
    cases = [f'    {command}) words="{" ".join([*options(command), *words.get(command, [])])}" ;;' for command in COMMANDS]
    return BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


def options(command: str) -> list[str]:
    """Return the long options of a command."""
    cli: argparse.ArgumentParser = importlib.import_module(COMMANDS[command].module).parser()
    return [text for action in cli._actions for text in action.option_strings if text.startswith("--")]
