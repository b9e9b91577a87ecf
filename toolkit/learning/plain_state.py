"""States as trees of plain values, and back: what is kept on disk names no class, so nothing in a file decides what is run.

A tree is made of dicts, lists, tuples, numbers, texts and tensors. It is taken up again by a state that is there already, freshly begun
with the same settings: that one says what everything is.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State")
PLAIN = (bool, int, float, str, bytes)


def plain(state: object) -> Any:
    """Return *state* as a tree with tensors of its own.

    A dataclass becomes a dict of its fields, a network a dict of its tensors and switches, a generator its state. Frozen dataclasses are
    settings, which the state that takes the tree up has already; they are left out.

    Raises:
        TypeError: something else is in it.
    """
    if state is None or isinstance(state, PLAIN):
        return state
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, nn.Module):
        return {
            "tensors": {name: value.detach().clone() for name, value in state.state_dict().items()},
            "trains": [weight.requires_grad for weight in state.parameters()],
            "modes": [module.training for module in state.modules()],
        }
    if isinstance(state, torch.Generator):
        return state.get_state()
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(plain, state)) if type(state) in (list, tuple) else tuple(map(plain, state))
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return {each.name: plain(value) for each in dataclasses.fields(state) if not _is_setting(value := getattr(state, each.name))}
    raise TypeError(f"a state holds a {type(state).__name__}, which cannot be kept; use numbers, texts, tensors, networks and dataclasses")


def restored(template: State, kept: Any) -> State:
    """Return what `plain` made *kept* of, as a state like *template*, which is changed where it can be.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: *kept* is of another kind of state.
    """
    found: Any = template
    if isinstance(template, nn.Module):
        template.load_state_dict(kept["tensors"])
        for weight, trains in zip(template.parameters(), kept["trains"], strict=True):
            weight.requires_grad_(trains)
        for module, mode in zip(template.modules(), kept["modes"], strict=True):
            module.training = mode
    elif isinstance(template, torch.Generator):
        template.set_state(kept)
    elif isinstance(template, Tensor):
        found = kept.to(template.device) if kept is not None else None
    elif isinstance(template, dict):
        found = {key: restored(template.get(key), value) for key, value in kept.items()}
    elif isinstance(template, list) and isinstance(kept, list) and len(template) == len(kept):
        found = [restored(own, value) for own, value in zip(template, kept, strict=True)]
    elif dataclasses.is_dataclass(template) and not isinstance(template, type) and kept is not None:
        for each in dataclasses.fields(template):
            value = getattr(template, each.name)
            if not _is_setting(value):
                setattr(template, each.name, restored(value, kept[each.name]))
    else:
        found = kept
    return found  # type: ignore[no-any-return]


def _is_setting(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and bool(type(value).__dataclass_params__.frozen)  # type: ignore[attr-defined]
