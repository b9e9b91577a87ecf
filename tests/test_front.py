"""The front door: every command by its word, its help at once, and one sentence for what is none."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import loaded_after
from toolkit import called, simulate
from toolkit.commands import COMMANDS, completion, front
from toolkit.version import VERSION

HEAVY = {"torch", "pandas", "matplotlib", "numpy", "simpy", "pydantic", "numba", "yaml", "rich"}


def helped(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(SystemExit):  # argparse's way of having helped
        assert front.main(list(words)) == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped("--help", capsys=capsys)
    assert said == helped(capsys=capsys)
    for word, command in COMMANDS.items():
        assert f"  {word} " in said
        assert command.about in said
    assert helped("--version", capsys=capsys) == f"toolkit {VERSION}\n"


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_says_what_it_does_and_how_it_was_called(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(word, "--help", capsys=capsys)
    assert said.startswith(f"usage: toolkit {word} [-h]")
    assert said == helped("help", word, capsys=capsys)
    module = importlib.import_module(COMMANDS[word].module)
    assert not module.parser().prog.startswith("toolkit ")  # called by itself it says so


def test_modules_say_their_own_name() -> None:
    assert simulate.parser().prog == "python -m toolkit.simulate"
    with called.as_command("toolkit"):
        assert simulate.parser().prog == "toolkit simulate"
    assert not called.is_command()


@pytest.mark.parametrize(("word", "says"), [
    ("simlate", "simlate: is not a command; did you mean 'simulate'? (known: simulate, sweep"),
    ("x" * 1000, "(1000 characters): is not a command"),
])
def test_an_unknown_command_is_one_sentence(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([word]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert says in errors
    assert errors.count("\n") == 1


def test_dashes_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped("record-channel", "--help", capsys=capsys).startswith("usage: toolkit record_channel")


def test_no_help_loads_anything_heavy() -> None:
    """In one process: whatever any of them loaded would be there."""
    code = (
        "from toolkit.commands import COMMANDS\nfrom toolkit.commands.front import main\nmain(['--help'])\n"
        "for word in COMMANDS:\n    try:\n        main([word, '--help'])\n    except SystemExit:\n        pass"
    )
    assert not loaded_after(code) & HEAVY


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "toolkit", "nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nope: is not a command")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    (tmp_path / "toolkit.bash").write_text(completion.script())
    asked = {
        "sim": (["toolkit", "sim"], {"simulate"}), "family": (["toolkit", "list", "rout"], {"routing"}),
        "member": (["toolkit", "describe", "dbca"], {"dbcar", "dbcar_o"}),
        "option": (["toolkit", "simulate", "--qui"], {"--quick", "--quiet"}),
    }
    lines = [f"source {tmp_path / 'toolkit.bash'}"]
    for words, _ in asked.values():
        lines += [f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _toolkit; echo ${{COMPREPLY[*]}}"]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [set(line.split()) for line in done.stdout.splitlines()] == [found for _, found in asked.values()]
    assert done.stderr == ""
