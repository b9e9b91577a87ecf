"""Weights from elsewhere: what other code calls its tensors goes where it belongs, and what does not fit is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from toolkit.methods.model_spec import ModelSpec, WeightsTaken
from toolkit.models import ModelError
from toolkit.models.hcgnet import hcgnet
from toolkit.models.resnet import resnet18
from toolkit.models.resnet_cifar import resnet20
from toolkit.models.weights import load_weights, put


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def answers(model: nn.Module, shape: tuple[int, ...] = (2, 3, 16, 16)) -> Tensor:
    with torch.no_grad():
        return model.eval()(torch.randn(shape, generator=seeded(9)))


def published_resnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the usual residual networks for CIFAR, saved from behind a DataParallel."""
    def named(name: str) -> str:
        name = re.sub(r"^stages\.(\d)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
        name = re.sub(r"^conv\.", "conv1.", re.sub(r"^bn\.", "bn1.", name))
        return "module." + name.replace("classifier.", "linear.")
    return {named(name): tensor for name, tensor in state.items()}


def published_resnet20(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for networks of three stages with three blocks each, whose blocks are counted through here."""
    def named(name: str) -> str:
        return re.sub(r"^blocks\.(\d)\.", lambda match: f"stages.{int(match[1]) // 3}.{int(match[1]) % 3}.", name)
    return published_resnet({named(name): tensor for name, tensor in state.items()})


def published_hcgnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the authors' code: gates by 1x1 convolutions, the two halves of the selection apart."""
    cells = {
        "reduce": "conv1_1x1", "squeeze": "conv2_3x3", "fusion.near": "conv_3x3", "fusion.far": "conv_5x5",
        "fusion.near_pooling.score": "global_context3x3", "fusion.far_pooling.score": "global_context5x5", "fusion.update.squeeze": "fcall",
        "fusion.update.norm": "bn_attention", "fusion.forget.pooling.score": "global_forget_context", "fusion.forget.norm": "bn_forget",
        "fusion.forget.squeeze": "fc1", "fusion.forget.excite": "fc2",
    }
    found = {}
    for name, tensor in state.items():
        cell = re.match(r"layers\.(\d+)\.(?:(\d+)\.)?(.*)\.(weight|bias|running_mean|running_var|num_batches_tracked)$", name)
        if cell is None:
            found[name.replace("stem.", "features.conv0.").replace("norm.", "features.norm5.")] = tensor
            continue
        layer, place, inner, what = int(cell[1]), cell[2], cell[3], cell[4]
        where = f"features.HybridBlock{layer // 3 + 1}.SMG{int(place) + 1}" if place else f"features.Transition{(layer + 2) // 3}"
        if inner == "fusion.update.select":
            for half, part in zip(("fc3x3", "fc5x5"), tensor.chunk(2), strict=True):
                found[f"{where}.{half}.{what}"] = part[:, :, None, None] if what == "weight" else part
            continue
        head, _, tail = inner.rpartition(".")
        known = f"{cells[inner]}" if inner in cells else f"{cells[head]}.{tail}"
        found[f"{where}.{known}.{what}"] = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
    return found


def trained(model: nn.Module) -> nn.Module:
    """Statistics and scales that are not those of a new network."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=seeded(len(name))))
    return model


@pytest.mark.parametrize(("make", "published", "says"), [
    (lambda seed, classes=10: resnet18(classes, nf=4, generator=seeded(seed)), published_resnet, "conv1.weight → conv.weight"),
    (lambda seed, classes=10: resnet20(classes, generator=seeded(seed)), published_resnet20, "layer1.0.conv1.weight → blocks.0."),
    (lambda seed, classes=10: hcgnet(classes, in_channels=3, generator=seeded(seed)), published_hcgnet, "features.conv0.weight → stem"),
])
def test_published_names_go_where_they_belong(make, published, says: str, tmp_path: Path) -> None:
    theirs, ours = trained(make(1)), make(2)
    save_file({name: tensor.contiguous() for name, tensor in published(theirs.state_dict()).items()}, tmp_path / "w.safetensors")
    told = load_weights(ours, tmp_path / "w.safetensors")
    assert says in told
    assert torch.equal(answers(ours), answers(theirs))
    other = make(2, 7)
    before = other.classifier.weight.clone()
    assert "classifier is for other classes and stays as drawn" in put(other, published(theirs.state_dict()), "w")
    assert torch.equal(other.classifier.weight, before)
    assert torch.equal(other.eval().features(torch.ones(2, 3, 16, 16)), theirs.eval().features(torch.ones(2, 3, 16, 16)))


def test_own_names_need_no_mapping() -> None:
    theirs, ours = resnet18(nf=4, generator=seeded(1)), resnet18(nf=4, generator=seeded(2))
    assert "by their own names" in put(ours, theirs.state_dict(), "w")
    assert torch.equal(answers(ours), answers(theirs))


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights w: \d+ of \d+ do not fit; conv\.weight \(4x3x3x3\) is 8x3x3x3 there"):
        put(resnet18(nf=4), resnet18(nf=8).state_dict(), "w")
    with pytest.raises(ModelError, match=r"conv\.weight \(4x3x3x3\) is not there"):
        put(resnet18(nf=4), {"x": torch.zeros(3)}, "w")
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read as a safetensors file"):
        load_weights(resnet18(nf=4), tmp_path / "no.safetensors")


def test_a_scenario_names_the_file_beside_it(tmp_path: Path) -> None:
    theirs = resnet18(nf=4, generator=seeded(1))
    save_file(theirs.state_dict(), tmp_path / "beside.safetensors")
    tree = {"name": "resnet18", "options": {"nf": 4}, "weights": "beside.safetensors"}
    spec = ModelSpec.model_validate(tree, context={"base": tmp_path})
    with pytest.warns(WeightsTaken, match="beside.safetensors: .* taken"):
        model = spec.build(seeded(3), num_classes=10, in_channels=3, image_size=16)
    assert torch.equal(answers(model), answers(theirs))
    assert ModelSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_name_alone_is_a_network() -> None:
    assert ModelSpec.model_validate("resnet20") == ModelSpec.model_validate({"name": "resnet20"})
    with pytest.raises(ValueError, match="'resnet2' is not a model; did you mean"):
        ModelSpec.model_validate("resnet2")
