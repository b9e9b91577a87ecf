"""Compiled functions are shared on disk by processes that begin at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.acoustic.phy import kernel


@pytest.mark.skipif(kernel.fcntl is None, reason="this system has no such locks")
def test_whoever_compiles_is_alone_and_those_who_load_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def entered(on_disk: bool, *, while_on_disk: bool) -> bool:
        monkeypatch.setattr(kernel, "_is_on_disk", lambda: while_on_disk)
        with kernel._alone():
            monkeypatch.setattr(kernel, "_is_on_disk", lambda: on_disk)
            inside = threading.Event()

            def enter() -> None:
                with kernel._alone():
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
