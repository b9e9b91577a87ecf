"""Splits: every sample is dealt to one client, and nobody is left with nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.datasets import partition
from toolkit.methods.federated.splits import Split
from toolkit.methods.federated.splits.dirichlet import Dirichlet
from toolkit.methods.federated.splits.iid import Iid
from toolkit.methods.federated.splits.shards import Shards

LABELS = np.random.default_rng(0).integers(0, 10, 1003)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("split", [
    Iid(), Iid(size_sigma=2.0), Dirichlet(alpha=0.01), Dirichlet(alpha=0.1, sizes="equal"), Dirichlet(alpha=100.0), Shards(),
    Shards(per_client=7),
], ids=repr)
@pytest.mark.parametrize("clients", [1, 40, 1003])
def test_every_sample_goes_to_one_client_and_everybody_has_one(split: Split, clients: int) -> None:
    deal = split.deal(LABELS, clients, rng())
    assert sorted(deal.samples.tolist()) == list(range(1003))
    assert deal.sizes.sum() == 1003
    assert deal.sizes.min() >= 1
    for client in range(clients):
        assert (np.diff(deal.of(client)) > 0).all()


def test_equal_sizes_differ_by_one_at_most_and_unequal_ones_do_not() -> None:
    for split in (Iid(), Dirichlet(alpha=0.1, sizes="equal")):
        assert np.ptp(split.deal(LABELS, 40, rng()).sizes) == 1
    for split in (Iid(size_sigma=1.0), Dirichlet(alpha=0.1)):
        assert np.ptp(split.deal(LABELS, 40, rng()).sizes) > 20


@pytest.mark.parametrize("ours", [(Iid(), None), (Dirichlet(alpha=0.7), 0.7)], ids=repr)
def test_splits_that_data_parallel_training_has_too_are_the_same(ours: Any) -> None:
    split, alpha = ours
    deal, parts = split.deal(LABELS, 12, rng()), partition(LABELS, 12, rng(), alpha)
    for client, part in enumerate(parts):
        assert np.array_equal(deal.of(client), part)


def classes(split: Split, clients: int = 40) -> float:
    deal = split.deal(LABELS, clients, rng())
    return float(np.mean([len(np.unique(LABELS[deal.of(client)])) for client in range(clients)]))


def test_skew_is_in_order() -> None:
    assert classes(Dirichlet(alpha=0.05)) < classes(Dirichlet(alpha=0.5)) < classes(Dirichlet(alpha=50.0))
    assert classes(Dirichlet(alpha=0.05, sizes="equal")) < 3


def test_two_shards_hold_few_classes() -> None:
    deal = Shards(per_client=2).deal(LABELS, 40, rng())
    held = [len(np.unique(LABELS[deal.of(client)])) for client in range(40)]
    assert max(held) <= 4
    assert np.mean(held) < 2.6
