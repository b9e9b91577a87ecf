"""Distillation: nothing where student and teacher agree, and selections of known sizes."""

from __future__ import annotations

import copy

import pytest
import torch

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.distillation import Chosen, choose, kept_answers, score_term, side_divergence
from toolkit.models.detection.detector import compact_gfl


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def objects(images: int = 2) -> Targets:
    boxes = torch.tensor([[4.0, 4, 40, 40], [30.0, 10, 60, 50], [0.0, 0, 0, 0]]).expand(images, 3, 4)
    return Targets(boxes, torch.zeros((images, 3), dtype=torch.int64), torch.tensor([True, True, False]).expand(images, 3))


@pytest.mark.parametrize("select", ["topk", "elastic"])
def test_2_a_student_that_is_its_teacher_has_lost_nothing(select) -> None:
    teacher = compact_gfl(3, generator=seeded(1)).eval()
    student = copy.deepcopy(teacher)
    student.add_classes(2, seeded(2))
    student.eval()
    images = torch.rand((2, 3, 64, 64), generator=seeded(3))
    with torch.no_grad():
        taught = teacher(images)
    lost = kept_answers(student, student(images), taught, objects(), select=select, share=0.05, least=20)
    assert [float(term.detach()) for term in lost] == [0.0, 0.0, 0.0]
    torch.stack(list(lost)).sum().backward()
    assert all(weight.grad is None or bool(weight.grad.isfinite().all()) for weight in student.parameters())


def test_a_student_that_differs_has_lost_in_every_term() -> None:
    teacher, student = compact_gfl(3, generator=seeded(1)).eval(), compact_gfl(3, generator=seeded(4)).eval()
    images = torch.rand((2, 3, 64, 64), generator=seeded(3))
    with torch.no_grad():
        lost = kept_answers(student, student(images), teacher(images), objects(), select="topk", share=0.05, least=20)
    assert all(float(term) > 0 for term in lost)


def test_3_mean_and_two_deviations_choose_the_share_of_a_normal_distribution() -> None:
    values = torch.randn((1, 100_000), generator=seeded(5))
    share = float(choose(values, "elastic").valid.sum()) / 100_000
    assert share == pytest.approx(0.023, abs=0.003)


@pytest.mark.parametrize(("cells", "expected"), [(180, 50), (30, 30), (22_400, 1120)])
def test_3_topk_chooses_exactly_so_many(cells: int, expected: int) -> None:
    values = torch.randn((3, cells), generator=seeded(6))
    chosen = choose(values, "topk", share=0.05, least=50)
    assert chosen.places.shape == (3, expected)
    assert chosen.valid.all()
    assert float(values.gather(1, chosen.places).min(dim=1).values[0]) >= float(values[0].sort(descending=True).values[expected - 1])


def test_3_equal_answers_leave_nothing_to_choose_and_no_error() -> None:
    values = torch.zeros((2, 50))
    chosen = choose(values, "elastic")
    assert not chosen.valid.any()
    logits = torch.randn((2, 50, 3), generator=seeded(7), requires_grad=True)
    loss = score_term(logits, torch.zeros((2, 50, 3)), chosen)
    assert float(loss.detach()) == 0
    loss.backward()
    assert not logits.grad.any()


def test_the_score_term_by_hand() -> None:
    student, teacher = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.zeros((1, 2, 2))
    both = Chosen(torch.tensor([[0, 1]]), torch.tensor([[True, True]]))
    first = Chosen(torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
    assert float(score_term(student, teacher, both)) == pytest.approx((1 + 4 + 9 + 16) / 4)
    assert float(score_term(student, teacher, first)) == pytest.approx((1 + 4) / 2)


def test_the_divergence_of_sides_is_positive_and_grows_with_the_gap() -> None:
    teacher = torch.randn((5, 4, 9), generator=seeded(8))
    near, far = teacher + 0.1 * torch.randn((5, 4, 9), generator=seeded(9)), teacher + torch.randn((5, 4, 9), generator=seeded(9))
    assert (side_divergence(near, teacher) > 0).all()
    assert (side_divergence(far, teacher) > side_divergence(near, teacher)).all()
