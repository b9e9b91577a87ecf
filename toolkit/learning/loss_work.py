"""The work of a loss: what lies between a network's counted answers and the number that a backward pass starts from.

Autograd keeps a node for every operation that it will go back through, so the way from the loss to the answers says what was done: no list
of losses is needed, and code of any method is counted as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from torch import Tensor

from toolkit.core.work import FLOAT_BYTES, Work

VIEWS = frozenset({
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "TBackward0", "TransposeBackward0", "PermuteBackward0",
    "UnsqueezeBackward0", "SqueezeBackward0", "SqueezeBackward1", "AliasBackward0",
})
"""Nodes that move nothing in either direction."""
FREE_AHEAD = frozenset({
    "SplitBackward0", "SplitWithSizesBackward0", "SliceBackward0", "SelectBackward0", "UnbindBackward0", "ExpandBackward0",
})
"""Nodes of views whose way back copies."""
ACCUMULATES = "torch::autograd::AccumulateGrad"


def place_of(answer: Tensor) -> int | None:
    """Return what `loss_work` knows a counted answer by; None where nothing goes back through it."""
    return None if answer.grad_fn is None else int(node_number(answer.grad_fn))


def node_number(node: Any) -> int:
    """Return the number of a node of autograd, given in the order in which operations were done."""
    number: int = node._sequence_nr()
    return number


def loss_work(loss: Tensor, counted: Container[int]) -> tuple[Work, int]:
    """Return the work of *loss*, forward and back, every kernel a launch, and how many of the *counted* answers it comes from.

    Each node is a kernel in either direction, which reads and writes as many numbers as its result has, one operation for each.

    Args:
        counted: `place_of` the answers whose work is counted already; the way ends at them.
    """
    kernels = numbers = answers = 0
    seen: set[Any] = set()
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node_number(node) in counted:
            answers += 1
            continue
        name = node.name()
        if name == ACCUMULATES:
            continue
        ways = 0 if name in VIEWS else 1 if name in FREE_AHEAD else 2
        kernels += ways
        if ways:
            numbers += ways * sum([math.prod(result.shape) for result in node._input_metadata])
        waiting += [following for following, _ in node.next_functions]
    return Work(float(numbers), float(FLOAT_BYTES * numbers), float(FLOAT_BYTES * numbers), float(kernels)), answers
