"""Nine systems and their main rivals on one page: what was asked of each, and what it costs, by one ruler.

    python scenarios/one_ruler.py --jobs 2             # under five minutes on two cores
    python scenarios/one_ruler.py --full --jobs 2      # as the scenarios are shipped: hours
    python scenarios/one_ruler.py --out DIR            # the same folder again: finished runs stay, the rest is done

Every row is an arm of a scenario of this folder, at the size of its `quick:` or a little above, all run in one pool. Such sizes show
that nine different systems are measured alike; who is ahead is told by the scenarios' own runs and by docs. The last columns say how true
the ruler is for a row: the span of said over measured among all that its costs rest on and that was held against a machine or another
simulator (data/ruler). From a notebook: `from one_ruler import measure; table = measure(Path("runs/one_ruler"))`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from sweeping import told

from toolkit.analysis.costs import end_of
from toolkit.analysis.metric import describe
from toolkit.analysis.statistics import mean_interval
from toolkit.core.device import amount
from toolkit.errors import UserError
from toolkit.progress import watch
from toolkit.render.figures import FAINT, INK, new_figure, save, style
from toolkit.render.result import Result
from toolkit.scenario import Scenario
from toolkit.sweep import run_many

HERE = Path(__file__).parent
HELD = HERE.parent / "data" / "ruler"


@dataclass(frozen=True)
class System:
    """One system: the scenario that it is run by, itself and its rivals among the arms, and what is asked of them."""

    name: str
    scenario: str
    arms: tuple[str, ...]
    """The system first."""
    asked: str
    """The metric that says how well it works."""
    rests_on: tuple[str, ...]
    """Kinds of data/ruler that its costs rest on."""
    small: dict[str, Any] = field(default_factory=dict)
    """Beside the scenario's own `quick:`."""


COMPUTING = ("gradient", "inference")
SYSTEMS = (
    System("DBCAR + kNN", "sea_trial", ("DBCAR-kNN", "DBCAR-persistence", "DBR", "flooding"), "delivery_ratio", ("decodes",)),
    System("gs-SGD", "gs_sgd", ("gs-SGD", "dense", "Top-k", "QSGD"), "final_accuracy", ("gradient", "all-reduce", "whole run", "DDP"),
           {"program.steps": 100, "program.evaluate_every": 50}),
    System("CLFD", "clfd_edge", ("CLFD-ER", "ER", "CLFD-DER++", "DER++"), "class_il", COMPUTING,
           {"program.stream.tasks": 5, "program.budget.epochs": 3}),
    System("E2Net", "e2net_edge", ("E2Net", "DER++", "ER"), "class_il", COMPUTING,
           {"program.stream.tasks": 5, "program.budget.epochs": 3}),
    System("HCGNet", "hcgnet_edge", ("HCGNet", "DenseNet-BC", "ResNet"), "final_accuracy", COMPUTING,
           {"program.recipe.epochs": 3, "program.recipe.first_epochs": 3}),
    System("genetic pruning", "ga_lenet", ("GA-balanced", "random-search", "Taylor"), "error_after", COMPUTING,
           {"compare.GA-balanced": {}}),
    System("eTag", "etag_edge", ("eTag", "GFR", "fine-tune"), "incremental", COMPUTING,
           {"program.budget.epochs": 3, "program.method.generator_epochs": 10}),
    System("EGOR", "egor_edge", ("EGOR", "ERD", "fine-tune"), "ap_all", COMPUTING),
    System("RDD", "rdd_edge", ("RDD+PD", "CFD+PD", "PD", "DDIM"), "clf_fid@1", COMPUTING,
           {"program.base.steps": 200, "program.base.halving_steps": 30, "program.stage_steps": 30}),
)


def scenario_of(system: System, *, full: bool, seeds: int | None) -> Scenario:
    """Return the scenario of *system* with its arms alone, small unless *full*.

    Raises:
        UserError: it cannot be read, or has no such arm.
    """
    path = HERE / f"{system.scenario}.yaml"
    plain = Scenario.load(path)
    arms = {arm: plain.compare[arm] for arm in system.arms}
    if not full:
        arms = {arm: system.small.get(f"compare.{arm}", overrides) for arm, overrides in arms.items()}
    small = {} if full else {**plain.quick, **{key: value for key, value in system.small.items() if not key.startswith("compare")}}
    more = {} if seeds is None else {"seeds": seeds}
    return Scenario.load(path, {**small, **more, "quick": {}, "compare": arms})


def measure(
    out: Path, *, jobs: int = 1, full: bool = False, seeds: int | None = None, systems: Sequence[System] = SYSTEMS
) -> pd.DataFrame:
    """Run what *out* lacks of all *systems* and return one row per arm: what was asked, costs, and how true they are.

    Means over seeds; `half` is half of the 95 % interval of `value`. Bytes are those sent, operations those of all nodes, and memory is
    what the program needs at its worst moment on the machine that needs most (none is told of nodes in the sea).
    """
    scenarios = {system.scenario: scenario_of(system, full=full, seeds=seeds) for system in systems}
    results = run_many(scenarios, out=out, jobs=jobs, resume=out.exists(), watch=watch, tell=lambda line: print(line, file=sys.stderr))
    held = pd.concat([pd.read_csv(HELD / f"{name}.csv") for name in ("machine", "sea")], ignore_index=True)
    rows = [row for system in systems for row in _rows(system, results[system.scenario], held)]
    return pd.DataFrame(rows)


def _rows(system: System, result: Result, held: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per arm of *system*."""
    report, ledger, observed = result.report, result.ledger, result.metrics
    info = describe(system.asked, result.infos)
    ratios = held.loc[held["kind"].isin(system.rests_on), "ratio"]
    found = []
    for arm in system.arms:
        asked = report.loc[(report["arm"] == arm) & (report["metric"] == system.asked), "value"].to_numpy(float)
        mean, low, high, _ = mean_interval(asked)
        runs = [
            (rows, observed[(observed["arm"] == arm) & (observed["seed"] == seed)])
            for seed, rows in ledger[ledger["arm"] == arm].groupby("seed")
        ]
        spec = result.scenario.arms()[arm]
        estimate = spec.program.estimate(spec.fabric)
        found.append({
            "system": system.name, "arm": arm, "asked": info.label, "better": info.better, "value": mean, "half": (high - low) / 2,
            "seeds": len(asked),
            "simulated_s": _mean(spec.duration_s or end_of(rows, metrics) for rows, metrics in runs),
            "energy_j": _mean(rows["energy_j"].sum() for rows, _ in runs),
            "sent_bytes": _mean(rows.loc[rows["kind"] == "tx", "nbytes"].sum() for rows, _ in runs),
            "flops": _mean(rows["flops"].sum() for rows, _ in runs),
            "memory_bytes": estimate.memory_nbytes if estimate is not None else math.nan,
            "ruler_low": ratios.min(), "ruler_high": ratios.max(), "held_against": _held_against(system),
        })
    return found


def _mean(values: Any) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found)


def _held_against(system: System) -> str:
    if system.rests_on == ("decodes",):
        return "frames decoded: ns-3; joules: a data sheet"
    exchange = ", exchanges and whole runs" if "all-reduce" in system.rests_on else ""
    return f"seconds{exchange}: one core that was calibrated; the board's own constants are by rule"


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw a panel per system: what was asked against the energy, the system filled, its rivals hollow."""
    systems = list(table["system"].unique())
    columns = 3
    rows = math.ceil(len(systems) / columns)
    with style():
        figure = new_figure(3.7 * columns, 2.9 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, system in zip(panels, systems, strict=False):
            own = table[table["system"] == system].reset_index(drop=True)
            for place, row in own.iterrows():
                main = place == 0
                panel.errorbar(
                    row["energy_j"], row["value"], yerr=0.0 if math.isnan(row["half"]) else row["half"], fmt="o", ms=7, capsize=3,
                    color="#0072B2" if main else FAINT, mfc="#0072B2" if main else "white", zorder=3 if main else 2,
                )
                panel.annotate(row["arm"], (row["energy_j"], row["value"]), xytext=(6, 5), textcoords="offset points", fontsize=8,
                               color=INK if main else FAINT)
            panel.set_xscale("log")
            low, high = own["energy_j"].min(), own["energy_j"].max()
            panel.set_xlim(low / max(1.3, (high / low) ** 0.25), high * max(2.2, (high / low) ** 0.6))
            panel.margins(y=0.25)
            arrow = "↑ better" if own["better"][0] == "higher" else "↓ better"
            panel.set(title=system, xlabel="energy (J)", ylabel=f"{own['asked'][0]} ({arrow})")
            panel.yaxis.label.set_size(8)
        for panel in panels[len(systems):]:
            panel.set_visible(False)
        figure.suptitle("Nine systems by one ruler, at small size: mean of the seeds and its 95 % interval; hollow: rivals", fontsize=10)
        save(figure, path)


def printed(table: pd.DataFrame) -> str:
    """The table as text."""
    shown = pd.DataFrame({
        "system": table["system"].where(table["system"] != table["system"].shift(), ""),
        "arm": table["arm"],
        "asked": [f"{asked} {'↑' if better == 'higher' else '↓'}" for asked, better in zip(table["asked"], table["better"], strict=True)],
        "value": [f"{value:.3g}" + ("" if math.isnan(half) else f" ± {half:.2g}")
                  for value, half in zip(table["value"], table["half"], strict=True)],
        "seeds": table["seeds"], "simulated (s)": table["simulated_s"].map("{:.4g}".format),
        "energy (J)": table["energy_j"].map("{:.4g}".format),
        "sent": table["sent_bytes"].map(amount), "FLOP": table["flops"].map("{:.2g}".format),
        "memory": table["memory_bytes"].map(lambda nbytes: "–" if math.isnan(nbytes) else amount(nbytes)),
        "said / measured": [f"{low:.2f}-{high:.2f}" for low, high in zip(table["ruler_low"], table["ruler_high"], strict=True)],
    })
    return shown.to_string(index=False)


def main(argv: Sequence[str] | None = None) -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--out", type=Path, default=Path("runs") / "one_ruler", help="folder of runs, table and figure (runs/one_ruler)")
    cli.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    cli.add_argument("--seeds", type=int, help="seeds of every scenario; without it each has its own number")
    cli.add_argument("--full", action="store_true", help="as the scenarios are shipped: hours")
    cli.add_argument("--systems", nargs="+", metavar="NAME", help=f"some of: {', '.join(system.scenario for system in SYSTEMS)}")
    args = cli.parse_args(argv)

    def do() -> None:
        known = {system.scenario: system for system in SYSTEMS}
        for name in args.systems or ():
            if name not in known:
                raise UserError(f"--systems {name}: must be one of {', '.join(known)}")
        chosen = [known[name] for name in args.systems] if args.systems else SYSTEMS
        table = measure(args.out, jobs=args.jobs, full=args.full, seeds=args.seeds, systems=chosen)
        table.to_csv(args.out / "one_ruler.csv", index=False)
        draw(table, args.out / "one_ruler.png")
        sys.stdout.write(f"{printed(table)}\n\n")
        for text, own in table.groupby("held_against", sort=False)["system"]:
            sys.stdout.write(f"{', '.join(own.unique())}: {text}\n")
        sys.stdout.write(f"\n{args.out / 'one_ruler.csv'}\n{args.out / 'one_ruler.png'}\n")

    return told(do)


if __name__ == "__main__":
    sys.exit(main())
