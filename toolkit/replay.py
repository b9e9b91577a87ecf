"""python -m toolkit.replay RUN: one HTML page that plays a traced run of the sea."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from toolkit.called import program

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 20_000_000
"""Pages above this are slow to open, and not written."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("replay"),
        description="Write one self-contained HTML page that plays a run whose scenario had fabric.trace: true: nodes in the water column, "
        "frames travelling at the speed of sound, what became of each, and why.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("run", metavar="RUN", help="run directory, as python -m toolkit.simulate leaves it")
    cli.add_argument("--arm", metavar="A", help="arm (default: the first)")
    cli.add_argument("--seed", type=int, metavar="S", help="seed (default: the first)")
    cli.add_argument("--from", type=float, metavar="T", dest="from_s", help="beginning in s of simulated time (default: 0)")
    cli.add_argument("--to", type=float, metavar="T", dest="to_s", help="end in s of simulated time (default: the end of the run)")
    cli.add_argument("--out", metavar="FILE", help="the page to write (default: RUN/replay/ARM-sSEED.html)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from toolkit.errors import UserError

    try:
        path, frames = write(args.run, args.arm, args.seed, args.from_s, args.to_s, args.out)
    except UserError as error:
        sys.stderr.write(f"error: {error}" + "\n")
        return 2
    sys.stdout.write(f"{path}: {frames} frames, {path.stat().st_size / 1e6:.1f} MB" + "\n")
    return 0


def write(
    run: str | Path, arm: str | None = None, seed: int | None = None, from_s: float | None = None, to_s: float | None = None,
    out: str | Path | None = None,
) -> tuple[Path, int]:
    """Write the page of one arm and seed, from *from_s* to *to_s*; return the file and the number of frames in it.

    Raises:
        UserError: the directory holds no trace, or none of this arm or seed; the window is empty or too large for a page; the page
            cannot be written.
    """
    from pathlib import Path

    import pandas as pd
    import pyarrow.parquet as pq

    from toolkit.core.rundir import reading
    from toolkit.core.words import counted
    from toolkit.errors import RunDirectoryError
    from toolkit.replay_page import pack, render

    directory = Path(run)
    with reading(directory / "scenario.yaml"):
        scenario = _scenario(directory)
        order = list(scenario.get("compare", {}))
    chosen, number = _choose(directory, order, arm, seed)
    stem = directory / "trace" / f"{chosen}-s{number}"
    try:
        table = pq.read_table(stem.with_name(f"{stem.name}.parquet"))
        nodes = pd.read_parquet(stem.with_name(f"{stem.name}-nodes.parquet"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{stem}.parquet: cannot be read as a trace ({_first_line(error)}); run the scenario again") from error
    with reading(stem.with_name(f"{stem.name}.parquet")):
        facts = table.schema.metadata
        speed_m_s, duration_s = float(facts[b"sound_speed_m_s"]), float(facts[b"duration_s"])
        count, sinks = len(nodes.node.unique()), int(nodes.drop_duplicates("node").sink.sum())
    begin_s, end_s = _window(from_s, to_s, duration_s)
    name = str(scenario.get("name", directory.name))
    with reading(stem.with_name(f"{stem.name}.parquet")):
        packed = pack(table.to_pandas(), nodes, speed_m_s, begin_s, end_s, {
            "title": f"{name}: {chosen}, seed {number}",
            "subtitle": f"{counted(count - sinks, 'node')} and {counted(sinks, 'surface sink')}; sound travels at {speed_m_s:.0f} m/s",
        })
    page = render(packed).encode()
    if len(page) > LARGEST_BYTES:
        data = sum(len(column["data"]) for table in packed.values() if isinstance(table, dict) for column in table.values())
        length_s = float(f"{0.8 * (end_s - begin_s) * (LARGEST_BYTES - len(page) + data) / data:.2g}")
        raise RunDirectoryError(
            f"{stem}.parquet: from {begin_s:g} to {end_s:g} s the page would have {len(page) / 1e6:.0f} MB, above "
            f"{LARGEST_BYTES / 1e6:.0f}; give a shorter window, for example --from {begin_s:g} --to {begin_s + length_s:g}"
        )
    path = Path(out) if out is not None else directory / "replay" / f"{chosen}-s{number}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written ({error.strerror}); give another --out") from error
    return path, int(packed["frames"])


def _scenario(directory: Path) -> dict[str, Any]:
    """The settings of a run as plain text; nothing where there are none."""
    from toolkit.core import yaml12

    path = directory / "scenario.yaml"
    return dict(yaml12.read(path)) if path.is_file() else {}


def _choose(directory: Path, order: list[str], arm: str | None, seed: int | None) -> tuple[str, int]:
    """Which of the traced runs to play."""
    import re

    from toolkit.core.part import nearest
    from toolkit.errors import RunDirectoryError

    if not directory.is_dir():
        raise RunDirectoryError(f"{directory}: is no run directory")
    found: dict[str, list[int]] = {}
    for path in sorted((directory / "trace").glob("*.parquet")):
        match = re.fullmatch(r"(.+)-s(\d+)\.parquet", path.name)
        if match:
            found.setdefault(match[1], []).append(int(match[2]))
    if not found:
        raise RunDirectoryError(f"{directory}: holds no trace; run its scenario with fabric.trace: true (--set fabric.trace=true)")
    arms = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    chosen = arms[0] if arm is None else arm
    if chosen not in found:
        raise RunDirectoryError(f"--arm {chosen}: {directory} has no trace of it{nearest(chosen, arms)} (has: {', '.join(arms)})")
    seeds = sorted(found[chosen])
    number = seeds[0] if seed is None else seed
    if number not in seeds:
        raise RunDirectoryError(f"--seed {number}: {directory} has no trace of it for {chosen} (has: {', '.join(map(str, seeds))})")
    return chosen, number


def _window(from_s: float | None, to_s: float | None, duration_s: float) -> tuple[float, float]:
    """The window to play, within the run."""
    from toolkit.errors import RunDirectoryError

    begin_s, end_s = from_s if from_s is not None else 0.0, to_s if to_s is not None else duration_s
    if not 0.0 <= begin_s < duration_s:
        raise RunDirectoryError(f"--from {begin_s:g}: must be at least 0 and below {duration_s:g} s, the end of the run")
    if not begin_s < end_s <= duration_s:
        raise RunDirectoryError(f"--to {end_s:g}: must be above --from ({begin_s:g}) and at most {duration_s:g} s, the end of the run")
    return begin_s, end_s


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
