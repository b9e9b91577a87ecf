"""Compiled functions are shared on disk by processes that begin at once."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.acoustic.phy import kernel
from toolkit.acoustic.phy.kernel import entries as entries_module
from toolkit.acoustic.phy.kernel import forms


@pytest.mark.skipif(forms.fcntl is None, reason="this system has no such locks")
def test_whoever_compiles_is_alone_and_those_who_load_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def entered(on_disk: bool, *, while_on_disk: bool) -> bool:
        monkeypatch.setattr(forms, "_is_on_disk", lambda: while_on_disk)
        with forms._alone():
            monkeypatch.setattr(forms, "_is_on_disk", lambda: on_disk)
            inside = threading.Event()

            def enter() -> None:
                with forms._alone():
                    inside.set()

            other = threading.Thread(target=enter)
            other.start()
            found = inside.wait(0.3)
        other.join(10)
        assert inside.is_set()
        return found

    assert entered(True, while_on_disk=True)
    assert not entered(True, while_on_disk=False)
    assert not entered(False, while_on_disk=False)
    assert not entered(False, while_on_disk=True)


def test_a_change_in_any_file_of_the_kernel_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numba itself asks after the file with the entries alone."""
    copy = tmp_path / "kernel"
    shutil.copytree(forms.FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = forms._stamp()
    monkeypatch.setattr(forms, "FOLDER", copy)
    assert forms._stamp() == before
    for source in sorted(copy.glob("*.py")):
        text = source.read_text(encoding="utf-8")
        source.write_text(text + " ", encoding="utf-8")
        assert forms._stamp() != before, source.name
        source.write_text(text, encoding="utf-8")
    assert forms._stamp() == before


def test_compiled_functions_are_kept_by_their_stamp() -> None:
    kernel.compiled()
    entries = sys.modules["toolkit.acoustic.phy.kernel_compiled.entries"].entries
    inner = [code for code in entries.__code__.co_consts if inspect.iscode(code)]
    assert [code.co_freevars for code in inner if code.co_name in entries_module.SIGNATURES] == 4 * [("stamp",)]


@pytest.mark.slow
def test_processes_that_begin_without_a_cache_all_compile(tmp_path: Path) -> None:
    """Without a lock one pair of three failed, with numba's complaint of a function's type."""
    work = "from toolkit.acoustic.phy import kernel; kernel.compiled()"
    for attempt in range(4):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / str(attempt))}
        pair = [subprocess.Popen([sys.executable, "-c", work], env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in pair:
            _, errors = process.communicate()
            assert process.returncode == 0, errors
