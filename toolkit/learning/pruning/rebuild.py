"""A mask made real: the small dense network that is equal to the one with closed gates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from toolkit.learning.pruning.attention import CutAttention
from toolkit.learning.pruning.gates import masked_scores
from toolkit.learning.pruning.groups import Groups, Mask, Owners, PruningError, left
from toolkit.learning.pruning.numbers import COUNTS, Attribute
from toolkit.learning.pruning.trace import leaves

CLOSE = 1e-3
"""How far a rebuilt network's answers may lie from those under gates, beside the largest of them: single precision is nearer by far."""
ROUNDINGS = 32
"""The same in multiples of the type's precision, for half precision."""


def keep_indices(owner: Owners, mask: Mask) -> Tensor:
    """Return which indices of a dimension stay."""
    return torch.from_numpy(left(owner, mask)).nonzero().flatten()


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
    are gone, not zeroed; attention that has lost heads is a `CutAttention`. It is run once, on two samples, before it is handed out, and
    has to answer as the network with closed gates does.

    Raises:
        PruningError: the mask has another length or empties a group; or the network's forward holds sizes that its layers no longer have.
    """
    mask = groups.check(mask)
    small = copy.deepcopy(model)
    cut = kept_weights(model, groups, mask)
    made = {id(old): nn.Parameter(cut[name].clone(), requires_grad=old.requires_grad) for name, old in small.named_parameters()}
    buffers = {id(old): cut[name].clone() for name, old in small.named_buffers()}
    for module in small.modules():  # a weight that several modules hold is one weight afterwards
        for name, parameter in module._parameters.items():
            module._parameters[name] = None if parameter is None else made[id(parameter)]
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffers[id(buffer)]
    _set_lengths(small, groups, mask)
    for path, module in list(small.named_modules()):
        if type(module) is nn.MultiheadAttention and any(name.rpartition(".")[0] == path for name, _ in groups.owners):
            small.set_submodule(path, CutAttention.of(module))
        whole = model.get_submodule(path)
        if getattr(whole, "num_groups", getattr(whole, "groups", 1)) > 1:
            setattr(module, COUNTS, "channels" if f"{path}.weight" in groups.depthwise else "groups")
    for module in small.modules():
        for kind, resize in RESIZE.items():
            if isinstance(module, kind):
                resize(module)
    _try_out(model, small, groups, mask)
    return small


def _set_lengths(small: nn.Module, groups: Groups, mask: Mask) -> None:
    """Change the numbers that modules hold and hand to torch's functions."""
    for origin, length in groups.lengths_under(mask).items():
        if isinstance(origin, Attribute):
            held = vars(small.get_submodule(origin.path))
            if origin.place is None:
                held[origin.name] = length
            else:
                before = held[origin.name]
                held[origin.name] = (*before[: origin.place], length, *before[origin.place + 1 :])


@torch.no_grad()
def _try_out(model: nn.Module, small: nn.Module, groups: Groups, mask: Mask) -> None:
    """Refuse a network that does not answer as the one does that it was cut from, with closed gates."""
    name, first, tape = type(small).__name__, next(small.parameters()), groups.tape
    shape = (2, *tape.shape)
    if tape.dtype.is_floating_point:
        samples = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=tape.dtype).to(first.device)
    else:
        samples = torch.zeros(shape, dtype=tape.dtype, device=first.device)
    was_training = small.training
    small.eval()
    try:
        found = [item for item in leaves(small(samples)) if isinstance(item, Tensor)]
    except (RuntimeError, ValueError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise PruningError(f"{name}: cannot run with fewer units ({why}); its forward holds sizes of the whole one") from error
    finally:
        small.train(was_training)
    wanted = [item for item in leaves(masked_scores(model, groups, mask, samples)) if isinstance(item, Tensor)]
    for answer, expected in zip(found, wanted, strict=True):
        if answer.shape != expected.shape:
            raise PruningError(
                f"{name}: with fewer units gives {tuple(answer.shape)} for two samples; its forward holds sizes of the whole one"
            )
        one, other = answer.double(), expected.double()
        close = max(CLOSE, ROUNDINGS * torch.finfo(expected.dtype).eps) if expected.dtype.is_floating_point else 0.0
        if one.numel() and not torch.allclose(one, other, rtol=0, atol=close * (1 + float(other.abs().max())), equal_nan=True):
            raise PruningError(
                f"{name}: with fewer units answers otherwise than with these units silenced; its forward uses sizes of the whole one"
            )


def _convolution(module: nn.Module) -> None:
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups


def _transposed(module: nn.Module) -> None:
    assert isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups


def _linear(module: nn.Module) -> None:
    assert isinstance(module, nn.Linear)
    module.out_features, module.in_features = module.weight.shape


def _slopes(module: nn.Module) -> None:
    assert isinstance(module, nn.PReLU)
    module.num_parameters = len(module.weight)


def _normalised(module: nn.Module) -> None:
    assert isinstance(module, nn.modules.batchnorm._NormBase)
    counted = module.running_mean if module.running_mean is not None else module.weight
    module.num_features = module.num_features if counted is None else len(counted)


def _grouped_norm(module: nn.Module) -> None:
    assert isinstance(module, nn.GroupNorm)
    module.num_channels = module.num_channels if module.weight is None else len(module.weight)


def _embedding(module: nn.Module) -> None:
    assert isinstance(module, nn.Embedding)
    module.embedding_dim = module.weight.shape[1]


def _encoder(module: nn.Module) -> None:
    assert isinstance(module, nn.TransformerEncoder)
    module.use_nested_tensor = False  # torch's fast path knows whole attention alone


RESIZE: Mapping[type[nn.Module], Callable[[nn.Module], None]] = {
    nn.Conv1d: _convolution, nn.Conv2d: _convolution, nn.Conv3d: _convolution, nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed, nn.ConvTranspose3d: _transposed, nn.Linear: _linear, nn.PReLU: _slopes,
    nn.modules.batchnorm._NormBase: _normalised, nn.GroupNorm: _grouped_norm, nn.Embedding: _embedding, nn.TransformerEncoder: _encoder,
}
"""How a layer's own sizes are made to say what its weights now are, by its class."""
