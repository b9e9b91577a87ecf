"""Engines: what does a list of runs in several processes, here or on other machines."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from toolkit.errors import ScenarioError, WorkerLostError
from toolkit.stopping import KEPT

if TYPE_CHECKING:
    from distributed import Client

BACKENDS = ("loky", "dask", "ray")
LOST = f"a process that did runs was killed or died, perhaps for want of memory; {KEPT}"
PATIENCE = "10s"
"""How long a scheduler has to answer."""

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Engine:
    """What runs the processes: ``loky`` on this machine, ``dask`` or ``ray`` here or on a cluster that answers at `address`.

    Processes on other machines must see the run directory, and the input files, under the same paths.
    """

    name: str = "loky"
    processes: int = 1
    address: str | None = None

    def check(self) -> None:
        """Raise ScenarioError where there is no such engine, or it has no address, or it is not installed."""
        if self.name not in BACKENDS:
            raise ScenarioError(f"backend: '{self.name}' is not one of {', '.join(BACKENDS)}")
        if self.name == "loky" and self.address is not None:
            raise ScenarioError(f"address {self.address}: loky runs on this machine alone; name dask or ray as backend")
        try:
            if self.name == "dask":
                import distributed  # noqa: F401
            elif self.name == "ray":
                import ray  # noqa: F401
        except ImportError as error:
            raise ScenarioError(f"backend: '{self.name}' is not installed ({error}); pip install 'toolkit[{self.name}]'") from error

    def map(self, work: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
        """Yield what *work* makes of each of *items*, in the order in which they are finished.

        Raises:
            WorkerLostError: a process died; Dask and Ray try such an item again on another one first.
        """
        if self.name == "dask":
            return _with_dask(work, items, self)
        if self.name == "ray":
            return _with_ray(work, items, self)
        if self.processes <= 1 or len(items) <= 1:
            return map(work, items)
        return _with_loky(work, items, self.processes)


def _with_loky(work: Callable[[Item], Made], items: Sequence[Item], processes: int) -> Iterator[Made]:
    import joblib
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        with joblib.parallel_config(backend="loky", n_jobs=min(processes, len(items))):
            pool = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
            _quiet_pool()
            with _deaf_to_interrupts():  # workers start here and inherit it: what a terminal says is for the process that the user sees
                finished = pool(joblib.delayed(work)(item) for item in items)
            yield from finished
    except BrokenProcessPool as error:
        raise WorkerLostError(LOST) from error
    except KeyboardInterrupt:
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


def _with_dask(work: Callable[[Item], Made], items: Sequence[Item], engine: Engine) -> Iterator[Made]:
    from distributed import KilledWorker, as_completed

    with _dask_client(engine, len(items)) as client:
        tasks = client.map(work, items, pure=False)
        try:
            for task in as_completed(tasks):
                yield task.result()
        except KilledWorker as error:
            raise WorkerLostError(LOST) from error
        finally:
            client.cancel(tasks, force=True)


@contextmanager
def _dask_client(engine: Engine, items: int) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if engine.address is not None:
        try:
            client = Client(engine.address, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise ScenarioError(f"address {engine.address}: no Dask scheduler answers there; give tcp://HOST:PORT of one") from error
        with client:
            yield client
        return
    with _deaf_to_interrupts():
        cluster = LocalCluster(
            n_workers=min(engine.processes, items), threads_per_worker=1, memory_limit=None, dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        yield client


def _with_ray(work: Callable[[Item], Made], items: Sequence[Item], engine: Engine) -> Iterator[Made]:
    import ray
    from ray.exceptions import RayTaskError, WorkerCrashedError

    ours = not ray.is_initialized()
    try:
        if ours and engine.address is not None:
            ray.init(address=engine.address, log_to_driver=False, logging_level=logging.CRITICAL)
        elif ours:
            ray.init(num_cpus=min(engine.processes, len(items)), include_dashboard=False, log_to_driver=False,
                     logging_level=logging.CRITICAL)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ScenarioError(f"address {engine.address}: no Ray cluster answers there; give HOST:PORT of its head, or auto") from error
    try:
        remote = ray.remote(max_retries=3)(work)
        waiting = [remote.remote(item) for item in items]
        while waiting:
            (done, *_), waiting = ray.wait(waiting)
            yield ray.get(done)
    except WorkerCrashedError as error:
        raise WorkerLostError(LOST) from error
    except RayTaskError as error:
        raise error.cause from error
    finally:
        if ours:
            ray.shutdown()


def _quiet_pool() -> None:
    """Keep the pool's own thread and its tracker from telling the terminal, after Ctrl-C, that the workers are gone.

    Left in place, since the thread may die later than we do; other threads and warnings are told as before.
    """
    ours = "ignore:resource_tracker:UserWarning"
    known = os.environ.get("PYTHONWARNINGS", "")
    if ours not in known:  # for the tracker, which is a process of its own
        os.environ["PYTHONWARNINGS"] = f"{known},{ours}".lstrip(",")
    threading.excepthook = _spare_the_pool


def _spare_the_pool(args: threading.ExceptHookArgs) -> None:
    if args.thread is None or args.thread.name != "ExecutorManagerThread":
        threading.__excepthook__(args)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C and the terminal's end for a moment (the main thread alone can)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
