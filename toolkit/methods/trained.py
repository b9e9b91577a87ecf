"""Networks that come out of a run: what is kept of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.core.context import Context
from toolkit.datasets import Dataset
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
    facts = facts_of(spec, data) | {"test_accuracy": accuracy}
    if isinstance(model, Evolving):
        facts["finished"] = finished
    if mask is not None:
        facts["units"] = "".join("1" if kept else "0" for kept in mask)
    leave(ctx, model.state_dict(), facts)


def facts_of(spec: ModelSpec, data: Dataset) -> dict[str, Any]:
    """Return what is known of a network that was built as *spec* says for *data*."""
    return {
        "model": spec.model_dump(mode="json", include={"name", "options"}), "dataset": data.name, "num_classes": data.num_classes,
        "classes": list(data.classes), "shape": list(data.train_images.shape[1:]), "mean": list(data.mean), "std": list(data.std),
    }


def put_into(model: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Give *model* the *weights* that a network of its kind had.

    Raises:
        ValueError: they are of another kind.
    """
    try:
        model.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def leave(ctx: Context, weights: Mapping[str, Tensor], facts: Mapping[str, Any], part: str = "") -> None:
    """Leave *weights* by name with *facts*; those of a *part* beside the network."""
    ctx.hand_out({name: tensor.detach().cpu().numpy() for name, tensor in weights.items()}, facts, part)
