"""Networks that a program has given from Python, by names that a scenario can say: ``model: {name: toolkit.given:Net_1}``.

They are there in the process that gave them, and in no other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

_BUILDERS: dict[str, Callable[..., Any]] = {}


def give(model: Any) -> str:
    """Keep *model*, a network or what builds one, and return the name by which a scenario asks for it.

    A network is copied now and for every run, so that all begin with its weights; what builds one is called as
    `toolkit.methods.model_spec.ModelSpec` says.
    """
    is_builder = isinstance(model, type) or not hasattr(model, "state_dict")
    kind = getattr(model, "__name__", type(model).__name__)
    name = f"{kind if kind.isidentifier() else 'network'}_{len(_BUILDERS) + 1}"
    if is_builder:
        _BUILDERS[name] = model
    else:
        kept = copy.deepcopy(model)
        _BUILDERS[name] = lambda: copy.deepcopy(kept)
    return f"{__name__}:{name}"


def __getattr__(name: str) -> Callable[..., Any]:
    """Return what was given under this name."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name not in _BUILDERS:
        raise ValueError(f"network '{name}' was given from Python by another process and is not here; name its module and class instead")
    return _BUILDERS[name]
