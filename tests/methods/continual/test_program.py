"""The loop of continual learning: killed runs end with the same bytes (CLFD 13, E2Net 13), and plans say what runs take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.methods.continual.driver import train
from toolkit.core.rundir import RunDirectory
from toolkit.errors import ScenarioError
from toolkit.job import Job
from toolkit.methods.continual import evaluation, program
from toolkit.methods.continual.er import Er
from toolkit.methods.continual.learner import Learner
from toolkit.scenario import Scenario
from toolkit.sweep import run_job

SAVE_EVERY = 5


class Killed(BaseException):
    """What a kill looks like from inside."""


def scenario(**program: Any) -> Scenario:
    return Scenario.build({
        "name": "resume", "seeds": 1, "fabric": {"type": "cluster", "workers": 1, "device": "raspberry_pi_5"},
        "program": {
            "type": "continual", "task": {"dataset": "digits", "model": {"name": "resnet", "options": {"nf": 4}}}, "method": "er",
            "budget": {"epochs": 1}, "stream": {"tasks": 2}, "batch": 64, "save_every": SAVE_EVERY, "frames_per_s": 1e5,
            "augment": {"crop": 1, "flip": True, "even": False}, **program,
        },
    })


def frames(directory: Path, name: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted((directory / name).glob("*.parquet"))], ignore_index=True)


def do(spec: Scenario, directory: Path) -> dict[str, float]:
    """Do the one run of *spec*, without the report; return its rows."""
    RunDirectory(directory).open(spec.dump(), resume=True)
    run_job(Job("resume", 1, spec.dump(), directory))
    record = json.loads(RunDirectory(directory).record("resume-s1").read_text(encoding="utf-8"))
    return {metric: value for metric, _, value in record["rows"]}


@pytest.mark.parametrize("steps", [3, 7, 12, 20])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Killed before the first checkpoint, after it, at the end of the first task, and in the second task."""
    spec = scenario()
    whole = do(spec, tmp_path / "whole")
    taken = 0
    step = Er.step

    def dying(self: Er, *args: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > steps:
            raise Killed
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Er, "step", dying)
        with pytest.raises(Killed):
            do(spec, tmp_path / "killed")
    kept = list((tmp_path / "killed" / "runs").glob("*.checkpoint"))
    assert len(kept) == (steps >= SAVE_EVERY)
    taken = -1000
    with monkeypatch.context() as patch:
        patch.setattr(Er, "step", dying)
        assert do(spec, tmp_path / "killed") == whole
    assert taken + 1000 <= 24 - steps + SAVE_EVERY, "what was kept is not done again"
    for name in ("ledger", "metrics", "requests"):
        pd.testing.assert_frame_equal(frames(tmp_path / "killed", name), frames(tmp_path / "whole", name))
    assert not list((tmp_path / "killed" / "runs").glob("*.checkpoint"))


def test_a_run_that_only_prices_takes_as_long_as_learning(tmp_path: Path) -> None:
    """Time and operations of the plan against those of a run that learns; the memory fills up meanwhile, so they differ a little."""
    learnt, priced = (
        do(scenario(frames_per_s=None, budget={"epochs": 3}, learn=learn), tmp_path / str(learn)) for learn in (True, False)
    )
    assert priced["end_s"] == pytest.approx(learnt["end_s"], rel=0.05)
    assert priced["flops"] == pytest.approx(learnt["flops"], rel=0.03)
    assert "class_il" not in priced


def test_the_estimate_is_the_closed_form_of_pricing(tmp_path: Path) -> None:
    spec = scenario(frames_per_s=None, budget={"epochs": 2}, learn=False)
    estimate = spec.program.estimate(spec.fabric)
    priced = do(spec, tmp_path / "priced")
    assert estimate is not None
    for value, metric in ((estimate.time_s, "end_s"), (estimate.energy_j, "energy_total_j"), (estimate.flops, "flops")):
        assert value == pytest.approx(priced[metric], rel=1e-9)
    assert estimate.memory_nbytes == priced["memory_nbytes"]
    assert estimate.storage_nbytes == priced["buffer_nbytes"]


def test_recalibrated_statistics_are_those_of_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After it the first layer's running mean is the mean of its outputs over all that is stored, and the pass has been paid for."""
    kept: list[Learner] = []
    once = evaluation.recalibrate

    def watched(learner: Learner) -> None:
        once(learner)
        kept.append(learner)
        maps = learner.storage.load(learner.memory().at(torch.arange(len(learner.memory()))), learner.clean)
        model = learner.net.model
        with torch.no_grad():
            assert torch.allclose(model.bn.running_mean, model.conv(maps).mean((0, 2, 3)), atol=1e-6)
        assert model.bn.momentum == 0.1

    monkeypatch.setattr(program, "recalibrate", watched)
    do(scenario(recalibrate_bn=True, frames_per_s=None), tmp_path / "run")
    assert len(kept) == 2
    assert set(frames(tmp_path / "run", "ledger")["phase"]) >= {"step", "recalibrate"}


@pytest.mark.parametrize("budget", [{"time_s": 0.4}, {"flops": 2e10}])
def test_a_budget_is_kept_to_within_a_step_for_each_task(budget: dict[str, float]) -> None:
    """Whatever a step of the method costs, and with what the memory on flash takes."""
    for method in ("er", "derpp", "sgd"):
        spec = scenario(method=method, budget=budget, frames_per_s=None, drop_last=True, buffer={"images": 20})
        estimate = spec.program.estimate(spec.fabric)
        assert estimate is not None
        spent, given = (estimate.time_s, budget["time_s"]) if "time_s" in budget else (estimate.flops, budget["flops"])
        assert 0.93 * given <= spent <= 1.005 * given


def test_a_training_that_diverges_is_told_in_one_sentence() -> None:
    """It used to end with an accuracy of chance and a loss that is no number."""
    sentence = r"^program\.lr: training resnet with sgd diverged in step \d+ at a learning rate of 1e\+30: its .*; use a lower one$"
    with pytest.raises(ScenarioError, match=sentence):
        train("sgd", lr=1e30)


def test_a_last_batch_of_one_pixel_is_found_before_a_run_begins() -> None:
    """Four stages leave a single pixel of 8x8; replay makes more of a batch, and so do maps of more pixels."""
    def asked(blocks: list[int], method: str, **more: Any) -> Scenario:
        size = scenario().program.task.load().data.train_labels.lt(5).sum().item()
        model = {"name": "resnet", "options": {"nf": 4, "blocks": blocks}}
        return scenario(task={"dataset": "digits", "model": model}, method=method, batch=size - 1, **more)

    with pytest.raises(ScenarioError, match=r"program\.batch: a task's last batch has one sample.*set program\.drop_last: true"):
        asked([1, 1, 1, 1], "sgd").check()
    asked([1, 1, 1, 1], "sgd", drop_last=True).check()
    asked([1, 1, 1, 1], "er").check()
    asked([1, 1], "sgd").check()
