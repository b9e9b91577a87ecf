"""What lasts between tasks, as papers count and as a device must, and which part of a method a step's operations belong to."""

from __future__ import annotations

import pytest

from tests.methods.continual.by_hand import SIZE, batch_of, begun, to_the_second_task
from tests.methods.continual.driver import NAMES, make, run_plan
from toolkit.learning.complexity import parameters
from toolkit.methods.continual.keeping import kept_by
from toolkit.methods.continual.wide_net import Prototypes


def test_etag_keeps_heads_and_encoder_that_papers_leave_out() -> None:
    method, found, state = begun("etag", 1)
    method.end_task(found, state)
    kept = kept_by(method, found, state)
    heads, vae = parameters(found.net.heads), parameters(state.vae)
    assert kept.uplink_nbytes == 4 * parameters(state.vae.decoder)
    assert kept.kept_paper_nbytes == 4 * parameters(found.net.model) + kept.uplink_nbytes
    assert kept.kept_nbytes == 4 * (parameters(found.net.model) + heads + vae)
    assert kept.class_nbytes == 0
    method.begin_task(found, state)  # a teacher lasts through a task, not between two
    method.end_task(found, state)
    assert kept_by(method, found, state) == kept


@pytest.mark.parametrize(("name", "numbers"), [("pass_il", 8), ("ssre", 8), ("fetril", 8), ("il2a", 8 + 64), ("lwf", 0), ("ewc", 0)])
def test_what_a_further_class_adds(name: str, numbers: int) -> None:
    """A mean of 8 features, with its covariance 8 x 8; methods that hold weights or answers keep nothing of a class."""
    method, found, state = begun(name, 1)
    assert kept_by(method, found, state).class_nbytes == 4 * numbers
    if isinstance(state, Prototypes):
        whole = state.means.numel() + state.spread.numel()
        assert 4 * whole == pytest.approx(4 * numbers * found.num_classes, abs=4)


def test_samples_in_the_memory_are_kept() -> None:
    method, found, state = begun("er", 2)
    memory = found.memory()
    assert kept_by(method, found, state).kept_nbytes == 4 * found.net.size + len(memory) * memory.sample_nbytes
    assert len(memory) > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name in {"etag", "gfr", "pass_il", "abd", "ssre", "muc", "lwf_mc", "sgd"}])
def test_the_parts_of_a_step_are_the_whole(name: str) -> None:
    plan = run_plan(make(name)).plan(1)
    first = next(plan.of("step"))
    assert sum(plan.step_parts.values()) == pytest.approx(first.each.work.flops, rel=1e-12)
    assert plan.step_parts["network"] > 0
    assert ("teacher" in plan.step_parts) == (name != "sgd")
    assert ("generator" in plan.step_parts) == (name in {"etag", "gfr", "abd"})


def test_a_teacher_takes_a_third_of_what_its_student_does() -> None:
    """Forward alone, against forward and back; of the student's the classifier meets generated features too."""
    method, found, state = begun("etag", 1)
    to_the_second_task(method, found, state)
    found.meter.take_parts()
    method.step(found, state, batch_of(found, SIZE))
    parts = found.meter.take_parts()
    assert parts["teacher"] == pytest.approx(parts["network"] / 3, rel=0.12)
