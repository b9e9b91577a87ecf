"""Named random streams: the same name gives the same numbers, whatever else was drawn before.

Two arms of a comparison that ask for `rng("shadowing")` see the same shadowing, although one of them draws a thousand times
more for its back-off. That is what makes their difference a paired one (common random numbers).
"""

from __future__ import annotations

import hashlib

import numpy as np


class Streams:
    """Generators keyed by name, all derived from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, np.random.Generator] = {}

    def rng(self, *name: object) -> np.random.Generator:
        """Return the generator called by these words, e.g. ``rng("mac", 3)``; asking again continues the same stream."""
        key = "/".join(str(word) for word in name)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self.shared(*name)
        return stream

    def shared(self, *name: object) -> np.random.Generator:
        """Return the generator called by these words at its beginning, leaving `rng`'s of that name where it is."""
        key = "/".join(str(word) for word in name)
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=words))
