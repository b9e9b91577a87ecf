"""Seeds of many random generators at once: what `numpy.random.SeedSequence` works out one by one, in columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

POOL = 4
"""Words of 32 bits that a seed sequence mixes all entropy into."""
_FULL = 0xFFFFFFFF


class Seeded(ISeedSequence):
    """A seed sequence whose answer is known: the *state* (4,) that PCG64 asks for."""

    def __init__(self, state: NDArray[np.uint64]) -> None:
        self.state = state

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        """Return the state.

        Raises:
            ValueError: something else than PCG64's four words of 64 bits is wanted.
        """
        if n_words != len(self.state) or np.dtype(dtype) != self.state.dtype:
            raise ValueError(f"{n_words} words of {np.dtype(dtype)} are not known")
        return self.state


def states(seed: int, words: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return (n, 4) what `SeedSequence(seed, spawn_key=row).generate_state(4, uint64)` gives for every row of *words* (n, m)."""
    count = len(words)
    numbers = [seed >> shift & _FULL for shift in range(0, max(1, seed.bit_length()), 32)]
    numbers += [0] * (POOL - len(numbers))
    entropy = [np.full(count, number, dtype=np.uint32) for number in numbers] + [words[:, column] for column in range(words.shape[1])]
    mixed = _Hash(0x43B0D7E5, 0x931E8875)
    pool = [mixed(word) for word in entropy[:POOL]]
    for source in range(POOL):
        for place in range(POOL):
            if place != source:
                pool[place] = _mix(pool[place], mixed(pool[source]))
    for word in entropy[POOL:]:
        for place in range(POOL):
            pool[place] = _mix(pool[place], mixed(word))
    told = _Hash(0x8B51F9DD, 0x58F38DED)
    halves = np.stack([told(pool[place % POOL]) for place in range(2 * POOL)], axis=1).astype(np.uint64)
    return halves[:, 0::2] | halves[:, 1::2] << np.uint64(32)


class _Hash:
    """A hash whose constant changes with every use."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, value: NDArray[np.uint32]) -> NDArray[np.uint32]:
        value = value ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & _FULL
        value = value * np.uint32(self._constant)
        return value ^ value >> np.uint32(16)


def _mix(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.uint32]:
    value: NDArray[np.uint32] = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
    return value ^ value >> np.uint32(16)
