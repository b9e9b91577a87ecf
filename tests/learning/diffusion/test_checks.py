"""The checks of the notes on RDD (section 9) that need no run, and laws of samplers, losses, memory and metrics."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from toolkit.datasets import digits
from toolkit.learning import diffusion
from toolkit.learning.complexity import parameters
from toolkit.learning.diffusion import inception, metrics
from toolkit.learning.diffusion.consistency import ConsistencyModel
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.features import FeatureNet, pooled, small_features, trained_features
from toolkit.learning.diffusion.losses import DistillationLoss, Terms, preset
from toolkit.learning.diffusion.memory import PixelQueue, memory_head, scrambled
from toolkit.learning.diffusion.parameterisation import predicted_eps, predicted_x, weighted_error
from toolkit.learning.diffusion.relations import class_loss, divergence, memory_loss, pixels, relation_loss
from toolkit.learning.diffusion.samplers import ddim_step, sample
from toolkit.learning.diffusion.schedule import DiffusionError, Schedule
from toolkit.learning.diffusion.targets import halving_target
from toolkit.models.unet import unet

S = Schedule()


def seeded(*names: object) -> torch.Generator:
    return diffusion.seeded_by(3, *names)


def test_1_the_schedule() -> None:
    assert len(S.alpha) == 1025
    kept = S.alpha**2
    assert float(kept[0]) == pytest.approx(0.99995978, abs=1e-8)
    for index, alpha in ((1, 0.9999574687), (256, 0.9198858215), (512, 0.7021989590), (768, 0.3794800215), (1024, 4.80805e-5)):
        assert float(S.alpha[index]) == pytest.approx(alpha, abs=1e-9)
    assert float(S.sigma[1]) == pytest.approx(0.0092228359, abs=1e-9)
    assert float(S.snr(torch.tensor(1))) == pytest.approx(11755.3, abs=0.1)
    assert float(S.snr(torch.tensor(1024))) == pytest.approx(2.31174e-9, rel=1e-5)
    assert int((kept[1:] / kept[:-1] <= 0.001 + 1e-12).sum()) == 1  # one beta is clamped


@pytest.mark.parametrize(("stride", "t", "target", "landed"), [
    (128, 8, 0.5202064254, 1.1225847372), (128, 4, 0.4762017429, 0.8046956089), (128, 2, 0.3886685617, 0.3990498577),
    (512, 2, 0.5313343522, 0.5376653912), (1, 1024, 0.5001867087, None), (1, 2, 0.4647097510, 0.7574084447),
])
def test_2_the_target_of_a_halving(stride: int, t: int, target: float, landed: float | None) -> None:
    found, z2 = halving_target(lambda z, _: z / 2, torch.ones(1, 1, 1, 1).double(), torch.tensor([stride * t]), stride, S)
    assert float(found) == pytest.approx(target, abs=1e-8)
    if landed is not None:
        assert float(z2) == pytest.approx(landed, abs=1e-8)


@pytest.mark.parametrize("steps", [1024, 64, 4, 2])
def test_3_one_step_with_the_target_lands_where_two_do(steps: int) -> None:
    stride = 1024 // steps
    t = torch.arange(2 * stride, 1025, stride if steps == 2 else 2 * stride)
    z = torch.linspace(-2, 2, len(t)).double().view(-1, 1, 1, 1)
    found, z2 = halving_target(lambda z, t: torch.sin(z + 0.001 * t.view(-1, 1, 1, 1)), z, t, stride, S)
    landed = ddim_step(found, z, S.at(t, z), S.at(t - 2 * stride, z))
    assert float((landed - z2).abs().max()) < 1e-10


def maps(values: Tensor, shape: tuple[int, ...] = (2, 4, 2, 2)) -> Tensor:
    return values.view(shape)


J = torch.arange(32, dtype=torch.float64)
STUDENT, TEACHER = maps(torch.sin(J)), maps(torch.cos(J / 2))


def test_4_the_losses() -> None:
    assert float(relation_loss(TEACHER, STUDENT)) == pytest.approx(0.18691971245, abs=1e-9)
    assert float(relation_loss(TEACHER, STUDENT, "same")) == pytest.approx(0.06861041516, abs=1e-9)
    assert float(class_loss(pooled(TEACHER), pooled(STUDENT), 0.9)) == pytest.approx(0.09227413538, abs=1e-9)
    keys = nn.functional.normalize(torch.sin(2 + 0.3 * torch.arange(24, dtype=torch.float64)).view(6, 4), dim=1)
    assert float(memory_loss(TEACHER, STUDENT, keys)) == pytest.approx(1.21973467774, abs=1e-9)


def test_4_the_symmetric_relation_is_the_plain_one() -> None:
    one, other = pixels(TEACHER), pixels(STUDENT)
    plain = torch.stack([
        divergence(one[b] @ one[d].T, other[b] @ other[d].T) for b in range(2) for d in range(2)
    ]).mean()
    assert float(relation_loss(TEACHER, STUDENT)) == pytest.approx(float(plain), abs=1e-12)


def test_5_the_head() -> None:
    assert parameters(memory_head(1920)) == 7_376_640
    assert sum(weight.numel() for weight in memory_head(1920)[0].parameters()) + 1920**2 == 7_372_800


def queue_of(**changes: int | bool) -> PixelQueue:
    settings = {"keys": 8, "per_step": 12, **changes}
    return PixelQueue(int(settings.pop("length", 40)), 6, generator=seeded("queue"), **settings)


def test_6_the_memory_is_a_ring_of_real_pixels() -> None:
    queue, drawn = queue_of(), seeded("maps")
    random_rows, seen = queue.rows.clone(), []
    for _ in range(4):  # 40 rows, 12 at a time
        batch = torch.rand(3, 6, 2, 2, generator=drawn)
        seen.append(pixels(batch).flatten(0, 1))
        before = queue.rows.clone()
        place = queue.place
        queue.put(queue.chosen(batch, drawn))
        changed = {int(row) for row in (queue.rows != before).any(1).nonzero()}
        assert changed == {(place + k) % 40 for k in range(12)}
    assert not (queue.rows[:, None] == random_rows[None]).all(-1).any()
    assert float((queue.rows.norm(dim=1) - 1).abs().max()) < 1e-6
    real = torch.cat(seen)
    assert (queue.rows[:, None] == real[None]).all(-1).any(1).all()


def test_6_what_the_published_code_stores_are_no_pixels() -> None:
    batch = torch.rand(3, 6, 2, 2, generator=seeded("maps"))
    stored, real = scrambled(batch), pixels(batch).flatten(0, 1)
    assert not (stored[:, None] - real[None]).abs().amax(-1).lt(1e-6).any()
    sources = torch.arange(18).repeat_interleave(4).view(3, 6, 2, 2).reshape(6, -1)[:, 0]
    assert (sources // 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert (sources % 6).tolist() == [0, 3, 0, 3, 0, 3]


def test_putting_in_costs_the_batch_and_not_the_ring() -> None:
    queue = queue_of(length=1000)
    rows = queue.rows
    address = rows.data_ptr()
    queue.put(torch.zeros(5, 6))
    assert queue.rows is rows
    assert queue.rows.data_ptr() == address
    assert queue.place == 5


def features() -> FeatureNet:
    return small_features(1, (4, 6), 3, seeded("features")).requires_grad_(False)


def test_7_equal_images_cost_nothing_and_only_the_student_learns() -> None:
    assert abs(float(class_loss(pooled(STUDENT), pooled(STUDENT), 1.0))) < 1e-12
    assert abs(float(relation_loss(STUDENT, STUDENT))) < 1e-12
    assert abs(float(memory_loss(STUDENT, STUDENT, pixels(TEACHER)[0]))) < 1e-12
    net = features()
    loss = DistillationLoss(preset("rdd_pd", queue=200, keys=16, per_step=16), S, net, seeded("loss"))
    teacher = nn.Parameter(torch.rand(4, 1, 8, 8))
    student = nn.Parameter(torch.rand(4, 1, 8, 8))
    total, parts = loss(student, teacher.detach(), torch.full((4,), 512), seeded("draws"))
    total.backward()
    assert set(parts) == {"pd", "cfd", "relation", "memory"}
    assert student.grad is not None
    assert teacher.grad is None
    assert all(weight.grad is None for weight in net.parameters())
    assert loss.head is not None
    assert all(weight.grad is not None for weight in loss.head.parameters())


def test_8_frechet_distances() -> None:
    diagonal = [torch.tensor(values).double() for values in ((1.0, 4.0), (9.0, 0.25))]
    means = [torch.tensor(values).double() for values in ((0.0, 1.0), (2.0, -1.0))]
    known = 8 + (1 - 3) ** 2 + (2 - 0.5) ** 2
    one, other = ((mean, torch.diag(values)) for mean, values in zip(means, diagonal, strict=True))
    assert metrics.frechet(one, other) == pytest.approx(known, abs=1e-6)
    sets = [torch.randn(300, 8, generator=seeded(k)).double() @ torch.randn(8, 8, generator=seeded(k, "m")).double() for k in range(2)]
    assert abs(metrics.distance(sets[0], sets[0])) < 1e-6
    from scipy.linalg import sqrtm

    (m1, s1), (m2, s2) = (metrics.moments(each) for each in sets)
    root = torch.from_numpy(sqrtm((s1 @ s2).numpy()).real)
    assert metrics.distance(*sets) == pytest.approx(float((m1 - m2).square().sum() + (s1 + s2 - 2 * root).trace()), abs=1e-6)
    assert metrics.floor(sets[0]) > 0


def test_kernel_distance_precision_and_recall() -> None:
    real, far = torch.randn(200, 4, generator=seeded("a")), torch.randn(200, 4, generator=seeded("b")) + 8
    near = torch.randn(200, 4, generator=seeded("c"))
    assert abs(metrics.kernel_distance(real, near)) < 0.5 < metrics.kernel_distance(real, far)
    assert metrics.precision_recall(real, real) == (1.0, 1.0)
    assert metrics.precision_recall(real, far) == (0.0, 0.0)


# Laws


def test_parameterisations_say_the_same() -> None:
    x, eps = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64, generator=seeded("x"))
    alpha, sigma = S.at(torch.tensor([1, 300, 1000]), x)
    z = alpha * x + sigma * eps
    for kind, output in (("x", x), ("eps", eps), ("v", alpha * eps - sigma * x)):
        torch.testing.assert_close(predicted_x(output, z, alpha, sigma, kind), x, atol=1e-7, rtol=0)
    torch.testing.assert_close(predicted_eps(x, z, alpha, sigma), eps)


def test_the_weights_are_what_they_are_called() -> None:
    x, target, eps = torch.randn(3, 5, 1, 2, 2, dtype=torch.float64, generator=seeded("w"))
    t = torch.tensor([100, 300, 500, 700, 900])
    alpha, sigma = S.at(t, x)
    z = alpha * target + sigma * eps
    errors = (x - target).square().flatten(1).mean(1)
    noise = (predicted_eps(x, z, alpha, sigma) - predicted_eps(target, z, alpha, sigma)).square().flatten(1).mean(1)
    assert float(weighted_error(x, target, t, S, most=math.inf)) == pytest.approx(float(torch.maximum(errors, noise).mean()))
    v = ((alpha * predicted_eps(x, z, alpha, sigma) - sigma * x) - (alpha * eps - sigma * target)).square().flatten(1).mean(1)
    assert float(weighted_error(x, target, t, S, "snr_plus_one", most=math.inf)) == pytest.approx(float(v.mean()))


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver", "ddpm", "consistency"])
def test_a_model_that_knows_the_image_gives_it(sampler: str) -> None:
    image = torch.linspace(-0.9, 0.9, 16, dtype=torch.float64).view(1, 1, 4, 4)
    noise = torch.randn(2, 1, 4, 4, generator=seeded("n")).double()
    found = sample(lambda z, t: image.expand_as(z), noise, 8, schedule=S, sampler=sampler, generator=seeded("g"))
    torch.testing.assert_close(found, image.expand_as(found), atol=0.04, rtol=0)


def test_one_step_of_the_solver_is_one_of_ddim_and_many_agree() -> None:
    def gaussian(z: Tensor, t: Tensor) -> Tensor:  # the exact answer where images are N(0.3, 0.2^2)
        alpha, sigma = S.at(t, z)
        return 0.3 + alpha * 0.04 / (alpha**2 * 0.04 + sigma**2) * (z - alpha * 0.3)

    noise = torch.randn(4, 1, 2, 2, generator=seeded("n")).double()
    one, other = (sample(gaussian, noise, 1, schedule=S, sampler=name) for name in ("ddim", "dpm_solver"))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    truth = sample(gaussian, noise, 1024, schedule=S)
    errors = {name: float((sample(gaussian, noise, 16, schedule=S, sampler=name) - truth).abs().max()) for name in ("ddim", "dpm_solver")}
    assert errors["dpm_solver"] < errors["ddim"]


def test_consistency_is_the_identity_at_its_boundary() -> None:
    z = torch.rand(2, 1, 8, 8)
    model = ConsistencyModel(unet(), S)
    torch.testing.assert_close(model(z, torch.zeros(2, dtype=torch.int64)), z / float(S.alpha[0]))


@pytest.mark.parametrize("losses", ["rdd_pd", "cd", "feature_l2"])
def test_a_stopped_distillation_goes_on_and_ends_alike(losses: str) -> None:
    images = torch.rand(20, 1, 8, 8, generator=seeded("images")) * 2 - 1
    net = trained_features(images, torch.arange(20) % 2, widths=(4, 6), steps=2)

    def ladder() -> Ladder:
        terms = preset(losses, queue=64, keys=8, per_step=16)
        return Ladder(unet(width=8, groups=4), images, terms, Stages(4, 1, 3, batch=4), schedule=S, seeded=seeded, features=net)

    whole, stopped = ladder(), ladder()
    whole.run()
    stopped.run(4)
    again = ladder()
    again.load_state_dict(stopped.state_dict())
    again.run()
    assert torch.equal(again.state.weights, whole.state.weights)
    assert torch.equal(again.student(2)(images[:2], torch.tensor([512, 512])), whole.student(2)(images[:2], torch.tensor([512, 512])))


def test_six_lines_train_sample_distil_and_save(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert diffusion.__doc__ is not None
    lines = [line.removeprefix(">>> ") for line in diffusion.__doc__.splitlines() if line.startswith(">>> ")]
    assert len(lines) == 6
    code = "\n".join(lines).replace("steps=1000", "steps=3").replace("begin=16", "steps=2, begin=16")
    exec(compile(code, "six lines", "exec"), {})
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    assert imread(tmp_path / "digits.png").shape[:2] == (4 * 71, 4 * 71)


# Bad input


IMAGES = torch.zeros(4, 1, 8, 8)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: sample(unet(), IMAGES, 3, schedule=S), "steps: 3 is no power of two"),
    (lambda: sample(unet(), IMAGES, 2048, schedule=S), "steps: 2048 are more than the schedule's 1024"),
    (lambda: Stages(6, 1), "steps: 6 is no power of two"),
    (lambda: Stages(2, 2), "steps: from 2 to 2 halves nothing"),
    (lambda: diffusion.train(torch.zeros(4, 1, 9, 9), steps=1), "images of 9x9 cannot be halved"),
    (lambda: features().maps(torch.zeros(2, 3, 8, 8)), "it looks at 1 channels, and images have 3"),
    (lambda: unet(3)(IMAGES, torch.zeros(4, dtype=torch.int64)), "images have 1 channels, and it was built for 3"),
    (lambda: trained_features(IMAGES, torch.tensor([0, 0, 2, 2])), "labels: class 1 has no image"),
    (lambda: queue_of(length=11), "queue: 11 vectors are fewer than the 12 that a step puts in"),
    (lambda: queue_of(keys=41), "keys: 41 of a queue of 40"),
    (lambda: DistillationLoss(Terms(cfd=1), S, None, seeded("l")), "need a feature network"),
    (lambda: preset("rddd"), "losses: 'rddd' is none of pd, cfd_pd"),
    (lambda: metrics.moments(torch.zeros(1, 3)), "metric: 1 samples have no covariance"),
    (lambda: queue_of().put(torch.zeros(41, 6)), "queue: 41 vectors at once are more than the 40"),
])
def test_what_cannot_be_done_is_one_sentence(make, says: str) -> None:
    from toolkit.errors import UserError

    with pytest.raises(UserError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_digits_scale_to_one() -> None:
    images, labels = diffusion.scaled(digits.load())
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert len(images) == len(labels)
    assert issubclass(DiffusionError, ValueError)


def test_kept_targets_change_no_bit_and_save_the_teacher() -> None:
    """In the first stage of a second ladder the teacher is not asked; in the next one it is its own."""
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    teacher = unet(1, generator=torch.Generator().manual_seed(1))

    def ladder(losses: str, targets: dict[tuple[int, ...], Tensor] | None) -> Ladder:
        made = Ladder(
            teacher, images, preset(losses), Stages(4, 1, 3, batch=8), schedule=S, seeded=seeded,
            targets=targets,
        )
        calls.clear()
        made.teacher.register_forward_hook(lambda *_: calls.append(1))
        made.run()
        return made

    calls: list[int] = []
    kept: dict[tuple[int, ...], Tensor] = {}
    alone = ladder("pd", None)
    assert len(calls) == 6
    ladder("pd", kept)
    assert sorted(kept) == [(0,), (1,), (2,)]
    again = ladder("pd", kept)
    assert not calls
    assert torch.equal(again.state.weights, alone.state.weights)


def test_fid_takes_the_features_of_a_network_that_the_user_names(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretended(torch.nn.Module):
        def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
            assert images.dtype == torch.uint8
            return images.float().mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = torch.jit.script(Pretended())
    made.save(str(tmp_path / "inception.pt"))
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    with pytest.raises(DiffusionError, match="TOOLKIT_INCEPTION=FILE"):
        inception.loaded()
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "none.pt"))
    with pytest.raises(DiffusionError, match="there is no file"):
        inception.loaded()
    (tmp_path / "text.pt").write_text("no network")
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "text.pt"))
    with pytest.raises(DiffusionError, match="is no TorchScript"):
        inception.loaded()
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "inception.pt"))
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    found = inception.inception_features(inception.loaded(), images)
    assert found.tolist() == [[0.0] * 3, [128.0] * 3, [255.0] * 3]
