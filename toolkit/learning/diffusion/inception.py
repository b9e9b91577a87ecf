"""The published FID's features, by the Inception network that the user has: no weights come with this package.

The file is the TorchScript one that most published numbers are taken with (``inception-2015-12-05.pt``): it takes images of 8 bits and
three channels, resizes them itself, and gives 2048 features. TorchScript is code, so its place is named by whoever runs this
(``TOOLKIT_INCEPTION``) and never by a scenario.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion.schedule import DiffusionError

VARIABLE = "TOOLKIT_INCEPTION"
BATCH = 64


def loaded() -> nn.Module:
    """Return the network at ``TOOLKIT_INCEPTION``.

    Raises:
        DiffusionError: the variable is not set, or there is no such network.
    """
    place = os.environ.get(VARIABLE, "")
    if not place:
        raise DiffusionError(f"judging.inception: FID needs Inception's weights as TorchScript; name the file by {VARIABLE}=FILE")
    if not Path(place).is_file():
        raise DiffusionError(f"{VARIABLE}: there is no file {place}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the format is old, and so are the weights
            found: nn.Module = torch.jit.load(place, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise DiffusionError(f"{VARIABLE}: {place} is no TorchScript ({str(error).splitlines()[0][:80]})") from error
    return found.eval()


@torch.no_grad()
def inception_features(net: nn.Module, images: Tensor) -> Tensor:
    """Return *net*'s features (n, d) of *images* (n, 1 or 3 channels, side, side) in [-1, 1], which it sees as 8 bits in three channels."""
    bits = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    coloured = bits.expand(-1, 3, -1, -1) if bits.shape[1] == 1 else bits
    return torch.cat([net(part, return_features=True) for part in torch.split(coloured, BATCH)])
