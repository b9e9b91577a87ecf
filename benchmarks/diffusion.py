"""Diffusion against the shortest loops that do the same: training, sampling, distilling, and what the memory costs.

    OMP_NUM_THREADS=1 python benchmarks/diffusion.py          # two minutes; --rounds 20 for a noisy machine

Ours and the plain loop take turns; times are CPU time of one thread, ratios those of the fastest rounds. Exit status 1 if training or
sampling takes more than 1.05 times the plain loop.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from toolkit.datasets import digits
from toolkit.learning import diffusion
from toolkit.learning.diffusion.base import trained_base
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.memory import PixelQueue
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.methods.diffusion.costs import Costs
from toolkit.models.unet import unet

REQUIRED = 1.05
SCHEDULE = Schedule()
BATCH, STEPS = 64, 40


def generator(*names: object) -> torch.Generator:
    return diffusion.seeded_by(0, *names)


def plain_training(network: nn.Module, images: Tensor) -> None:
    """What anybody writes: torch's Adam, clipping, an average of weights."""
    adam = torch.optim.Adam(network.parameters(), lr=2e-3)
    mean = [weight.detach().clone() for weight in network.parameters()]
    alphas, sigmas = SCHEDULE.alpha.float(), SCHEDULE.sigma.float()
    weights = SCHEDULE.truncated_snr(torch.arange(1025)).clamp(max=1e4).float()
    draws = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = images[torch.randint(len(images), (BATCH,), generator=draws)]
        t = torch.randint(1025, (BATCH,), generator=draws)
        z = alphas[t, None, None, None] * x + sigmas[t, None, None, None] * torch.randn(x.shape, generator=draws)
        loss = (weights[t] * (network(z, t) - x).square().flatten(1).mean(1)).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        torch._foreach_lerp_(mean, list(network.parameters()), 0.01)


def our_training(network: nn.Module, images: Tensor) -> None:
    trained_base(network, images, steps=STEPS, batch=BATCH, lr=2e-3, schedule=SCHEDULE, seeded=generator)


@torch.no_grad()
def plain_sampling(network: nn.Module, noise: Tensor) -> None:
    z = noise
    for now in range(1024, 0, -64):
        x = network(z, torch.full((len(z),), now)).clamp(-1, 1)
        a, s, a2, s2 = (float(values[at]) for at in (now, now - 64) for values in (SCHEDULE.alpha, SCHEDULE.sigma))
        z = a2 * x + s2 / s * (z - a * x)


def our_sampling(network: nn.Module, noise: Tensor) -> None:
    sample(network, noise, 16, schedule=SCHEDULE)


def cpu_s(work: Callable[[], object]) -> float:
    begun_s = time.process_time()
    work()
    return time.process_time() - begun_s


def in_turns(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The fastest of so many rounds of each, in s of CPU time; all take turns."""
    for work in works:
        work()
    times = [[cpu_s(work) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    images, labels = diffusion.scaled(digits.load())
    nets = [unet(1, generator=torch.Generator().manual_seed(0)) for _ in range(2)]

    ours_s, plain_s = in_turns(rounds, lambda: our_training(nets[0], images), lambda: plain_training(nets[1], images))
    training = ours_s / plain_s
    print(f"training, batch {BATCH}: {1e3 * ours_s / STEPS:.2f} ms a step, plain loop {1e3 * plain_s / STEPS:.2f} ms: {training:.3f}")

    noise = torch.randn((BATCH, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    network = nets[0].requires_grad_(False).eval()
    ours_s, plain_s = in_turns(rounds, lambda: our_sampling(network, noise), lambda: plain_sampling(network, noise))
    sampling = ours_s / plain_s
    print(f"sampling {BATCH} images in 16 steps: {1e3 * ours_s:.1f} ms, plain loop {1e3 * plain_s:.1f} ms: {sampling:.3f}")

    features = diffusion.trained_features(images, labels, steps=20)
    ladders = {
        name: Ladder(network, images, preset(name), Stages(4, 2, 10_000), schedule=SCHEDULE, seeded=generator, features=features)
        for name in ("pd", "cfd_pd", "rdd_pd")
    }
    taken_s = dict(zip(ladders, in_turns(rounds, *(lambda ladder=ladder: ladder.run(10) for ladder in ladders.values())), strict=True))
    macs = {}
    for name in ladders:
        costs = Costs(unet(1, generator=torch.Generator().manual_seed(0)), (1, 8, 8), (1, (32, 64)), preset(name))
        macs[name] = (costs.teacher(BATCH) + costs.student(BATCH)).flops / 2
    for name in ladders:
        print(
            f"{name} step: {100 * taken_s[name]:.2f} ms, {macs[name] / 1e6:.1f} M multiply-adds; "
            f"over PD's {taken_s[name] / taken_s['pd']:.2f} and {macs[name] / macs['pd']:.2f}"
        )

    for length in (2_000, 20_000, 200_000):
        queue = PixelQueue(length, 64, keys=512, per_step=128, generator=torch.Generator().manual_seed(3))
        vectors = queue.rows[:128].clone()
        (put_s,) = in_turns(rounds, lambda queue=queue, vectors=vectors: [queue.put(vectors) for _ in range(1000)])
        print(f"128 vectors into a memory of {length:,}: {1e3 * put_s:.1f} us")
    return int(max(training, sampling) > REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
