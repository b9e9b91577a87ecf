"""What global generators would draw next: a part that draws from them has runs that do not repeat beside others."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def global_states() -> tuple[Any, ...]:
    """What torch, numpy and Python would draw next if anybody drew from their global generators."""
    numbers = str(np.random.get_state(legacy=False))  # noqa: NPY002 - to see that nothing uses it
    return torch.get_rng_state().tolist(), numbers, random.getstate()
