"""Simulation plus machine learning around one discrete-event core: what does a method cost, and how well does it work?

    import toolkit
    result = toolkit.run("scenarios/sea_trial.yaml", set={"seeds": 3})
    result.summary
    toolkit.run(toolkit.grid("scenarios/sea_trial.yaml", {"fabric.layout.nodes": [20, 40]}))
    toolkit.load("runs/sea_trial-…")                      # a finished run directory
    toolkit.compare("runs/a", "runs/b").differences       # paired where both met the same world
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.version import VERSION

if TYPE_CHECKING:
    from toolkit.across import compare
    from toolkit.arms import grid
    from toolkit.render.result import Result, load
    from toolkit.scenario import Scenario
    from toolkit.sweep import run

__version__ = VERSION
__all__ = ["Result", "Scenario", "__version__", "compare", "grid", "load", "run"]

_HOMES = {
    "Result": "toolkit.render.result", "Scenario": "toolkit.scenario", "compare": "toolkit.across", "grid": "toolkit.arms",
    "load": "toolkit.render.result", "run": "toolkit.sweep",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import toolkit` and `--help` cost nothing."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
