"""Networks that come out of a run: what is kept of one, and the same network again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from toolkit.core.context import Context
from toolkit.core.network_file import network_paths
from toolkit.core.part import explain
from toolkit.core.rundir import reading
from toolkit.datasets import Dataset
from toolkit.errors import RunDirectoryError, ScenarioError
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.methods.detection.kept import exportable_detector
from toolkit.methods.model_spec import ModelSpec
from toolkit.models.evolving import Evolving


def hand_out(
    ctx: Context, model: nn.Module, spec: ModelSpec, data: Dataset, *, accuracy: float, mask: NDArray[np.bool_] | None = None,
    finished: bool = False,
) -> None:
    """Leave *model*, built as *spec* says for *data*, to whoever runs this.

    Args:
        ctx: of the worker that leaves it.
        model: the network.
        spec: what it was built by.
        data: what it was trained on.
        accuracy: on the test set.
        mask: which units a pruned network still has.
        finished: whether one that changes while it is trained has become what is used (`Evolving.finish`).
    """
    shape = list(data.train_images.shape[1:])
    facts: dict[str, Any] = {
        "model": spec.model_dump(mode="json"), "dataset": data.name, "num_classes": data.num_classes, "classes": list(data.classes),
        "shape": shape, "mean": list(data.mean), "std": list(data.std), "test_accuracy": accuracy,
    }
    if isinstance(model, Evolving):
        facts["finished"] = finished
    if mask is not None:
        facts["units"] = "".join("1" if kept else "0" for kept in mask)
    ctx.hand_out({name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}, facts)


def trained_network(stem: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that a run left as *stem*, in eval mode, and what is known of it.

    It takes images (n, channels, height, width) as fractions of 255 less `mean`, divided by `std`.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
        ScenarioError: it was built by code that is not at hand, or that may not be run.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path, told = network_paths(stem)
    if not path.is_file() or not told.is_file():
        raise RunDirectoryError(f"{path}: no network was left there")
    with reading(told):
        facts = dict(json.loads(told.read_text(encoding="utf-8")))
    if "detector" in facts:
        return exportable_detector(stem)
    with reading(told):
        channels, height, _ = facts["shape"]
        name, options = facts["model"]["name"], facts["model"]["options"]
    try:
        spec = ModelSpec(name=name, options=options)
    except ValidationError as error:  # code that may not be run, or is not there, is no damage
        raise ScenarioError([f"{told}: {problem}" for problem in explain(error)]) from error
    with reading(path):
        generator = torch.Generator().manual_seed(0)
        model = spec.build(generator, num_classes=facts["num_classes"], in_channels=channels, image_size=height)
        if isinstance(model, Evolving) and facts["finished"]:
            model.advance(1.0)
            model.finish()
        if "units" in facts:
            kept = np.array([unit == "1" for unit in facts["units"]])
            model = rebuild(model, find_groups(model, facts["shape"]), kept)
        try:
            weights = load_file(path)
            model.load_state_dict(weights)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(str(error)) from error
    return model.eval(), facts
