"""State files: what went in comes out, bit for bit, and whatever else is in a file is refused without being run."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core import statefile
from toolkit.core.checkpoint import Checkpoint, Snapshot
from toolkit.core.device import Device
from toolkit.core.ledger import Ledger
from toolkit.core.simulated import SimulatedContext
from toolkit.core.world import World
from toolkit.errors import RunDirectoryError

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
)


@given(TREES)
def test_a_tree_comes_back(tree: object) -> None:
    found = statefile.loads(statefile.dumps(tree))
    assert found == tree
    assert repr(found) == repr(tree)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    found = statefile.loads(statefile.dumps({"whole": tensor, "part": tensor[:, 1:], "none": tensor[:0], "one": tensor[0, 0]}))
    assert found["whole"].dtype == dtype
    assert torch.equal(found["whole"], tensor)
    assert torch.equal(found["part"], tensor[:, 1:])
    assert found["none"].shape == (0, 3)
    assert found["one"].shape == ()


def test_arrays_and_numbers_of_numpy_come_back() -> None:
    array = np.array([[0.1, np.nan], [-np.inf, -0.0]])
    found = statefile.loads(statefile.dumps([array, np.float64(0.1), np.int32(7), float("inf")]))
    assert found[0].tobytes() == array.tobytes()
    assert found[1:] == [0.1, 7, float("inf")]


def test_what_is_not_plain_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="object cannot be kept"):
        statefile.dumps({"state": [object()]})
    with pytest.raises(TypeError, match="cannot be kept"):
        statefile.dumps(np.array([object()]))


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('this ran')",)


def hostile() -> list[bytes]:
    objects = io.BytesIO()
    np.savez(objects, tree=np.array([Harmful()], dtype=object))
    whole = statefile.dumps({"state": torch.ones(1000)})
    return [
        b"", b"PK", pickle.dumps(Harmful()), objects.getvalue(), whole[: len(whole) // 2], whole[:300] + b"x" + whole[301:],
        archive(b"[" * 100_000), archive(b'{"thing": 1}'), archive(b'{"array": "a9"}'), archive(b'{"tensor": ["a0"]}'), archive(b"{}"),
    ]


def archive(tree: bytes, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, tree=np.frombuffer(tree, np.uint8), **arrays)
    return file.getvalue()


@pytest.mark.parametrize("content", hostile(), ids=range(11))
def test_a_damaged_or_hostile_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "A-s1.checkpoint").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"A-s1\.checkpoint: cannot be read") as caught:
        Checkpoint.open(tmp_path / "A-s1.checkpoint")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["dict", "pairs", "tuple", "bytes", "array", "tensor"])
def test_only_kinds_that_are_written_are_read(kind: str) -> None:
    """A word that comes near to one of them, before or after it in the alphabet, is none."""
    content = {"dict": {}, "pairs": [], "tuple": [], "bytes": "", "array": "a0", "tensor": ["a0", "float32"]}[kind]
    assert statefile.loads(archive(json.dumps({kind: content}).encode(), a0=np.ones(3, np.float32))) is not None
    for other in (kind[:-1], f"{kind}s", f"z{kind}", f"a{kind}", kind.upper(), ""):
        with pytest.raises(ValueError, match="is no kind of value"):
            statefile.loads(archive(json.dumps({other: content}).encode(), a0=np.ones(3, np.float32)))


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    snapshot = Snapshot(3.5, {"busy_s": 1.0}, {"shards": []}, {"weights": torch.ones(3)})
    checkpoint = Checkpoint.open(tmp_path / "A-s1.checkpoint")
    assert checkpoint.resumed is None
    checkpoint.keep(snapshot)
    found = Checkpoint.open(tmp_path / "A-s1.checkpoint").resumed
    assert found is not None
    assert (found.now_s, found.machine, found.ledger) == (snapshot.now_s, snapshot.machine, snapshot.ledger)
    assert [path.name for path in tmp_path.iterdir()] == ["A-s1.checkpoint"]
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [
    [1], {}, {"now_s": 1.0}, {"now_s": 1.0, "machine": {}, "ledger": {}},
    {"now_s": 1.0, "machine": {}, "ledger": {}, "state": 0, "more": 1},
])
def test_what_is_another_state_is_no_checkpoint(tmp_path: Path, kept: object) -> None:
    statefile.write(tmp_path / "A-s1.checkpoint", kept)
    with pytest.raises(RunDirectoryError, match="it holds something else"):
        Checkpoint.open(tmp_path / "A-s1.checkpoint")


def test_a_machine_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """What it kept is there for the program that goes on, with time and what the machine had done; else there is nothing."""
    fresh = context(World(1, 10.0))
    assert fresh.saved() is None
    new = context(World(1, 10.0, checkpoint=Checkpoint.open(tmp_path / "A-s1.checkpoint")))
    assert new.saved() is None
    Checkpoint(tmp_path / "A-s1.checkpoint").keep(Snapshot(3.5, {"busy_s": 1.25}, Ledger().state(), {"step": 7}))
    again = context(World(1, 10.0, checkpoint=Checkpoint.open(tmp_path / "A-s1.checkpoint")))
    assert again.saved() == {"step": 7}
    assert (again.now, again.busy_s) == (3.5, 1.25)


def context(world: World) -> SimulatedContext:
    return SimulatedContext(world, 0, 1, Device(), lambda *_: world.env.event())


def test_a_state_without_tensors_needs_no_torch() -> None:
    code = "from toolkit.core import statefile; import sys; statefile.loads(statefile.dumps([1])); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
