"""What incremental detection is to show on digit scenes, as far as one run of some minutes can."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import toolkit
from toolkit.datasets.detection.scenes import scenes
from toolkit.learning import detection
from toolkit.learning.detection.inversion import InversionRecipe, generate
from toolkit.methods.detection.course import histograms
from toolkit.scenario import Scenario

SCENARIO = Path(__file__).parents[3] / "scenarios" / "egor_edge.yaml"


def values(out: Path, **changes: Any) -> pd.Series:
    result = toolkit.run(Scenario.load(SCENARIO, {"seeds": 1, "program.pictures": 0, **changes}), out=out, jobs=1)
    return result.report.set_index(["metric", "arm"])["value"].astype(float)


@pytest.mark.slow
def test_7_inversion_shows_the_teacher_what_it_looks_for() -> None:
    """Five classes, ten images of 64 pixels each, 400 iterations; the teacher has seen 600 scenes for 14 epochs.

    A prototype's detection loss fell by half between iterations 100 and 400. This one's has fallen further by iteration 100 and goes on by
    a third (0.65 to 0.67 of it are left, 0.68 with MNIST's digits); by more than half from the tenth on.
    """
    data = scenes(600, classes=(0, 1, 2, 3, 4), seed=0)
    detector = detection.fit(detection.compact_gfl(5, generator=torch.Generator().manual_seed(1)), data, epochs=14, rate=2e-3)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    made = generate(detector, histograms(data, range(5)), InversionRecipe(), np.random.default_rng(1), batch=50)
    assert made.history[399][0] <= 0.7 * made.history[99][0]
    assert made.history[399][0] <= 0.5 * made.history[9][0]
    assert made.history[399][1] <= 0.7 * made.history[99][1]
    assert made.recognised >= 0.9
    assert 0 <= float(made.images.min()) <= float(made.images.max()) <= 1
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


@pytest.mark.slow
def test_8_in_short_distillation_keeps_more_of_old_classes_than_fine_tuning(tmp_path: Path) -> None:
    found = values(tmp_path / "run", **{
        "program.data": {"kind": "scenes", "side": 96, "train": 400, "test": 100},
        "program.base": {"training": {"epochs": 12, "batch": 16, "lr": 2e-3}, "seed": 1}, "program.training": {"epochs": 3, "batch": 16},
        "program.inversion": {"per_class": 4, "iterations": 200, "at_once": 20},
        "compare": {"EGOR": {}, "fine-tune": {"program.method": "fine_tune"}},
    })
    assert all(math.isfinite(value) for value in found)
    assert {"ap_all", "ap_base", "ap_new", "ap50_all", "ap75_all"} <= set(found.index.get_level_values("metric"))
    assert found["ap_base", "EGOR"] > found["ap_base", "fine-tune"]


@pytest.mark.slow
def test_8_end_to_end(tmp_path: Path) -> None:
    """Margins are those of digits of 8 x 8 pixels, seed 1: old classes .471 before; all .373 by EGOR, .365 with noise, .276 by fine-tuning.

    ERD is not held against EGOR: it had .392 there (docs/detection.md).
    """
    arms = ("EGOR", "noise-crops", "fine-tune")
    compare = {name: Scenario.load(SCENARIO).compare[name] for name in arms}
    found = values(tmp_path / "run", compare=compare)
    assert found["ap_base@0", "EGOR"] >= 0.40
    assert found["ap_lost", "fine-tune"] >= 0.20
    assert found["ap_lost", "EGOR"] <= 0.06
    assert found["ap_all", "EGOR"] >= found["ap_all", "fine-tune"] + 0.08
    assert found["ap_all", "EGOR"] >= found["ap_all", "noise-crops"] + 0.005
