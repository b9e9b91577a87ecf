"""How fast HCGNet and its rivals classify on this machine: HCGNet-A1 against the textbook way of writing it, and images per second of all.

Times are CPU time of one thread, the variants take turns, and of several rounds the shortest counts, so that a busy machine does little
harm; ratios are of one run. The textbook writes modules as the reference does: concatenation, whole maps (NCHW), gates and contexts as
1x1 convolutions, BatchNorm by itself.

    python benchmarks/hcgnet.py [--batches 1 32] [--rounds 5] [--compile] [--quick]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.complexity import multiply_adds
from toolkit.models.densenet import densenet_bc
from toolkit.models.hcgnet import HcgNet, hcgnet_a1, hcgnet_a2
from toolkit.models.hcgnet_cells import Brc, ContextPooling, ForgetGate, Smg, Transition, UpdateGate
from toolkit.models.hcgnet_inference import PLANS, FastHcgNet, Plan
from toolkit.models.resnet_cifar import resnet20, resnet56

IMAGE = (3, 32, 32)
Classify = Callable[[Tensor], Tensor]


class Textbook:
    """The plain way: the weights of a network, every step as the reference has it."""

    def __init__(self, net: HcgNet) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Tensor:
        net = self.net
        maps = net.stem(images)
        for layer in net.layers:
            if isinstance(layer, nn.Sequential):
                for module in layer.children():
                    assert isinstance(module, Smg)
                    maps = torch.cat((maps, self._cell(module, maps)), 1)
            elif isinstance(layer, Transition):
                maps = self._cell(layer, maps)
        pooled = functional.adaptive_avg_pool2d(functional.relu(net.norm(maps)), 1)
        scores: Tensor = net.classifier(pooled.flatten(1))
        return scores

    def _cell(self, module: Smg | Transition, maps: Tensor) -> Tensor:
        fusion = module.fusion
        s = self._brc(module.squeeze, self._brc(module.reduce, maps))
        near = self._pool(fusion.near_pooling, self._brc(fusion.near, s))
        far = self._pool(fusion.far_pooling, self._brc(fusion.far, s))
        logits = self._gate(fusion.update, torch.cat((near, far), 1), fusion.update.select).chunk(2, 1)
        shares = torch.stack(logits, 1).softmax(1)
        new = near * shares[:, 0] + far * shares[:, 1]
        kept = torch.sigmoid(self._gate(fusion.forget, self._pool(fusion.forget.pooling, s), fusion.forget.excite))
        return s * kept + new

    @staticmethod
    def _brc(unit: Brc, maps: Tensor) -> Tensor:
        convolved: Tensor = unit.conv(functional.relu(unit.norm(maps), inplace=True))
        return convolved

    @staticmethod
    def _pool(pooling: ContextPooling, maps: Tensor) -> Tensor:
        batch, _, height, width = maps.shape
        scores = functional.conv2d(maps, pooling.score.weight[:, :, None, None], pooling.score.bias)
        shares = scores.view(batch, 1, -1).softmax(2).view(batch, 1, height, width)
        return functional.adaptive_avg_pool2d(maps * shares, 1) * (height * width)

    @staticmethod
    def _gate(gate: UpdateGate | ForgetGate, pooled: Tensor, last: nn.Linear) -> Tensor:
        hidden = functional.conv2d(pooled, gate.squeeze.weight[:, :, None, None], gate.squeeze.bias)
        hidden = torch.tanh(gate.norm(hidden.flatten(1)))[:, :, None, None]
        return functional.conv2d(hidden, last.weight[:, :, None, None], last.bias)


def shortest(variants: dict[str, Classify], images: Tensor, rounds: int) -> dict[str, float]:
    """CPU seconds of each variant's shortest pass; they take turns, after a pass each to warm up."""
    found = dict.fromkeys(variants, float("inf"))
    with torch.inference_mode():
        for classify in variants.values():
            classify(images)
        for _ in range(rounds):
            for name, classify in variants.items():
                began = time.process_time()
                classify(images)
                found[name] = min(found[name], time.process_time() - began)
    return found


def channels_last(net: nn.Module) -> Classify:
    model = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda images: model(images.contiguous(memory_format=torch.channels_last))


def a1(batch: int, rounds: int, compiled: bool) -> None:
    """HCGNet-A1 in all variants."""
    images = torch.randn(batch, *IMAGE, generator=torch.Generator().manual_seed(0))
    net = hcgnet_a1().eval()
    fast = FastHcgNet(net, clock=time.process_time)
    variants: dict[str, Classify] = {
        "textbook, NCHW": Textbook(net), "modules, NCHW": net, "modules, NHWC": channels_last(hcgnet_a1().eval()),
    }
    with torch.inference_mode():
        reference = variants["textbook, NCHW"](images)
        for classify in (variants["modules, NCHW"], fast):
            torch.testing.assert_close(classify(images), reference, rtol=1e-3, atol=1e-5)
    if compiled:
        began = time.perf_counter()
        inductor = torch.compile(hcgnet_a1().eval())
        try:
            with torch.inference_mode():
                inductor(images)
            variants["torch.compile, NCHW"] = inductor
            print(f"torch.compile took {time.perf_counter() - began:.0f} s")
        except Exception as error:  # whatever keeps it from compiling here is the finding
            print(f"torch.compile does not work here: {type(error).__name__}: {str(error).splitlines()[0]}")

    def by_plan(plan: Plan) -> Classify:
        return lambda given: fast.run(given, plan)

    for plan in PLANS:
        name = f"arranged, {'NHWC' if plan.channels_last else 'NCHW'}{', dense squeeze' if plan.dense_squeeze else ''}"
        variants[name] = by_plan(plan)
    variants["arranged, concatenating"] = lambda given: fast.run(given, fast.chosen[tuple(images.shape)], preallocate=False)
    variants["arranged, chosen by time"] = fast
    times = shortest(variants, images, rounds)
    print(f"\nHCGNet-A1, batch {batch}: CPU ms of a pass, and how many times faster than the textbook")
    for name, seconds in times.items():
        print(f"  {name:<34}{1e3 * seconds:>9.1f}{times['textbook, NCHW'] / seconds:>8.2f}")
    print(f"  chosen: {fast.chosen[tuple(images.shape)]}")


def table(batches: list[int], rounds: int) -> None:
    """Images per second of several networks."""
    heads = "".join(f"{f'B={batch}: NCHW':>14}{'NHWC':>9}{'arranged':>10}" for batch in batches)
    print(f"\nimages per second\n{'network':<22}{'million MACs':>13}{heads}")
    builders: dict[str, Callable[[], nn.Module]] = {
        "ResNet-20": resnet20, "ResNet-56": resnet56, "DenseNet-BC-100-12": densenet_bc, "HCGNet-A1": hcgnet_a1, "HCGNet-A2": hcgnet_a2,
    }
    for name, build in builders.items():
        net = build().eval()
        line = f"{name:<22}{multiply_adds(net, IMAGE) / 1e6:>13.1f}"
        variants: dict[str, Classify] = {"NCHW": net, "NHWC": channels_last(build().eval())}
        if isinstance(net, HcgNet):
            variants["arranged"] = FastHcgNet(net, clock=time.process_time)
        for batch in batches:
            times = shortest(variants, torch.randn(batch, *IMAGE, generator=torch.Generator().manual_seed(0)), rounds)
            rates = {variant: batch / seconds for variant, seconds in times.items()}
            line += f"{rates['NCHW']:>14.0f}{rates['NHWC']:>9.0f}" + (f"{rates['arranged']:>10.0f}" if "arranged" in rates else f"{'':>10}")
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="try torch.compile too; it takes a minute")
    parser.add_argument("--quick", action="store_true", help="HCGNet-A1 alone")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for batch in chosen.batches:
        a1(batch, chosen.rounds, chosen.compile)
    if not chosen.quick:
        table(chosen.batches, chosen.rounds)


if __name__ == "__main__":
    main()
