"""Scripts hold what a node asked for and waited for, and nothing that only looks like it."""

from __future__ import annotations

import simpy
from simpy.events import Event

from toolkit.core.script import Script


def test_a_wait_names_the_request_that_is_waited_for() -> None:
    env, script = simpy.Environment(), Script(3)
    events = [Event(env) for _ in range(3)]
    for event in events:
        script.add("send", event, peer=1)
    script.waits(events[2])
    script.waits(events[0])
    script.waits(events[0])
    assert [(row.op, row.elements) for row in script.rows[3:]] == [("wait", 2), ("wait", 0)]
    assert {row.node for row in script.rows} == {3}


def test_an_event_in_the_place_of_one_that_is_gone_is_no_request() -> None:
    env, script = simpy.Environment(), Script(0)
    for _ in range(100):
        script.add("send", Event(env), peer=1)  # nobody waits for it, so it is gone, and the next event may lie where it lay
        script.waits(Event(env))
    assert {row.op for row in script.rows} == {"send"}


def test_nothing_inside_a_collective_is_written_down() -> None:
    env, script = simpy.Environment(), Script(0)
    script.depth = 1
    event = Event(env)
    script.add("send", event, peer=1)
    script.waits(event)
    assert script.rows == []
