"""Sweeps: all arms and seeds of a scenario, over as many processes as asked, each run a pure function of (scenario, seed)."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simpy.core import EmptySchedule
from simpy.events import Event

from toolkit.analysis.convention import find_report, report_module
from toolkit.analysis.report import Run
from toolkit.analysis.standing import Standing, given_up, shrunk
from toolkit.core import yaml12
from toolkit.core.checkpoint import Checkpoint
from toolkit.core.fabric import Network
from toolkit.core.ledger import Ledger
from toolkit.core.record import forget, write_record
from toolkit.core.resume import mend, other_versions, refuse_other_versions
from toolkit.core.rundir import RunDirectory
from toolkit.core.trust import admitted, readmit
from toolkit.core.world import World
from toolkit.errors import RunDirectoryError, ScenarioError, shortened
from toolkit.job import Job
from toolkit.pool import Engine
from toolkit.progress import Watch, in_notebook
from toolkit.scenario import Scenario, telling_notes

if TYPE_CHECKING:
    from toolkit.render.result import Result

SLICES = 50
"""How often a run says how far it is."""
EVENTS_BETWEEN_LOOKS = 2000


def run(
    scenario: Scenario | str | Path, *, out: str | Path | None = None, seeds: int | None = None, jobs: int = 1,
    backend: str = "loky", address: str | None = None, resume: bool = False, quick: bool = False, set: Mapping[str, Any] | None = None,
    watch: Watch | None = in_notebook, call_traces: Path | None = None, mix_versions: bool = False,
    tell: Callable[[str], None] | None = None, facts: Mapping[str, object] | None = None,
) -> Result:
    """Run every arm of a scenario with every seed and report: ``toolkit.run("scenarios/sea_trial.yaml", set={"seeds": 3})``.

    Args:
        scenario: a `Scenario`, or the path of one.
        out: the run directory; a new temporary folder when None.
        seeds: overrides the scenario's number of seeds.
        jobs: processes to use; the results do not depend on it.
        backend: what runs the processes: ``loky`` on this machine, ``dask`` or ``ray`` on this one or on a cluster.
        address: where the scheduler of a Dask cluster, or the head of a Ray cluster, answers.
        resume: keep the finished runs that *out* holds and do the rest.
        quick: apply the scenario's `quick` overrides (only when *scenario* is a path).
        set: dotted path to value, what is different, as ``--set`` says on the command line.
        watch: a context manager that shows progress; called with the jobs and the directory. By default a line in a notebook, and
            nothing elsewhere; None is silent everywhere.
        call_traces: folder of the requests of a finished run that are priced again instead of running the programs.
        mix_versions: resume what other versions of the software have begun.
        tell: called with a sentence for whatever of a resumed run was found damaged, which ``log.txt`` says too.
        facts: what ``versions.json`` says besides, such as the command line.

    Raises:
        UserError: the scenario, an input file or the directory is not usable; one clear sentence.
    """
    overrides = {**(set or {}), **({"seeds": seeds} if seeds is not None else {})}
    if not isinstance(scenario, Scenario):
        facts = {**(facts or {}), **(quick_facts(scenario) if quick else {})}
        scenario = Scenario.load(scenario, overrides, quick=quick)
    elif overrides:
        scenario = scenario.changed(overrides)
    place = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix=f"{scenario.name}-"))
    engine = Engine(backend, jobs, address)
    engine.check()
    (result,) = _in_one_pool(
        {place: scenario}, engine, resume=resume, watch=watch, call_traces=call_traces, mix_versions=mix_versions, tell=tell,
        facts=facts or {},
    ).values()
    return result


def quick_facts(path: str | Path) -> dict[str, object]:
    """Return what ``versions.json`` says of a scenario file that was run with its `quick` settings: what these gave up."""
    tree = yaml12.read(Path(path))
    quick = tree.get("quick") if isinstance(tree, dict) else None
    return {"quick": given_up(quick if isinstance(quick, dict) else {}, tree)}


def run_many(
    scenarios: Mapping[str, Scenario], *, out: str | Path, jobs: int = 1, backend: str = "loky", address: str | None = None,
    resume: bool = False, watch: Watch | None = None, mix_versions: bool = False,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Result]:
    """Run several scenarios in one pool of processes, each into a folder of *out* of its name, and return their results by name.

    All are checked before the first run begins; the arguments are those of `run`.

    Raises:
        UserError: one of them is not usable; one clear sentence.
    """
    engine = Engine(backend, jobs, address)
    engine.check()
    places = {Path(out) / name: scenario for name, scenario in scenarios.items()}
    found = _in_one_pool(places, engine, resume=resume, watch=watch, call_traces=None, mix_versions=mix_versions, tell=tell)
    return {place.name: result for place, result in found.items()}


@dataclass(frozen=True)
class Begun:
    """A run directory that is open, with the runs that it is to hold and those that it lacks."""

    scenario: Scenario
    directory: RunDirectory
    work: list[Job]
    todo: list[Job]


def _in_one_pool(
    scenarios: Mapping[Path, Scenario], engine: Engine, *, resume: bool, watch: Watch | None,
    call_traces: Path | None, mix_versions: bool, tell: Callable[[str], None] | None, facts: Mapping[str, object] | None = None,
) -> dict[Path, Result]:
    """Do the runs of all *scenarios*, each in its run directory, and report each."""
    from toolkit.finish import finish

    with telling_notes(tell):
        modules = [check(scenario) for scenario in scenarios.values()]
    first = next(iter(scenarios))
    with _disk_errors(first if len(scenarios) == 1 else first.parent):
        begun = [
            _begin(
                scenario, RunDirectory(place), {**_standing_facts(scenario, facts or {}), "report": module}, resume=resume,
                call_traces=call_traces, mix_versions=mix_versions, tell=tell,
            )
            for (place, scenario), module in zip(scenarios.items(), modules, strict=True)
        ]
        homes = {job.directory: each.directory for each in begun for job in each.work}
        todo = [job for each in begun for job in each.todo]
        with watch(todo, begun[0].directory) if watch is not None else _no_watch():
            for job, wall_s in engine.map(run_job, todo):
                homes[job.directory].log(f"finished {job.name} in {wall_s:.1f} s")
        return {
            each.directory.path: finish(each.scenario, each.directory, [(job.arm, job.seed) for job in each.work]) for each in begun
        }


def _standing_facts(scenario: Scenario, facts: Mapping[str, object]) -> dict[str, object]:
    """Return *facts*, and whether this is a quick look and bears verdicts; a scenario that has all of its quick settings is one."""
    told = dict(facts)
    if "quick" not in told and shrunk(scenario):
        told["quick"] = given_up(scenario.quick)
    return {**told, "standing": Standing(scenario.seeds, "quick" in told).tag or "verdicts are given"}


def _begin(
    scenario: Scenario, directory: RunDirectory, facts: dict[str, object], *, resume: bool, call_traces: Path | None, mix_versions: bool,
    tell: Callable[[str], None] | None,
) -> Begun:
    """Open *directory* for the runs of *scenario*, and see which of them it holds already; *facts* are for ``versions.json``."""

    def say(sentence: str) -> None:
        directory.log(sentence)
        if tell is not None:
            tell(sentence)

    sound = _may_go_on(directory, facts, mix_versions=mix_versions, say=say) if resume else True
    directory.open(scenario.dump(), facts, resume=resume)
    work = [
        Job(
            arm, seed, spec.dump(), directory.path.absolute(),
            call_trace=call_traces / f"{arm}-s{seed}.parquet" if call_traces is not None else None, own=admitted(),
        )
        for seed in range(scenario.seed, scenario.seed + scenario.seeds)
        for arm, spec in scenario.arms().items()
    ]
    names = [job.name for job in work]
    if not sound:
        for name in names:
            forget(directory, name)
    for flaw in mend(directory, names) if resume else ():
        say(flaw)
    todo = [job for job in work if not directory.record(job.name).exists()]
    if len(todo) < len(work):
        directory.log(f"resumed: {len(work) - len(todo)} of {len(work)} runs were finished")
    return Begun(scenario, directory, work, todo)


def _may_go_on(directory: RunDirectory, facts: dict[str, object], *, mix_versions: bool, say: Callable[[str], None]) -> bool:
    """Whether what *directory* holds was made by software that is known; *facts* are told where versions are mixed.

    Raises:
        RunDirectoryError: other versions have begun it, and they are not to be mixed.
    """
    if not any((directory.path / "runs").glob("*")):
        return True
    others = other_versions(directory)
    if others is None:
        say("versions.json cannot be read, so what made the finished runs is not known; all are run again")
        return False
    if others and not mix_versions:
        refuse_other_versions(directory, others)
    if others:
        facts["begun_with"] = ", ".join(f"{name} {version}" for name, version in others.items())
        say(f"begun with {facts['begun_with']}, and finished with other versions")
    return True


def check(scenario: Scenario) -> str:
    """Check every arm of *scenario* and find its report; return the name of the module that tells the comparison.

    Raises:
        UserError: an arm cannot be run, or a report is none; one clear sentence.
    """
    scenario.check()
    for arm in scenario.arms().values():
        find_report(report_module(arm))
    return report_module(scenario)


def run_job(job: Job) -> tuple[Job, float]:
    """Do one run, write its ledger and metrics, and last its record; return it with its wall time."""
    begun_s = time.perf_counter()
    try:
        with _rare_collection():
            _run(job)
    except ScenarioError as error:
        raise ScenarioError([f"arm {job.arm}, seed {job.seed}: {problem}" for problem in error.problems]) from error
    return job, time.perf_counter() - begun_s


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Look for garbage cycles rarely: a run makes millions of small objects and hardly any cycle, and looking costs up to a third of it."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(job: Job) -> None:
    directory = RunDirectory(job.directory)
    readmit(job.own)
    scenario = Scenario.build(job.tree)
    ledger = Ledger(directory.ledger_stem(job.name))
    checkpoint = Checkpoint.open(directory.checkpoint(job.name)) if job.call_trace is None else None
    world = World(job.seed, scenario.limit_s, ledger, checkpoint=checkpoint, trace=directory.trace_stem(job.name))
    world.networks = directory.network_stem(job.name) if job.call_trace is None else None
    network = scenario.fabric.build(world)
    program = scenario.program
    if job.call_trace is not None:
        from toolkit.cluster.replay import Replay

        program = Replay(call_trace=job.call_trace)
    done = network.launch(program)
    progress = directory.record(job.name).with_suffix(".progress")
    if scenario.duration_s is not None:
        for part in range(1, SLICES + 1):
            world.env.run(until=scenario.duration_s * part / SLICES)
            progress.write_text(str(part / SLICES))
    else:
        _to_the_end(world, network, done, progress)
    network.finish()
    told = Run(ledger.reader, ledger.metrics(), min(scenario.limit_s, world.now), scenario.fabric, scenario.program)
    rows = find_report(report_module(scenario)).rows(told)
    ledger.close(directory.metrics(job.name), directory.requests(job.name))
    write_record(directory, job.name, rows, arm=job.arm, seed=job.seed, files=ledger.files)
    progress.unlink(missing_ok=True)
    if checkpoint is not None:
        checkpoint.remove()


def _to_the_end(world: World, network: Network, done: Event, progress: Path) -> None:
    """Run until all programs are at their end, telling from time to time how far they are."""
    told = 0.0
    try:
        while not done.processed:
            _some_events(world, done)
            if world.share - told >= 1.0 / SLICES:
                told = world.share
                progress.write_text(str(told))
    except EmptySchedule:
        raise network.deadlock() from None


def _some_events(world: World, done: Event) -> None:
    for _ in range(EVENTS_BETWEEN_LOOKS):
        world.env.step()
        if done.processed:
            return


@contextmanager
def _no_watch() -> Iterator[None]:
    yield


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}:
            raise RunDirectoryError(
                f"{path}: cannot be written ({os.strerror(error.errno)}); finished runs are kept: free space or fix the rights, "
                "then use --resume"
            ) from error
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR}:
            why = os.strerror(error.errno)
            raise RunDirectoryError(f"{shortened(str(path))}: is no usable path ({why}); give another --out") from error
        raise
