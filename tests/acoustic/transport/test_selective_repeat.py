"""Selective repeat on a wire of which everything is known: every time below is worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.acoustic.transport.conftest import Wire, numbers
from toolkit.acoustic.transport.messages import HEADER_BYTES
from toolkit.acoustic.transport.reliable import Reliable
from toolkit.core.context import Torn

FRAME = HEADER_BYTES + 8
"""Two float32 to a fragment."""


def rules(**more: Any) -> Reliable:
    return Reliable(**{"frame_nbytes": FRAME, "window": 3, "per_receipt": 1, "timeout_s": 50.0, "backoff": 1.0, **more})


def received(wire: Wire, count: int = 1) -> list[Any]:
    """What the receiver gets of *count* messages, and when."""
    got: list[Any] = []
    for _ in range(count):
        claim = wire.incoming.claim()
        claim.callbacks.append(lambda event: got.append((wire.env.now, event.value)))
    wire.env.run(until=10_000.0)
    return got


def test_a_window_of_three_keeps_three_under_way() -> None:
    wire = Wire(rules())
    message = wire.message(numbers(10))  # 40 bytes: 5 fragments
    got = received(wire)
    assert wire.sent == [(0, 0), (0, 1), (0, 2), (20, 3), (20, 4)]
    assert wire.receipts == [(10, 1, ()), (10, 2, ()), (10, 3, ()), (30, 4, ()), (30, 5, ())]
    assert wire.ends == [(40, 0, "delivered", "")]
    assert message.value.outcome == "delivered"
    assert [t for t, _ in got] == [30]
    assert torch.equal(got[0][1], numbers(10))


def test_a_lost_fragment_alone_is_sent_again_and_holds_the_window() -> None:
    wire = Wire(rules(), lost=[(1, 1)])
    wire.message(numbers(10))
    got = received(wire)
    assert wire.sent == [(0, 0), (0, 1), (0, 2), (20, 3), (50, 1), (70, 4)]
    assert wire.receipts == [(10, 1, ()), (10, 1, (2,)), (30, 1, (2, 3)), (60, 4, ()), (80, 5, ())]
    assert wire.ends == [(90, 0, "delivered", "")]
    assert torch.equal(got[0][1], numbers(10))


def test_a_lost_receipt_makes_a_fragment_come_twice_and_is_answered_again() -> None:
    wire = Wire(rules(), lost_receipts=[0])
    wire.message(numbers(2))
    got = received(wire, 2)
    assert wire.sent == [(0, 0), (50, 0)]
    assert wire.receipts == [(10, 1, ()), (60, 1, ())]
    assert wire.ends == [(70, 0, "delivered", "")]
    assert [t for t, _ in got] == [10]  # once, for the second claim gets nothing


def test_one_receipt_answers_several_or_what_came_when_it_is_quiet() -> None:
    wire = Wire(rules(window=4, per_receipt=3, receipt_wait_s=5.0), lost=[(4, 1)])
    wire.message(numbers(12))  # 6 fragments
    received(wire)
    assert wire.receipts == [(10, 3, ()), (15, 4, ()), (35, 4, (5,)), (80, 6, ())]
    assert wire.sent == [(0, 0), (0, 1), (0, 2), (0, 3), (20, 4), (20, 5), (70, 4)]
    assert wire.ends == [(90, 0, "delivered", "")]


def test_the_time_out_follows_the_answers() -> None:
    """Answers after 20 s: first 20 + 4·10 s, then the deviation shrinks by a quarter each time."""
    wire = Wire(rules(timeout_s=None, window=1, first_timeout_s=45.0, least_timeout_s=5.0, longest_timeout_s=300.0, backoff=2.0))
    sender: Any = wire.outgoing
    assert sender.timeout_s(1) == 45.0
    assert sender.timeout_s(2) == 90.0
    assert sender.timeout_s(9) == 300.0
    wire.message(numbers(4))
    wire.env.run(until=21.0)
    assert sender.timeout_s(1) == pytest.approx(20 + 4 * 10)
    wire.env.run(until=41.0)
    assert sender.timeout_s(1) == pytest.approx(20 + 4 * 7.5)


def test_fragments_that_were_sent_twice_are_not_timed() -> None:
    wire = Wire(rules(timeout_s=None, first_timeout_s=45.0, backoff=1.0), lost=[(0, 1)])
    wire.message(numbers(2))
    received(wire)
    sender: Any = wire.outgoing
    assert wire.sent == [(0, 0), (45, 0)]
    assert sender.timeout_s(1) == 45.0


def test_messages_follow_one_another_and_come_in_order() -> None:
    wire = Wire(rules(), lost=[(0, 1)])  # of both
    wire.message(numbers(2))
    wire.message(numbers(4, start=100))
    got = received(wire, 2)
    assert [t for t, _ in got] == [60, 130]
    assert torch.equal(got[0][1], numbers(2))
    assert torch.equal(got[1][1], numbers(4, start=100))
    assert wire.sent == [(0, 0), (50, 0), (70, 0), (70, 1), (120, 0)]


def test_what_is_given_up_is_told_when_a_later_one_comes() -> None:
    """Fragment 1 of the first message never gets through; what came of it is told, and nothing stands for the rest."""
    wire = Wire(rules(tries=2, window=2), lost=[(1, 1), (1, 2)])
    first = wire.message(numbers(4))
    wire.message(numbers(2, start=100))
    got = received(wire, 2)
    assert first.value.outcome == "lost"
    assert wire.ends[0] == (100, 0, "lost", "retries")
    assert [t for t, _ in got] == [110, 110]
    torn = got[0][1]
    assert isinstance(torn, Torn)
    assert torn.nbytes == 16
    assert torn.missing == ((8, 16),)
    assert [(place, piece.tolist()) for place, piece in torn.pieces] == [(slice(0, 2), [1.0, 2.0])]
    assert torn.filled(torch.full((4,), 7.0)).tolist() == [1.0, 2.0, 7.0, 7.0]
    assert torch.equal(got[1][1], numbers(2, start=100))
    assert (110, 0, "torn") in wire.told


def test_a_lifetime_ends_a_message() -> None:
    wire = Wire(rules(lifetime_s=120.0), lost=[(0, number) for number in range(1, 99)])
    wire.message(numbers(2))
    received(wire)
    assert wire.sent == [(0, 0), (50, 0), (100, 0)]
    assert wire.ends == [(120, 0, "lost", "lifetime")]


def test_what_is_withdrawn_is_sent_no_more() -> None:
    wire = Wire(rules(), lost=[(0, number) for number in range(1, 99)])
    message = wire.message(numbers(2))
    wire.env.call_in(60.0, lambda _: wire.outgoing.withdraw(message))
    received(wire)
    assert wire.sent == [(0, 0), (50, 0)]
    assert wire.ends == [(60, 0, "lost", "withdrawn")]


def test_an_element_that_lies_across_a_missing_fragment_is_no_piece() -> None:
    """Fragments of 6 bytes cut float32 in two: of 4 elements with fragment 1 missing, only the first and the last came whole."""
    wire = Wire(rules(frame_nbytes=HEADER_BYTES + 6, tries=1), lost=[(1, 1)])
    wire.message(numbers(4))
    wire.message(numbers(1))
    torn = received(wire, 2)[0][1]
    assert torn.missing == ((6, 12),)
    assert [(place, piece.tolist()) for place, piece in torn.pieces] == [(slice(0, 1), [1.0]), (slice(3, 4), [4.0])]


def test_of_a_torn_message_without_its_beginning_the_first_whole_element_is_known() -> None:
    wire = Wire(rules(frame_nbytes=HEADER_BYTES + 6, tries=1), lost=[(0, 1)])
    wire.message(numbers(4))
    wire.message(numbers(3))  # its second fragment comes, and tells that the first message is done with
    torn = received(wire)[0][1]
    assert torn.missing == ((0, 6),)
    assert [(place, piece.tolist()) for place, piece in torn.pieces] == [(slice(2, 4), [3.0, 4.0])]


def test_what_comes_twice_is_answered_at_once() -> None:
    """Three of four came, and no receipt was due: all time out, and each that comes again tells the sender what is there."""
    wire = Wire(rules(window=4, per_receipt=4, receipt_wait_s=1000.0), lost=[(3, 1)])
    wire.message(numbers(12))
    received(wire)
    assert wire.sent == [(0, 0), (0, 1), (0, 2), (0, 3), (50, 0), (50, 1), (50, 2), (50, 3), (70, 4), (70, 5)]
    assert wire.receipts == [(60, 3, ())] * 3 + [(80, 6, ())]
    assert wire.ends == [(90, 0, "delivered", "")]
