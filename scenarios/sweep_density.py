"""How does routing fare as the network grows, at constant volume and at constant density, and as load and source level rise?

    python scenarios/sweep_density.py --quick                      # seconds
    python scenarios/sweep_density.py --nodes 50 100 200           # see docs/sweeps.md for how long
    python scenarios/sweep_density.py --jobs 2                     # nodes up to 500

Four sweeps around one point: 100 nodes and 4 sinks in 4 x 4 x 0.5 km, 0.05 packets a second in the whole network, 136 dB. At constant
density the area and the number of sinks grow with the nodes (depth does not); the load is that of the whole network, so that more nodes do
not mean more packets. Weather is synthetic (6 m/s with a memory of half a day, the tide of Sand Point), other for each seed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from sweeping import Point, Sweep, main, parser, told

SWEEPS = ("constant volume", "constant density", "load", "source level")
NODES = [50, 100, 200, 350, 500]
LOADS = [0.01, 0.05, 0.2, 1.0]
LEVELS_DB = [126, 131, 136, 141, 146]
BASE_NODES, BASE_LOAD, BASE_LEVEL_DB, SIDE_M, SINKS = 100, 0.05, 136, 4000.0, 4
BASE: dict[str, Any] = {
    "fabric.sea.wind": {"type": "synthetic_wind", "mean_m_s": 6.0}, "fabric.sea.random_start_days": 0, "fabric.history_s": 172_800,
    "fabric.drain_s": 1200, "fabric.epoch_s": 120, "fabric.probe.links": 0,
}


def point(nodes: int, load: float, level_db: float, *, growing: bool = False, base_nodes: int = BASE_NODES) -> Point:
    """Settings of one point; *growing*: the area and the sinks are in proportion to the nodes."""
    share = nodes / base_nodes if growing else 1.0
    side_m, sinks = SIDE_M * math.sqrt(share), max(1, round(SINKS * share))
    settings: dict[str, float | str] = {
        "nodes": nodes, "sinks": sinks, "side_m": round(side_m, 1), "load_per_s": load, "source_level_db": level_db,
    }
    return Point(f"n{nodes}-a{side_m / 1000:.2f}km-l{load:g}-s{level_db:g}", settings, {
        "fabric.layout.nodes": nodes, "fabric.layout.sinks": sinks, "fabric.layout.width_m": side_m, "fabric.layout.length_m": side_m,
        "fabric.modem.source_level_db": level_db, "program": {"type": "poisson", "interval_s": nodes / load, "nbytes": 64},
    })


def sweeps(args: argparse.Namespace) -> list[Sweep]:
    """The four sweeps; the base point is in each."""
    n, load, level = args.base_nodes, BASE_LOAD, BASE_LEVEL_DB
    return [
        Sweep(SWEEPS[0], "nodes", "nodes", [point(k, load, level) for k in args.nodes]),
        Sweep(SWEEPS[1], "nodes", "nodes", [point(k, load, level, growing=True, base_nodes=n) for k in args.nodes]),
        Sweep(SWEEPS[2], "packets per second in the network", "load_per_s", [point(n, x, level) for x in args.loads], log=True),
        Sweep(SWEEPS[3], "source level (dB re 1 µPa at 1 m)", "source_level_db", [point(n, load, x) for x in args.levels]),
    ]


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line and do it."""
    cli = parser(__doc__.splitlines()[0], "sweep_density")
    cli.add_argument("--nodes", nargs="+", type=int, default=NODES)
    cli.add_argument("--loads", nargs="+", type=float, default=LOADS, metavar="PER_S", help="packets per second in the whole network")
    cli.add_argument("--levels", nargs="+", type=float, default=LEVELS_DB, metavar="DB", help="source levels")
    cli.add_argument("--only", nargs="+", choices=SWEEPS, help="these sweeps alone")
    args = cli.parse_args(argv)
    args.base_nodes, base = BASE_NODES, BASE
    if args.quick:
        args.seeds, args.duration, args.base_nodes = 2, 600.0, 12
        args.nodes, args.loads, args.levels = [12, 24], [0.05, 0.2], [131, 136]
        base = {**BASE, "fabric.history_s": 21_600, "fabric.drain_s": 120}
    chosen = [sweep for sweep in sweeps(args) if args.only is None or sweep.name in args.only]
    main(chosen, base, args)


if __name__ == "__main__":
    sys.exit(told(run))
