"""Scripts: what each worker asked of its context, so that a finished run can be priced again on other machines and links.

Only what a program asks itself is written down; the messages inside a collective follow from its schedule, which may be another one
when the run is priced again.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary


class Request(NamedTuple):
    """One row of a script. `op` is ``compute``, ``store``, ``send``, ``recv``, ``sleep``, ``metric``, ``wait`` or a collective."""

    node: int
    op: str
    phase: str = ""
    flops: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    elements: int = 0
    """Elements of the payload (or, for ``wait``, the index of the request that is waited for)."""
    itemsize: int = 0
    peer: int = -1
    name: str = ""
    who: str = ""
    step: int = -1
    value: float = 0.0
    """Of a metric; for ``compute`` the share of its phase, 0 in traces that did not keep it."""
    launches: float = 0.0
    convolutions: float = 0.0
    convolution_flops: float = 0.0
    padding_flops: float = 0.0
    matrix_flops: float = 0.0


class CallTrace:
    """The requests of one node, in the order in which it made them."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.rows: list[Request] = []
        self.depth = 0
        """Above 0 inside a collective, whose own messages are not written down."""
        self._open: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        """Requests not waited for yet, by their event. One whose event is gone is forgotten: another event may come to lie in its place."""

    def add(self, op: str, event: object = None, **values: Any) -> None:
        """Write down one request; *event* is what the program may wait for."""
        if self.depth:
            return
        if event is not None:
            self._open[event] = len(self.rows)
        self.rows.append(Request(self.node, op, **values))

    def waits(self, event: object) -> None:
        """Write down that the program waits for *event*."""
        if self.depth:
            return
        index = self._open.pop(event, None)
        if index is not None:
            self.rows.append(Request(self.node, "wait", elements=index))
