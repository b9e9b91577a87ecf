"""Random numbers for torch out of the named streams of numpy, so that one seed rules both."""

from __future__ import annotations

import numpy as np
import torch


def torch_generator(rng: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator whose seed is the next draw of *rng*."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))
