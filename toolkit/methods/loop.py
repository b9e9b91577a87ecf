"""The training loop, once for every program that trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.errors import DivergenceError, ScenarioError


class Trainee(Protocol):
    """What is trained and can be stopped between two steps, such as a `toolkit.learning.train_state.TrainState`."""

    step: int
    """Steps that are done."""

    @property
    def total_steps(self) -> int:
        """Those of earlier loops included, where training has several."""
        ...

    def state_dict(self) -> dict[str, Any]: ...


class Trainer(Protocol):
    """What a program makes of the loop."""

    who: str
    """What is trained, for the sentence that says that it diverged: ``resnet20 with top_k``."""
    rate_key: str
    """The setting of the learning rate: ``program.lr``."""

    def take_step(self) -> Asking:
        """Take step `trainee.step`, charging what it costs."""
        ...

    def step_done(self) -> None:
        """Record what the step came to; `trainee.step` counts it already."""
        ...

    def evaluate(self) -> None:
        """Hold the network against held-out data; costs nothing."""
        ...

    def peer_lost(self, lost: PeerLost) -> Asking:
        """Agree with those that are left on the step to go on from; only where the context's `may_lose_peers` is true."""
        ...


@contextmanager
def divergence_told(rate_key: str, who: str) -> Iterator[None]:
    """Make of a divergence the sentence that names the setting to change and what was trained."""
    try:
        yield
    except DivergenceError as error:
        raise ScenarioError(f"{rate_key}: training {who} {error}") from error


def training_loop(
    ctx: Context, trainee: Trainee, trainer: Trainer, *, steps: int, evaluate_every: int | None, save_every: int | None
) -> Asking:
    """Train from `trainee.step` to *steps*: evaluate, step, record, save, again and again.

    Args:
        ctx: the machine.
        trainee: what is trained, resumed already where it was stopped.
        trainer: takes the steps.
        steps: steps in all.
        evaluate_every: steps between two evaluations, the first before the first step; None: never.
        save_every: steps between two checkpoints; the last step is followed by one too. None: never.

    Raises:
        ScenarioError: the training diverged; one sentence with the setting to change, the step and the rate.
    """
    while trainee.step < steps:
        try:
            if evaluate_every is not None and trainee.step % evaluate_every == 0:
                trainer.evaluate()
            with divergence_told(trainer.rate_key, trainer.who):
                yield from trainer.take_step()
        except PeerLost as lost:
            yield from trainer.peer_lost(lost)
            continue
        trainee.step += 1
        trainer.step_done()
        if save_every is not None and (trainee.step % save_every == 0 or trainee.step == steps):
            ctx.save(trainee.total_steps, trainee.state_dict())
