"""What was decoded once is kept: arrays in a folder of the user's, under a name that says what they were made of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.core.once import state_of

Arrays = dict[str, NDArray[np.generic]]


def cache_folder() -> Path:
    """The folder: TOOLKIT_CACHE, or ``toolkit`` in the user's cache."""
    named = os.environ.get("TOOLKIT_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toolkit"


def decoded_once(files: Iterable[Path], settings: dict[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that *make* makes of *files* with *settings*, from the cache where they lie there already.

    A file is known again by its path, size and time of change. A cache that cannot be read or written is done without.
    """
    facts = [state_of(file) for file in files]
    key = hashlib.sha256(json.dumps([facts, settings], sort_keys=True, default=str).encode()).hexdigest()
    place = cache_folder() / f"{key[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error), place.open("rb") as file:
        kept = np.load(file)
        return {name: kept[name] for name in kept.files}
    arrays = make()
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".partial", delete=False) as partial:
            np.savez(partial, **arrays)  # type: ignore[arg-type]
        Path(partial.name).replace(place)
    return arrays
