"""What a program needs of its machines, and one sentence where they do not do."""

from __future__ import annotations

import pytest

from toolkit.core.device import Device
from toolkit.core.machines import Machines, Needs
from toolkit.errors import ScenarioError


def machines(workers: int, servers: int = 0, crashes: tuple[str, ...] = ()) -> Machines:
    return Machines(
        {f"worker{rank}": Device() for rank in range(workers)}, {f"server{rank}": Device() for rank in range(servers)}, crashes,
    )


@pytest.mark.parametrize("fewest", [1, 2, 3])
@pytest.mark.parametrize("most", [None, 3, 4])
@pytest.mark.parametrize("have", [1, 2, 3, 4, 5])
def test_a_number_of_workers_does_within_its_span_alone(fewest: int, most: int | None, have: int) -> None:
    needs = Needs("it", workers=(fewest, most), hint="; take less")
    does = fewest <= have and (most is None or have <= most)
    if does:
        needs.check(machines(have), "cluster")
        return
    with pytest.raises(ScenarioError) as caught:
        needs.check(machines(have), "cluster")
    too_few = f"fabric.workers: it needs at least {fewest} workers (got {have})"
    too_many = f"fabric.workers: it runs on {most} machines (got {have}); take less"
    assert str(caught.value) == (too_few if have < fewest else too_many)


@pytest.mark.parametrize(("span", "have", "says"), [
    ((0, 0), 0, ""), ((0, 0), 1, "it has no use for servers; set it to 0 (got 1)"), ((1, 1), 0, "it needs at least 1 server (got 0)"),
    ((1, 1), 1, ""), ((1, 1), 2, "it runs on 1 server (got 2)"), ((0, None), 9, ""), ((2, None), 1, "it needs at least 2 servers (got 1)"),
    ((0, 2), 3, "it runs on 2 servers (got 3)"),
])
def test_servers_are_counted_alike(span: tuple[int, int | None], have: int, says: str) -> None:
    needs = Needs("it", servers=span)
    if not says:
        needs.check(machines(1, have), "cluster")
        return
    with pytest.raises(ScenarioError) as caught:
        needs.check(machines(1, have), "cluster")
    assert str(caught.value) == f"fabric.servers: {says}"


def test_a_fabric_without_machines_and_a_crash_are_told() -> None:
    with pytest.raises(ScenarioError, match="program: it needs fabric: cluster, and this is 'acoustic'"):
        Needs("it").check(machines(0), "acoustic")
    crashing = machines(2, crashes=("worker1", "worker0"))
    Needs("it").check(crashing, "cluster")
    Needs("it", survives=False).check(machines(2), "cluster")
    with pytest.raises(ScenarioError, match="it does not go on without a worker; take worker1 out"):
        Needs("it", survives=False).check(crashing, "cluster")


def test_memory_is_checked_on_every_worker_and_the_first_that_is_too_small_is_named() -> None:
    large, small = Device(memory_bytes=1000), Device(memory_bytes=100)
    both = Machines({"worker0": large, "worker1": small})
    assert both.first is large
    both.check_memory(100, "it")
    with pytest.raises(ScenarioError, match="it on worker1 needs"):
        both.check_memory(101, "it")
    with pytest.raises(ScenarioError, match=r"^it needs"):
        Machines({"worker0": small}).check_memory(101, "it")
