"""Networks that a run has left, built again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import nn

from toolkit.core.network_file import network_paths, read_network
from toolkit.core.part import Spec, explain
from toolkit.core.rundir import reading
from toolkit.errors import ScenarioError
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.elastic_net import subnet_of
from toolkit.methods.detection.kept import exportable_detector
from toolkit.methods.model_spec import ModelSpec
from toolkit.methods.trained import put_into
from toolkit.models.elastic_resnet import Configuration
from toolkit.models.evolving import Evolving


@final
class _Learnt(Spec):
    """What a network learnt by that has a part of the method in it."""

    method: ContinualMethod = Field(description="the method of continual learning that has trained it")


def trained_network(stem: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that a run left as *stem*, in eval mode, and what is known of it.

    It takes images (n, channels, height, width) as fractions of 255 less `mean`, divided by `std`.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
        ScenarioError: it was built by code that is not at hand, or that may not be run.
    """
    path, told = network_paths(stem)
    weights, facts = read_network(stem)
    if facts.get("kind") == "diffusion":
        raise ScenarioError(
            f"{told}: it makes images and gives no scores; toolkit.methods.diffusion.left.student builds it, its weights are in {path}"
        )
    if "detector" in facts:
        return exportable_detector(stem)
    with reading(told):
        channels, height, _ = facts["shape"]
        name, options = facts["model"]["name"], facts["model"]["options"]
        learnt = facts.get("continual")
    try:
        if learnt is not None:
            parts = {"features": learnt["features"], "classifier": learnt["classifier"]}
            spec, method = ModelSpec(name=name, options=options, **parts), _Learnt(method=learnt["method"]).method
        else:
            spec, method = ModelSpec(name=name, options=options), None
    except ValidationError as error:  # code that may not be run, or is not there, is no damage
        raise ScenarioError([f"{told}: {problem}" for problem in explain(error)]) from error
    with reading(path):
        generator = torch.Generator().manual_seed(0)
        defaults = {"num_classes": facts["num_classes"], "in_channels": channels, "image_size": height}
        if method is not None and learnt is not None:
            model = _learnt(spec, method, facts["shape"], generator, learnt.get("subnet"), defaults)
        else:
            model = spec.build(generator, **defaults)
        if isinstance(model, Evolving) and facts["finished"]:
            model.advance(1.0)
            model.finish()
        if "units" in facts:
            kept = np.array([unit == "1" for unit in facts["units"]])
            model = rebuild(model, find_groups(model, facts["shape"]), kept)
        put_into(model, weights)
    return model.eval(), facts


def _learnt(
    spec: ModelSpec, method: ContinualMethod, shape: list[int], generator: torch.Generator, subnet: Mapping[str, Any] | None,
    defaults: Mapping[str, Any],
) -> nn.Module:
    """Return a new network of the shape in which *method* left it, or that of a *subnet* of it."""
    channels, height, width = shape
    image_shape = (channels, height, width)
    trunk = method.trunk_shape(image_shape)
    given = {**defaults, "in_channels": trunk[0], "image_size": trunk[1]}
    net = method.network(spec.build_in_parts(generator, trunk, **given), image_shape, generator)
    if subnet is not None:
        return subnet_of(net, Configuration(tuple(subnet["widths"]), tuple(subnet["expands"])))
    return method.shell(net)
