"""Incremental detection as a program: bytes, resuming, what is said before, what is kept, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import toolkit
from toolkit import export
from toolkit.core.world import World
from toolkit.errors import DataError, UserError
from toolkit.estimate import estimates
from toolkit.learning.detection.training import update
from toolkit.methods.detection import DetectionMethod, increment
from toolkit.methods.detection.course import course
from toolkit.methods.detection.kept import kept_pictures, trained_detector
from toolkit.methods.detection.program import Detection
from toolkit.methods.detection.settings import DataSettings, SplitSettings
from toolkit.repricing import recost
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")

SCENARIOS = Path(__file__).parents[3] / "scenarios"
TINY: dict[str, Any] = {
    "program.data": {"kind": "scenes", "side": 48, "train": 12, "test": 6}, "program.split.sizes": [3, 2],
    "program.net": {"widths": [8, 8, 8, 8], "channels": 8},
    "program.base": {"training": {"epochs": 2, "batch": 4}, "joint_epochs": 1}, "program.training": {"epochs": 2, "batch": 4},
    "program.inversion": {"per_class": 2, "side": 32, "iterations": 6, "at_once": 3, "flip": 0.5}, "program.save_every": 4,
    "program.pictures": 2, "seeds": 1, "compare": {},
}


def scenario(**changes: Any) -> Scenario:
    return Scenario.load(SCENARIOS / "egor_edge.yaml", {**TINY, **changes})


def simulated(spec: Scenario) -> tuple[World, pd.DataFrame]:
    world = World(1, float("inf"))
    net = spec.fabric.build(world)
    world.env.run(until=net.launch(spec.program))
    net.finish()
    return world, world.ledger.charges()


QUICK = ("egor", "deep_inversion", "freeze_backbone", "joint")
"""Methods of each kind; the others take the same ways, and are slow tests."""
METHODS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DetectionMethod.member_names()]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_before_is_what_a_run_takes_and_learning_nothing_takes_it_too(method: str) -> None:
    spec = scenario(**{"program.method": method, "program.arrival": {"idle_s": 1.0, "generate": "idle"}})
    (said,) = estimates(spec).values()
    learning, rows = simulated(spec)
    assert learning.now == pytest.approx(said.time_s, rel=1e-9)
    assert rows["flops"].sum() == pytest.approx(said.flops, rel=1e-9)
    pretending, priced = simulated(scenario(**{
        "program.method": method, "program.arrival": {"idle_s": 1.0, "generate": "idle"}, "program.learn": False,
    }))
    assert pretending.now == learning.now
    assert priced["energy_j"].sum() == pytest.approx(rows["energy_j"].sum(), rel=1e-12)


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("method", "last"), [
    ("egor", 12), pytest.param("deep_inversion", 14, marks=pytest.mark.slow), pytest.param("real_crop", 12, marks=pytest.mark.slow),
])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    method: str, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scenario(**{"program.method": method, "program.split.sizes": [3, 2, 1]})
    toolkit.run(spec, out=tmp_path / "whole", jobs=1)
    taken: list[int] = []

    def dying(rule: Any, state: Any, rate: float) -> None:
        taken.append(state.step)
        if len(taken) == last:  # in the second increment, after a checkpoint in it
            raise Killed
        update(rule, state, rate)

    with monkeypatch.context() as patch:
        patch.setattr(increment, "update", dying)
        with pytest.raises(Killed):
            toolkit.run(spec, out=tmp_path / "killed", jobs=1)
    again: list[int] = []

    def counting(rule: Any, state: Any, rate: float) -> None:
        again.append(state.step)
        update(rule, state, rate)

    monkeypatch.setattr(increment, "update", counting)
    toolkit.run(spec, out=tmp_path / "killed", resume=True, jobs=1)
    assert 0 < len(again) < len(taken)
    assert again[0] > 0
    for name in ("report.csv", "summary.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    (ours,), (theirs,) = ((tmp_path / each / "models").glob("*.safetensors") for each in ("killed", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of EGOR."""
    return toolkit.run(scenario(), out=tmp_path_factory.mktemp("detection") / "run", jobs=1)


@pytest.mark.usefixtures("drawn")
def test_a_run_is_the_same_twice_and_priced_again_alike(ran: Any, tmp_path: Path) -> None:
    toolkit.run(scenario(), out=tmp_path / "two", jobs=1)
    assert (ran.directory / "report.csv").read_bytes() == (tmp_path / "two" / "report.csv").read_bytes()
    recost(ran.directory, {"fabric.device.busy_w": 22.0}, out=tmp_path / "again")
    again = pd.read_csv(tmp_path / "again" / "report.csv").set_index("metric")["value"]
    values = ran.report.set_index("metric")["value"]
    assert again["generation_j"] == pytest.approx(2 * values["generation_j"])
    assert again["response_s@1"] == pytest.approx(values["response_s@1"])
    assert again["ap_all"] == values["ap_all"]


def test_9_generation_is_told_beside_training(ran: Any) -> None:
    values = ran.report.set_index("metric")["value"]
    assert values["generation_share"] == pytest.approx(values["generation_s"] / (values["generation_s"] + values["training_s"]))
    for name in ("generation_flops", "training_flops", "generation_j", "kept_nbytes", "pool_nbytes", "teacher_nbytes", "recognised"):
        assert values[name] >= 0
    assert values["generation_flops"] > 0


def test_generating_while_idle_answers_sooner_by_what_it_takes() -> None:
    took, energy = {}, {}
    for generate in ("idle", "arrival"):
        world, rows = simulated(scenario(**{"program.arrival": {"idle_s": 100.0, "generate": generate}, "program.learn": False}))
        took[generate] = world.now
        energy[generate] = rows["energy_j"].sum()
        generated_s = rows[(rows["phase"] == "generate").to_numpy(bool)]["dur_s"].sum()
    assert took["arrival"] - took["idle"] == pytest.approx(generated_s)
    idle_w = scenario().fabric.machines().first.idle_w  # the device that generates later has waited longer
    assert energy["arrival"] - energy["idle"] == pytest.approx(idle_w * generated_s)


def test_9_images_without_content_cost_what_scenes_of_their_number_cost() -> None:
    data = course(DataSettings(**TINY["program.data"]), SplitSettings(sizes=[3, 2]))
    blank = {"kind": "blank", "side": 48, "train": 12, "objects": max(step.most_boxes for step in data.steps)}
    took = [
        simulated(scenario(**{"program.learn": False, "program.data": each, "program.method": "fine_tune"}))[1]["flops"].sum()
        for each in (TINY["program.data"], blank)
    ]
    assert took[0] == pytest.approx(took[1], rel=0.01)  # steps may have fewer objects each


def test_6_old_images_are_gone_and_what_is_kept_is_counted(ran: Any) -> None:
    found = course(DataSettings(**TINY["program.data"]), SplitSettings(sizes=[3, 2]))
    later = found.without_old(1)
    with pytest.raises(DataError, match="old images were asked for"):
        later.steps[0].batch(torch.tensor([0]))
    assert len(later.steps[1].batch(torch.tensor([0]))[0]) == 1
    kept = {"egor": ran.report.set_index("metric")["value"]}
    for method in ("real_crop", "erd"):
        world, _ = simulated(scenario(**{"program.method": method}))
        kept[method] = world.ledger.metrics().groupby("name")["value"].last()
    assert kept["egor"]["kept_nbytes"] == 3 * 208  # 50 counts and two limits of four bytes for each class
    assert kept["egor"]["given_away"] == 0
    assert kept["real_crop"]["given_away"] > 0
    assert kept["real_crop"]["kept_nbytes"] > kept["egor"]["kept_nbytes"]
    assert kept["erd"]["kept_nbytes"] == 0


def test_a_detector_comes_out_with_its_pictures(ran: Any) -> None:
    (path,) = (ran.directory / "models").glob("*.safetensors")
    detector, facts = trained_detector(path.with_suffix(""))
    assert detector.classes == 5
    assert facts["names"] == [f"digit {digit}" for digit in range(5)]
    shown = kept_pictures(path.with_suffix(""))
    assert shown["before"].shape == shown["after"].shape == (2, 3, 96, 96)
    assert shown["generated"].shape == (6, 3, 64, 64)


def test_a_detector_is_exported_by_the_command(ran: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "detector.safetensors"
    assert export.main([str(ran.directory), "--format", "safetensors", "--out", str(out)]) == 0
    assert out.is_file()
    assert "detector of digit 0, digit 1" in capsys.readouterr().out
    model, facts = export.trained(ran.directory)
    assert facts["shape"] == [3, 48, 48]
    with torch.no_grad():
        assert model(torch.zeros((2, 3, 48, 48))).shape == (2, 36 + 9, 4 + 5)


@pytest.mark.parametrize(("changes", "says"), [
    ({"program.split.sizes": [8, 5]}, "13 classes, and there are 10 digits"),
    ({"program.method": "egorr"}, "did you mean 'egor'"),
    ({"program.data": {"kind": "coco"}}, "need a folder, or a name to look for"),
    ({"program.data": {"kind": "coco", "folder": "/nowhere/at/all"}}, "not found in /nowhere/at/all"),
    ({"program.data": {"kind": "scenes", "train": 1_000_000}}, "1000000 scenes of each step with 96 pixels take more than 1 GB"),
    ({"program.split.sizes": [3, 0]}, "program.split.sizes.1: input should be greater than or equal to 1"),
    ({"program.data": {"kind": "blank"}}, "nothing to learn from blank images"),
    ({"program.inversion.longer": [0.9, 0.4]}, "longer: shares 0.9 to 0.4"),
    ({"program.inversion.betas": [1.0, 0.4]}, "betas: must be from 0 to below 1"),
    ({"program.net": {"channels": 50}}, "50 channels do not divide into 8 groups"),
    ({"program.net.weights": "nowhere.pth"}, "nowhere.pth does not hold the weights"),
    ({"fabric.workers": 2}, "incremental detection runs on 1 machine"),
    ({"fabric.device.memory_bytes": 1000}, "compact detector with egor at batch 4 needs"),
    ({"program.method": "deep_inversion", "program.training.batch": 1}, "leaves no room for new ones"),
])
def test_what_does_not_go_together_is_one_sentence(changes: dict[str, Any], says: str) -> None:
    def checked() -> None:
        spec = scenario(**changes)
        spec.program.check_on(spec.fabric)

    with pytest.raises(UserError, match=says) as caught:
        checked()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [*SCENARIOS.glob("egor_*.yaml"), *(SCENARIOS / "paper").glob("egor_*.yaml")], ids=lambda path: path.stem)
def test_scenarios_are_whole(path: Path) -> None:
    for arm in Scenario.load(path).arms().values():
        assert isinstance(arm.program, Detection)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["egor_edge", "egor_steps", "egor_defects", "egor_blood"])
def test_quick_runs_end(name: str, tmp_path: Path) -> None:
    spec = Scenario.load(SCENARIOS / f"{name}.yaml", quick=True)
    asked = spec.program.data  # type: ignore[attr-defined]
    if asked.name is not None and not (Path(os.environ.get("TOOLKIT_DATA", "data")) / asked.name).is_dir():
        pytest.skip(f"{asked.name} is not in TOOLKIT_DATA")
    values = toolkit.run(spec, out=tmp_path / "run", jobs=1).report
    assert (values[values["metric"] == "ap_all"]["value"] >= 0).all()
    assert set(values[values["metric"] == "ap_all"]["arm"]) == set(spec.compare)
