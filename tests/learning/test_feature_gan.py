"""The conditional WGAN-GP of features: the critic's slope as autograd takes it."""

from __future__ import annotations

import torch

from toolkit.learning.feature_gan import Critic, FeatureGan
from toolkit.models import fresh


def test_the_slope_written_out_is_that_of_autograd_and_so_is_its_way_back() -> None:
    critic = fresh(lambda: Critic(6, 3, 16), torch.Generator().manual_seed(0))
    features = torch.randn((5, 6), generator=torch.Generator().manual_seed(1), requires_grad=True)
    hot = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    (slope,) = torch.autograd.grad(critic(torch.cat([features, hot], 1)).sum(), features, create_graph=True)
    by_autograd, written_out = slope.norm(dim=1), critic.steepness(torch.cat([features, hot], 1))
    torch.testing.assert_close(written_out, by_autograd)
    weights = [critic.first.weight, critic.second.weight, critic.last.weight]
    ours = torch.autograd.grad((written_out - 1).square().mean(), weights)
    theirs = torch.autograd.grad((by_autograd - 1).square().mean(), weights)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected)


def test_made_features_are_never_negative_and_have_the_class_as_their_condition() -> None:
    gan = fresh(lambda: FeatureGan(6, 3, 16, 4), torch.Generator().manual_seed(0))
    codes = torch.cat([torch.zeros(3, 4), torch.eye(3)], 1)
    made, thought = gan.judged(codes)
    assert (made >= 0).all()
    assert not torch.equal(made[0], made[1])
    torch.testing.assert_close(thought, gan.critic(torch.cat([made, torch.eye(3)], 1)))
