from __future__ import annotations

import hashlib

import numpy as np
import pytest

from toolkit.core.seeds import Seeded
from toolkit.core.streams import Streams


def test_a_stream_depends_on_its_name_and_seed_alone() -> None:
    first, second = Streams(7), Streams(7)
    first.rng("noise").random(100)  # another stream's draws change nothing
    np.testing.assert_array_equal(first.rng("mac", 3).random(5), second.rng("mac", 3).random(5))


def test_other_names_and_seeds_give_other_numbers() -> None:
    draws = {tuple(Streams(seed).rng(*name).random(3)) for seed in (1, 2) for name in (("mac", 1), ("mac", 11), ("mac", 1, 1), ("fading",))}
    assert len(draws) == 8


def test_asking_again_continues_the_stream() -> None:
    streams = Streams(1)
    whole = Streams(1).rng("x").random(4)
    np.testing.assert_array_equal(np.concatenate([streams.rng("x").random(2), streams.rng("x").random(2)]), whole)


def test_a_shared_stream_begins_anew_and_leaves_the_others_where_they_are() -> None:
    streams = Streams(3)
    begun = streams.rng("x", 1).random(2)
    np.testing.assert_array_equal(streams.shared("x", 1).random(2), begun)
    np.testing.assert_array_equal(streams.shared("x", 1).random(2), begun)
    assert (streams.rng("x", 1).random(2) != begun).all()


def test_the_numbers_of_a_name_are_for_ever() -> None:
    """A run of today and one of years ago meet the same weather: the key of a stream is the digest of its name, in four words."""
    words = np.frombuffer(hashlib.blake2b(b"mac/3", digest_size=16).digest(), "<u4").tolist()
    expected = np.random.default_rng(np.random.SeedSequence(7, spawn_key=words)).random(4)
    np.testing.assert_array_equal(Streams(7).rng("mac", 3).random(4), expected)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40 + 5, 2**130 + 3])
def test_streams_that_are_foreseen_are_the_same_streams(seed: int) -> None:
    foreseen, single = Streams(seed), Streams(seed)
    foreseen.foresee("mac", "deep", count=20)
    for member in range(22):  # two more than were foreseen
        np.testing.assert_array_equal(foreseen.rng("mac", "deep", member).random(5), single.rng("mac", "deep", member).random(5))
    np.testing.assert_array_equal(foreseen.rng("mac", 3).integers(0, 9, 5), single.rng("mac", 3).integers(0, 9, 5))


def test_a_known_seed_answers_what_it_knows() -> None:
    with pytest.raises(ValueError, match="8 words of uint32 are not known"):
        Seeded(np.zeros(4, dtype=np.uint64)).generate_state(8)
