"""What is remembered of a file is forgotten when the file changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import catalogue
from toolkit.acoustic import link_log
from toolkit.acoustic.environment import record
from toolkit.core.once import read_once
from toolkit.methods.dataset_spec import DatasetSpec


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    file, calls = tmp_path / "a.txt", []

    @read_once(4)
    def read(path: Path, *, upper: bool = False) -> str:
        calls.append(path)
        text = path.read_text(encoding="utf-8")
        return text.upper() if upper else text

    file.write_text("one", encoding="utf-8")
    assert [read(file), read(file), read(file, upper=True), read(file)] == ["one", "one", "ONE", "one"]
    assert len(calls) == 2
    file.write_text("three", encoding="utf-8")
    assert read(file) == "three"
    file.write_text("thre3", encoding="utf-8")
    os.utime(file, ns=(0, 0))  # of the same size: the time tells
    assert read(file) == "thre3"


def test_a_folder_is_what_lies_in_it(tmp_path: Path) -> None:
    @read_once(4)
    def names(folder: Path) -> list[str]:
        return sorted(each.read_text(encoding="utf-8") for each in folder.iterdir())

    (tmp_path / "a").write_text("1", encoding="utf-8")
    assert names(tmp_path) == ["1"]
    (tmp_path / "b").write_text("2", encoding="utf-8")
    assert names(tmp_path) == ["1", "2"]
    (tmp_path / "a").write_text("10", encoding="utf-8")
    assert names(tmp_path) == ["10", "2"]


def test_a_relative_path_is_another_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @read_once(4)
    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8")

    said = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name, encoding="utf-8")
        monkeypatch.chdir(tmp_path / name)
        said.append(text(Path("a")))
    assert said == ["here", "there"]


def test_what_fails_is_tried_again(tmp_path: Path) -> None:
    @read_once(4)
    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8")

    with pytest.raises(FileNotFoundError):
        text(tmp_path / "a")
    (tmp_path / "a").write_text("now", encoding="utf-8")
    assert text(tmp_path / "a") == "now"


def _links(path: Path) -> object:
    return float(link_log.read(path, link_log.Columns("time", "tx", "rx", "snr_db")).snr_db[0])


def _wind(path: Path) -> object:
    return float(record.read(path, "wind", "time", hour_column=None, utc_offset_hours=0, max_gap_s=7200).values[0])


def _parts(path: Path) -> object:
    return list(catalogue.parts_in(path, "own"))



ROUTING = "from toolkit.acoustic.routing import Routing\n\nclass Own(Routing):\n    def init(self, node): ...\n"


@pytest.mark.parametrize(
    ("read", "before", "after", "said"),
    [
        (_links, "time,tx,rx,snr_db\n2020-01-01,1,2,5\n", "time,tx,rx,snr_db\n2020-01-01,1,2,17\n", (5.0, 17.0)),
        (_wind, "time,wind\n2020-01-01T00,5\n2020-01-01T01,5\n", "time,wind\n2020-01-01T00,17\n2020-01-01T01,5\n", (5.0, 17.0)),
        (_parts, ROUTING, "x = 1\n", (["routing"], [])),
    ],
    ids=["links", "wind", "parts"],
)
def test_readers_read_what_is_there_now(
    tmp_path: Path, read: Callable[[Path], object], before: str, after: str, said: tuple[object, object]
) -> None:
    file = tmp_path / "own.csv"
    file.write_text(before, encoding="utf-8")
    first = read(file)
    file.write_text(after, encoding="utf-8")
    assert (first, read(file)) == said


def test_images_of_ones_own_are_those_that_are_there_now(tmp_path: Path) -> None:
    import numpy as np

    file, counts = tmp_path / "own.npz", []
    for classes in (2, 3):
        labels = np.repeat(np.arange(classes), 10)
        np.savez(file, x=np.zeros((len(labels), 8, 8), np.uint8), y=labels)
        counts.append(DatasetSpec(name="arrays", options={"file": str(file)}).load().num_classes)
    assert counts == [2, 3]
