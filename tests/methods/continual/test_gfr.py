"""GFR with its published generator keeps the laws of the family, and the critic's training brings made features near the real ones."""

from __future__ import annotations

import torch

from tests.methods.continual.by_hand import SIZE, batch_of, begun
from tests.methods.continual.driver import make, run_plan, train
from tests.methods.continual.test_laws import close
from toolkit.core import statefile
from toolkit.core.work import Work
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
