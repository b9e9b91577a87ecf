"""What is built today can be cut, and what is cut answers as the whole does with these units silenced."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.learning.pruning.modern import CASES, IMAGES, ROWS, Encoder, Grouping, Language, Next, Own
from tests.learning.pruning.networks import VIEWS, Grouped, Repeated, Sides, Viewed, lived_in, random_mask, seeded
from toolkit.learning.pruning.attention import CutAttention
from toolkit.learning.pruning.costs import Costs
from toolkit.learning.pruning.evaluate import Looped, best_evaluator
from toolkit.learning.pruning.gates import gated_answer, masked_scores
from toolkit.learning.pruning.groups import Groups, Mask, PruningError, find_groups
from toolkit.learning.pruning.rebuild import rebuild
from toolkit.learning.pruning.saliency import gate_gradients
from toolkit.learning.pruning.trace import leaves
from toolkit.learning.work import count

WHOLE_STATISTICS = ("encoder", "own attention", "next", "one group")
"""Networks in which a norm runs over channels that can go: silencing them is not cutting them."""


def used(model: nn.Module, seed: int = 0) -> nn.Module:
    """A network in double precision whose every weight counts."""
    generator = seeded(seed)
    lived_in(model, seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model.double().eval()


def tensors(answer: Any) -> list[Tensor]:
    return [item for item in leaves(answer) if isinstance(item, Tensor)]


def apart(first: Any, second: Any) -> float:
    """The largest difference between two answers, which have to be built alike."""
    return max(float((a - b).detach().abs().max()) for a, b in zip(tensors(first), tensors(second), strict=True))


def silenced(model: nn.Module, groups: Groups, mask: Mask) -> nn.Module:
    """A copy of the whole network in which nobody reads the units that go: their columns in the next layers are zero."""
    quiet = copy.deepcopy(model)
    for (name, dim), owner in groups.owners.items():
        layer = quiet.get_submodule(name.rpartition(".")[0])
        reading = 0 if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) else 1
        if dim == reading and name not in groups.depthwise:
            gone = torch.from_numpy(np.flatnonzero((owner >= 0) & ~mask[np.maximum(owner, 0)]))
            with torch.no_grad():
                weight = quiet.get_parameter(name)
                weight.index_fill_(dim, gone, 0.0)
    return quiet


@pytest.mark.parametrize("name", CASES)
def test_rebuilt_equals_masked(name: str) -> None:
    make, shape = CASES[name]
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, shape)
    costs = Costs.of(groups)
    rng = np.random.default_rng(1)
    batch = torch.randn((3, *shape), generator=seeded(2), dtype=torch.float64)
    assert apart(masked_scores(model, groups, groups.dense(), batch), model(batch)) < 1e-10
    seen = 0.0
    for trial in range(20):
        mask = random_mask(groups, rng, one_left=trial % 5 == 0)
        small = rebuild(model, groups, mask)
        with torch.no_grad():
            real = small(batch)
        assert apart(masked_scores(model, groups, mask, batch), real) < 1e-10
        assert sum(weight.numel() for weight in small.parameters()) == costs.params(mask)[0]
        seen = max(seen, apart(real, model(batch)))
    assert seen > 1e-3


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(WHOLE_STATISTICS) and name != "tied"])
def test_rebuilt_equals_a_network_that_does_not_read_these_units(name: str) -> None:
    """The same law without gates and without a tape: the whole network itself, the readers' columns set to zero."""
    make, shape = CASES[name]
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, shape)
    rng = np.random.default_rng(1)
    batch = torch.randn((3, *shape), generator=seeded(2), dtype=torch.float64)
    for _ in range(5):
        mask = random_mask(groups, rng)
        with torch.no_grad():
            assert apart(rebuild(model, groups, mask)(batch), silenced(model, groups, mask)(batch)) < 1e-10


TWICE = {
    **CASES, "sides": (Sides, IMAGES), "grouped": (Grouped, IMAGES), "repeated": (Repeated, IMAGES),
    "flat": (lambda: Viewed(VIEWS["view by size(0)"]), IMAGES),
}


@pytest.mark.parametrize("name", TWICE)
def test_cutting_twice_is_cutting_once(name: str) -> None:
    """What is left of a network has the units that were left, in their order, down to the last head and group."""
    make, shape = TWICE[name]
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, shape)
    rng = np.random.default_rng(1)
    batch = torch.randn((2, *shape), generator=seeded(2), dtype=torch.float64)
    for trial in range(6):
        second = random_mask(groups, rng, one_left=trial % 3 == 0)
        first = second | (rng.random(groups.units) < 0.5)
        between = rebuild(model, groups, first)
        again = find_groups(between, shape)
        assert again.sizes == groups.kept(first)
        twice = rebuild(between, again, second[first])
        with torch.no_grad():
            assert apart(twice(batch), rebuild(model, groups, second)(batch)) < 1e-10
        assert find_groups(twice, shape).sizes == groups.kept(second)


def only(groups: Groups, *names: str) -> list[str]:
    return [group.name for group in groups.groups if group.name.endswith(names)]


@pytest.mark.parametrize("make", [Encoder, lambda: Own("fused, by attributes"), lambda: Own("heads free")])
def test_heads_and_hidden_units_go_as_if_nobody_read_them(make: Any) -> None:
    """With the stream left whole no norm changes, and the fused attention of torch is the reference."""
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, ROWS)
    groups = find_groups(model, ROWS, only(groups, "self_attn", "linear1", "qkv", "q", "up"))
    heads = [group for group in groups.groups if group.name.endswith(("self_attn", "qkv", "q"))]
    assert heads
    assert all(group.size == 4 for group in heads)
    rng = np.random.default_rng(3)
    batch = torch.randn((3, *ROWS), generator=seeded(2), dtype=torch.float64)
    for _ in range(5):
        mask = random_mask(groups, rng)
        small = rebuild(model, groups, mask)
        with torch.no_grad():
            assert apart(small(batch), silenced(model, groups, mask)(batch)) < 1e-10
            small.train()
            small(batch)
    again = find_groups(small, ROWS)  # what was cut can be cut again
    halved = rebuild(small, again, random_mask(again, rng))
    assert halved(batch).shape == (3, 10)


def test_a_cut_encoder_is_torchs_own_smaller_one() -> None:
    """Two of four heads, half of the stream and half of the hidden units: the encoder layer that torch builds with these sizes."""
    torch.manual_seed(0)
    model = used(Encoder())
    groups = find_groups(model, ROWS)
    assert not groups.kept_for
    mask = groups.dense()
    for group in groups.groups:
        mask[group.start : group.start + group.size : 2] = False
    small = rebuild(model, groups, mask)
    assert all(isinstance(layer.self_attn, CutAttention) for layer in small.layers.layers)
    wanted = Encoder().double().eval()
    wanted.embed, wanted.head = nn.Linear(6, 8).double(), nn.Linear(8, 10).double()
    wanted.position = nn.Parameter(torch.zeros(1, 5, 8, dtype=torch.float64))
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dtype=torch.float64)
    wanted.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    stream, hidden = torch.arange(1, 16, 2), torch.arange(1, 24, 2)
    heads = torch.cat([torch.arange(4, 8), torch.arange(12, 16)])
    whole = dict(model.named_parameters())
    inner = torch.cat([heads, heads + 16, heads + 32])
    rows = {
        "embed.weight": (stream, None), "embed.bias": (stream, None), "head.weight": (None, stream), "head.bias": (None, None),
        "in_proj_weight": (inner, stream), "in_proj_bias": (inner, None), "out_proj.weight": (stream, heads),
        "out_proj.bias": (stream, None), "linear1.weight": (hidden, stream), "linear1.bias": (hidden, None),
        "linear2.weight": (stream, hidden), "linear2.bias": (stream, None), "norm1.weight": (stream, None), "norm1.bias": (stream, None),
        "norm2.weight": (stream, None), "norm2.bias": (stream, None),
    }
    with torch.no_grad():
        for name, weight in wanted.named_parameters():
            part = whole[name]
            if name == "position":
                part = part[..., stream]
            else:
                first, second = next(kept for ending, kept in rows.items() if name.endswith(ending))
                part = part if first is None else part[first]
                part = part if second is None else part[:, second]
            weight.copy_(part)
        batch = torch.randn((3, *ROWS), generator=seeded(2), dtype=torch.float64)
        assert apart(small(batch), wanted(batch)) < 1e-10


def test_layer_norm_of_a_cut_network_has_the_statistics_of_what_stays() -> None:
    """ConvNeXt's block by hand, with three of eight channels and two of twenty hidden units."""
    torch.manual_seed(0)
    model = used(Next())
    groups = find_groups(model, IMAGES)
    assert [(group.name, group.size) for group in groups.groups] == [("stem", 8), ("up", 20)]
    mask = np.isin(np.arange(28), [1, 4, 6, 8 + 3, 8 + 11])
    small = rebuild(model, groups, mask)
    stream, hidden = [1, 4, 6], [3, 11]
    images = torch.randn((3, *IMAGES), generator=seeded(2), dtype=torch.float64)
    with torch.no_grad():
        x = functional.conv2d(images, model.stem.weight[stream], model.stem.bias[stream], stride=2)
        y = functional.conv2d(x, model.deep.weight[stream], model.deep.bias[stream], padding=1, groups=3).permute(0, 2, 3, 1)
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        y = y * model.norm.weight[stream] + model.norm.bias[stream]
        y = functional.gelu(y @ model.up.weight[hidden][:, stream].t() + model.up.bias[hidden])
        y = (y @ model.down.weight[stream][:, hidden].t() + model.down.bias[stream]).permute(0, 3, 1, 2)
        expected = (x + model.scale[stream] * y).mean((2, 3)) @ model.head.weight[:, stream].t() + model.head.bias
        assert apart(small(images), expected) < 1e-10
    assert small.norm.normalized_shape == (3,)
    assert small.deep.groups == 3


@pytest.mark.parametrize(("count", "units"), [(4, 4), (12, 12), (1, 12)])
def test_group_norm_loses_groups_or_the_channels_of_one(count: int, units: int) -> None:
    groups = find_groups(Grouping(count), IMAGES)
    assert (groups.groups[0].name, groups.groups[0].size) == ("first", units)
    mask = groups.dense()
    mask[0] = False
    small = rebuild(Grouping(count), groups, mask)
    assert small.norm.num_channels == len(small.first.weight) == 12 - 12 // units
    assert small.norm.num_groups == max(1, count - 1)


def test_the_last_of_several_groups_stays_whole() -> None:
    groups = find_groups(Grouping(4), IMAGES)
    mask = groups.dense()
    mask[:3] = False
    small = rebuild(Grouping(4), groups, mask)
    assert (len(small.norm.weight), find_groups(small, IMAGES).sizes) == (3, (1, 8))


def test_weights_that_two_layers_share_stay_shared() -> None:
    torch.manual_seed(0)
    model = used(Language())
    groups = find_groups(model, (4,), dtype=torch.long)
    assert [(group.name, group.size) for group in groups.groups] == [("look_up", 8), ("up", 12)]
    mask = np.arange(20) % 2 == 0
    small = rebuild(model, groups, mask)
    assert small.score.weight is small.look_up.weight
    assert small.look_up.weight.shape == (11, 4)
    tokens = torch.arange(12).view(3, 4) % 11
    with torch.no_grad():
        x = model.look_up.weight[:, ::2][tokens]
        hidden = functional.silu(x @ model.up.weight[::2, ::2].t() + model.up.bias[::2])
        x = x + hidden @ model.down.weight[::2, ::2].t() + model.down.bias[::2]
        x = x * ((x**2).mean(-1, keepdim=True) + torch.finfo(torch.float64).eps).rsqrt() * model.norm.weight[::2]
        assert apart(small(tokens), x @ model.look_up.weight[:, ::2].t()) < 1e-10


@pytest.mark.parametrize(("how", "heads", "stream"), [
    ("fused, by attributes", True, True), ("fused, by numbers", False, False), ("split, by width", False, False),
    ("heads free", True, True),
    ("widths free", False, True),
])
def test_what_a_forward_writes_down_stays(how: str, heads: bool, stream: bool) -> None:
    """Heads go where their number is left open or is the module's own; a width that is divided keeps the stream."""
    groups = find_groups(Own(how), ROWS)
    names = {group.name: group.size for group in groups.groups}
    assert names["up"] == 24
    assert ("embed" in names) == stream
    assert any(size == 4 and name in {"qkv", "q"} for name, size in names.items()) == heads
    assert bool(groups.kept_for) != (how in {"fused, by attributes", "heads free"})


def test_numbers_that_a_module_holds_are_its_own_again_after_tracing() -> None:
    model = Own("fused, by attributes")
    groups = find_groups(model, ROWS)
    assert type(model.heads) is type(model.head_dim) is int
    mask = groups.dense()
    mask[next(group for group in groups.groups if group.name == "qkv").start] = False
    small = rebuild(model, groups, mask)
    assert (small.heads, small.head_dim, model.heads) == (3, 4, 4)


class Divided(Own):
    """Divides by the number of its heads, in one way or another."""

    def __init__(self, count: Any) -> None:
        super().__init__("fused, by attributes")
        self.count = count

    def mixed(self, x: Tensor) -> Tensor:
        return super().mixed(x) / self.count(self.heads)


@pytest.mark.parametrize("count", [
    lambda heads: heads, float, lambda heads: heads**0.5, math.sqrt, lambda heads: 1 / heads, lambda heads: heads * 2,
])
def test_heads_stay_where_their_number_is_used_otherwise(count: Any) -> None:
    groups = find_groups(Divided(count), ROWS)
    assert "qkv" not in [group.name for group in groups.groups]
    assert "a number computed of heads" in groups.kept_for


def test_a_network_that_uses_its_sizes_unseen_is_not_handed_out() -> None:
    """It divides by how often it goes round a loop, which no tape can show."""
    torch.manual_seed(0)
    model = used(Divided(lambda heads: sum(1 for _ in range(heads))))
    groups = find_groups(model, ROWS)
    mask = groups.dense()
    mask[next(group for group in groups.groups if group.name == "qkv").start] = False
    with pytest.raises(PruningError, match="answers otherwise than with these units silenced"):
        rebuild(model, groups, mask)


class Mixed(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 1), nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        if self.how == "softmax":
            x = x.softmax(1)
        if self.how == "a part":
            x = torch.cat([x[:, :3], x[:, 3:]], 1)
        if self.how == "mean":
            x = x + x.mean(1, keepdim=True)
        if self.how == "sort":
            x = x.sort(1)[0]
        return self.head(self.second(x).mean((2, 3)))


@pytest.mark.parametrize(("how", "says"), [
    ("softmax", "softmax along channels"), ("a part", "a part of the channels"), ("mean", "mean over channels"), ("sort", "sort"),
])
def test_what_mixes_channels_keeps_them_and_is_named(how: str, says: str) -> None:
    groups = find_groups(Mixed(how), IMAGES)
    assert [group.name for group in groups.groups] == ["second"]
    assert groups.kept_for == (says,)


class Odd(nn.Module):
    """What torch's layers can do and hardly anybody asks of them, or what is written down in the forward."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.head = how, nn.Linear(6, 8), nn.Linear(8, 10)
        if how == "biases":
            self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True)
        if how == "recurrent":
            self.memory = nn.GRU(8, 8, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        x = self.first(rows)
        if self.how == "biases":
            x = self.attention(x, x, x)[0]
        elif self.how == "recurrent":
            x = self.memory(x)[0]
        else:
            x = functional.group_norm(x.transpose(1, 2), 2).transpose(1, 2)
        return self.head(x.mean(1))


@pytest.mark.parametrize(("how", "says"), [
    ("biases", "multi_head_attention_forward"), ("recurrent", "gru"), ("groups by number", "a size that is written down"),
])
def test_what_has_no_rule_stays_whole_and_is_named(how: str, says: str) -> None:
    with pytest.raises(PruningError, match=rf"nothing that can be removed \(.*{says}.*\)"):
        find_groups(Odd(how), ROWS)


@pytest.mark.parametrize("name", ["encoder", "crossed", "own attention, fused, by attributes", "next", "one group", "four groups"])
def test_masks_are_judged_alike_by_gates_and_by_cut_weights(name: str) -> None:
    make, shape = CASES[name]
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, shape)
    images = torch.randn((37, *shape), generator=seeded(4), dtype=torch.float64)
    labels = torch.randint(10, (37,), generator=seeded(5))
    rng = np.random.default_rng(0)
    masks = np.stack([random_mask(groups, rng) for _ in range(4)])
    fast, plain = best_evaluator(model, groups, images, labels), Looped(model, groups, images, labels)
    assert fast.wrong(masks).tolist() == plain.wrong(masks).tolist()
    for mask in masks:
        assert apart(fast.scores(mask), plain.scores(mask)) < 1e-10


def test_what_gives_several_tensors_cannot_be_judged() -> None:
    make, shape = CASES["unet"]
    model = make()
    with pytest.raises(PruningError, match="gives 2 tensors; masks are judged by one, its scores"):
        Looped(model, find_groups(model, shape), torch.zeros((2, *shape)), torch.zeros(2))


@pytest.mark.parametrize("name", ["encoder", "crossed", "one group", "own attention, heads free"])
def test_saliencies_are_slopes_of_the_loss(name: str) -> None:
    """Where each sample has gates of its own, and where gates go sample by sample."""
    make, shape = CASES[name]
    torch.manual_seed(0)
    model = used(make())
    groups = find_groups(model, shape)
    images = torch.randn((2, *shape), generator=seeded(4), dtype=torch.float64)
    labels = torch.tensor([3, 7])
    step, found = 1e-6, np.zeros(groups.units)

    def loss(unit: int, by: float, sample: int) -> float:
        gate = torch.ones(groups.units, dtype=torch.float64)
        gate[unit] += by
        with torch.no_grad():
            return float(functional.cross_entropy(gated_answer(model, groups, gate, images[[sample]]), labels[[sample]]))

    for unit in range(groups.units):
        found[unit] = sum(abs(loss(unit, step, sample) - loss(unit, -step, sample)) / (2 * step) for sample in range(2))
    np.testing.assert_allclose(gate_gradients(model, groups, images, labels)[0], found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["own attention, heads free", "crossed", "next", "decoder 2d", "unet"])
def test_multiply_adds_are_those_that_are_counted(name: str) -> None:
    make, shape = CASES[name]
    model = make()
    groups = find_groups(model, shape)
    rng = np.random.default_rng(3)
    for mask in (groups.dense(), random_mask(groups, rng)):
        _, (macs,) = Costs.of(groups).macs(mask)
        assert count(rebuild(model, groups, mask), (1, *shape), training=False).matrix_flops // 2 == macs
