"""Simulation plus machine learning around one discrete-event core: what does a method cost, and how well does it work?

    import toolkit
    result = toolkit.run("scenarios/sea_trial.yaml")
    result.summary
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.version import VERSION

if TYPE_CHECKING:
    from toolkit.render.result import Result
    from toolkit.scenario import Scenario
    from toolkit.sweep import run

__version__ = VERSION
__all__ = ["Result", "Scenario", "__version__", "run"]

_HOMES = {"Result": "toolkit.render.result", "Scenario": "toolkit.scenario", "run": "toolkit.sweep"}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import toolkit` and `--help` cost nothing."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
