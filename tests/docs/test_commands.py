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
from toolkit.simulate import main as simulate

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


def simulations() -> list[tuple[str, ...]]:
    """What pages say to simulate, each once, as it would be checked; runs of data that not everybody has are left out."""
    found = dict.fromkeys(
        tuple(word for word in given if word not in {"--resume", "--check"})
        for page in PAGES for words in commands(page) for name, given in [arguments_of(words)] if name == "simulate"
    )
    wrong = "fabric.layout.nodes=many"  # docs/start.md shows what is said of it
    return [words for words in found if words and (ROOT / words[0]).is_file() and wrong not in words]


@pytest.mark.slow
@pytest.mark.parametrize("words", simulations(), ids=" ".join)
def test_what_is_to_be_simulated_is_good(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every scenario that a page says to run, with the settings it gives: read, and all its input files looked at."""
    monkeypatch.chdir(ROOT)
    status = simulate([*words, "--check"])
    said = capsys.readouterr().err
    if "TOOLKIT_DATA" in said or "board.yaml" in said or "rotating_block" in said:
        pytest.skip("needs data, or a file that the page makes first")
    assert status == 0, said
