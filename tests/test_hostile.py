"""A run directory that somebody prepared: no command runs a line of what it holds or names, and each tells what is wrong in a sentence."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import toolkit
from tests.methods.distributed.test_program import scenario
from tests.test_simulate import tiny
from toolkit import estimate, export, predict, record_channel, recost, replay, simulate, split_classes, timeline, train
from toolkit.commands import comparing
from toolkit.core import trust, yaml12
from toolkit.errors import UserError
from toolkit.render.result import Result
from toolkit.scenario import Scenario, replaced

pytestmark = pytest.mark.usefixtures("undrawn_module")

EVIL = "evil_of_a_run"
Command = Callable[[list[str]], int]


class Harmful:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A traced run of the sea, and one of a cluster that has trained a network."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"seeds": 1, "fabric.trace": True, "compare": {"flooding": {"fabric.routing": {"type": "flooding"}}}}
    path = tiny(folder, **settings)
    assert simulate.main([str(path), "--out", str(folder / "sea"), "--quiet", "--jobs", "1"]) == 0
    spec = scenario({"type": "gs_sgd", "density": 0.05}, workers=2, steps=2)
    toolkit.run(Scenario.build({**spec.dump(), "seeds": 1}), out=folder / "cluster")
    return {"sea": folder / "sea", "cluster": folder / "cluster"}


@pytest.fixture(autouse=True)
def nobody_trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    monkeypatch.setattr(trust, "_admitted", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop(EVIL, None)


def names_code(run: Path, mark: Path) -> None:
    """Whatever may name a module names one that lies there."""
    (run / f"{EVIL}.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n\nclass Net: ...\n")
    tree = yaml12.read(run / "scenario.yaml")
    places = {"sea": {"fabric.mac": {"type": EVIL}}, "cluster": {"program.task.model": {"name": f"{EVIL}:Net"}}}
    for path, value in places[run.name].items():
        tree = replaced(tree, path, value)
    (run / "scenario.yaml").write_text(yaml12.dump(tree))
    versions = json.loads((run / "versions.json").read_text())
    (run / "versions.json").write_text(json.dumps({**versions, "report": f"{EVIL}.report", "view": f"{EVIL}:VIEW"}))
    for facts in (run / "models").glob("*.json"):
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "model": {"name": f"{EVIL}:Net", "options": {}}}))


def is_pickles(run: Path, mark: Path) -> None:
    """Every file but the scenario is a pickle."""
    for path in [path for path in run.rglob("*") if path.is_file() and path.name != "scenario.yaml"]:
        path.write_bytes(pickle.dumps(Harmful(mark)))


def has_pickles_in_archives(run: Path, mark: Path) -> None:
    """Checkpoints and networks in the layouts that numpy and torch unpickle when they are asked to."""
    (run / "DONE").unlink()
    for record in list((run / "runs").glob("*.json")):
        record.unlink()
        with record.with_suffix(".checkpoint").open("wb") as file:
            np.savez(file, tree=np.array([Harmful(mark)], dtype=object))
    for weights in (run / "models").glob("*.safetensors"):
        torch.save({"weights": Harmful(mark)}, weights)
    folder = run / "checkpoints" / "test-s1"
    folder.mkdir(parents=True)
    torch.save(Harmful(mark), folder / "step-00000002-rank0.npz")


def commands(run: Path) -> dict[str, tuple[Command, list[str]]]:
    there, out = str(run / "scenario.yaml"), str(run.parent / "written")
    return {
        "check": (simulate.main, [there, "--check"]),
        "resume": (simulate.main, [there, "--out", str(run), "--resume", "--quiet", "--jobs", "1"]),
        "estimate": (estimate.main, [there]),
        "recost": (recost.main, [str(run), "--out", out, "--quiet", "--jobs", "1"]),
        "timeline": (timeline.main, [str(run), "--out", out]),
        "replay": (replay.main, [str(run), "--out", out]),
        "export": (export.main, [str(run), "--format", "safetensors", "--out", out]),
        "record_channel": (record_channel.main, [there, "--out", f"{out}.csv", "--step", "12h"]),
        "train": (train.main, [there, "--out", str(run), "--resume"]),
        "predict": (predict.main, [str(run / "report.csv"), "--json"]),
        "compare": (comparing.main, [str(run), out]),
        "split_classes": (split_classes.main, [str(run / "versions.json"), "1", "1", "--out", out]),
    }


@pytest.mark.parametrize("command", list(commands(Path("x"))))
@pytest.mark.parametrize("prepared", [names_code, is_pickles, has_pickles_in_archives])
@pytest.mark.parametrize("kind", ["sea", "cluster"])
def test_no_command_runs_what_lies_in_a_run_directory(
    runs: dict[str, Path], kind: str, prepared: Callable[[Path, Path], None], command: str, *, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    """From within the directory too, where Python finds what lies in it."""
    run, mark = tmp_path / kind, tmp_path / "mark"
    shutil.copytree(runs[kind], run)
    prepared(run, mark)
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(run)
    main, arguments = commands(run)[command]
    status = main(arguments)
    errors = capsys.readouterr().err.replace(str(tmp_path), "").splitlines()
    assert status in {0, 2}, errors
    assert [line.startswith("error: ") for line in errors if not line.startswith("note: ")].count(True) == (status == 2), errors
    assert all(len(line) < 400 for line in errors)
    assert not mark.exists()
    assert EVIL not in sys.modules


@pytest.mark.parametrize("prepared", [names_code, is_pickles])
@pytest.mark.parametrize("kind", ["sea", "cluster"])
def test_nor_does_python(
    runs: dict[str, Path], kind: str, prepared: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, mark = tmp_path / kind, tmp_path / "mark"
    shutil.copytree(runs[kind], run)
    prepared(run, mark)
    monkeypatch.syspath_prepend(run)
    for look in (lambda: Result.load(run).ledger, lambda: Result.load(run).scenario, lambda: Result.load(run).network()):
        try:
            look()
        except UserError:
            continue
    assert not mark.exists()
    assert EVIL not in sys.modules


def test_the_harm_is_one(tmp_path: Path) -> None:
    """The mark is left where somebody does unpickle; a test that cannot fail would show nothing."""
    pickle.loads(pickle.dumps(Harmful(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-20]), lambda path: path.write_bytes(b"PAR1"), Path.unlink,
    lambda path: path.write_bytes(path.read_bytes().replace(b"gradient", b"Gradient")),
], ids=range(4))
def test_damaged_requests_are_not_priced_again(
    runs: dict[str, Path], damage: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last damage leaves a table that can be read, with other words in it."""
    run = tmp_path / "cluster"
    shutil.copytree(runs["cluster"], run)
    (path,) = (run / "requests").iterdir()
    damage(path)
    assert recost.main([str(run), "--out", str(tmp_path / "out"), "--quiet", "--jobs", "1"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("body", [
    {"rows": {}, "files": {}}, {"rows": [[1, 2]], "files": {}}, {"rows": [], "files": []}, {"rows": [], "files": {"ledger/x": 3}},
    {"rows": [], "files": {"ledger/x": {"nbytes": 3}}},
], ids=range(5))
def test_a_record_that_was_made_up_is_not_whole(runs: dict[str, Path], body: dict[str, object], tmp_path: Path) -> None:
    """Its checksum is right."""
    from toolkit.core.record import _digest, flaw
    from toolkit.core.rundir import RunDirectory

    run = tmp_path / "cluster"
    shutil.copytree(runs["cluster"], run)
    (record,) = (run / "runs").glob("*.json")
    made_up = {"arm": "test", "seed": 1, **body}
    record.write_text(json.dumps({**made_up, "sha256": _digest(made_up)}))
    assert flaw(RunDirectory(run), record.stem).endswith("is not whole")
