"""torchrun -m toolkit.train SCENARIO.yaml: train for real what `toolkit.simulate` prices, with the same programs and messages."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.scenario import Scenario


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog="torchrun --nproc_per_node=4 -m toolkit.train",
        description="Train the arms of a scenario in real processes (gloo on CPUs, nccl on GPUs), one worker or server per process.",
        epilog="Without torchrun, all workers take turns in one process. Exit status: 0 done, 1 another process was lost (checkpoints are "
        "kept, --resume goes on from them), 2 something in the input is wrong.",
    )
    cli.add_argument("scenario", metavar="SCENARIO.yaml", help="what to train, for example scenarios/gs_sgd.yaml")
    cli.add_argument("--arm", action="append", default=[], metavar="NAME", help="train only this arm; may be repeated")
    cli.add_argument("--seed", type=int, metavar="N", help="seed (default: the scenario's first)")
    cli.add_argument("--out", metavar="DIR", default="runs/train", help="where results and checkpoints go (default: runs/train)")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings", help="override a setting")
    cli.add_argument("--quick", action="store_true", help="shrink the scenario to seconds")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the scenario name parts of this package")
    cli.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out, and skip what is finished")
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
    seed = scenario.seed if args.seed is None else args.seed
    out = Path(args.out)
    if "RANK" not in os.environ:
        rows = [_locally(name, arm, seed) for name, arm in chosen.items()]
        _show(rows, out)
        return 0
    return _in_processes(args, chosen, seed, out)


def _locally(name: str, arm: Scenario, seed: int) -> dict[str, Any]:
    import time

    from toolkit.core.local import run_local

    arm.check()
    fabric: Any = arm.fabric
    begun_s = time.perf_counter()
    contexts = run_local(arm.program.run, fabric.workers, seed, servers=fabric.servers, collectives=fabric.collectives)
    return _row(name, seed, contexts[0].metrics, [ctx.sent_bytes for ctx in contexts], time.perf_counter() - begun_s)


def _in_processes(args: argparse.Namespace, arms: dict[str, Scenario], seed: int, out: Path) -> int:
    import signal
    from datetime import timedelta

    import torch
    import torch.distributed as dist

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
    except (RuntimeError, Stopped) as error:
        _tell_once(out, rank, place, error)
        os._exit(1)  # the others are gone: what would be closed in order waits for them
    if rank == 0:
        _show(rows, out)
    dist.destroy_process_group()
    return 0


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """The launcher stops this process, since another one is gone."""


def _stopped(*_: object) -> None:
    raise Stopped("stopped by the launcher")


def _fit(name: str, arm: Scenario, processes: int) -> Scenario:
    """Return *arm* with as many workers as there are processes beside its servers."""
    from toolkit.errors import ScenarioError
    from toolkit.scenario import Scenario, replaced

    servers = getattr(arm.fabric, "servers", 0)
    if processes <= servers:
        raise ScenarioError(f"arm {name}: needs {servers} servers and at least 1 worker; torchrun started {processes} processes")
    fitted = Scenario.build(replaced(arm.dump(), "fabric.workers", processes - servers))
    fitted.check()
    return fitted


def _one_arm(args: argparse.Namespace, name: str, arm: Scenario, seed: int, out: Path, accelerator: str) -> dict[str, Any]:
    import json

    import torch.distributed as dist

    from toolkit.cluster.distributed import Checkpoints, DistributedContext

    record = out / f"{name}-s{seed}.json"
    rank, processes = dist.get_rank(), dist.get_world_size()
    known: list[Any] = [json.loads(record.read_text(encoding="utf-8")) if args.resume and rank == 0 and record.is_file() else None]
    dist.broadcast_object_list(known, src=0)
    if known[0] is not None:
        return dict(known[0])
    fabric: Any = arm.fabric
    checkpoints = Checkpoints(out / "checkpoints" / f"{name}-s{seed}", rank, processes, args.resume)
    ctx = DistributedContext(fabric.workers, fabric.servers, seed, fabric.collectives, checkpoints, accelerator=accelerator)
    ctx.run(arm.program.run(ctx))
    sent: list[Any] = [0] * processes
    dist.all_gather_object(sent, ctx.sent_bytes)
    row = _row(name, seed, ctx.metrics, sent, ctx.now)
    if rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(row), encoding="utf-8")
    return row


def _row(name: str, seed: int, metrics: list[Any], sent_bytes: list[int], wall_s: float) -> dict[str, Any]:
    last = {metric.name: metric.value for metric in metrics}
    return {
        "arm": name, "seed": seed, "test_accuracy": last.get("test_accuracy"), "test_loss": last.get("test_loss"),
        "busiest_bytes": max(sent_bytes), "total_bytes": sum(sent_bytes), "wall_s": wall_s,
    }


def _show(rows: list[dict[str, Any]], out: Path) -> None:
    import json

    from rich.console import Console
    from rich.table import Table

    table = Table("arm", "test accuracy", "test loss", "sent by the busiest (MB)", "sent in all (MB)", "wall time (s)", box=None)
    for row in rows:
        numbers = (row["test_accuracy"], row["test_loss"], row["busiest_bytes"] / 1e6, row["total_bytes"] / 1e6, row["wall_s"])
        table.add_row(row["arm"], *(f"{number:.3f}" if number is not None else "–" for number in numbers))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _tell_once(out: Path, rank: int, place: str, error: BaseException) -> None:
    """Let one of the processes that are left say what happened."""
    out.mkdir(parents=True, exist_ok=True)
    marker = out / f".stopped-{os.environ.get('TORCHELASTIC_RUN_ID', 'run')}-{os.getppid()}"
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    sys.stderr.write(
        f"error: rank {rank} lost another process ({str(error).splitlines()[0]}); checkpoints are kept in {place}: "
        "the same command with --resume goes on from the last one\n"
    )
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
