"""Weights from elsewhere: a safetensors file put into a network by a mapping of names that can be shown.

Names are tried as they are, and as the published code of two families writes them: residual networks (``conv1``, ``layer1.0.conv1``,
``shortcut`` or ``downsample``, ``fc`` or ``linear``) and HCGNet (``features.HybridBlock1.SMG1.conv1_1x1`` …). Prefixes that all names have
(``module.``, ``model.``) are dropped, 1x1 convolutions fit linear layers. A classifier for other classes is left as it was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from toolkit.models import ModelError

Renaming = Callable[[str], str]
COUNTER = "num_batches_tracked"
"""Counts steps; files of old versions of torch have none, and nothing here depends on it."""
SHOWN = 400
"""Characters of a mapping that a sentence shows."""

RESIDUAL = (
    (r"^conv1\.", "conv."), (r"^bn1\.", "bn."), (r"\bdownsample\.", "shortcut."), (r"^(fc|linear)\.", "classifier."),
)
GATED = (
    (r"^features\.conv0\.", "stem."), (r"^features\.norm5\.", "norm."), (r"\.conv1_1x1\.", ".reduce."), (r"\.conv2_3x3\.", ".squeeze."),
    (r"\.conv_3x3\.", ".fusion.near."), (r"\.conv_5x5\.", ".fusion.far."), (r"\.global_context3x3\.", ".fusion.near_pooling.score."),
    (r"\.global_context5x5\.", ".fusion.far_pooling.score."), (r"\.fcall\.", ".fusion.update.squeeze."),
    (r"\.bn_attention\.", ".fusion.update.norm."), (r"\.(fc3x3|fc5x5)\.", ".fusion.update.select."),
    (r"\.global_forget_context\.", ".fusion.forget.pooling.score."), (r"\.bn_forget\.", ".fusion.forget.norm."),
    (r"\.fc1\.", ".fusion.forget.squeeze."), (r"\.fc2\.", ".fusion.forget.excite."),
)


def load_weights(model: nn.Module, path: Path) -> str:
    """Put the weights in *path* into *model*; return the mapping in one sentence.

    Raises:
        ModelError: the file cannot be read, or does not fit; the sentence names the first weight that does not.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"weights {path}: cannot be read as a safetensors file ({str(error).partition(chr(10))[0]})") from error
    return put(model, held, path.name)


@torch.no_grad()
def put(model: nn.Module, held: Mapping[str, Tensor], source: str) -> str:
    """Put *held* weights, as another program names them, into *model*; the rest as `load_weights`."""
    bare = _without_prefix({name: tensor for name, tensor in held.items() if not name.endswith(COUNTER)})
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}
    last = _classifier(model)
    best: tuple[list[str], dict[str, list[str]]] | None = None
    for renaming in (_as_it_is, _residual, _in_a_row(bare), _gated(3), _gated(2)):
        found: dict[str, list[str]] = {}
        for name in bare:
            found.setdefault(renaming(name), []).append(name)
        wrong = [name for name in own if name not in found or _joined(found[name], bare, own[name]) is None]
        if best is None or len(wrong) < len(best[0]):
            best = wrong, found
    assert best is not None
    wrong, found = best
    kept = [name for name in wrong if name.rpartition(".")[0] == last]
    lost = [name for name in wrong if name not in kept]
    if lost:
        name = lost[0]
        shape = "x".join(map(str, own[name].shape))
        sizes = ["x".join(map(str, bare[each].shape)) for each in found.get(name, [])]
        there = f"is {' and '.join(sizes)} there" if sizes else "is not there"
        raise ModelError(f"weights {source}: {len(lost)} of {len(own)} do not fit; {name} ({shape}) {there}")
    for name, tensor in own.items():
        if name not in kept:
            joined = _joined(found[name], bare, tensor)
            assert joined is not None
            tensor.copy_(joined)
    told = [f"{' + '.join(found[name])} → {name}" for name in own if name not in kept and found[name] != [name]]
    left = f"; {last} is for other classes and stays as drawn" if kept else ""
    unused = sorted(set(bare) - {each for name in own if name in found for each in found[name]})
    more = f"; {len(unused)} are not needed ({unused[0]} …)" if unused else ""
    return f"weights {source}: {len(own) - len(kept)} of {len(own)} taken ({_shown(told) or 'by their own names'}){left}{more}"


def _joined(names: list[str], held: Mapping[str, Tensor], like: Tensor) -> Tensor | None:
    """Return the tensors called *names*, one upon the other, in the shape of *like*; None where they have another size."""
    parts = [held[name] for name in names]
    if len({part.dim() for part in parts}) > 1 or sum(part.numel() for part in parts) != like.numel():
        return None
    joined = torch.cat(parts) if len(parts) > 1 else parts[0]
    trimmed = joined.shape[: like.dim()] if all(size == 1 for size in joined.shape[like.dim() :]) else joined.shape
    return joined.reshape(like.shape) if trimmed == like.shape else None


def _without_prefix(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in ("state_dict.", "module.", "model.", "net.", "backbone."):
        if held and all(name.startswith(prefix) for name in held):
            held = {name.removeprefix(prefix): tensor for name, tensor in held.items()}
    return dict(held)


def _classifier(model: nn.Module) -> str:
    """The path of the last linear layer in the order of definition."""
    return next((path for path, layer in reversed(list(model.named_modules())) if isinstance(layer, nn.Linear)), "")


def _as_it_is(name: str) -> str:
    return name


def _residual(name: str) -> str:
    name = re.sub(r"^layer(\d+)\.(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}.{match[2]}.", name)
    return _renamed(name, RESIDUAL)


def _in_a_row(names: Iterable[str]) -> Renaming:
    """The names of residual networks whose blocks are counted through."""
    places = sorted({(int(match[1]), int(match[2])) for name in names if (match := re.match(r"layer(\d+)\.(\d+)\.", name))})

    def renamed(name: str) -> str:
        counted = re.sub(r"^layer(\d+)\.(\d+)\.", lambda match: f"blocks.{places.index((int(match[1]), int(match[2])))}.", name)
        return _renamed(counted, RESIDUAL)

    return renamed


def _gated(apart: int) -> Renaming:
    """HCGNet's names where a block and the next have *apart* places between them: 3 with a DropBlock after each transition, else 2."""

    def renamed(name: str) -> str:
        block = re.sub(
            r"^features\.HybridBlock(\d+)\.SMG(\d+)\.", lambda match: f"layers.{apart * (int(match[1]) - 1)}.{int(match[2]) - 1}.", name
        )
        moved = re.sub(r"^features\.Transition(\d+)\.", lambda match: f"layers.{apart * (int(match[1]) - 1) + 1}.", block)
        return _renamed(moved, GATED)

    return renamed


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _shown(mapping: list[str]) -> str:
    text = ", ".join(mapping)
    return text if len(text) <= SHOWN else f"{text[:SHOWN].rpartition(', ')[0]} … {len(mapping)} in all"
