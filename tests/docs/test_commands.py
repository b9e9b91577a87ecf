"""Every command that a page gives can be given: its options are there, and so are the files that it names."""

from __future__ import annotations

import importlib
import importlib.util
import re
from argparse import ArgumentParser

import pytest

from tests.docs.pages import PAGES, commands
from tests.test_simulate import ROOT
from toolkit.commands import COMMANDS

FOLDERS = ("scenarios/", "benchmarks/", "scripts/", "docs/", "data/")
OTHERS = {"pytest", "venv", "pip", "http", "sphinx", "jupyter", "torch"}
"""Modules that are not ours."""


def arguments_of(words: list[str]) -> tuple[str, list[str]]:
    """The module of ours that a command starts, without `toolkit.`, and what it is given; an empty name where it is a file."""
    if words[0].endswith("toolkit"):
        assert words[1] in COMMANDS, f"there is no command {words[1]}"
        return COMMANDS[words[1]].module.partition(".")[2], words[2:]
    if "-m" not in words:
        return "", words[1:]
    place = words.index("-m")
    module = words[place + 1]
    if module.split(".")[0] in OTHERS:
        return "", []
    assert module.partition(".")[0] == "toolkit", f"{module} is none of ours"
    name, given = module.partition(".")[2], words[place + 2 :]
    return (name, given) if name else (given[0] if given else "", given[1:])


@pytest.mark.parametrize("page", [page for page in PAGES if any(True for _ in commands(page))])
def test_commands_can_be_given(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        shown = " ".join(words)
        name, given = arguments_of(words)
        for word in words:
            path = word.rpartition("=")[2]
            if path.startswith(FOLDERS) and not re.search(r"[*…<>]|[A-Z]{3}", path):
                assert (ROOT / path).exists(), f"{page}: {shown}: there is no {path}"
        if not name:
            continue
        assert importlib.util.find_spec(f"toolkit.{name}") is not None, f"{page}: {shown}"
        parser = getattr(importlib.import_module(f"toolkit.{name}"), "parser", None)
        if not callable(parser):
            continue
        cli = parser()
        assert isinstance(cli, ArgumentParser)
        status: object = 0
        try:
            cli.parse_args(given)
        except SystemExit as ended:
            status = ended.code
        assert status == 0, f"{page}: {shown}: {capsys.readouterr().err}"
