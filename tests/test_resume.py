"""Resuming: damage of any kind is found, said, and mended to the same bytes; versions are not mixed unasked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_simulate import ledger_bytes, run, tiny
from toolkit.core.record import flaw
from toolkit.core.rundir import RunDirectory
from toolkit.core.wholefile import fingerprint, is_whole, write_whole

pytestmark = pytest.mark.usefixtures("undrawn_module")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("resume")
    path = tiny(folder, **{"seeds": 1, "fabric.trace": True})
    assert run(path, folder / "out") == 0
    return path, folder / "out"


def whole(directory: Path) -> dict[str, bytes]:
    """All bytes of a run directory that do not tell when or how it was made."""
    left = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in {"log.txt", "report.html", "versions.json"})
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in left if path.parent.name != "figures"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def change(path: Path) -> None:
    """A record that is still JSON, with another number in it."""
    record = json.loads(path.read_text())
    record["rows"][0][2] = 0.123
    path.write_text(json.dumps(record))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("runs/flooding-s1.json", lambda path: path.write_text(""), "flooding-s1 is not finished: runs/flooding-s1.json"),
    ("runs/flooding-s1.json", change, "flooding-s1 is not finished: runs/flooding-s1.json: cannot be read (it is not as it was written)"),
    ("runs/flooding-s1.json", lambda path: path.write_text('{"rows": []}'), "runs/flooding-s1.json: is not whole"),
    ("metrics/flooding-s1.parquet", cut, "flooding-s1 is not finished: metrics/flooding-s1.parquet is missing"),
    ("ledger/flooding-s1-000.parquet", flip, "ledger/flooding-s1-000.parquet is missing or not as it was written"),
    ("ledger/flooding-s1-000.parquet", Path.unlink, "ledger/flooding-s1-000.parquet is missing"),
    ("trace/flooding-s1.parquet", cut, "trace/flooding-s1.parquet is missing or not as it was written"),
    ("ledger/flooding-s1-001.parquet", lambda path: path.write_bytes(b"PAR1"), "ledger/flooding-s1-001.parquet does not belong to it"),
    ("versions.json", lambda path: path.write_text("{"), "versions.json cannot be read"),
]


@pytest.mark.parametrize(("name", "damage", "sentence"), DAMAGE, ids=range(len(DAMAGE)))
def test_damage_is_found_said_and_mended(finished, tmp_path, capsys, name: str, damage: Callable[[Path], object], sentence: str) -> None:
    path, out = finished
    damaged = tmp_path / "out"
    shutil.copytree(out, damaged)
    (damaged / "DONE").unlink()
    damage(damaged / name)
    assert run(path, damaged, "--resume") == 0
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1
    assert sentence in (damaged / "log.txt").read_text()
    assert whole(damaged) == whole(out)


def test_what_is_whole_is_not_run_again(finished, tmp_path, capsys) -> None:
    path, out = finished
    again = tmp_path / "out"
    shutil.copytree(out, again)
    before = {record.name: record.stat().st_mtime_ns for record in (again / "runs").iterdir()}
    assert run(path, again, "--resume") == 0
    assert capsys.readouterr().err == ""
    assert {record.name: record.stat().st_mtime_ns for record in (again / "runs").iterdir()} == before
    assert whole(again) == whole(out)


def test_other_versions_are_refused_unless_they_are_asked_for(finished, tmp_path, capsys) -> None:
    path, out = finished
    again = tmp_path / "out"
    shutil.copytree(out, again)
    versions = json.loads((again / "versions.json").read_text())
    here = versions["numpy"]
    (again / "versions.json").write_text(json.dumps({**versions, "numpy": "1.0"}))
    (again / "runs" / "flooding-s1.json").unlink()
    assert run(path, again, "--resume") == 2
    assert f"was begun with numpy 1.0 (here {here}); use the same again, or --mix-versions" in capsys.readouterr().err
    assert not (again / "runs" / "flooding-s1.json").exists()
    assert run(path, again, "--resume", "--mix-versions") == 0
    assert "begun with numpy 1.0, and finished with other versions" in capsys.readouterr().err
    assert json.loads((again / "versions.json").read_text())["begun_with"] == "numpy 1.0"
    assert ledger_bytes(again) == ledger_bytes(out)


def test_a_run_stopped_while_its_folder_was_made_can_be_resumed(finished, tmp_path) -> None:
    path, out = finished
    again = tmp_path / "out"
    again.mkdir()
    (again / "scenario.yaml.partial").write_text("name: si")
    assert run(path, again, "--resume") == 0
    assert ledger_bytes(again) == ledger_bytes(out)


def test_a_record_cannot_name_files_elsewhere(finished, tmp_path) -> None:
    from toolkit.core.record import write_record

    (tmp_path / "runs").mkdir()
    (tmp_path / "secret").write_text("x")
    directory = RunDirectory(tmp_path)
    for folder in ("ledger", "metrics", "requests", "trace"):
        (tmp_path / folder).mkdir()
    write_record(directory, "A-s1", [], arm="A", seed=1, files={tmp_path / "secret": fingerprint(tmp_path / "secret")})
    assert flaw(directory, "A-s1").startswith("secret is missing")


def test_a_file_is_known_again(tmp_path) -> None:
    write_whole(tmp_path / "a", b"content")
    known = fingerprint(tmp_path / "a")
    assert known["nbytes"] == 7
    assert is_whole(tmp_path / "a", known)
    write_whole(tmp_path / "a", b"contenT")
    assert not is_whole(tmp_path / "a", known)
    assert not is_whole(tmp_path / "b", known)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "a\0b", "x" * 300, "[/red]", "", ".hidden", "-x"])
def test_a_name_is_a_file_name(tmp_path, capsys, name: str) -> None:
    assert run(tiny(tmp_path, name=name), tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: name: the name ")
    assert "must be letters, digits" in errors
    assert len(errors) < 400
    assert not (tmp_path / "out").exists()
