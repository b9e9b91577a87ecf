"""A trained network on disk: its weights as safetensors, and a small JSON that says what to put them into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.rundir import reading
from toolkit.core.wholefile import settle, write_whole
from toolkit.errors import RunDirectoryError

Weights = Mapping[str, NDArray[np.generic]]


def network_paths(stem: Path) -> tuple[Path, Path]:
    """The files of the network called *stem*: weights, and what they belong to."""
    return stem.with_name(f"{stem.name}.safetensors"), stem.with_name(f"{stem.name}.json")


def part_stem(stem: Path, part: str) -> Path:
    """The stem of a *part* that was left beside the network called *stem*; no arm has a ``~`` in its name."""
    return stem.with_name(f"{stem.name}~{part}") if part else stem


def write_network(stem: Path, weights: Weights, facts: Mapping[str, Any]) -> None:
    """Write *weights* and *facts*; each file is there whole or not at all, and the same for the same network."""
    from safetensors.numpy import save_file

    stem.parent.mkdir(parents=True, exist_ok=True)
    path, told = network_paths(stem)
    partial = path.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(values) for name, values in sorted(weights.items())}, partial)
    settle(partial, path)
    write_whole(told, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())


def read_network(stem: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the weights of the network called *stem* by name, and what they belong to.

    Raises:
        RunDirectoryError: there is none, or its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path, told = network_paths(stem)
    if not path.is_file() or not told.is_file():
        raise RunDirectoryError(f"{path}: no network was left there")
    with reading(told):
        facts = dict(json.loads(told.read_text(encoding="utf-8")))
    with reading(path):
        try:
            return load_file(path), facts
        except SafetensorError as error:
            raise ValueError(str(error)) from error
