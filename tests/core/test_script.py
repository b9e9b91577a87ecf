"""Scripts hold what a node asked for and waited for, and nothing that only looks like it."""

from __future__ import annotations

import simpy
from simpy.events import Event

from toolkit.core.call_trace import CallTrace


def test_a_wait_names_the_request_that_is_waited_for() -> None:
    env, call_trace = simpy.Environment(), CallTrace(3)
    events = [Event(env) for _ in range(3)]
    for event in events:
        call_trace.add("send", event, peer=1)
    call_trace.waits(events[2])
    call_trace.waits(events[0])
    call_trace.waits(events[0])
    assert [(row.op, row.elements) for row in call_trace.rows[3:]] == [("wait", 2), ("wait", 0)]
    assert {row.node for row in call_trace.rows} == {3}


def test_an_event_in_the_place_of_one_that_is_gone_is_no_request() -> None:
    env, call_trace = simpy.Environment(), CallTrace(0)
    for _ in range(100):
        call_trace.add("send", Event(env), peer=1)  # nobody waits for it, so it is gone, and the next event may lie where it lay
        call_trace.waits(Event(env))
    assert {row.op for row in call_trace.rows} == {"send"}


def test_nothing_inside_a_collective_is_written_down() -> None:
    env, call_trace = simpy.Environment(), CallTrace(0)
    call_trace.depth = 1
    event = Event(env)
    call_trace.add("send", event, peer=1)
    call_trace.waits(event)
    assert call_trace.rows == []
