"""State files: trees of plain values, arrays and tensors as data. Reading one runs nothing, whoever wrote it.

The file is a numpy archive (``.npz``, no pickles in it) of the arrays, and of the tree as JSON. In the tree lists, numbers and texts stand
for themselves; whatever JSON has no word for is an object with one key, that says which: ``dict``, ``pairs``, ``tuple``, ``bytes``,
``array``, ``tensor``.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.wholefile import write_whole
from toolkit.errors import RunDirectoryError

TREE = "tree"
WITHOUT_NUMPY = {"bfloat16": "int16"}
"""Types of tensors that numpy does not know, and what their bits are kept as."""


def write(path: Path, value: object) -> None:
    """Write a tree whole or not at all.

    Raises:
        TypeError: it holds something that is not plain.
    """
    write_whole(path, dumps(value))


def read(path: Path) -> Any:
    """Return the tree in the file at *path*; tensors come back on the CPU.

    Raises:
        RunDirectoryError: it cannot be read as a state file.
    """
    try:
        return loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read as a state that was kept ({error})") from error


def dumps(value: object) -> bytes:
    """Return a tree as the bytes of a state file."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = json.dumps(_packed(value, arrays))
    file = io.BytesIO()
    save: Callable[..., None] = np.savez  # its own signature takes the names of arrays for switches
    save(file, **{TREE: np.frombuffer(tree.encode(), np.uint8), **arrays})
    return file.getvalue()


def loads(content: bytes) -> Any:
    """Return the tree in the bytes of a state file.

    Raises:
        ValueError: they are none.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _unpacked(json.loads(arrays.pop(TREE).tobytes()), arrays)
    except (ValueError, KeyError, TypeError, IndexError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _packed(value: object, arrays: dict[str, NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, np.generic):
        return _packed(value.item(), arrays)
    if isinstance(value, list):
        return [_packed(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_packed(item, arrays) for item in value]}
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {"dict": {key: _packed(item, arrays) for key, item in value.items()}}
        return {"pairs": [[_packed(key, arrays), _packed(item, arrays)] for key, item in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"array": _add(value, arrays)}
    torch = sys.modules.get("torch")  # a tensor is only met where torch is loaded; the core itself does not need it
    if torch is not None and isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        tensor = value.detach().cpu().contiguous()
        bits = tensor.view(getattr(torch, WITHOUT_NUMPY[kind])) if kind in WITHOUT_NUMPY else tensor
        return {"tensor": [_add(bits.numpy(), arrays), kind]}
    raise TypeError(f"a {type(value).__name__} cannot be kept; save dicts, lists, tuples, numbers, texts, arrays and tensors")


def _add(array: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> str:
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _unpacked(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in content.items()}
    if kind == "pairs":
        return {_unpacked(key, arrays): _unpacked(item, arrays) for key, item in content}
    if kind == "tuple":
        return tuple(_unpacked(item, arrays) for item in content)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "array":
        return arrays[content]
    if kind == "tensor":
        name, dtype = content
        torch: Any = importlib.import_module("torch")
        tensor = torch.from_numpy(arrays[name])
        return tensor.view(getattr(torch, dtype)) if dtype in WITHOUT_NUMPY else tensor
    raise ValueError(f"'{kind}' is no kind of value")
