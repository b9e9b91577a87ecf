"""What a method keeps from one task to the next, counted as papers do and as a device must."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from toolkit.core.work import FLOAT_BYTES
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.learner import Learner


class Kept(NamedTuple):
    """Bytes that last between two tasks."""

    kept_nbytes: float
    """All: the network with whatever it was given beside its classes, the method's state, the replay memory's samples."""
    kept_paper_nbytes: float
    """As papers count: the network that answers, what makes old features (no encoder, no heads), what is kept of each class, samples."""
    class_nbytes: float
    """What each further class adds."""
    uplink_nbytes: float
    """What another machine needs to replay old classes: the decoder alone; 0 for a method without one."""


def kept_by(method: ContinualMethod, learner: Learner, state: Any) -> Kept:
    """Return what *method* keeps, asked when a task is over."""
    net, decoder, each = learner.net, method.decoder(state), method.class_nbytes(learner)
    samples = len(learner.buffer) * learner.buffer.sample_nbytes if learner.buffer is not None and len(learner.buffer) else 0
    made = _nbytes(decoder)
    return Kept(
        kept_nbytes=_nbytes(net) + _in_tree(method.keep(state)) + samples,
        kept_paper_nbytes=_nbytes(net.model) + made + each * learner.seen + samples,
        class_nbytes=each, uplink_nbytes=made,
    )


def _nbytes(module: nn.Module | None) -> float:
    """Bytes of the weights of *module*, as float32; running statistics are not counted, as papers do not."""
    return 0.0 if module is None else float(FLOAT_BYTES * sum(weight.numel() for weight in module.parameters()))


def _in_tree(kept: Any) -> float:
    """Bytes of the tensors in a tree of plain values."""
    if isinstance(kept, Tensor):
        return float(kept.nbytes)
    if isinstance(kept, dict):
        return sum(map(_in_tree, kept.values()))
    return float(sum(map(_in_tree, kept))) if isinstance(kept, list | tuple) else 0.0
