"""torchrun -m toolkit.train SCENARIO.yaml: train for real what `toolkit.simulate` prices, with the same programs and messages."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from toolkit.called import program

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.scenario import Scenario


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("train", "torchrun --nproc_per_node=4 -m toolkit.train"),
        description="Train the arms of a scenario in real processes (gloo on CPUs, nccl on GPUs), one worker or server per process.",
        epilog="Every arm has as many workers as there are processes beside its servers; the head of the table says where these are not "
        "the scenario's. Without torchrun, all workers take turns in one process. Exit status: 0 done, 1 another process was lost "
        "(checkpoints are kept, --resume goes on from them), 2 something in the input is wrong.",
    )
    cli.add_argument("scenario", metavar="SCENARIO.yaml", help="what to train, for example scenarios/gs_sgd.yaml")
    cli.add_argument("--arm", action="append", default=[], metavar="NAME", help="train only this arm; may be repeated")
    cli.add_argument("--seed", type=int, metavar="N", help="seed (default: the scenario's first)")
    cli.add_argument("--out", metavar="DIR", default="runs/train", help="where results and checkpoints go (default: runs/train)")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings", help="override a setting")
    cli.add_argument("--quick", action="store_true", help="shrink the scenario to seconds")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the scenario name parts of this package")
    cli.add_argument(
        "--resume", action="store_true",
        help="go on from the checkpoints in --out, and skip what is finished; only with the same settings and number of processes",
    )
    cli.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    cli.add_argument("--timeout", type=float, default=300.0, metavar="S", help="give up when a message takes longer (default: 300)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        return _train(args)
    except UserError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            for line in str(error).splitlines():
                sys.stderr.write(f"error: {line}\n")
        return 2


def _train(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit.core.part import nearest
    from toolkit.errors import ScenarioError
    from toolkit.scenario import read_for_command

    scenario = read_for_command(args.scenario, args.settings, quick=args.quick, trusted=args.trust)
    arms = scenario.arms()
    for name in args.arm:
        if name not in arms:
            raise ScenarioError(f"--arm {name}: is not an arm{nearest(name, list(arms))} (arms: {', '.join(arms)})")
    chosen = {name: arms[name] for name in args.arm or arms}
    for name, arm in chosen.items():
        if arm.fabric.type_name() != "cluster":
            raise ScenarioError(f"arm {name}: fabric is '{arm.fabric.type_name()}', and real processes are workers of 'cluster'")
    seed = scenario.seed if args.seed is None else args.seed
    out = Path(args.out)
    if "RANK" not in os.environ:
        rows = [_locally(args, name, arm, seed, out) for name, arm in chosen.items()]
        _show(rows, out, [])
        return 0
    return _in_processes(args, chosen, seed, out)


def _locally(args: argparse.Namespace, name: str, arm: Scenario, seed: int, out: Path) -> dict[str, Any]:
    import time

    from toolkit.core.local import run_local

    arm.check()
    fabric: Any = arm.fabric
    record, settings = out / f"{name}-s{seed}.json", _settings(args, arm, 1)
    known = _known(record, settings) if args.resume else None
    if known is not None:
        return known
    begun_s = time.perf_counter()
    contexts = run_local(arm.program.run, fabric.workers, seed, servers=fabric.servers, collectives=fabric.collectives)
    metrics = [metric for ctx in contexts for metric in ctx.metrics]
    row = _row(name, seed, metrics, [ctx.sent_bytes for ctx in contexts], time.perf_counter() - begun_s)
    _write_record(record, settings, row)
    return row


def _settings(args: argparse.Namespace, arm: Scenario, processes: int) -> dict[str, Any]:
    """What decides what a training comes to: a record or a checkpoint is good for the same only."""
    tree = arm.dump()
    fabric = {key: tree["fabric"].get(key) for key in ("workers", "servers", "collectives")}
    return {"program": tree["program"], "fabric": fabric, "processes": processes, "device": args.device}


def _known(record: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of a finished training, if there is one.

    Raises:
        RunDirectoryError: it had other settings, or cannot be read.
    """
    import json

    from toolkit.cluster.distributed import check_same_settings
    from toolkit.errors import RunDirectoryError

    if not record.is_file():
        return None
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
        before, row = dict(kept["settings"]), dict(kept["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{record}: does not say with which settings it was made; remove it, or leave out --resume") from error
    check_same_settings(str(record), before, json.loads(json.dumps(settings)))
    return row


def _write_record(record: Path, settings: dict[str, Any], row: dict[str, Any]) -> None:
    import json

    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"settings": settings, "row": row}), encoding="utf-8")


def _in_processes(args: argparse.Namespace, arms: dict[str, Scenario], seed: int, out: Path) -> int:
    import signal
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    from toolkit.cluster.distributed import ProcessLost
    from toolkit.errors import UserError

    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    fitted = {name: _fit(name, arm, processes) for name, arm in arms.items()}
    accelerator = "cpu"
    if args.device == "cuda":
        accelerator = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(accelerator)
    signal.signal(signal.SIGTERM, _stopped)
    dist.init_process_group("nccl" if args.device == "cuda" else "gloo", timeout=timedelta(seconds=args.timeout))
    rows, place = [], ""
    try:
        for name, arm in fitted.items():
            place = f"{out / 'checkpoints' / f'{name}-s{seed}'}"
            row = _one_arm(args, name, arm, seed, out, accelerator)
            rows.append(row)
    except (ProcessLost, Stopped):
        _tell_last(
            out, f"rank {rank} lost another process, or heard nothing of it for {args.timeout:g} s (--timeout); checkpoints are kept in "
            f"{place}: the same command with --resume goes on from the last one"
        )
        os._exit(1)  # the others are gone: what would be closed in order waits for them
    except UserError as error:
        _tell_last(out, str(error))
        os._exit(2)
    if rank == 0:
        _show(rows, out, _other_experiment(arms, fitted))
    dist.destroy_process_group()
    return 0


def _other_experiment(arms: dict[str, Scenario], fitted: dict[str, Scenario]) -> list[str]:
    """Say which arms had another number of workers than the scenario gives them, or than the arms beside them."""
    sentences: dict[str, list[str]] = {}
    most = max(getattr(arm.fabric, "workers", 1) for arm in fitted.values())
    for name, arm in fitted.items():
        asked: Any = arms[name].fabric
        workers, servers = getattr(arm.fabric, "workers", 1), getattr(arm.fabric, "servers", 0)
        parts = []
        if workers != asked.workers:
            parts.append(f"{workers} worker{'s' * (workers != 1)} instead of the scenario's {asked.workers}, which is another experiment")
        if workers < most and servers:
            parts.append(f"{most - workers} fewer than other arms, since {servers} of the processes served")
        if parts:
            sentences.setdefault("; ".join(parts), []).append(name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in sentences.items()]


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """The launcher stops this process, since another one is gone."""


def _stopped(*_: object) -> None:
    raise Stopped("stopped by the launcher")


def _fit(name: str, arm: Scenario, processes: int) -> Scenario:
    """Return *arm* with as many workers as there are processes beside its servers; `_other_experiment` tells where they are others."""
    from toolkit.errors import ScenarioError
    from toolkit.scenario import Scenario, replaced

    servers = getattr(arm.fabric, "servers", 0)
    if processes <= servers:
        raise ScenarioError(f"arm {name}: needs {servers} servers and at least 1 worker; torchrun started {processes} processes")
    fitted = Scenario.build(replaced(arm.dump(), "fabric.workers", processes - servers))
    fitted.check()
    return fitted


def _one_arm(args: argparse.Namespace, name: str, arm: Scenario, seed: int, out: Path, accelerator: str) -> dict[str, Any]:
    import torch.distributed as dist

    from toolkit.cluster.distributed import Checkpoints, DistributedContext, losing_processes
    from toolkit.errors import RunDirectoryError

    record = out / f"{name}-s{seed}.json"
    rank, processes = dist.get_rank(), dist.get_world_size()
    settings = _settings(args, arm, processes)
    known: list[Any] = [None]
    if rank == 0:
        if args.resume:
            try:
                known = [_known(record, settings)]
            except RunDirectoryError as error:  # for all ranks to stop with
                known = [error]
        else:
            record.unlink(missing_ok=True)
    with losing_processes():
        dist.broadcast_object_list(known, src=0)
    if isinstance(known[0], RunDirectoryError):
        raise known[0]
    if known[0] is not None:
        return dict(known[0])
    fabric: Any = arm.fabric
    checkpoints = Checkpoints(out / "checkpoints" / f"{name}-s{seed}", rank, processes, args.resume, settings)
    ctx = DistributedContext(fabric.workers, fabric.servers, seed, fabric.collectives, checkpoints, accelerator=accelerator)
    ctx.run(arm.program.run(ctx))
    told: list[Any] = [None] * processes
    with losing_processes():  # who evaluates is the program's own affair: the first worker, or a server
        dist.all_gather_object(told, (ctx.sent_bytes, [metric for metric in ctx.metrics if metric.name in EVALUATED]))
    row = _row(name, seed, [metric for _, metrics in told for metric in metrics], [sent_bytes for sent_bytes, _ in told], ctx.now)
    if rank == 0:
        _write_record(record, settings, row)
    return row


EVALUATED = ("test_accuracy", "test_loss")
"""What the table shows of what a program observed."""


def _row(name: str, seed: int, metrics: list[Any], sent_bytes: list[int], wall_s: float) -> dict[str, Any]:
    last = {metric.name: metric.value for metric in metrics}
    return {
        "arm": name, "seed": seed, "test_accuracy": last.get("test_accuracy"), "test_loss": last.get("test_loss"),
        "busiest_bytes": max(sent_bytes), "total_bytes": sum(sent_bytes), "wall_s": wall_s,
    }


def _show(rows: list[dict[str, Any]], out: Path, notes: list[str]) -> None:
    """Print the table under *notes*, and write it."""
    import json

    from rich.console import Console
    from rich.table import Table

    table = Table("arm", "test accuracy", "test loss", "sent by the busiest (MB)", "sent in all (MB)", "wall time (s)", box=None)
    for row in rows:
        numbers = (row["test_accuracy"], row["test_loss"], row["busiest_bytes"] / 1e6, row["total_bytes"] / 1e6, row["wall_s"])
        table.add_row(row["arm"], *(f"{number:.3f}" if number is not None else "–" for number in numbers))
    console = Console(width=None if sys.stdout.isatty() else 120)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _tell_last(out: Path, sentence: str) -> None:
    """Let one of the processes say what happened, after the launcher's own report where the system allows to wait for that."""
    import signal
    import subprocess

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher stops whoever has not ended yet, and this one is about to
    out.mkdir(parents=True, exist_ok=True)
    marker = out / f".stopped-{os.environ.get('TORCHELASTIC_RUN_ID', 'run')}-{os.getppid()}"
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    text = "".join(f"error: {line}\n" for line in sentence.splitlines())
    if hasattr(os, "pidfd_open"):
        say_after = [sys.executable, "-S", "-c", SAY_AFTER, str(os.getppid()), text]
        subprocess.Popen(say_after, start_new_session=True, stdout=subprocess.DEVNULL)
        return
    sys.stderr.write(text)
    sys.stderr.flush()


SAY_AFTER = """
import os, select, sys
try:
    launcher = os.pidfd_open(int(sys.argv[1]))
    select.select([launcher], [], [], 60)
except OSError:
    pass
sys.stderr.write(sys.argv[2])
"""
"""Waits for the end of a process, and then says something."""


if __name__ == "__main__":
    sys.exit(main())
