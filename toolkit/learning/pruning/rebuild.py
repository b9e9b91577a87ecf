"""A mask made real: gates on the full network, and the small dense network that is equal to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.learning.pruning.groups import Groups, Mask, Owners, PruningError


def keep_indices(owner: Owners, mask: Mask) -> Tensor:
    """Return which indices of a dimension stay."""
    return torch.from_numpy(np.flatnonzero((owner < 0) | mask[np.maximum(owner, 0)]))


def kept_weights(model: nn.Module, groups: Groups, mask: Mask) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, those that units touch cut to what stays."""
    named: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    cut = {name: tensor.detach() for name, tensor in named.items()}
    for (name, dim), owner in groups.owners.items():
        cut[name] = cut[name].index_select(dim, keep_indices(owner, mask).to(cut[name].device))
    return cut


def rebuild(model: nn.Module, groups: Groups, mask: Mask) -> nn.Module:
    """Return a dense network without the units that *mask* removes; *model* stays as it is.

    The copy has the same class and forward with smaller layers: filters, biases, normalisation and the input slices of the next layers
    are gone, not zeroed. It is run once, on two images of zeros, before it is handed out.

    Raises:
        PruningError: the mask has another length or empties a group; or the network's forward holds sizes that its layers no longer have.
    """
    mask = groups.check(mask)
    small = copy.deepcopy(model)
    for name, tensor in kept_weights(model, groups, mask).items():
        path, _, leaf = name.rpartition(".")
        module = small.get_submodule(path)
        if leaf in module._parameters and module._parameters[leaf] is not None:
            before = module._parameters[leaf]
            assert before is not None
            module._parameters[leaf] = nn.Parameter(tensor.clone(), requires_grad=before.requires_grad)
        else:
            module._buffers[leaf] = tensor.clone()
    for module in small.modules():
        _resize(module)
    _try_out(small, groups)
    return small


@torch.no_grad()
def _try_out(small: nn.Module, groups: Groups) -> None:
    """Refuse a network that does not give scores for images as the one did that it was cut from."""
    name, first = type(small).__name__, next(small.parameters())
    images = torch.zeros((2, *groups.tape.shape), dtype=first.dtype, device=first.device)
    was_training = small.training
    small.eval()
    try:
        found = tuple(small(images).shape)
    except (RuntimeError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise PruningError(f"{name}: cannot run with fewer units ({why}); its forward holds sizes of the whole one") from error
    finally:
        small.train(was_training)
    if found != (2, *groups.tape.scores):
        raise PruningError(f"{name}: with fewer units gives {found} for two images; its forward holds sizes of the whole one")


def _resize(module: nn.Module) -> None:
    """Let a layer's own sizes say what its weights now are."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        depthwise, multiplier = module.groups > 1 and module.groups == module.in_channels, module.out_channels // module.groups
        module.out_channels = module.weight.shape[0]
        if depthwise:
            module.in_channels = module.groups = module.out_channels // multiplier
        else:
            module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = int(module.weight.shape[0])
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        counted = module.running_mean if module.running_mean is not None else module.weight
        module.num_features = int(counted.shape[0])


@contextmanager
def gated(model: nn.Module, groups: Groups, gate: Tensor) -> Iterator[None]:
    """Multiply what every layer reads by *gate*, (units,) or (batch, units) for gates of their own for each sample.

    At the reading side a gate of 0 removes all of a unit's influence, its bias and normalisation included, which a factor at its
    convolution would not.
    """
    handles = []
    padded = torch.cat([gate, gate.new_ones((*gate.shape[:-1], 1))], dim=-1)  # index -1: never removed
    for path, owner in groups.input_owners().items():
        chosen = padded[..., torch.from_numpy(owner % (groups.units + 1))]
        handles.append(model.get_submodule(path).register_forward_pre_hook(_multiply(chosen)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _multiply(gate: Tensor) -> Callable[[nn.Module, Any], Any]:
    def hook(_: nn.Module, inputs: Any) -> Any:
        images = inputs[0]
        shaped = gate if gate.dim() == 2 else gate[None]
        return (images * shaped.view(*shaped.shape, *(1,) * (images.dim() - 2)), *inputs[1:])

    return hook


@torch.no_grad()
def masked_scores(model: nn.Module, groups: Groups, mask: Mask, images: Tensor) -> Tensor:
    """Return the scores of the full network with the gates that *mask* closes at 0: the slow form, to which all others must be equal."""
    gate = torch.from_numpy(groups.check(mask)).to(images.dtype)
    was_training = model.training
    model.eval()
    try:
        with gated(model, groups, gate):
            scores: Tensor = model(images)
    finally:
        model.train(was_training)
    return scores
