"""Times a training step of the small detector on the CPU, and what works on all boxes at once beside loops over boxes; on one thread.

    OMP_NUM_THREADS=1 python benchmarks/detection.py            # a minute: batch 32 of 96 x 96, ten classes

The plain loop is what one would write in a few lines: the same network and loss, batches by indexing, torch.optim.AdamW. CPU time, the best
of `--repeats`; the candidates take turns.

Exit status 1 if our step takes more than 1.10 of the plain loop's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from toolkit.datasets.detection.scenes import scenes
from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.atss import NEAREST, assign
from toolkit.learning.detection.losses import detection_loss
from toolkit.learning.detection.training import begun, order_of, rate_at, update
from toolkit.models.detection.detector import Cells, compact_gfl
from toolkit.models.detection.geometry import iou
from toolkit.models.detection.nms import nms

BATCH = 32


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def best_s(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least CPU time of each call; they take turns."""
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            found[name] = min(found[name], time.process_time() - begin)
    return found


def steps() -> dict[str, Callable[[], object]]:
    data = scenes(256, side=96)
    detector = compact_gfl(10, generator=seeded()).train()
    state, place = begun(detector, "adamw"), [0]
    taken = order_of(len(data), BATCH, np.random.default_rng)

    def ours() -> None:
        images, targets = data.batch(taken(place[0]))
        rate = rate_at("adamw", place[0], 1000, 1e-3)
        state.backward(detection_loss(detector, detector(images), targets).total, rate=rate)
        update("adamw", state, rate)
        place[0] += 1

    plain = compact_gfl(10, generator=seeded()).train()
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=1e-4)
    images_of, targets_of = data.images, data.targets(torch.arange(len(data)))

    def by_hand() -> None:
        index = torch.randint(len(images_of), (BATCH,), generator=seeded(place[0]))
        targets = Targets(*(part[index] for part in targets_of))
        loss = detection_loss(plain, plain(images_of[index] / 255.0), targets).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return {"ours": ours, "plain loop": by_hand}


def looped_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for place in scores.argsort(descending=True).tolist():
        if all(float(iou(boxes[place], boxes[other])) <= threshold for other in kept):
            kept.append(place)
    return kept


def looped_assign(cells: Cells, targets: Targets, anchor: float) -> None:
    half = (cells.strides * anchor / 2).unsqueeze(1)
    anchors = torch.cat([cells.points - half, cells.points + half], dim=1)
    for boxes, valid in zip(targets.boxes, targets.valid, strict=True):
        for box in boxes[valid]:
            begin, near = 0, []
            for count in cells.counts:
                away = (cells.points[begin : begin + count] - (box[:2] + box[2:]) / 2).square().sum(dim=1)
                near.append(begin + away.topk(min(NEAREST, count), largest=False).indices)
                begin += count
            overlaps = iou(anchors[torch.cat(near)], box)
            _ = overlaps >= overlaps.mean() + overlaps.std()


def main(argv: list[str] | None = None) -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--repeats", type=int, default=15)
    args = cli.parse_args(argv)
    torch.set_num_threads(1)
    took = best_s(steps(), args.repeats)
    ratio = took["ours"] / took["plain loop"]
    ours_ms, plain_ms = 1e3 * took["ours"], 1e3 * took["plain loop"]
    print(f"step, batch {BATCH} at 96 px: ours {ours_ms:.0f} ms, plain loop {plain_ms:.0f} ms, ratio {ratio:.3f}")
    corners = torch.rand((400, 2), generator=seeded(1)) * 300
    boxes, scores = torch.cat([corners, corners + 40], dim=1), torch.rand(400, generator=seeded(2))
    detector = compact_gfl(10)
    cells = detector.cells(detector(torch.zeros(1, 3, 96, 96)))
    targets = scenes(BATCH, side=96).targets(torch.arange(BATCH))
    took = best_s({  # apart from the loop over boxes of NMS, after whose four million small tensors the next call takes 30 ms longer
        "atss": lambda: assign(cells, targets, detector.anchor), "atss loop": lambda: looped_assign(cells, targets, detector.anchor),
    }, 10)
    took |= best_s({"nms": lambda: nms(boxes, scores, 0.6), "nms loop": lambda: looped_nms(boxes, scores, 0.6)}, 10)
    print(f"NMS of 400 boxes: {1e3 * took['nms']:.1f} ms, loop over boxes {1e3 * took['nms loop']:.0f} ms")
    print(f"ATSS of {BATCH} images: {1e3 * took['atss']:.1f} ms, loop over boxes {1e3 * took['atss loop']:.0f} ms")
    return int(ratio > 1.10)


if __name__ == "__main__":
    sys.exit(main())
