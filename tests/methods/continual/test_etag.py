"""eTag: sizes and losses of the published network, what its terms are where nothing has moved, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, to_the_second_task
from tests.methods.continual.driver import make, run_plan
from toolkit.datasets.streams import Stream, split_classes
from toolkit.errors import ScenarioError
from toolkit.learning.complexity import multiply_adds, parameters
from toolkit.learning.feature_vae import FeatureVae
from toolkit.learning.flat import weights
from toolkit.learning.work import count
from toolkit.methods.continual.auxiliary_net import AuxiliaryNet, joint_labels, turned
from toolkit.methods.continual.bases import WeakBase, check_bases
from toolkit.methods.continual.etag import embedding_loss
from toolkit.methods.continual.feature_replay import ratio
from toolkit.methods.continual.settings import StreamSpec
from toolkit.methods.task import Blank
from toolkit.models.resnet import resnet18
from toolkit.simulate import main

MIB = 2**20


@pytest.fixture(scope="module")
def published() -> AuxiliaryNet:
    """ResNet-18 for 100 classes with the three heads that are distilled."""
    generator = torch.Generator().manual_seed(0)
    return AuxiliaryNet(resnet18(100), (3, 32, 32), stages=(1, 2, 3), views=4, weights=generator)


def test_sizes_are_the_published_ones(published: AuxiliaryNet) -> None:
    """Check 1 of section 9: 11.22 M, 30.52 M, 1,461,136 with 679,424 of the decoder, 43.20 M in all."""
    vae = FeatureVae(512, 100, 512, 200)
    heads = [parameters(head) for head in published.heads.values()]
    assert parameters(published.model) == 11_220_132
    assert [round(size / 1e6, 2) for size in heads] == [11.22, 10.70, 8.60]
    assert sum(heads) == pytest.approx(30.52e6, abs=5e3)
    assert parameters(vae) == 1_461_136
    assert parameters(vae.decoder) == 679_424
    assert parameters(published) + parameters(vae) == pytest.approx(43.20e6, abs=1e4)


def test_the_head_of_the_last_stage_has_a_stage_more() -> None:
    net = AuxiliaryNet(resnet18(100), (3, 32, 32), stages=(4,), views=4, weights=torch.Generator())
    assert parameters(net.heads["4"]) == pytest.approx(9.65e6, abs=5e3)


def test_bytes_that_last_are_the_published_ones(published: AuxiliaryNet) -> None:
    """Check 3: solver and decoder are 45.38 MiB; with the encoder, warm-started, and the heads of the next teacher 164.8 MiB."""
    vae = FeatureVae(512, 100, 512, 200)
    paper = 4 * (parameters(published.model) + parameters(vae.decoder)) / MIB
    honest = 4 * (parameters(published) + parameters(vae)) / MIB
    assert paper == pytest.approx(45.38, abs=0.02)
    assert honest == pytest.approx(164.8, abs=0.2)


class _Embedded(torch.nn.Module):
    def __init__(self, net: AuxiliaryNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net.plain_embed(images, (1, 2, 3))


def test_a_step_takes_13_times_that_of_fine_tuning(published: AuxiliaryNet) -> None:
    """Check 2: 555.5 M multiply-adds an image; four views through trunk and heads, three times for student and once for teacher."""
    plain = multiply_adds(published.model, (3, 32, 32))
    assert plain == pytest.approx(555.5e6, rel=0.01)
    embedded = count(_Embedded(published), (1, 3, 32, 32), training=False).weight_flops / 2
    assert 4 * (3 + 1) * embedded / (3 * plain) == pytest.approx(13.1, abs=0.2)


@pytest.mark.parametrize(("classes", "first", "tasks", "expected"), [
    (100, 50, 6, [0, 5, 6, 7, 8, 9]), (10, 4, 4, [0, 2, 3, 4]), (10, None, 5, [0, 1, 2, 3, 4]),
])
def test_rho_is_old_over_new_classes(classes: int, first: int | None, tasks: int, expected: list[float]) -> None:
    """Check 4, with uneven tasks: 5 to 9 of 50 + 10 x 5."""
    _, found, _ = begun("etag")
    found.stream = split_classes(Blank(classes=classes, train=classes, test=classes).load(), tasks, first=first)
    rhos = []
    for found.task in range(tasks):
        rhos.append(ratio(found))
    assert rhos == expected


def test_nothing_is_lost_where_nothing_has_moved() -> None:
    """Student and teacher alike: no distance in embeddings or features, and the loss is that of the classifier."""
    method, found, state = begun("etag", 2)
    to_the_second_task(method, found, state)
    batch = batch_of(found)
    views = turned(found.clean(batch.images), 4)
    with torch.no_grad():
        ours, theirs = found.net.plain_embed(views, (1,)), state.teacher.plain_embed(views, (1,))
    assert torch.equal(ours[0], theirs[0])
    assert float(embedding_loss(ours[1:], theirs[1:], 3.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(embedding_loss([ours[1] + torch.randn(ours[1].shape, generator=torch.Generator().manual_seed(0))], theirs[1:], 3.0)) > 0.01


def test_the_first_task_by_hand() -> None:
    method, found, state = begun("etag", 1, weight_decay=0.0)
    batch, twin = batch_of(found, SIZE), Twin(found)
    views = turned(twin.images(batch), 4)
    features, told = twin.net.plain_embed(views, (1,))
    expected = cross_entropy(twin.net.plain_classify(features[:SIZE])[:, :5], batch.labels)
    expected = expected + cross_entropy(told[:, :20], joint_labels(batch.labels, 4))
    before = weights(found.parameters)
    torch.testing.assert_close(method.step(found, state, batch), expected.detach())
    assert not torch.equal(before, weights(found.parameters))


def test_a_later_step_by_hand() -> None:
    method, found, state = begun("etag", 2)
    to_the_second_task(method, found, state)
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin = batch_of(found), Twin(found)
    generator = torch.Generator()
    generator.set_state(found.generator("method").get_state())
    classes = torch.randint(5, (found.batch,), generator=generator)
    noise = torch.randn((found.batch, 8), generator=generator)
    with torch.no_grad():
        made = state.vae.decode(torch.cat([noise, torch.eye(10)[classes]], 1))
        views = turned(twin.images(batch), 4)
        features, told = twin.net.plain_embed(views, (1,))
        before, said = state.teacher.plain_embed(views, (1,))
        new = cross_entropy(twin.net.plain_classify(features[:SIZE])[:, :10], batch.labels)
        old = cross_entropy(twin.net.plain_classify(made)[:, :10], classes)
        p, q = (told[:, :20] / 3).log_softmax(1), (said[:, :20] / 3).log_softmax(1)
        embedding = 9 * (q.exp() * (q - p)).sum(1).mean()
        expected = new / 2 + old / 2 + embedding + (features - before).norm()  # rho = 1
    torch.testing.assert_close(method.step(found, state, batch), expected, atol=1e-5, rtol=1e-5)


def test_teacher_generator_and_statistics_stay_as_they_are_through_a_task() -> None:
    method, found, state = begun("etag", 2)
    to_the_second_task(method, found, state)
    kept = [value.clone() for value in [*state.teacher.state_dict().values(), *state.vae.state_dict().values(), *found.net.buffers()]]
    for place in range(3):
        method.step(found, state, batch_of(found, SIZE * place))
    now = [*state.teacher.state_dict().values(), *state.vae.state_dict().values(), *found.net.buffers()]
    assert all(map(torch.equal, kept, now))


def test_rotations_and_their_labels() -> None:
    image = torch.arange(4.0).view(1, 1, 2, 2)
    four, two = turned(image, 4), turned(image, 2)
    assert four[:, 0].tolist() == [[[0, 1], [2, 3]], [[1, 3], [0, 2]], [[3, 2], [1, 0]], [[2, 0], [3, 1]]]
    assert torch.equal(two, four[::2])
    assert joint_labels(torch.tensor([0, 2]), 4).tolist() == [0, 8, 1, 9, 2, 10, 3, 11]


def test_images_that_are_not_square_are_not_turned_by_90_degrees() -> None:
    method = make("etag")
    with pytest.raises(ScenarioError, match=r"^program\.method\.rotations: 4 turns images by 90 degrees, and those of 4x8 are not square"):
        method.network(resnet18(10), (3, 4, 8), torch.Generator())


def stream_of(tasks: int, first: int | None = None) -> Stream:
    return split_classes(Blank(classes=10, train=10, test=10).load(), tasks, first=first)


def test_streams_that_give_no_base_are_told_in_a_sentence() -> None:
    with pytest.raises(ScenarioError, match=r"^program\.stream\.kind: a class returns"):
        check_bases(Stream(stream_of(1).dataset, ((0, 1), (1, 2)), (None, None)), "etag")
    with pytest.raises(ScenarioError, match=r"^program\.stream\.tasks: the first task has one class"):
        check_bases(stream_of(10), "etag")
    with pytest.warns(WeakBase, match="the first task has 2 classes and a later one 8: etag leans"):
        check_bases(stream_of(2, 2), "etag")
    with pytest.raises(ScenarioError, match=r"program\.stream\.tasks: stream: of 10 classes of blank 5 go to the first task, and 5 cannot"):
        StreamSpec(tasks=3, first=5).open(stream_of(1).dataset, torch.Generator())  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match=r"^program\.method\.heads: 3 is no stage of a network with 2 stages; use 1 to 2"):
        run_plan(make("etag", heads=[3]))


def test_a_weak_base_is_a_note_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["program.stream.first=2", "program.stream.tasks=2", "compare={fine-tune: {program.method: fetril}}"]
    assert main(["scenarios/etag_edge.yaml", "--check", "--quiet", *(word for each in settings for word in ("--set", each))]) == 0
    assert capsys.readouterr().err == (
        "note: program.stream: the first task has 2 classes and a later one 8: fetril leans on the features of a strong first task\n"
    )
