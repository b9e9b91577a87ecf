"""Which way of exchanging gradients pays at which rate, range and battery, and where is a board better off alone?

    python scenarios/sweep_sketches.py --quick                     # seconds
    python scenarios/sweep_sketches.py --jobs 2                    # see docs/learning_at_sea.md

The dozen boards of `sketches_at_sea.yaml`, over DBCAR, with another rate of their modems, another field to lie in, or other batteries; one
of these at a time. The round of the MAC follows the rate and the field, as it must.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from sweeping import Point, Study, Sweep, main, parser, told

from toolkit.scenario import Scenario

SWEEPS = ("rate", "range", "battery")
RATES_BPS, SIDES_M, BATTERIES_J = [1200, 4800, 19200], [1000, 2000, 4000], [9000, 14000, 60000]
RATE_BPS, SIDE_M, BATTERY_J = 4800, 2000, 14000
"""Of the scenario, and of every sweep that asks for something else."""
ARMS = ("gs-SGD-DBCAR", "Top-k-DBCAR", "QSGD-DBCAR", "signSGD-DBCAR", "local-SGD-DBCAR", "one-board-alone")
SCENARIO = "sketches_at_sea.yaml"


def study() -> Study:
    """The arms of the scenario, and what is told of them."""
    from sweeping import HERE

    return Study(
        SCENARIO, {name: dict(arm) for name, arm in Scenario.load(HERE / SCENARIO).compare.items()}, ARMS,
        ("final_accuracy", "hours_to_accuracy@0.8", "air_bytes_per_node", "energy_per_node_j", "deaths"), "toolkit.at_sea.report",
    )


def point(rate_bps: float = RATE_BPS, side_m: float = SIDE_M, battery_j: float = BATTERY_J) -> Point:
    """Settings of one point; a slot holds the same bytes, and sound crosses the field by its diagonal."""
    settings: dict[str, float | str] = {"rate_bps": rate_bps, "side_m": side_m, "battery_j": battery_j}
    return Point(f"r{rate_bps:g}-a{side_m:g}m-b{battery_j:g}J", settings, {
        "fabric.modem.rate_bps": rate_bps, "fabric.layout.width_m": side_m, "fabric.layout.length_m": side_m,
        "fabric.mac": {"type": "tdma", "slot_nbytes": 480, "range_m": 1.5 * side_m}, "fabric.battery_j": battery_j,
    })


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line and do it."""
    swept = study()
    cli = parser(__doc__.splitlines()[0], "sweep_sketches", swept, 86_400.0)
    cli.add_argument("--rates", nargs="+", type=float, default=RATES_BPS, metavar="BPS", help="rates of the modems in bit/s")
    cli.add_argument("--sides", nargs="+", type=float, default=SIDES_M, metavar="M", help="sides of the field in m")
    cli.add_argument("--batteries", nargs="+", type=float, default=BATTERIES_J, metavar="J", help="full batteries in J")
    cli.add_argument("--only", nargs="+", choices=SWEEPS, default=list(SWEEPS), help="these sweeps alone")
    args = cli.parse_args(argv)
    base: dict[str, Any] = {}
    if args.quick:
        args.seeds, args.duration = 2, 3600.0
        base = {"fabric.layout.nodes": 4, "fabric.drain_s": 900, "program.steps": 4}
        args.rates, args.sides, args.batteries = args.rates[1:], args.sides[:2], args.batteries[:2]
    sweeps = {
        "rate": Sweep("rate", "rate of the modems (bit/s)", "rate_bps", [point(rate_bps=value) for value in args.rates], log=True),
        "range": Sweep("range", "side of the field (m)", "side_m", [point(side_m=value) for value in args.sides], log=True),
        "battery": Sweep("battery", "full battery (J)", "battery_j", [point(battery_j=value) for value in args.batteries], log=True),
    }
    main([sweeps[name] for name in args.only], base, args, swept)


if __name__ == "__main__":
    sys.exit(told(run))
