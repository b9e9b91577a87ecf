"""What methods are charged for starting kernels is what they start: every operation of torch that moves data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.collectives import Collectives
from toolkit.core.context import Context
from toolkit.core.local import LocalContext, run_local
from toolkit.core.work import Work
from toolkit.learning.known_shapes import tensors_in
from toolkit.learning.work import moves_nothing
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.task import TaskSpec

WORKERS, STEPS = 2, 4
COPIES = {"clone", "copy_", "randn"}
"""Of the messages, by the driver; and drawing the gradients of this test."""


class Seen(TorchDispatchMode):
    kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if list(tensors_in(result)) and not moves_nothing(func, name) and name not in COPIES:
            self.kernels += 1
        return result


@pytest.mark.parametrize("name", ExchangeMethod.member_names())
def test_every_kernel_is_charged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a fifth and five of them a step: first steps begin with zeros, and numba's kernels are not seen."""
    method, layout = ExchangeMethod.find(name)(), TaskSpec().load().layout
    charged = [0.0]
    honest = LocalContext.compute

    def compute(self: LocalContext, work: Work, phase: str = "", share: float = 1.0) -> Any:
        charged[0] += 1 + work.launches
        return honest(self, work, phase, share)

    monkeypatch.setattr(LocalContext, "compute", compute)

    def program(ctx: Context) -> Any:
        state, weights = method.init(ctx, layout), torch.randn(layout.size, generator=torch.Generator().manual_seed(0))
        for index in range(STEPS):
            gradient = torch.randn(layout.size, generator=torch.Generator().manual_seed(5 + ctx.rank))
            step = Step(index, 0.1)
            yield from method.serve(ctx, state, layout, step) if ctx.is_server else method.step(ctx, state, weights, gradient, step)

    with Seen() as seen:
        run_local(program, WORKERS, 1, servers=int(method.needs_servers), collectives=Collectives())
    assert abs(charged[0] - seen.kernels) <= 0.2 * seen.kernels + 5 * WORKERS * STEPS
