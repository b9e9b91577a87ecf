"""The event queue: a binary heap of the frames that are still arriving somewhere, by the end of their next arrival."""

from __future__ import annotations

from .access import jit


@jit
def _before(queue, a, b):
    """Whether place *a* of the event queue comes before place *b*."""
    end_s, ticket = queue["end_s"], queue["ticket"]
    if end_s[a] != end_s[b]:
        return end_s[a] < end_s[b]
    return ticket[a] < ticket[b]


@jit
def swap(queue, a, b):
    end_s, ticket, frame = queue["end_s"], queue["ticket"], queue["frame"]
    end_s[a], end_s[b] = end_s[b], end_s[a]
    ticket[a], ticket[b] = ticket[b], ticket[a]
    frame[a], frame[b] = frame[b], frame[a]


@jit
def rise(queue, place):
    """Restore the heap after its entry at *place* has come in."""
    while place > 0 and _before(queue, place, (place - 1) // 2):
        swap(queue, place, (place - 1) // 2)
        place = (place - 1) // 2


@jit
def sink(queue, size):
    """Restore the heap of *size* entries after its first one has changed."""
    place = 0
    while True:
        first = place
        for below in (2 * place + 1, 2 * place + 2):
            if below < size and _before(queue, below, first):
                first = below
        if first == place:
            return
        swap(queue, place, first)
        place = first
