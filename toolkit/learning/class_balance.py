"""Which samples a memory keeps so that every class has as many as every other, and every sample of a class the same chance.

Source: Chrysakis and Moens 2020, *Online Continual Learning from Imbalanced Data* (class-balancing reservoir sampling). A class that is not
the largest and has lost none yet takes the place of a sample of the largest; any other is a reservoir within its own places. Departures:
where several classes are the largest, a sample of any of them goes, drawn alike; a class that has no place left once more classes came than
there are places stays without one.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class ClassBalance:
    """Decides the fate of samples by their labels, which may be any whole numbers, in the order in which they come."""

    def __init__(self) -> None:
        self.offered: dict[int, int] = {}
        """Samples offered so far by label."""

    def count_as_offered(self, counts: Mapping[int, int]) -> None:
        """Count samples of each label as offered, without a decision."""
        for label, count in counts.items():
            self.offered[label] = self.offered.get(label, 0) + count

    def decide(self, stored: Sequence[int], labels: Sequence[int], capacity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return which of the samples with *labels* are kept at the end of the batch (rising), and the slot of each.

        *stored* are the labels in the slots of a memory of *capacity*.
        """
        places: dict[int, list[int]] = defaultdict(list)
        for slot, label in enumerate(stored):
            places[label].append(slot)
        size, kept = len(stored), dict[int, int]()
        draws = torch.rand((len(labels), 2), generator=generator, dtype=torch.float64).tolist()
        for place, (label, (taken, where)) in enumerate(zip(labels, draws, strict=True)):
            lost = self.offered.get(label, 0) > len(places[label])
            self.offered[label] = self.offered.get(label, 0) + 1
            most = max(map(len, places.values()))
            if size < capacity:
                slot, size = size, size + 1
            elif lost or len(places[label]) == most:  # a reservoir of its own
                mine = places[label]
                if taken * self.offered[label] >= len(mine):
                    continue
                slot = mine.pop(int(where * len(mine)))
            else:
                pool = sorted(slot for slots in places.values() if len(slots) == most for slot in slots)
                slot = pool[int(where * len(pool))]
                next(slots for slots in places.values() if slot in slots).remove(slot)
            insort(places[label], slot)
            kept[slot] = place
        chosen = sorted((place, slot) for slot, place in kept.items())
        taken_places, slots = zip(*chosen, strict=True) if chosen else ((), ())
        return torch.tensor(taken_places, dtype=torch.int64), torch.tensor(slots, dtype=torch.int64)
