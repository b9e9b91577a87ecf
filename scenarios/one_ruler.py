"""Nine systems and their main rivals on one page: what was asked of each, and what it costs, by one ruler.

    python scenarios/one_ruler.py --jobs 2             # under five minutes on two cores
    python scenarios/one_ruler.py --full --jobs 2      # as the scenarios are shipped: hours
    python scenarios/one_ruler.py --out DIR            # the same folder again: finished runs stay, the rest is done

Every row is an arm of a scenario of this folder, at the size of its `quick:` or a little above, all run in one pool. Such sizes show
that nine different systems are measured alike; who is ahead is told by the scenarios' own runs and by docs. The last columns say how true
the ruler is for a row: the span of said over measured among all that its costs rest on and that was held against a machine or another
simulator (data/ruler). From a notebook: `from one_ruler import by_arm, measure; by_arm(measure(Path("runs/one_ruler")))`.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
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
from toolkit.render.axes import log_x
from toolkit.render.figures import COLOURS, MARKERS, new_figure, save, style
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
           {"seeds": 2, "program.stream.tasks": 5, "program.budget.epochs": 3}),
    System("E2Net", "e2net_edge", ("E2Net", "DER++", "ER"), "class_il", COMPUTING,
           {"program.stream.tasks": 5, "program.budget.epochs": 3}),
    System("HCGNet", "hcgnet_edge", ("HCGNet", "DenseNet-BC", "ResNet"), "final_accuracy", COMPUTING,
           {"program.recipe.epochs": 6, "program.recipe.first_epochs": 6, "program.evaluate_every": 2}),
    System("genetic pruning", "ga_lenet", ("GA-balanced", "random-search", "Taylor"), "error_after", COMPUTING,
           {"compare.GA-balanced": {}}),
    System("eTag", "etag_edge", ("eTag", "GFR", "fine-tune"), "incremental", COMPUTING,
           {"program.budget.epochs": 3, "program.method.generator_epochs": 10,
            "compare.GFR": {"program.lr": 0.001, "program.method": {
                "type": "gfr", "distil": 0.03, "hidden": 128, "latent": 32, "generator_epochs": 10}}}),
    System("EGOR", "egor_edge", ("EGOR", "ERD", "fine-tune"), "ap_all", COMPUTING,
           {"program.data.train": 400, "program.data.test": 80, "program.base.training": {"epochs": 10, "batch": 16, "lr": 0.002},
            "program.training": {"epochs": 4, "batch": 16, "lr": 0.001},
            "program.inversion": {"per_class": 4, "side": 48, "iterations": 100, "at_once": 20}}),
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
    """Run what *out* lacks of all *systems* and return one row per arm and seed: what was asked, and what it cost.

    Energy is that of all nodes, once with and once without what they draw while they wait; bytes are those sent, operations those of all
    nodes, and memory is what the program needs at its worst moment on the machine that needs most (none is told of nodes in the sea).
    """
    scenarios = {system.scenario: scenario_of(system, full=full, seeds=seeds) for system in systems}
    results = run_many(scenarios, out=out, jobs=jobs, resume=out.exists(), watch=watch, tell=lambda line: print(line, file=sys.stderr))
    return pd.concat([_runs(system, results[system.scenario]) for system in systems], ignore_index=True)


def _runs(system: System, result: Result) -> pd.DataFrame:
    """One row per arm and seed of *system*."""
    info = describe(system.asked, result.infos)
    asked = result.report[result.report["metric"] == system.asked].set_index(["arm", "seed"])["value"]
    specs = result.scenario.arms()
    estimates = {arm: specs[arm].program.estimate(specs[arm].fabric) for arm in system.arms}
    ledgers = dict(iter(result.ledger.groupby(["arm", "seed"], observed=True)))
    found = []
    for arm in system.arms:
        for seed in result.seeds:
            rows, estimate = ledgers[arm, seed], estimates[arm]
            observed = result.metrics[(result.metrics["arm"] == arm) & (result.metrics["seed"] == seed)]
            kind = rows["kind"].astype(str)
            found.append({
                "system": system.name, "arm": arm, "seed": seed, "asked": info.label, "better": info.better, "value": asked[arm, seed],
                "simulated_s": specs[arm].duration_s or end_of(rows, observed), "energy_j": rows["energy_j"].sum(),
                "energy_active_j": rows.loc[kind != "idle", "energy_j"].sum(), "sent_bytes": rows.loc[kind == "tx", "nbytes"].sum(),
                "flops": rows["flops"].sum(), "memory_bytes": math.nan if estimate is None else estimate.memory_nbytes,
            })
    return pd.DataFrame(found)


def by_arm(runs: pd.DataFrame, systems: Sequence[System] = SYSTEMS) -> pd.DataFrame:
    """Return one row per arm: means over seeds, half of the 95 % interval of what was asked, and how true the ruler is for that row."""
    held = pd.concat([pd.read_csv(HELD / f"{name}.csv") for name in ("machine", "sea")], ignore_index=True)
    numbers = ["simulated_s", "energy_j", "energy_active_j", "sent_bytes", "flops", "memory_bytes"]
    found = []
    for system in systems:
        ratios = held.loc[held["kind"].isin(system.rests_on), "ratio"]
        for arm in system.arms:
            own = runs[(runs["system"] == system.name) & (runs["arm"] == arm)]
            mean, low, high, n = mean_interval(own["value"].to_numpy(float))
            found.append({
                **own.iloc[0][["system", "arm", "asked", "better"]], "value": mean, "half": (high - low) / 2, "seeds": n,
                **own[numbers].mean(), "ruler_low": ratios.min(), "ruler_high": ratios.max(), "held_against": _held_against(system),
            })
    return pd.DataFrame(found)


def _held_against(system: System) -> str:
    if system.rests_on == ("decodes",):
        return "frames decoded: ns-3; joules: a data sheet"
    exchange = ", exchanges and whole runs" if "all-reduce" in system.rests_on else ""
    return f"seconds{exchange}: one core that was calibrated; the board's own constants are by rule"


def draw(table: pd.DataFrame, seeds: pd.DataFrame, path: Path) -> None:
    """Draw a panel per system: what was asked against the energy of computing and sending, a dot per seed and the mean of an arm larger."""
    systems = list(table["system"].unique())
    columns = 3
    rows = math.ceil(len(systems) / columns)
    with style():
        figure = new_figure(4.0 * columns, 3.3 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, system in zip(panels, systems, strict=False):
            own, dots = table[table["system"] == system], seeds[seeds["system"] == system]
            for place, row in enumerate(own.to_dict("records")):
                look = {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": "none"}
                mine = dots[dots["arm"] == row["arm"]]
                panel.plot(mine["energy_active_j"], mine["value"], markersize=4, alpha=0.45, **look)
                inside = COLOURS[place] if place == 0 else "white"
                panel.plot(row["energy_active_j"], row["value"], markersize=9, markerfacecolor=inside, label=row["arm"], **look)
            low, high = dots["energy_active_j"].min(), dots["energy_active_j"].max()
            log_x(panel, low / 1.5, high * 1.5, small=True)
            panel.set_xlim(low / 1.5, high * 1.5)
            panel.margins(y=0.15)
            first = own.iloc[0]
            asked = "\n".join(textwrap.wrap(f"{first['asked']} ({'higher' if first['better'] == 'higher' else 'lower'} is better)", 34))
            panel.set(title=system, xlabel="energy of computing and sending (J)", ylabel=asked)
            for label in (panel.xaxis.label, panel.yaxis.label):
                label.set_size(9)
            panel.legend(fontsize=8, loc="best")
        for panel in panels[len(systems):]:
            panel.set_visible(False)
        figure.suptitle("Nine systems and their rivals by one ruler, at small size; filled: the system; small: each seed", fontsize=11)
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
        "energy (J)": table["energy_j"].map("{:.4g}".format), "of it active": table["energy_active_j"].map("{:.3g}".format),
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
        runs = measure(args.out, jobs=args.jobs, full=args.full, seeds=args.seeds, systems=chosen)
        table = by_arm(runs, chosen)
        table.to_csv(args.out / "one_ruler.csv", index=False)
        runs.to_csv(args.out / "runs.csv", index=False)
        draw(table, runs, args.out / "one_ruler.png")
        sys.stdout.write(f"{printed(table)}\n\n")
        for text, own in table.groupby("held_against", sort=False)["system"]:
            sys.stdout.write(f"{', '.join(own.unique())}: {text}\n")
        sys.stdout.write(f"\n{args.out / 'one_ruler.csv'}\n{args.out / 'one_ruler.png'}\n")

    return told(do)


if __name__ == "__main__":
    sys.exit(main())
