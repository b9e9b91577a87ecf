"""python -m toolkit.calibrate --out board.yaml: what this machine takes for its kernels, as a device that scenarios can name."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.calibration.machine import Calibration
    from toolkit.calibration.probes import Probe
    from toolkit.core.device import Device

ROUNDS = 10
BLOCKS = 4
"""Blocks of messages in the time of a round over the networks."""
POWERS = ("idle_w", "busy_w", "storage_w")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("calibrate"),
        description="Time the gradients of a handful of networks here, fit the constants of a device to them, and hold what the device "
        "then says against what was measured, for these networks and for others. "
        "The file can be named in scenarios (device: ./board.yaml).",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("--out", metavar="FILE.yaml", help="where to write the device")
    cli.add_argument("--model", metavar="NAME", action="append", default=[], help="a network of yours that is to fit above all; repeatable")
    cli.add_argument("--image", metavar="CxHxW", default="1x8x8", help="channels, height and width of its images (default: 1x8x8)")
    cli.add_argument("--batch", metavar="N", type=int, default=16, help="images per step of it (default: 16)")
    cli.add_argument("--like", metavar="PROFILE", default="this_machine", help="whose powers to take, which no clock measures")
    cli.add_argument("--accelerator", metavar="cpu|cuda", default="cpu", help="what computes (default: cpu, one thread)")
    cli.add_argument("--rounds", metavar="N", type=int, default=ROUNDS, help=f"rounds over all networks (default: {ROUNDS})")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        return _calibrate(args)
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2


def _calibrate(args: argparse.Namespace) -> int:
    from pathlib import Path

    import torch
    from rich.console import Console

    from toolkit.calibration.machine import calibrate, sizes
    from toolkit.calibration.messages import message_handling
    from toolkit.calibration.probes import HELD
    from toolkit.calibration.storage import storage_rates
    from toolkit.core.device import PROFILES, Device
    from toolkit.core.profiles import ENDINGS
    from toolkit.errors import ScenarioError

    if args.out and not args.out.endswith(ENDINGS):
        raise ScenarioError(f"--out {args.out}: the file of a device ends with .yaml, by which scenarios know it from a profile's name")
    if args.accelerator.startswith("cuda") and not torch.cuda.is_available():
        raise ScenarioError(f"--accelerator {args.accelerator}: torch finds no such device here; use cpu")
    if min(args.rounds, args.batch) < 1:
        raise ScenarioError(f"--rounds and --batch must be at least 1 (got {args.rounds} and {args.batch})")
    if args.like not in PROFILES.names():
        raise ScenarioError(f"--like {args.like}: is not a device profile (known: {', '.join(PROFILES.names())})")
    own = own_probes(args.model, args.image, args.batch)
    found = calibrate(own, HELD, rounds=args.rounds, device=args.accelerator)
    powers = {key: value for key, value in PROFILES.read(args.like).items() if key in POWERS}
    folder = Path(args.out).absolute().parent if args.out else Path.cwd()
    read, write = (float(f"{rate:.3g}") for rate in storage_rates(folder))
    handling: dict[str, float] = {}
    if args.accelerator == "cpu":
        measured = message_handling(BLOCKS * args.rounds)
        handling = {name: float(f"{value:.3g}") for name, value in measured._asdict().items()}
    messages = " Messages: of 1 kB between two processes here, by gloo, one after the other and after gradients." if handling else ""
    values = {
        "source": f"{found.source}{messages} Storage: batches of records at random places of this disk. Assumed: powers, those of "
        f"{args.like}.",
        **found.fields, **handling, **sizes(args.accelerator, folder),
        "storage_read_bytes_per_s": read, "storage_write_bytes_per_s": write, **powers,
    }
    device = Device(**values)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    _tell(console, found, device)
    if args.out:
        Path(args.out).write_text(as_yaml(values), encoding="utf-8")
        console.print(f"\nwritten to {args.out}; in a scenario: device: ./{Path(args.out).name}", soft_wrap=True)
    return 0


def own_probes(models: list[str], image: str, batch: int) -> list[Probe]:
    """Return gradients of the user's networks, with batches of *batch* images and of a quarter of that.

    Raises:
        ScenarioError: no such network, or no such images.
    """
    import torch
    from pydantic import ValidationError

    from toolkit.calibration.probes import Probe
    from toolkit.core.part import explain
    from toolkit.errors import ScenarioError
    from toolkit.methods.model_spec import ModelSpec

    try:
        channels, height, width = map(int, image.split("x"))
    except ValueError as error:
        raise ScenarioError(f"--image {image}: must look like 3x32x32, channels, height and width") from error
    found = []
    for name in models:
        try:
            spec = ModelSpec(name=name)
        except ValidationError as error:
            raise ScenarioError([f"--model: {line}" for line in explain(error)]) from error
        for size in sorted({batch, max(2, batch // 4)}):
            def build(spec: ModelSpec = spec) -> torch.nn.Module:
                return spec.build(torch.Generator().manual_seed(0), in_channels=channels, image_size=height)

            found.append(Probe(f"{name} b{size} (own)", build, (size, channels, height, width)))
    return found


def as_yaml(values: dict[str, object]) -> str:
    """Return a device's *values* as the text of its file."""
    import textwrap

    lines = textwrap.wrap(str(values["source"]), 130)
    return "\n".join(["source: >-", *(f"  {line}" for line in lines), *(
        f"{key}: {value:.6g}" for key, value in values.items() if key != "source" and isinstance(value, int | float)
    )]) + "\n"


def _tell(console: Console, found: Calibration, device: Device) -> None:
    """Print said against measured."""
    from rich.table import Table

    table = Table("gradient", "said (ms)", "measured (ms)", "ratio", "median/least", "")
    for probes, word in ((found.fitted_to, "fitted"), (found.others, "not fitted")):
        for probe in probes:
            said, measured = device.duration_s(probe.work()), found.times.seconds[probe.name]
            table.add_row(
                probe.name, f"{1e3 * said:.3f}", f"{1e3 * measured:.3f}", f"{said / measured:.2f}", f"{found.times.spread[probe.name]:.2f}",
                word,
            )
    console.print(table)
    for name, value in {**found.fields, "message_overhead_s": device.message_overhead_s, "message_wake_s": device.message_wake_s}.items():
        if value is not None:
            console.print(f"{name}: {value:.4g}")
    if found.times.busy:
        console.print(
            f"warning: other work ran meanwhile (wall time {found.times.waited:.1f} times the CPU time); repeat it on a quiet machine",
            soft_wrap=True,
        )


if __name__ == "__main__":
    from toolkit.stopping import leave

    leave(main())
