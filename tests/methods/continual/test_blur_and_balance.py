"""Streams whose borders blur, and memories of as many samples of each class, through the program."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from tests.methods.continual.driver import NAMES, make, opening, program, run_plan, train
from toolkit.cluster.fabric import Cluster
from toolkit.errors import ScenarioError
from toolkit.methods.continual import Batch

BLURRED = {"stream": {"tasks": 2, "blur": 0.3}}
BALANCED = {"buffer": {"images": 20, "equal": "samples", "choice": "balanced"}}
BLUR = [name for name in NAMES if make(name).blurs]
INSERT = [name for name in NAMES if make(name).inserts]


def test_who_can() -> None:
    """All hosts of CLFD, CLFD and HAL leave the choice to the memory; whoever needs no new classes learns without borders."""
    assert {"er", "der", "derpp", "er_ace", "cls_er", "e2net", "hal", "clfd-er", "clfd-e2net"} <= set(INSERT)
    assert {"er", "der", "derpp", "er_ace", "cls_er", "e2net", "gss", "gem", "a_gem", "fdr", "si", "oewc", "sgd", "joint"} <= set(BLUR)


@pytest.mark.parametrize("name", BLUR)
def test_methods_learn_without_borders_and_go_on_when_stopped(name: str) -> None:
    run = train(name, **BLURRED, save_every=5)
    assert torch.isfinite(run.weights).all()
    assert all(0 <= value <= 1 for value in run.context.values("examined:class_il"))
    assert not torch.equal(run.weights, train(name).weights)
    first = min(1, len(run.context.saves) - 1)
    assert torch.equal(train(name, **BLURRED, save_every=5, resume=run.context.saves[first]).weights, run.weights)


@pytest.mark.parametrize("name", ["er", "derpp", "gem", "si"])
def test_what_is_charged_without_borders_is_what_was_planned(name: str) -> None:
    plan, context = run_plan(make(name), **BLURRED), train(name, **BLURRED).context
    for task in range(2):
        charged, planned = context.work[task, "step"], plan.plan(task).work("step")
        assert task == 0 or math.isclose(charged.flops, planned.flops, rel_tol=0.01)
        assert context.counts[task, "step"] == plan.step_count(task, None).steps


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BLUR)))
def test_who_needs_sharp_borders_is_refused(name: str) -> None:
    wants = r"program\.stream\.blur: \w+ takes a task's classes for new ones and needs sharp borders; leave it out"
    with pytest.raises(ScenarioError, match=wants):
        program(make(name), **BLURRED).check(Cluster(workers=1))


def test_only_streams_of_classes_blur() -> None:
    with pytest.raises(ValueError, match="blur: every task of kind rotated has every class already; leave it out"):
        program(make("er"), stream={"tasks": 2, "kind": "rotated", "blur": 0.1})
    with pytest.raises(ScenarioError, match=r"program\.stream\.tasks: stream: one task has no borders to blur"):
        program(make("er"), stream={"tasks": 1, "blur": 0.1}).check(Cluster(workers=1))


@pytest.mark.parametrize("name", INSERT)
def test_a_balanced_memory_has_as_many_of_each_class(name: str) -> None:
    run = train(name, **BALANCED, save_every=5)
    buffer = run.saved["learner"]["buffer"]
    labels = buffer["labels"][: buffer["size"]].tolist()
    counts = Counter(labels)
    if name not in {"e2net", "clfd-e2net"}:  # which offer little of what comes late
        assert len(counts) == 10
        assert max(counts.values()) - min(counts.values()) <= 1
    middle = run.context.saves[len(run.context.saves) // 2]
    assert torch.equal(train(name, **BALANCED, save_every=5, resume=middle).weights, run.weights)
    plain = {"buffer": {**BALANCED["buffer"], "choice": "reservoir"}}
    assert run_plan(make(name), **BALANCED).buffer_bytes == run_plan(make(name), **plain).buffer_bytes


@pytest.mark.parametrize("name", ["er", "derpp", "clfd-er"])
def test_traffic_of_a_balanced_memory_is_what_was_planned(name: str) -> None:
    """Of ten runs together, as that of a reservoir: what it takes in is an expectation."""
    plans = run_plan(make(name), **BALANCED)
    planned = sum(plans.plan(task).written_bytes("step", "begin task", "end task") for task in range(2))
    charged = [train(name, seed, **BALANCED).context.written_bytes for seed in range(10)]
    assert math.isclose(sum(charged) / len(charged), planned, rel_tol=0.1)


@pytest.mark.parametrize("name", [name for name in NAMES if make(name).replays and not make(name).inserts])
def test_who_chooses_what_it_keeps_is_refused_a_balanced_memory(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"program\.buffer\.choice: \w+ chooses itself which samples it keeps; leave it out"):
        program(make(name), **BALANCED).check(Cluster(workers=1))


def test_labels_are_told_whatever_they_are() -> None:
    """The learner hands over the labels of the batch: a memory of one place each for ten classes has them all."""
    learner, _ = opening(make("er"), buffer={"images": 10, "equal": "samples", "choice": "balanced"})
    assert learner.memory().balance is not None
    for task in range(2):
        samples = learner.stream.train(task)
        learner.insert(Batch(samples.images, samples.labels, torch.arange(len(samples))))
    assert sorted(learner.memory().labels.tolist()) == list(range(10))
