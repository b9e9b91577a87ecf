"""The commands of a page are run, in its order: what it simulates as a quick look, each command line once.

Those of the guides and of docs/own.md are followed to the letter by `test_guides.py` and `tests/test_own_work.py`; here is the rest.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, commands
from tests.docs.test_commands import arguments_of
from tests.test_simulate import ROOT
from toolkit.commands import COMMANDS
from toolkit.commands.front import main

pytestmark = pytest.mark.slow

FOLLOWED = ("docs/guides/", "docs/own.md")
LINKED = ("scenarios", "data", "docs", "toolkit")
NEEDS = {"egor_defects": "data", "egor_blood": "data", "cifar10/": "data", "tiny_imagenet/": "data", "nodes=many": "is wrong on purpose"}
"""What a command can name that this test cannot give, and why."""
ELSEWHERE = {"train": "real processes: tests/test_train.py", "": "pytest and benchmarks"}
"""Commands that are not run here."""


def runnable(page: str) -> list[tuple[str, ...]]:
    """The commands of *page* that are run here, each once, as words for the front door."""
    found: dict[tuple[str, ...], None] = {}
    for words in commands(page):
        name, given = arguments_of(words)
        if name in ELSEWHERE or any(part in word for word in given for part in NEEDS):
            continue
        if name == "predict" and not given[0].startswith("series"):  # files that others have: tests/test_reading.py
            continue
        if name in {"simulate", "commands.sweeping"} and "--check" not in given:
            more = {place + 1 for place, word in enumerate(given) if word in {"--jobs", "--seeds"}}
            without = [word for place, word in enumerate(given) if place not in more and word not in {"--quick", "--jobs", "--seeds"}]
            given = [*without, "--quick", "--jobs", "1", "--quiet"]
        if "onnx" in given and find_spec("onnx") is None:
            continue
        found[(FRONT.get(name, name), *given)] = None
    return list(found)


FRONT = {each.module.partition(".")[2]: command for command, each in COMMANDS.items()}
"""What the front door calls a module."""
RUN = [page for page in PAGES if not page.startswith(FOLLOWED) and runnable(page)]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a reader of the pages has what the project has, and a series of their own."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "series.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["t", "snr_db", "wind", "tide"])
        for hour in range(400):
            tide, wind = math.sin(2 * math.pi * hour / 12.42), 5 + 3 * math.sin(hour / 50)
            snr_db = 15 + 3 * tide - 0.4 * wind + (hour * 7919 % 13) / 13
            table.writerow([f"2024-01-{1 + hour // 24:02d}T{hour % 24:02d}:00Z", snr_db, wind, tide])
    eighty = [{"id": number, "name": f"kind {number}"} for number in range(1, 81)]
    images = [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 64} for number in range(1, 81)]
    boxes = [
        {"id": each["id"], "image_id": each["id"], "category_id": each["id"], "bbox": [8, 8, 20, 30], "area": 600, "iscrowd": 0}
        for each in images
    ]
    (tmp_path / "instances_train.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": eighty}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def newest(folder: Path, stem: str = "", place: int = -1) -> str:
    """The run directory that was written last (or before that), of a scenario called so."""
    found = [path for path in (folder / "runs").iterdir() if path.name.startswith(stem)]
    return os.path.relpath(sorted(found, key=lambda path: path.stat().st_mtime_ns)[place], folder)


def with_runs(words: tuple[str, ...], folder: Path) -> list[str]:
    """Put run directories that are there in the place of those that a page calls RUN, runs/A or runs/gs_sgd-…."""
    said = []
    for word in words:
        match = re.fullmatch(r"runs/(\w+)-…", word)
        if match and not any((folder / "runs").glob(f"{match[1]}*")):
            assert main(["simulate", f"scenarios/{match[1]}.yaml", "--quick", "--jobs", "1", "--quiet"]) == 0
        if match:
            said.append(newest(folder, match[1]))
        else:
            said.append(newest(folder, place=-2 if word == "runs/A" else -1) if word in {"RUN", "runs/A", "runs/B"} else word)
    return said


@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_do_what_they_should(page: str, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (reader / "runs").mkdir()
    for words in runnable(page):
        said = with_runs(words, reader)
        status = main(said)
        errors = capsys.readouterr().err
        if status == 2 and "TOOLKIT_DATA" in errors:  # data that are not there
            continue
        assert status == 0, f"{page}: toolkit {' '.join(said)}: {errors}"
