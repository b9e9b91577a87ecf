"""A stranger follows the guides to the letter, in an empty folder: writes each file that they show, gives each command in its turn."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, text_of
from toolkit.__main__ import main
from toolkit.core import trust

GUIDES = [page for page in PAGES if page.startswith("docs/guides/") and "```sh" in text_of(page)]
STEP = re.compile(r"(?:^`(?P<file>[\w.]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::toolkit.core.trust.OwnModule")
@pytest.mark.parametrize("page", GUIDES)
def test_it_works_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    commands = 0
    for step in STEP.finditer(text_of(page)):
        if step["file"]:
            Path(step["file"]).write_text(step["text"])
        elif step["language"] == "sh":
            for line in step["text"].splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "toolkit", line
                status = main(words[1:])
                assert status == 0, f"{line}: {capsys.readouterr().err}"
                commands += 1
        elif step["language"] == "python":
            exec(compile(step["text"], page, "exec"), {})
    assert commands >= 2
