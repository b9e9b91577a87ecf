"""What a distillation leaves behind: the student, with samples to look at, and the student again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.core.network_file import network_paths
from toolkit.core.rundir import reading
from toolkit.errors import RunDirectoryError
from toolkit.learning.diffusion.consistency import ConsistencyModel
from toolkit.learning.diffusion.features import fingerprint
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.diffusion.prepared import SCHEDULE, Prepared, network
from toolkit.methods.diffusion.settings import NetSettings

SAMPLES = "samples."
"""Beginning of the names of arrays (n, channels, side, side), 8 bits, that are no weights; the rest is the number of steps."""


def leave(
    ctx: Context, model: nn.Module, net: NetSettings, data: DatasetSpec, ready: Prepared, *, steps: int, sampler: str,
    shown: Mapping[int, Tensor],
) -> None:
    """Leave *model*, which samples in *steps* steps by *sampler*, and the images *shown*, in [-1, 1] and by their steps."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    for made, images in shown.items():
        arrays[f"{SAMPLES}{made}"] = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    ctx.hand_out(arrays, {
        "kind": "diffusion", "net": net.model_dump(mode="json"), "dataset": data.name, "shape": list(ready.images.shape[1:]),
        "steps": steps, "sampler": sampler, "consistency": isinstance(model, ConsistencyModel), "judge": fingerprint(ready.judges),
    })


def student(stem: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that a run left as *stem* (``RUN/models/ARM-sSEED``), in eval mode, and what is known of it.

    It takes noisy images and time indices, and predicts images in [-1, 1]: `toolkit.learning.diffusion.make` samples with it.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
    """
    path, told = network_paths(stem)
    if not path.is_file() or not told.is_file():
        raise RunDirectoryError(f"{path}: no network was left there")
    with reading(told):
        facts = dict(json.loads(told.read_text(encoding="utf-8")))
        model: nn.Module = network(NetSettings(**facts["net"]), facts["shape"][0], torch.Generator().manual_seed(0))
        if facts["consistency"]:
            model = ConsistencyModel(model, SCHEDULE)
    with reading(path):
        arrays = _arrays(path)
        try:
            model.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items() if not name.startswith(SAMPLES)})
        except RuntimeError as error:
            raise ValueError(str(error)) from error
    return model.eval(), facts


def samples(stem: Path) -> dict[int, NDArray[np.uint8]]:
    """Return the samples that a run left as *stem*, by the number of steps; nothing where it left none."""
    path, _ = network_paths(stem)
    if not path.is_file():
        return {}
    with reading(path):
        return {int(name.removeprefix(SAMPLES)): values for name, values in _arrays(path).items() if name.startswith(SAMPLES)}


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
