"""ABD: a later step by hand, dreams that the old network takes for what it knows, and an old network that they leave alone."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, to_the_second_task
from toolkit.learning.flat import weights
from toolkit.learning.image_inversion import Dreaming, dreaming_loss


def test_a_later_step_by_hand() -> None:
    method, found, state = begun("abd", 2, distil=3.0)
    to_the_second_task(method, found, state)
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin = batch_of(found), Twin(found)
    noise = torch.randn((found.batch, 8), generator=twin.learner.generator("method"))
    both = torch.cat([twin.images(batch), state.generator(noise).detach()])
    with torch.no_grad():
        before = state.teacher.plain_features(both)
    old, rows = state.teacher.plain_classify(before)[:, :5].detach(), state.teacher.model.classifier.weight[:5]
    features = twin.net.plain_features(both)
    scores = twin.net.plain_classify(features[:SIZE])[:, 5:10]
    named = torch.cat([batch.labels, old[SIZE:].argmax(1)])
    by_hand = cross_entropy(scores, batch.labels - 5) + cross_entropy(twin.net.plain_classify(features.detach())[:, :10], named)
    by_hand = by_hand + 3 * ((features - before) @ rows.T).square().mean()
    expected = twin.stepped(by_hand)
    torch.testing.assert_close(method.step(found, state, batch), by_hand.detach())
    torch.testing.assert_close(weights(found.parameters), expected, atol=1e-6, rtol=1e-5)


def test_the_generator_descends_its_loss_and_the_old_network_stays_as_it_is() -> None:
    losses = []
    for steps in (1, 60):
        method, found, state = begun("abd", 4, dream_steps=steps, latent=16, width=16)
        method.end_task(found, state)
        before = {name: value.clone() for name, value in found.net.state_dict().items()}
        found.task = 1
        method.begin_task(found, state)
        assert all(torch.equal(value, before[name]) for name, value in found.net.state_dict().items())
        state.generator.train()
        with torch.no_grad():
            noise = torch.randn((200, 16), generator=torch.Generator().manual_seed(1))
            images, scores, apart = Dreaming(state.generator, state.teacher.model).dream(noise)
            losses.append(float(dreaming_loss(images, scores[:, :5], apart)))
    assert losses[1] < 0.7 * losses[0]
