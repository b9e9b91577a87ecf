"""What operations make of tensors that have shapes and no values: torch works it out in Python, so each case is asked for once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

META = torch.device("meta")

Form = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, strides and type of a tensor."""
KNOWN: dict[Any, Form | tuple[Form, ...] | None] = {}
"""What operations return, by operation and arguments; None where they have to be asked each time."""
MOST_KNOWN = 50_000


def result_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return *func* of tensors on the meta device; what it made of the same shapes before is not worked out again."""
    try:
        key = (func, _form(args), _form(kwargs))
        known = KNOWN.get(key)
    except TypeError:  # an argument that is known by its identity alone
        return func(*args, **kwargs)
    if known is not None:
        return _made(known) if isinstance(known[0], torch.Size) else tuple(map(_made, known))
    result = func(*args, **kwargs)
    if key not in KNOWN and len(KNOWN) < MOST_KNOWN:
        KNOWN[key] = _form_of_new(func, (args, kwargs), result)
    return result


def _form(nested: Any) -> Any:
    """Return what decides the shapes of a result, as a value.

    Raises:
        TypeError: there is something else in it.
    """
    if isinstance(nested, Tensor) and nested.is_meta:
        return nested.shape, nested.stride(), nested.dtype
    if isinstance(nested, tuple | list):
        return tuple(map(_form, nested))
    if isinstance(nested, dict):
        return tuple((name, _form(value)) for name, value in nested.items())
    if nested is None or isinstance(nested, bool | int | float | str | torch.dtype | torch.device | torch.layout | torch.memory_format):
        return type(nested), nested
    raise TypeError(type(nested).__name__)


def _form_of_new(func: Any, given: Any, result: Any) -> Any:
    """Return the form of a *result* that is one or several tensors with storages of their own, as fresh ones would be; else None."""
    if any(each.alias_info is not None for each in (*func._schema.arguments, *func._schema.returns)):
        return None
    tensors = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple) else []
    taken = {tensor.untyped_storage()._cdata for tensor in tensors_in(given)}
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.is_meta or tensor.storage_offset():
            return None
        storage = tensor.untyped_storage()
        if storage._cdata in taken or storage.nbytes() != _made(_form(tensor)).untyped_storage().nbytes():
            return None
        taken.add(storage._cdata)
    if not tensors:
        return None
    return _form(result) if isinstance(result, Tensor) else tuple(map(_form, result))


def _made(form: Any) -> Tensor:
    shape, stride, dtype = form
    return torch.empty_strided(shape, stride, dtype=dtype, device=META)


def tensors_in(nested: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results."""
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, dict):
        for value in nested.values():
            yield from tensors_in(value)
    elif isinstance(nested, list | tuple):
        for value in nested:
            yield from tensors_in(value)
