"""How does routing fare as the wind rises, which swings the reach of a link threefold?

    python scenarios/sweep_wind.py --quick                         # seconds
    python scenarios/sweep_wind.py                                 # see docs/sweeps.md for how long

Mean wind from 3 to 15 m/s over the network of the open-sea trial (40 nodes and 4 sinks in 4 x 4 x 0.5 km). The wind is synthetic: it
varies about its mean with a standard deviation of 2.5 m/s and a memory of half a day, other for each seed and the same for all arms; the
tide is that of Sand Point.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from sweeping import Point, Sweep, main, parser, told

WINDS_M_S = [3, 5, 7, 9, 12, 15]
BASE: dict[str, Any] = {"fabric.sea.random_start_days": 0, "fabric.drain_s": 1200, "fabric.probe.links": 0}


def point(wind_m_s: float, nodes: int, load: float, level_db: float) -> Point:
    """Settings of one point."""
    settings: dict[str, float | str] = {"wind_m_s": wind_m_s, "nodes": nodes, "load_per_s": load, "source_level_db": level_db}
    return Point(f"w{wind_m_s:g}-n{nodes}-l{load:g}-s{level_db:g}", settings, {
        "fabric.sea.wind": {"type": "synthetic_wind", "mean_m_s": wind_m_s}, "fabric.layout.nodes": nodes,
        "fabric.modem.source_level_db": level_db, "program": {"type": "poisson", "interval_s": nodes / load, "nbytes": 64},
    })


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line and do it."""
    cli = parser(__doc__.splitlines()[0], "sweep_wind")
    cli.add_argument("--winds", nargs="+", type=float, default=WINDS_M_S, metavar="M_S", help="mean wind speeds in m/s")
    cli.add_argument("--nodes", type=int, default=40, help="default: 40")
    cli.add_argument("--load", type=float, default=0.02, metavar="PER_S", help="packets per second in the whole network (default: 0.02)")
    cli.add_argument("--level", type=float, default=136, metavar="DB", help="source level (default: 136)")
    args = cli.parse_args(argv)
    base = BASE
    if args.quick:
        args.seeds, args.duration, args.nodes, args.load, args.winds = 2, 600.0, 12, 0.1, args.winds[:: max(1, len(args.winds) - 1)][:2]
        base = {**BASE, "fabric.history_s": 21_600, "fabric.drain_s": 120}
    sweep = Sweep("wind", "mean wind (m/s)", "wind_m_s", [point(wind, args.nodes, args.load, args.level) for wind in args.winds])
    main([sweep], base, args)


if __name__ == "__main__":
    sys.exit(told(run))
