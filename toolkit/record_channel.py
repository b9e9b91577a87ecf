"""python -m toolkit.record_channel SCENARIO.yaml --out FILE: write the SNR of every link of a run, to be replayed or looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from toolkit.called import program

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from toolkit.acoustic.fabric import Acoustic
    from toolkit.scenario import Scenario

ROWS_AT_ONCE = 500_000


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("record_channel"),
        description="Write the mean SNR of every link of a sea scenario as CSV or parquet (time in s from the start of the measured part, "
        "sender, receiver, snr_db), history included, as fabric.channel_record reads it. Nothing is sent and nothing costs.",
        epilog="exit status: 0 done, 2 something in the input is wrong (said in one sentence)",
    )
    cli.add_argument("scenario", metavar="SCENARIO.yaml", help="a scenario over fabric 'acoustic'")
    cli.add_argument("--out", required=True, metavar="FILE", help="FILE.parquet or FILE.csv")
    cli.add_argument("--seed", type=int, metavar="S", help="seed (default: the scenario's first)")
    cli.add_argument("--arm", metavar="A", help="arm whose settings count (default: the scenario without any)")
    cli.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], dest="settings", help="override a setting of the scenario")
    cli.add_argument("--quick", action="store_true", help="the scenario's own --quick settings")
    cli.add_argument("--trust", metavar="PACKAGE", action="append", default=[], help="let the scenario name parts of this package")
    cli.add_argument("--step", metavar="SPAN", help="time between two rows of a link, for example 10min (default: every epoch)")
    cli.add_argument("--least-snr-db", type=float, metavar="DB", help="leave out rows below this; replay them with gaps: silent")
    cli.add_argument("--decimals", type=int, metavar="N", help="round the SNR to so many places (default: exact)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parser().parse_args(argv)
    from pathlib import Path

    from toolkit.core.part import nearest
    from toolkit.errors import ScenarioError, UserError
    from toolkit.predict import span_s
    from toolkit.scenario import read_for_command

    try:
        scenario = read_for_command(args.scenario, args.settings, quick=args.quick, trusted=args.trust)
        if args.arm is not None:
            arms = scenario.arms()
            if args.arm not in arms:
                hint = nearest(args.arm, list(arms))
                raise ScenarioError(f"--arm {args.arm}: the scenario has no such arm{hint} (has: {', '.join(arms)})")
            scenario = arms[args.arm]
        step_s = 0.0 if args.step is None else span_s("--step", args.step)
        rows, links = write(
            scenario, scenario.seed if args.seed is None else args.seed, Path(args.out), step_s=step_s, least_snr_db=args.least_snr_db,
            decimals=args.decimals,
        )
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2
    sys.stdout.write(f"{args.out}: {rows} rows of {links} links\n")
    return 0


def write(
    scenario: Scenario, seed: int, path: Path, *, step_s: float = 0.0, least_snr_db: float | None = None, decimals: int | None = None
) -> tuple[int, int]:
    """Write the links of one seed of *scenario* to *path*; return how many rows and links there are.

    Between two rows of a link are at least *step_s*; rows below *least_snr_db* are left out.

    Raises:
        UserError: no sea, a file that does not fit the scenario or is not CSV or parquet, or one that cannot be written.
    """
    import numpy as np

    from toolkit.acoustic.fabric import Acoustic
    from toolkit.errors import DataError, ScenarioError

    if not isinstance(scenario.fabric, Acoustic):
        raise ScenarioError(f"fabric: is '{scenario.fabric.type_name()}', and only the links of 'acoustic' have an SNR")
    if path.suffix not in {".csv", ".parquet"}:
        raise DataError(f"{path}: must end in .csv or .parquet")
    scenario.check()
    rows, links = 0, np.zeros((0, 2), dtype=np.int32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as put:
            for every in _tables(scenario.fabric, scenario.limit_s, seed, step_s):
                table = every if least_snr_db is None else every[every["snr_db"] >= least_snr_db]
                table = table if decimals is None else table.round({"snr_db": decimals})
                put(table)
                rows += len(table)
                links = np.unique(np.concatenate([links, table[["sender", "receiver"]].to_numpy()]), axis=0)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    return rows, len(links)


def _tables(fabric: Acoustic, duration_s: float, seed: int, step_s: float) -> Iterator[pd.DataFrame]:
    """Rows of a run's links, moved on as the run moves them (what a link does depends on the steps)."""
    import numpy as np
    import pandas as pd

    from toolkit.core.streams import Streams

    channel, _ = fabric.open_channel(Streams(seed), duration_s)
    times_s = np.arange(-fabric.history_s, 0.0, fabric.history_step_s).tolist()
    now_s = 0.0
    while now_s <= duration_s:
        times_s.append(now_s)
        now_s += fabric.epoch_s
    count = fabric.layout.node_count + fabric.layout.sink_count
    senders, receivers = np.nonzero(~np.eye(count, dtype=bool))
    waiting: list[tuple[float, np.ndarray]] = []
    last_s = -np.inf
    for t_s in times_s:
        channel.advance(t_s)
        if t_s - last_s < step_s and t_s < times_s[-1]:  # the last is always kept: a replay has to reach the end
            continue
        last_s = t_s
        waiting.append((t_s, channel.snr_db[senders, receivers]))
        if len(waiting) * len(senders) >= ROWS_AT_ONCE or t_s == times_s[-1]:
            yield pd.DataFrame({
                "time": np.repeat([row[0] for row in waiting], len(senders)),
                "sender": np.tile(senders.astype(np.int32), len(waiting)), "receiver": np.tile(receivers.astype(np.int32), len(waiting)),
                "snr_db": np.concatenate([row[1] for row in waiting]),
            })
            waiting = []


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Open *path* for writing table after table, as CSV or parquet by its ending."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            yield lambda table: table.to_csv(file, header=not file.tell(), index=False)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("time", pa.float64()), ("sender", pa.int32()), ("receiver", pa.int32()), ("snr_db", pa.float64())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield lambda table: writer.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))


if __name__ == "__main__":
    sys.exit(main())
