"""GFR with its published generator keeps the laws of the family, and the critic's training brings made features near the real ones."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import cross_entropy

from tests.methods.continual.by_hand import SIZE, Twin, batch_of, begun, to_the_second_task
from tests.methods.continual.driver import make, run_plan, train
from tests.methods.continual.test_laws import close
from toolkit.core import statefile
from toolkit.core.work import Work
from toolkit.methods.continual.gan_replay import _critic_loss, _generator_loss
from toolkit.methods.continual.plan import BETWEEN

WGAN = make("gfr", generator="wgan")


def test_a_seed_decides_a_run_and_a_checkpoint_takes_it_up_and_the_past_is_gone() -> None:
    run = train(WGAN, save_every=5)
    assert torch.equal(train(WGAN, save_every=5, forgets=True).weights, run.weights)
    places = [statefile.loads(saved)["step"] for saved in run.context.saves]
    for place in (0, places.index(0)):
        assert torch.equal(train(WGAN, save_every=5, resume=run.context.saves[place]).weights, run.weights)


def test_what_is_charged_is_what_was_planned() -> None:
    plan, context = run_plan(WGAN), train(WGAN).context
    for task in range(plan.tasks):
        assert close(sum((context.work[task, phase] for phase in BETWEEN), Work()), plan.plan(task).work(*BETWEEN))
    assert close(context.work[1, "step"], plan.plan(1).work("step"))


def test_made_features_come_near_the_real_ones() -> None:
    method, found, state = begun("gfr", 2, generator="wgan", generator_epochs=30, hidden=32)
    generator = torch.Generator().manual_seed(0)
    codes = torch.cat([torch.randn((200, 8), generator=generator), torch.eye(10)[torch.arange(200) % 5]], 1)

    def distance() -> float:
        samples = found.stream.train(0)
        found.net.eval()
        with torch.no_grad():
            real = found.net.plain_features(found.clean(samples.images))
            return float((state.vae.decode(codes).mean(0) - real.mean(0)).norm())

    before = distance()
    method.step(found, state, batch_of(found, SIZE))
    method.end_task(found, state)
    assert distance() < 0.5 * before


def test_a_step_of_the_critic_and_one_of_the_generator_by_hand() -> None:
    """D(G) - D(f) + 10 (|dD/df| - 1)^2 with the slope from autograd, and -D(G) + pull |G - G_old|^2, in the order of the draws."""
    _, found, state = begun("gfr", 1, generator="wgan", hidden=16)
    found.task = 1
    gan, generator = state.vae, torch.Generator()
    old = copy.deepcopy(gan)
    with torch.no_grad():
        for weight in gan.decoder.parameters():
            weight.add_(0.05)
    real, hot = torch.rand((6, found.net.feature_size), generator=generator.manual_seed(1)), torch.eye(10)[5:].repeat(2, 1)[:6]
    generator.set_state(found.generator("method").get_state())
    made = gan.decode(torch.cat([torch.randn((6, 8), generator=generator), hot], 1)).detach()
    share = torch.rand((6, 1), generator=generator)
    between = (made + share * (real - made)).requires_grad_()
    (slope,) = torch.autograd.grad(gan.critic(torch.cat([between, hot], 1)).sum(), between)
    expected = gan.critic(torch.cat([made, hot], 1)).mean() - gan.critic(torch.cat([real, hot], 1)).mean()
    expected = expected + 10 * (slope.norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(_critic_loss(found, gan, real, hot)[0], expected)

    generator.set_state(found.generator("method").get_state())
    made = gan.decode(torch.cat([torch.randn((6, 8), generator=generator), hot], 1))
    classes = torch.randint(5, (6,), generator=generator)
    codes = torch.cat([torch.randn((6, 8), generator=generator), torch.eye(10)[classes]], 1)
    expected = 0.3 * (gan.decode(codes) - old.decode(codes)).square().sum() - gan.critic(torch.cat([made, hot], 1)).mean()
    torch.testing.assert_close(_generator_loss(found, gan, old, hot, 0.3)[0], expected)


def test_a_later_step_by_hand() -> None:
    """Features that the WGAN makes, for the classifier alone, and the distance to the old ones; rho = 1."""
    method, found, state = begun("gfr", 2, generator="wgan", distil=0.5)
    to_the_second_task(method, found, state)
    with torch.no_grad():
        for weight in found.parameters:
            weight.add_(0.01)
    batch, twin, generator = batch_of(found), Twin(found), torch.Generator()
    generator.set_state(found.generator("method").get_state())
    classes = torch.randint(5, (found.batch,), generator=generator)
    with torch.no_grad():
        made = state.vae.decode(torch.cat([torch.randn((found.batch, 8), generator=generator), torch.eye(10)[classes]], 1))
        features, before = twin.net.plain_features(twin.images(batch)), state.teacher.plain_features(twin.images(batch))
        expected = cross_entropy(twin.net.plain_classify(features), batch.labels) + cross_entropy(twin.net.plain_classify(made), classes)
        expected = expected + 0.5 * (features - before).norm()
    torch.testing.assert_close(method.step(found, state, batch), expected, atol=1e-5, rtol=1e-5)
