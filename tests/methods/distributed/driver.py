"""Every method, set for small vectors."""

from __future__ import annotations

from typing import Any

from toolkit.laws.local_training import LAYOUT, MATRICES, SCHEDULES, Run, train
from toolkit.methods.distributed import ExchangeMethod

__all__ = ["LAYOUT", "MATRICES", "NAMES", "SCHEDULES", "Run", "make", "train"]

NAMES = sorted(ExchangeMethod.members())
SETTINGS: dict[str, dict[str, Any]] = {
    "top_k": {"density": 0.05},
    "random_k": {"density": 0.1},
    "dgc": {"density": 0.05, "warmup_steps": 0},
    "local_sgd": {"period": 2},
    "powersgd": {"min_rate": 1.0},
    "qsgd": {"bucket": 128},
    "gs_sgd": {"density": 0.05},
    "gtop_k": {"density": 0.05},
    "sketched_sgd": {"density": 0.05},
    "fetch_sgd": {"density": 0.05},
    "arc_top_k": {"density": 0.05},
}


def make(name: str, **settings: Any) -> ExchangeMethod:
    """Return the method of that name, set for small vectors; settings that it does not have are left out."""
    member = ExchangeMethod.find(name)
    wanted = {**SETTINGS.get(name, {}), **settings}
    return member.model_validate({key: value for key, value in wanted.items() if key in member.model_fields})
