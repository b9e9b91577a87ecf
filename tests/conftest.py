"""What all tests share: patience on busy machines, no memory of modules that a test wrote, and runs without pictures."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Properties are tried as often on a busy machine as on an idle one: how long that takes there is no fault of theirs.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

gc.disable()  # a quarter of the time in which thousands of tests are collected, none of which is garbage


def pytest_collection_finish() -> None:
    """What was collected is there to the end, and need not be looked through again and again."""
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True)
def modules_of_a_test_are_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget afterwards what was imported from folders of tests, which are on the path no longer."""
    written, before = str(tmp_path_factory.getbasetemp()), set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(written):
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if not place.startswith(written)]


def _undrawn() -> Iterator[None]:
    """As `tests.undrawn` has it."""
    from tests.undrawn import Result, nothing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Result, "write_figures", nothing)
        yield


undrawn = pytest.fixture(_undrawn)
undrawn_module = pytest.fixture(scope="module", name="undrawn_module")(_undrawn)
"""For all tests of a module and the runs that they share: `pytestmark = pytest.mark.usefixtures("undrawn_module")`."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one test of such a module they are drawn after all, so that those of its report are seen to be."""
    from tests.undrawn import DRAWN, Result

    monkeypatch.setattr(Result, "write_figures", DRAWN)
