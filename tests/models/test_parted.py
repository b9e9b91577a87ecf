"""Networks in two parts: the same scores as the whole, and a sentence where there is no such parting."""

from __future__ import annotations

import copy
import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.methods.model_spec import ModelSpec
from toolkit.models import ModelError
from toolkit.models.installed import library_builder
from toolkit.models.lenet import lenet5
from toolkit.models.parted import Parted, in_parts
from toolkit.models.resnet import resnet
from toolkit.models.vgg import vgg16


class Own(nn.Module):
    """A user's network: names that say nothing, and an auxiliary linear layer."""

    def __init__(self, end: Any = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.between = nn.Linear(16, 8)
        self.out = nn.ModuleDict({"scores": nn.Linear(8, 5)})
        self.end = end

    def pooled(self, images: Tensor) -> Tensor:
        return self.between(self.stem(images)).relu()

    def forward(self, images: Tensor) -> Tensor:
        scores = self.out["scores"](self.pooled(images))
        return scores if self.end is None else self.end(scores)


@pytest.mark.parametrize(("make", "shape"), [
    (Own, (3, 9, 9)), (lambda: vgg16(5), (3, 32, 32)), (lambda: vgg16(5, hidden=8), (3, 32, 32)), (lambda: lenet5(5), (1, 28, 28)),
])
def test_two_parts_give_the_scores_of_the_whole(make: Any, shape: tuple[int, ...]) -> None:
    whole = make().eval()
    parted = in_parts(copy.deepcopy(whole), shape)
    images = torch.randn((3, *shape), generator=torch.Generator().manual_seed(1))
    assert isinstance(parted, Parted)
    assert parted.classifier.out_features == 5
    assert parted.features(images).shape == (3, parted.classifier.in_features)
    torch.testing.assert_close(parted(images), whole(images))
    assert sum(w.numel() for w in parted.parameters()) == sum(w.numel() for w in whole.parameters())


def test_parts_may_be_named_and_own_networks_of_the_package_stay() -> None:
    kept = resnet(5)
    assert in_parts(kept, (3, 8, 8)) is kept
    whole = Own().eval()
    named = in_parts(copy.deepcopy(whole), (3, 9, 9), features="pooled", classifier="out.scores")
    images = torch.randn((3, 3, 9, 9))
    torch.testing.assert_close(named.features(images), whole.pooled(images))  # type: ignore[operator]
    torch.testing.assert_close(named(images), whole(images))


@pytest.mark.parametrize(("model", "settings", "match"), [
    (Own(lambda scores: scores.log_softmax(1)), {}, "come from LogSoftmax, not from a linear layer"),
    (Own(lambda scores: scores.log_softmax(1)), {"classifier": "out.scores"}, "does not give its scores"),
    (Own(), {"classifier": "between"}, "does not give its scores|cannot be parted at between"),
    (Own(), {"classifier": "head"}, r"classifier 'head' is not one of its linear layers \(between, out.scores\)"),
    (Own(), {"features": "nothing"}, "features 'nothing' is no module or method"),
    (Own(), {"features": "stem"}, "cannot be parted at out.scores"),
    (nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), {}, "not from a linear layer"),
    (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), {}, "does not take images of 3 x 9 x 9"),
])
def test_what_cannot_be_parted_is_refused_in_one_sentence(model: nn.Module, settings: dict[str, str], match: str) -> None:
    with pytest.raises(ModelError, match=match) as told:
        in_parts(copy.deepcopy(model), (3, 9, 9), **settings)
    assert "\n" not in str(told.value)


class PooledBetween(nn.Module):
    """Named as ours are, but its features are maps that it pools by itself, as DenseNets often do."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3)
        self.classifier = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).relu().mean((2, 3)))


def test_names_alone_do_not_make_parts() -> None:
    whole = PooledBetween().eval()
    parted = in_parts(copy.deepcopy(whole), (3, 8, 8))
    images = torch.randn((3, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    assert isinstance(parted, Parted)
    assert parted.features(images).shape == (3, 6)
    torch.testing.assert_close(parted(images), whole(images))


LIBRARY = [
    *(("torchvision", name) for name in ("resnet18", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_5", "regnet_y_400mf")),
    *(("timm", name) for name in ("resnet18", "efficientnet_lite0", "convnext_atto", "edgenext_xx_small", "regnetx_002", "tinynet_e")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), LIBRARY)
def test_networks_of_libraries_are_parted(library: str, name: str) -> None:
    pytest.importorskip(library, exc_type=Exception)
    whole = library_builder(library, name)(num_classes=7).eval()
    parted = in_parts(copy.deepcopy(whole), (3, 64, 64))
    images = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(parted(images), whole(images))


def test_a_library_is_asked_by_name_with_what_the_data_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create(name: str, **options: Any) -> nn.Module:
        asked.append((name, options))
        return resnet(options["num_classes"], in_channels=3)

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create))
    spec = ModelSpec(name="timm:tinynet_e", options={"drop_rate": 0.1})
    spec.build(torch.Generator().manual_seed(0), num_classes=4, in_channels=1, image_size=8)
    assert asked == [("tinynet_e", {"num_classes": 4, "in_chans": 1, "drop_rate": 0.1})]
