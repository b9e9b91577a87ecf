"""Runs whose figures are made and not rendered, which takes longer than a small run itself.

For tests with other things to say of runs: in this process by the fixtures `undrawn` and `undrawn_module`, and of a command in a process of
its own by `python -m tests.undrawn toolkit.simulate ...`. Rendering is tested in `tests/render`, by the tests of each report, and wherever
this is not asked for.
"""

from __future__ import annotations

import base64
import runpy
import sys
from pathlib import Path

from toolkit.render.result import Result

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")
"""The smallest PNG."""
RENDERED = Result.write_figures


def written_as_pixels(result: Result) -> dict[str, Path]:
    """What stands in the place of `Result.write_figures`."""
    folder = result.directory / "figures"
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in result.plot()}
    for path in paths.values():
        path.write_bytes(PIXEL)
    return paths


if __name__ == "__main__":
    Result.write_figures = written_as_pixels  # type: ignore[method-assign]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
