"""A trained network on disk: its weights as safetensors, and a small JSON that says what to put them into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.wholefile import settle, write_whole

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
