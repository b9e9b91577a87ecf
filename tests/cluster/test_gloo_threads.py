"""Gloo's threads let computing go first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time, torch.distributed as dist
from pathlib import Path
from toolkit.cluster.distributed import Checkpoints, DistributedContext
from toolkit.cluster.gloo_threads import computing_goes_first
from toolkit.collectives import Collectives

place = Path(sys.argv[1])
assert computing_goes_first() == 0, "there are none yet"
dist.init_process_group("gloo", init_method=f"file://{place / 'meet'}", rank=0, world_size=1)
context = DistributedContext(1, 0, 1, Collectives(), Checkpoints(place / "states", 0, 1, resume=False))
time.sleep(0.5)  # threads that have just begun have no names yet
context.run(each for each in ())
for task in Path("/proc/self/task").iterdir():
    print((task / "comm").read_text().strip(), os.sched_getscheduler(int(task.name)) == os.SCHED_BATCH)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has batch threads")
def test_gloos_threads_do_not_interrupt_and_all_others_stay_as_they_are(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    threads = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    assert any(name == "gloo_tcp_loop" for name, _ in threads), threads
    assert all((batch == "True") == ("gloo" in name) for name, batch in threads), threads
