"""Random edits of the shipped scenarios: each is either valid or refused in one short sentence, quickly, and never with a traceback.

Edits reach into every value of a scenario: other numbers, other types, missing and unknown keys, swapped branches, names of other parts,
and the text itself, in which bytes are lost, doubled and swapped.
"""

from __future__ import annotations

import copy
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.test_simulate import ROOT
from toolkit.core import yaml12
from toolkit.simulate import main

SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))
PLANNED = (
    *(path.stem for path in SHIPPED if yaml12.read(path)["program"]["type"] in ("continual", "detection", "glider")), "many_clients",
)
"""Scenarios whose check plans every arm, or lays out as many nodes, which alone takes longer."""
LONGEST_SENTENCE = 400
LONGEST_S = 10.0
MOST_BYTES = 1 << 30

STRANGE: list[Any] = [
    0, -1, 1, 2, 1e-9, 1e9, 1e30, -1e30, 10**30, float("nan"), float("inf"), True, False, None, "", " ", "x", "nobody", "1", "1e400",
    "../..", "/etc/passwd", "\x00", "é" * 300, "[/red]", [], [0], [[]], [1, 2, 3], {}, {"type": "x"}, {"type": "this"}, {"type": 3},
    {"a": {"b": {}}},
    "os.path", "toolkit.core.part", "mypkg.mod:Thing", 2**63, -(2**63), 0.1, 1e-300, "2000-01-01", "9999-12-31T23:59:59Z", ["a"] * 50,
]
PARTS = ("aloha", "csma", "dbcar", "flooding", "knn", "ewma", "ring", "star", "er", "clfd", "gs_sgd", "dense", "periodic", "acoustic",
         "cluster", "genetic", "static", "steady_wind", "daily_noise", "tdma", "sfama")
MARKS = (b"[", b"{", b": ", b"- ", b"&a ", b"*a", b"!!int ", b"\n", b"\t", b"? ")
Place = tuple[Any, Any]
"""A container and the key or index of one of its values."""


def places(tree: Any) -> Iterator[Place]:
    """Yield the place of every value of *tree*."""
    items: Any = ()
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    for key, value in items:
        yield tree, key
        yield from places(value)


def put_strange(tree: Any, rng: random.Random) -> None:
    where, key = rng.choice(list(places(tree)))
    where[key] = copy.deepcopy(rng.choice(STRANGE))


def put_number(tree: Any, rng: random.Random) -> None:
    numbers = [(where, key) for where, key in places(tree) if isinstance(where[key], int | float)]
    where, key = rng.choice(numbers or list(places(tree)))
    where[key] = rng.choice([rng.uniform(-1, 1), rng.lognormvariate(0, 30), -rng.lognormvariate(0, 30), rng.randrange(-(10**12), 10**12)])


def drop(tree: Any, rng: random.Random) -> None:
    where, key = rng.choice(list(places(tree)))
    del where[key]


def add_key(tree: Any, rng: random.Random) -> None:
    mappings = [tree, *(where[key] for where, key in places(tree) if isinstance(where[key], dict))]
    key = rng.choice(["x", "type", "nodes", "seed", "", "compare", 3, None, "a.b", "é"])
    rng.choice(mappings)[key] = copy.deepcopy(rng.choice(STRANGE))


def swap(tree: Any, rng: random.Random) -> None:
    (one, key), (other, place) = rng.choice(list(places(tree))), rng.choice(list(places(tree)))
    first, second = copy.deepcopy(one[key]), copy.deepcopy(other[place])
    one[key] = second
    if place in other or (isinstance(other, list) and place < len(other)):
        other[place] = first


def put_part(tree: Any, rng: random.Random) -> None:
    named = [(where, key) for where, key in places(tree) if key == "type"]
    where, key = rng.choice(named or list(places(tree)))
    where[key] = rng.choice(PARTS)


def override(tree: Any, rng: random.Random) -> None:
    """Put an arm, or a setting of --quick, at a path that may lead anywhere."""
    steps = [str(key) for _, key in places(tree) if isinstance(key, str)]
    path = ".".join(rng.choices(["fabric", "program", *steps, "0", "x", ""], k=rng.randint(1, 4)))
    arms = rng.choice(["compare", "quick"])
    if not isinstance(tree.get(arms), dict):
        tree[arms] = {}
    setting = {path: copy.deepcopy(rng.choice(STRANGE))}
    tree[arms] |= setting if arms == "quick" else {"fuzzed": setting}


EDITS: tuple[Callable[[Any, random.Random], None], ...] = (put_strange, put_number, drop, add_key, swap, put_part, override)


def scrambled(text: bytes, rng: random.Random) -> bytes:
    """*text* with some bytes lost, doubled or swapped for others."""
    content = bytearray(text)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(content))
        cut = place + rng.randint(0, 30)
        content[place:cut] = rng.choice([b"", bytes([rng.randrange(256)]), content[place : place + 40] * 2, *MARKS])
    return bytes(content)


def fuzzed(path: Path, seed: int) -> bytes:
    """A shipped scenario after up to three random edits of its values, or some of its text."""
    rng = random.Random(seed)
    if rng.random() < 0.25:
        return scrambled(path.read_bytes(), rng)
    tree = yaml12.read(path)
    for _ in range(rng.randint(1, 3)):
        try:
            rng.choice(EDITS)(tree, rng)
        except (KeyError, IndexError, TypeError, AttributeError):  # an earlier edit has taken the place away
            continue
    return yaml12.dump(tree).encode("utf-8", "surrogateescape") if isinstance(tree, dict) else repr(tree).encode()


def checked(name: Path) -> tuple[int, float]:
    """Check a scenario; return the exit status and the processor's time in s."""
    begun_s = time.process_time()
    try:
        status = main([str(name), "--check"])
    except SystemExit as error:
        status = int(error.code or 0)
    return status, time.process_time() - begun_s


def refuse_or_take(path: Path, seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = fuzzed(path, seed)
    name = ROOT / "scenarios" / f".fuzzed-{folder.name}.yaml"
    name.write_bytes(text)  # beside the shipped ones, since input files are named from there
    longest_s = LONGEST_S * (4 if path.stem in PLANNED else 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        status, took_s = checked(name)
        if took_s > longest_s:  # on a machine with more to do than processors even the time of a process is longer
            capsys.readouterr()
            status, again_s = checked(name)
            took_s = min(took_s, again_s)
    finally:
        name.unlink()
    said = capsys.readouterr()
    told = f"{path.name}, seed {seed}: {said.err!r}"
    assert status in (0, 2), told
    assert took_s < longest_s, told
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES, told
    assert "Traceback" not in said.err, told
    if status == 2:
        lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert lines, told
        assert all(len(line) < LONGEST_SENTENCE for line in lines), told
        assert len([line for line in said.err.splitlines() if not line.startswith(("error: ", "note: "))]) == 0, told


FUZZ = settings(
    deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(FUZZ, max_examples=60, derandomize=True)
@given(path=st.sampled_from([path for path in SHIPPED if path.stem not in PLANNED]), seed=st.integers(0, 2**32 - 1))
def test_sixty_edits_are_taken_or_told(path: Path, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse_or_take(path, seed, tmp_path, capsys)


@pytest.mark.slow
@settings(FUZZ, max_examples=1000)
@given(path=st.sampled_from(SHIPPED), seed=st.integers(0, 2**32 - 1))
def test_a_thousand_edits_are_taken_or_told(path: Path, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse_or_take(path, seed, tmp_path, capsys)
