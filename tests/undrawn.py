"""Runs without figures, which take longer to draw than a small run itself.

For tests with other things to say of runs: in this process by the fixtures `undrawn` and `undrawn_module`, and of a command in a process of
its own by `python -m tests.undrawn toolkit.simulate ...`. How figures are drawn is told in `tests/render`, by the tests of each report (of
every family one run is `drawn`), and wherever this is not asked for.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from toolkit.render.result import Result

DRAWN = Result.write_figures


def nothing(result: Result) -> dict[str, Path]:
    """What stands in the place of `Result.write_figures`."""
    return {}


if __name__ == "__main__":
    Result.write_figures = nothing  # type: ignore[method-assign]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
