"""Networks as plain torch modules, each in the module of its family; a builder function per published size.

Every builder takes `num_classes` and `generator`. All first weights are drawn from that generator, in the order of `model.modules()`: the
same seed gives the same weights bit for bit, and the global random state of torch is neither read nor moved. Without a generator the
weights are those of seed 0. The modules themselves (`ResNet`, `Vgg`, ...) can be built in the usual torch way too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from toolkit.errors import UserError

Module = TypeVar("Module", bound=nn.Module)
Scheme = Literal["torch", "he", "xavier"]


class ModelError(UserError, ValueError):
    """A network cannot be built as asked, or is given images that it was not built for."""


def fresh(make: Callable[[], Module], generator: torch.Generator | None = None, scheme: Scheme = "torch") -> Module:
    """Return the module that *make* builds, on the generator's device and with weights from *generator* alone.

    The module is first built without memory (torch's meta device), so that the constructors of its layers draw nothing.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with torch.device("meta"):
        model = make()
    model = model.to_empty(device=generator.device)
    initialise(model, generator, scheme)
    return model


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator, scheme: Scheme = "torch") -> None:
    """Draw all weights of *model* anew from *generator* and reset the statistics of its norm layers.

    For convolutions and linear layers with n = fan-in:

    - `torch`: weights and biases uniform on +-1/sqrt(n), what the constructors of torch do;
    - `he`: weights normal with variance 2/n, biases 0 (He et al. 2015, eq. 10);
    - `xavier`: weights uniform on +-sqrt(3/n), biases 0 (Caffe's filler of that name, which uses the fan-in alone).

    Norm layers start as the identity, embeddings standard normal, recurrent layers uniform on +-1/sqrt(hidden size).

    Raises:
        TypeError: a layer holds weights of its own and is none of these; its weights would be left undefined.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, (_ConvNd, nn.Linear)):
            _fill(layer.weight, layer.bias, generator, scheme)
        elif isinstance(layer, (_NormBase, nn.GroupNorm, nn.LayerNorm)):
            if isinstance(layer, _NormBase):
                layer.reset_running_stats()
            if layer.weight is not None:
                layer.weight.fill_(1.0)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.Embedding):
            layer.weight.normal_(generator=generator)
            if layer.padding_idx is not None:
                layer.weight[layer.padding_idx] = 0.0
        elif isinstance(layer, nn.RNNBase):
            bound = 1 / math.sqrt(layer.hidden_size)
            for weight in layer.parameters():
                weight.uniform_(-bound, bound, generator=generator)
        elif next(layer.parameters(recurse=False), None) is not None or next(layer.buffers(recurse=False), None) is not None:
            raise TypeError(f"{name or 'the model'}: {type(layer).__name__} holds weights that toolkit.models.initialise cannot draw")


def _fill(weight: Tensor, bias: Tensor | None, generator: torch.Generator, scheme: Scheme) -> None:
    fan_in = weight[0].numel()
    if scheme == "he":
        weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)
    else:
        bound = math.sqrt(3 / fan_in) if scheme == "xavier" else 1 / math.sqrt(fan_in)
        weight.uniform_(-bound, bound, generator=generator)
    if bias is not None:
        if scheme == "torch":
            bias.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        else:
            bias.zero_()
