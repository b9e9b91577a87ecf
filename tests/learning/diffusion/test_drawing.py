"""What is learnt from: mirrored images, labels that stay with theirs, and a base that can be stopped."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.learning.diffusion.base import BaseRecipe, BaseTraining
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.drawing import Images, told
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.models.unet import unet

S = Schedule()


def seeded(*names: object) -> torch.Generator:
    return torch.Generator().manual_seed(hash(str(names)) % 2**31)


def pictures(count: int = 40) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_half_are_mirrored_and_labels_stay_with_their_images() -> None:
    images, labels = pictures(), torch.arange(40)
    x, y = Images(images, labels, flip=True).draw(4000, torch.Generator().manual_seed(1))
    assert y is not None
    plain, mirrored = ((x == theirs).flatten(1).all(1) for theirs in (images[y], images[y].flip(-1)))
    assert bool((plain ^ mirrored).all())
    assert abs(int(mirrored.sum()) - 2000) < 4 * 1000**0.5  # four standard deviations
    again, none = Images(images).draw(4000, torch.Generator().manual_seed(1))
    assert none is None
    assert torch.equal(again, images[y])


def test_a_share_is_drawn_from_alone() -> None:
    share = torch.tensor([3, 5, 8])
    _, y = Images(pictures(), torch.arange(40)).draw(100, torch.Generator().manual_seed(1), share)
    assert y is not None
    assert sorted(set(y.tolist())) == share.tolist()


def test_a_stopped_base_goes_on_and_ends_alike() -> None:
    def begun() -> BaseTraining:
        drawn = Images(pictures(), torch.arange(40) % 3, flip=True)
        network = unet(width=8, groups=4, classes=3, generator=torch.Generator().manual_seed(1))
        return BaseTraining(network, drawn, BaseRecipe(7, 8, 1e-2, warmup=2), schedule=S, seeded=seeded)

    whole, halfway = begun(), begun()
    made = whole.run()
    for _ in range(3):
        halfway.take_step()
    resumed = begun()
    resumed.load_state_dict(halfway.state_dict())
    steps: list[int] = []
    again = resumed.run(steps.append)
    assert steps == [4, 5, 6, 7]
    assert all(torch.equal(one, other) for one, other in zip(made.parameters(), again.parameters(), strict=True))


def test_a_network_that_is_told_the_class_samples_it() -> None:
    """Class 0 is black and class 1 white: after a short training samples are as they were asked for, the student's in one step too."""
    labels = torch.arange(64) % 2
    images = (labels.float() * 1.6 - 0.8)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    drawn = Images(images, labels)
    network = unet(width=8, groups=4, classes=2, generator=torch.Generator().manual_seed(1))
    teacher = BaseTraining(network, drawn, BaseRecipe(150, 16, 5e-3), schedule=S, seeded=seeded).run()
    ladder = Ladder(teacher, drawn, preset("pd"), Stages(2, 1, 20, batch=16), schedule=S, seeded=seeded)
    ladder.run()
    asked = torch.tensor([0, 1] * 8)
    noise = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    for model, steps in ((teacher, 4), (ladder.student(1), 1)):
        brightness = sample(model, noise, steps, schedule=S, labels=asked).mean((1, 2, 3))
        assert float(brightness[asked == 1].min()) > 0.3
        assert float(brightness[asked == 0].max()) < -0.3


def test_told_without_labels_is_the_network_itself() -> None:
    network = unet(width=8, groups=4)
    assert told(network, None) is network
