"""Training on one machine: what it costs is what was counted, and stopping changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from toolkit.core.device import Device
from toolkit.core.local import LocalContext, run_local
from toolkit.core.streams import Streams
from toolkit.core.work import Work
from toolkit.learning.meter import Meter
from toolkit.learning.work import count
from toolkit.methods.training.costs import count_update, sizes_in_use, updated, work_in_use, work_of_step
from toolkit.methods.training.program import Training
from toolkit.methods.training.recipe import Recipe
from toolkit.models.condensenet import condensenet
from toolkit.scenario import Scenario
from toolkit.sweep import run

pytestmark = pytest.mark.usefixtures("undrawn_module")

SCENARIOS = Path(__file__).parents[3] / "scenarios"
TINY = {"name": "resnet", "options": {"nf": 4, "blocks": [1]}}
BASE: dict[str, Any] = {
    "task": {"dataset": "digits", "model": TINY}, "recipe": {"epochs": 2, "batch": 256, "first_epochs": 2, "lr": 0.2, "crop_padding": 1},
}


def program(**changes: Any) -> Training:
    return Training.model_validate({**BASE, **changes})


def scenario(**changes: Any) -> Scenario:
    tree = {
        "name": "training", "seed": 1, "seeds": 1, "fabric": {"type": "cluster", "workers": 1, "device": "raspberry_pi_5"},
        "program": {"type": "training", **BASE, **changes}, "compare": {"one": {}},
    }
    return Scenario.build(tree, SCENARIOS)


class Stopping(LocalContext):
    """A machine that remembers what was kept, and may be switched off after the first time."""

    kept: Any = None
    stop = False

    def save(self, step: int, state: Any) -> None:
        self.kept = state
        if self.stop:
            raise KeyboardInterrupt

    def saved(self) -> Any:
        return self.kept


def context(kept: Any = None, stop: bool = False) -> Stopping:
    made = Stopping.__new__(Stopping)
    made.rank = made.node = 0
    made.size, made.servers, made.metrics, made._streams = 1, 0, [], Streams(5)
    made.kept, made.stop = kept, stop
    return made


def drive(part: Training, ctx: LocalContext) -> None:
    for _ in part.run(ctx):
        pass


# what is learnt


def test_it_learns() -> None:
    model = {"name": "resnet", "options": {"nf": 8, "blocks": [1]}}
    recipe = {"epochs": 4, "batch": 64, "first_epochs": 4, "lr": 0.2, "lr_by": "step"}
    metrics = run_local(program(task={"dataset": "digits", "model": model}, recipe=recipe).run, 1, 3)[0].metrics
    accuracies = [metric.value for metric in metrics if metric.name == "test_accuracy"]
    losses = [metric.value for metric in metrics if metric.name == "train_loss"]
    assert accuracies[0] < 0.3
    assert accuracies[-1] > 0.7
    assert len(losses) == 4
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("model", [TINY, {"name": "condensenet", "options": {"growth": [4, 4], "blocks": [1, 1]}},
                                   {"name": "hcgnet", "options": {"growth": [4, 4], "blocks": [1, 1]}}])
def test_a_training_that_was_stopped_ends_with_the_same_numbers(model: dict[str, Any]) -> None:
    recipe = {**BASE["recipe"], "mixup": 0.5, "cutout": 2, "flip": True, "label_smoothing": 0.1, "drop_block": 0.2}
    part = program(task={"dataset": "digits", "model": model}, recipe=recipe)
    whole, stopped = context(), context(stop=True)
    drive(part, whole)
    with pytest.raises(KeyboardInterrupt):
        drive(part, stopped)
    resumed = context(kept=stopped.kept)
    drive(part, resumed)
    names = ("test_loss", "test_accuracy", "train_loss")
    after = [(metric.name, metric.step, metric.value) for metric in whole.metrics if metric.name in names and metric.step >= 5]
    again = [(metric.name, metric.step, metric.value) for metric in resumed.metrics if metric.name in names]
    assert [row[:2] for row in after] == [("train_loss", 5), ("test_loss", 5), ("test_accuracy", 5), ("train_loss", 10),
                                          ("test_loss", 10), ("test_accuracy", 10)]
    assert again == after[1:]
    assert torch.equal(whole.kept["weights"], resumed.kept["weights"])


def test_an_update_is_torchs_sgd() -> None:
    for settings in ({}, {"nesterov": False}, {"momentum": 0.0, "nesterov": False}, {"weight_decay": 0.0}):
        recipe = Recipe.model_validate(settings)
        weights, momentum = torch.randn(50, generator=torch.Generator().manual_seed(1)), torch.zeros(50)
        theirs = nn.Parameter(weights.clone())
        optimiser = torch.optim.SGD(
            [theirs], 0.1, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov and recipe.momentum > 0
        )
        for step in range(3):
            gradient = torch.randn(50, generator=torch.Generator().manual_seed(step + 2))
            theirs.grad = gradient.clone()
            optimiser.step()
            updated(weights, gradient.clone(), momentum, 0.1, recipe)
        torch.testing.assert_close(weights, theirs.detach())


def test_the_lasso_of_a_condensenet_is_part_of_its_loss() -> None:
    task = {"dataset": "digits", "model": {"name": "condensenet", "options": {"growth": [4, 4], "blocks": [1, 1]}}}
    ends = []
    for weight in (0.0, 1.0):
        ctx = context()
        drive(program(task=task, recipe={**BASE["recipe"], "epochs": 1, "group_lasso": weight}), ctx)
        ends.append(ctx.kept["weights"])
    assert float(ends[1].abs().sum()) < float(ends[0].abs().sum())


# what it costs


@pytest.mark.usefixtures("drawn")
def test_times_and_energies_are_those_of_the_counted_work(tmp_path: Path) -> None:
    arm = scenario()
    result = run(arm, out=tmp_path / "run")
    report = result.report.set_index("metric")["value"]
    part: Any = arm.program
    device = Device(profile="raspberry_pi_5")
    step_s = device.duration_s(work_of_step(part.task, part.recipe))
    assert report["training_s"] == pytest.approx(10 * step_s)  # two epochs of 1,442 // 256
    assert report["training_j"] == pytest.approx(10 * step_s * device.busy_w)
    for batch in (1, 32):
        latency_s = device.duration_s(work_in_use(part.task, batch)) / batch
        assert report[f"latency_s@{batch}"] == pytest.approx(latency_s)
        assert report[f"energy_j@{batch}"] == pytest.approx(latency_s * device.busy_w)
    assert report["accuracy_per_ms"] == pytest.approx(report["final_accuracy"] / (1e3 * report["latency_s@1"]))
    phases = result.ledger[result.ledger["kind"] == "compute"]["phase"].astype(str).value_counts()
    assert phases.to_dict() == {"gradient": 10, "inference_1": 355, "inference_32": 11}


def test_every_kernel_of_an_inference_is_paid_for() -> None:
    part = program()
    model = part.task.load().build(torch.Generator().manual_seed(0))
    counted = count(model, (1, 1, 8, 8), training=False)
    work = work_in_use(part.task, 1)
    assert 1 + work.launches == counted.kernels
    slow = Device(overhead_s=1.0, peak_flops_per_s=1e30, memory_bytes_per_s=1e30)
    assert slow.duration_s(work) == pytest.approx(counted.kernels)


def test_a_run_priced_again_pays_for_its_kernels(tmp_path: Path) -> None:
    from toolkit.recost import main

    run(scenario(), out=tmp_path / "run")
    assert main([str(tmp_path / "run"), "--set", "fabric.device=jetson_orin_nx", "--out", str(tmp_path / "again"), "--quiet"]) in (0, None)
    again = pd.read_csv(tmp_path / "again" / "report.csv").set_index("metric")["value"]
    work = work_in_use(program().task, 1)
    assert again["latency_s@1"] == pytest.approx(Device(profile="jetson_orin_nx").duration_s(work))


def test_the_work_of_an_update_by_hand() -> None:
    meter = Meter()
    count_update(meter, 10, Recipe(weight_decay=0.0, nesterov=False))
    assert meter.take() == Work(40, 200, 120, 3)  # m u; + g; w - lr u


def test_the_estimate_is_what_a_run_takes(tmp_path: Path) -> None:
    arm = scenario()
    result = run(arm, out=tmp_path / "run")
    estimate = arm.program.estimate(arm.fabric)
    assert estimate is not None
    computed = result.ledger[result.ledger["kind"] == "compute"]
    assert estimate.flops == pytest.approx(computed["flops"].sum())
    assert estimate.moved_nbytes == pytest.approx(computed["nbytes"].sum())
    assert estimate.time_s == pytest.approx(computed["dur_s"].sum())
    assert estimate.time_s * Device(profile="raspberry_pi_5").busy_w == pytest.approx(estimate.energy_j)


def test_a_condensenet_is_used_condensed() -> None:
    options = {"growth": [4, 8], "blocks": [1, 1]}
    part = program(task={"dataset": "digits", "model": {"name": "condensenet", "options": options}})
    dense = condensenet(in_channels=1, growth=(4, 8), blocks=(1, 1))
    size = sum(weight.numel() for weight in dense.parameters())
    learned = sum(layer.weight.numel() for layer in dense.learned())
    assert sizes_in_use(part.task)["parameters"] == size - learned * 3 // 4


# the recipe


def test_images_and_targets_are_prepared_by_name_and_step() -> None:
    recipe = Recipe(crop_padding=1, flip=True, mixup=1.0, label_smoothing=0.1, cutout=2)
    images, labels = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    black = torch.full((1, 1, 1), -0.5)

    def fresh(*name: object) -> np.random.Generator:
        return Streams(3).shared(*name)

    first, again, other = (recipe.prepared(images, labels, black, 10, fresh, step) for step in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    torch.testing.assert_close(first[1].sum(1), torch.ones(6))
    plain, targets = Recipe().prepared(images, labels, black, 10, fresh, 0)
    assert plain is images
    assert torch.equal(targets.argmax(1), labels)


def test_rates_follow_epochs_or_steps() -> None:
    by_epoch, by_step = Recipe(first_epochs=4, drop_block=0.1), Recipe(first_epochs=4, lr_by="step")
    assert by_epoch.lr_at(0, 10) == by_epoch.lr_at(9, 10) == 0.1
    assert by_step.lr_at(20, 10) == pytest.approx(0.05)
    assert by_epoch.drop_at(0, 10) == 0.0
    assert by_epoch.drop_at(20, 10) == pytest.approx(0.05)
    assert by_step.drop_at(20, 10) == 0.0


@pytest.mark.parametrize(("change", "sentence"), [
    ({"fabric.workers": 2}, "training runs on 1 machine"), ({"program.recipe.batch": 2000}, "the training set has 1442"),
    ({"program.recipe.crop_padding": 9}, "images have sides of 8"), ({"program.inference_batches": [0]}, "at least 1 image"),
])
def test_mistakes_get_a_sentence(change: dict[str, Any], sentence: str) -> None:
    from toolkit.errors import ScenarioError

    with pytest.raises(ScenarioError, match=sentence):
        Scenario.load(SCENARIOS / "hcgnet_edge.yaml", change).check()


def test_a_training_that_diverges_is_told_in_one_sentence() -> None:
    from toolkit.errors import ScenarioError

    with pytest.raises(ScenarioError, match=r"program\.recipe\.lr: training resnet diverged in step"):
        drive(program(recipe={**BASE["recipe"], "lr": 1e30}), context())
