"""Times steps of continual learning on the CPU: CLFD-ER against ER, and ER against a loop written by hand, all in one run on one thread.

    OMP_NUM_THREADS=1 python benchmarks/continual.py            # two minutes: ResNet-18 (nf = 64) on 3x32x32, 32 present + 32 replayed
    python benchmarks/continual.py --profile                    # where the time of a step of the small network for digits goes

The loop by hand does what ER does in plain PyTorch: a network of `toolkit.models`, torch.optim.SGD, a memory in two tensors. CPU time,
the best of `--repeats`; the candidates take turns. Bytes kept for the way back are counted exactly, each storage once.

Exit status 1 if CLFD-ER takes more than 0.40 of the time or of the kept bytes of ER, or ER or DER++ more than 1.05 of the
loop by hand.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from toolkit.datasets import assemble
from toolkit.datasets.streams import Stream, split_classes
from toolkit.learning.augment import random_crop, random_flip
from toolkit.learning.buffer import ReservoirBuffer
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.clfd import Clfd
from toolkit.methods.continual.derpp import Derpp
from toolkit.methods.continual.er import Er
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.settings import Augment
from toolkit.methods.continual.storage import BufferStorage
from toolkit.models.resnet import resnet

BATCH = 32
LR = 0.03


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(shape: tuple[int, int, int], samples: int = 2000) -> Stream:
    """A stream of two tasks of five classes of random pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (samples, *shape), dtype=np.uint8)
    labels = np.arange(samples, dtype=np.int64) % 10
    return split_classes(assemble("noise", (pixels, labels), (pixels[:100], labels[:100]), 10), 2)


class Ours:
    """A method's learner in its second task, with a full memory."""

    def __init__(self, method: ContinualMethod, stream: Stream, model: nn.Module, augment: Augment) -> None:
        self.method = method
        net = method.network(model, stream.image_shape, seeded(1))
        self.learner = Learner(
            stream, net, shared_rng=lambda *name: np.random.default_rng(len(str(name))), batch=BATCH, replay=BATCH, lr=LR, bn="concat",
            augment=augment, storage=BufferStorage("float32"), capacity=200,
        )
        net.train()
        self.state = method.init(self.learner)
        self.learner.epochs, self.learner.last_epoch = 10, 9
        self.place = 0
        for task, epoch in ((0, 9), (1, 2)):
            self.learner.task, self.learner.epoch = task, epoch
            method.begin_task(self.learner, self.state)
            method.begin_epoch(self.learner, self.state)
            self.samples = stream.train(task)
            if task == 0:
                scores = {"scores": torch.zeros((BATCH, 10))} if method.stores_scores else {}
                for _ in range(8):
                    self.learner.insert(self.batch(), **scores)
                method.end_task(self.learner, self.state)

    def batch(self) -> Batch:
        chosen = torch.arange(self.place, self.place + BATCH) % len(self.samples)
        self.place += BATCH
        return Batch(self.samples.images[chosen], self.samples.labels[chosen], chosen)

    def __call__(self) -> None:
        self.method.step(self.learner, self.state, self.batch())
        self.learner.net.meter.take()


class ByHand:
    """What one would write: ER with a reservoir, for one network and one data set."""

    def __init__(self, stream: Stream, model: nn.Module) -> None:
        self.model, self.stream = model.train(), stream
        self.optimiser = torch.optim.SGD(model.parameters(), lr=LR)
        self.samples, self.place, self.seen = stream.train(1), 0, 256
        first = stream.train(0)
        self.images, self.labels = stream.normalise(first.images[:200]), first.labels[:200].clone()

    def __call__(self) -> None:
        chosen = torch.arange(self.place, self.place + BATCH) % len(self.samples)
        self.place += BATCH
        pixels, labels = self.samples.images[chosen], self.samples.labels[chosen]
        images = self.stream.normalise(pixels)
        drawn = torch.randperm(len(self.labels))[:BATCH]
        scores = self.model(torch.cat([images, self.images[drawn]]))
        loss = cross_entropy(scores, torch.cat([labels, self.labels[drawn]]))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        for place in range(BATCH):
            self.seen += 1
            slot = int(torch.randint(self.seen, ()))
            if slot < len(self.labels):
                self.images[slot], self.labels[slot] = self.stream.normalise(pixels[place : place + 1])[0], labels[place]


class DarkByHand(ByHand):
    """The same for DER++: scores are remembered too, and two draws are replayed."""

    def __init__(self, stream: Stream, model: nn.Module) -> None:
        super().__init__(stream, model)
        self.scores = torch.zeros((len(self.labels), 10))

    def __call__(self) -> None:
        chosen = torch.arange(self.place, self.place + BATCH) % len(self.samples)
        self.place += BATCH
        pixels, labels = self.samples.images[chosen], self.samples.labels[chosen]
        images = self.stream.normalise(pixels)
        dark, marked = torch.randperm(len(self.labels))[:BATCH], torch.randperm(len(self.labels))[:BATCH]
        now, then, again = self.model(torch.cat([images, self.images[dark], self.images[marked]])).split(BATCH)
        loss = cross_entropy(now, labels) + 0.1 * mse_loss(then, self.scores[dark]) + 0.5 * cross_entropy(again, self.labels[marked])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        for place in range(BATCH):
            self.seen += 1
            slot = int(torch.randint(self.seen, ()))
            if slot < len(self.labels):
                self.images[slot], self.labels[slot] = self.stream.normalise(pixels[place : place + 1])[0], labels[place]
                self.scores[slot] = now.detach()[place]


def seconds(candidates: dict[str, Callable[[], object]], repeats: int, calls: int) -> dict[str, float]:
    """Best CPU seconds of a call of each candidate; the first round is not counted."""
    best = dict.fromkeys(candidates, float("inf"))
    for turn in range(repeats + 1):
        for name, candidate in candidates.items():
            begin = time.process_time()
            for _ in range(calls):
                candidate()
            if turn:
                best[name] = min(best[name], (time.process_time() - begin) / calls)
    return best


def kept_bytes(step: Callable[[], object], weights: list[nn.Parameter]) -> int:
    """Bytes of results that one step keeps for its way back, weights themselves apart."""
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    total = [0]

    def keep(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in known:
            known.add(pointer)
            total[0] += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return total[0]


def steps(shape: tuple[int, int, int], options: dict[str, Any], repeats: int, calls: int) -> tuple[dict[str, float], dict[str, Ours]]:
    """Best seconds of a step of each candidate, and our learners."""
    stream, plain = noise(shape), Augment()

    def model() -> nn.Module:
        return resnet(in_channels=shape[0], generator=seeded(), **options)

    ours = {"ER": Ours(Er(), stream, model(), plain), "CLFD-ER": Ours(Clfd(host=Er()), stream, model(), plain)}
    ours["DER++"] = Ours(Derpp(), stream, model(), plain)
    return seconds({"ER by hand": ByHand(stream, model()), "DER++ by hand": DarkByHand(stream, model()), **ours}, repeats, calls), ours


def data_paths(repeats: int) -> dict[str, float]:
    """Images per second of drawing, augmenting and inserting, 3x32x32 float32."""
    images, labels = torch.randn(512, 3, 32, 32, generator=seeded()), torch.zeros(512, dtype=torch.int64)
    memory = ReservoirBuffer(1000, seeded())
    for _ in range(4):
        memory.add(images, labels)
    generator = seeded(1)
    found = {}
    for size in (32, 512):
        part, marks = images[:size], labels[:size]
        times = seconds({
            "replay draw": lambda size=size: memory.draw(size), "crop": lambda part=part: random_crop(part, 4, generator, even=True),
            "flip": lambda part=part: random_flip(part, generator), "insertion": lambda part=part, marks=marks: memory.add(part, marks),
        }, repeats, 20)
        found |= {f"{name}, {size} at a time": size / value for name, value in times.items()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of a small step goes, and nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.profile:
        _, ours = steps((1, 8, 8), {}, 1, 5)
        for name, candidate in ours.items():
            profile = cProfile.Profile()
            profile.runcall(lambda candidate=candidate: [candidate() for _ in range(300)])
            print(name)
            pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        return 0

    status = 0
    for title, shape, options, repeats, calls in (
        ("ResNet-18, nf 64, 3x32x32", (3, 32, 32), {"nf": 64, "blocks": (2, 2, 2, 2)}, args.repeats, 1),
        ("ResNet of 2 blocks, nf 16, 1x8x8", (1, 8, 8), {}, 4 * args.repeats, 50),
    ):
        times, ours = steps(shape, options, repeats, calls)
        print(f"{title}; {BATCH} + {BATCH} samples, ms of CPU time per step, best of {repeats}")
        for name, value in times.items():
            print(f"  {name:16s}{1e3 * value:10.2f}")
        hand, clfd = times["ER"] / times["ER by hand"], times["CLFD-ER"] / times["ER"]
        dark = times["DER++"] / times["DER++ by hand"]
        status |= hand > 1.05 or dark > 1.05
        print(f"  by hand times {hand:.3f} is ER, times {dark:.3f} is DER++ (at most 1.05)")
        print(f"  CLFD-ER / ER: {clfd:.3f}" + (" (at most 0.40)" if shape[0] == 3 else ""))
        if shape[0] == 3:
            kept = {name: kept_bytes(candidate, list(candidate.learner.net.parameters())) for name, candidate in ours.items()}
            ratio = kept["CLFD-ER"] / kept["ER"]
            print(f"  kept for the way back: {kept['ER']:,} and {kept['CLFD-ER']:,} bytes, ratio {ratio:.3f} (at most 0.40)")
            status |= clfd > 0.40 or ratio > 0.40
    print("images/s of CPU time, 3x32x32 float32")
    for name, rate in data_paths(args.repeats).items():
        print(f"  {name:28s}{rate:14,.0f}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
