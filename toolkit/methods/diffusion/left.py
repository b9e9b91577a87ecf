"""What a distillation leaves behind: the student, with samples to look at, and the student again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.core.network_file import network_paths, read_network
from toolkit.core.rundir import reading
from toolkit.learning.diffusion.consistency import ConsistencyModel
from toolkit.learning.diffusion.features import fingerprint
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.diffusion.prepared import SCHEDULE, Prepared, network
from toolkit.methods.diffusion.settings import NetSettings
from toolkit.methods.trained import leave, put_into

SAMPLES = "samples."
"""Beginning of the names of arrays (n, channels, side, side), 8 bits, that are no weights; the rest is the number of steps."""


def leave_student(
    ctx: Context, model: nn.Module, net: NetSettings, data: DatasetSpec, ready: Prepared, *, steps: int, sampler: str,
    shown: Mapping[int, Tensor],
) -> None:
    """Leave *model*, which samples in *steps* steps by *sampler*, and the images *shown*, in [-1, 1] and by their steps."""
    pictures = {f"{SAMPLES}{made}": ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8) for made, images in shown.items()}
    leave(ctx, {**model.state_dict(), **pictures}, {
        "kind": "diffusion", "net": net.model_dump(mode="json"), "dataset": data.name, "shape": list(ready.images.shape[1:]),
        "classes": ready.classes,
        "steps": steps, "sampler": sampler, "consistency": isinstance(model, ConsistencyModel), "judge": fingerprint(ready.judges),
    })


def student(stem: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that a run left as *stem* (``RUN/models/ARM-sSEED``), in eval mode, and what is known of it.

    It takes noisy images and time indices (and labels, if it was told them), and predicts images in [-1, 1]:
    `toolkit.learning.diffusion.sample` samples with it.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
    """
    weights, facts = read_network(stem)
    with reading(network_paths(stem)[0]):
        model: nn.Module = network(NetSettings(**facts["net"]), facts["shape"][0], facts["classes"], torch.Generator().manual_seed(0))
        if facts["consistency"]:
            model = ConsistencyModel(model, SCHEDULE)
        put_into(model, {name: values for name, values in weights.items() if not name.startswith(SAMPLES)})
    return model.eval(), facts


def samples(stem: Path) -> dict[int, NDArray[np.uint8]]:
    """Return the samples that a run left as *stem*, by the number of steps; nothing where it left none."""
    if not network_paths(stem)[0].is_file():
        return {}
    weights, _ = read_network(stem)
    return {int(name.removeprefix(SAMPLES)): values for name, values in weights.items() if name.startswith(SAMPLES)}
