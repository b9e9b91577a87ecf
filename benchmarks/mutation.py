"""Do the tests notice? Small mutations of the core, and how many of them the tests catch.

    pip install -e .[test,learn,mutation]
    OMP_NUM_THREADS=1 python benchmarks/mutation.py mutants.jsonl --sample 20     # resumable; about an hour for all groups

Mutants are those of cosmic-ray: operators, comparisons, numbers, conditions, loops. Of each group of modules so many places are drawn,
without replacement, and at each one of the mutants that there are; so an operator with ten replacements counts once, and the share in the
sample is an unbiased estimate of the group's. Each is written into a copy of the checkout, where the group's own fast tests are run until
the first failure; a mutant that takes three times as long as the tests need counts as caught. Not drawn are mutants that change annotations
alone, decorators, which are declarations or memory, `Field(...)`, where a setting has its default, which is a choice, and its bounds,
which tests/test_bounds.py walks through, and `MetricInfo(...)`, where a table is told how many places it shows, which is one too. Every
mutant is a line of the output: what was changed, and whether it was caught.
Survivors are printed, to be read. Those that were read and mean the same as the original are in `mutants_same.json`, each with the reason;
they are left out of the share and counted beside it.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray import mutating, plugins
from cosmic_ray.ast import ast_nodes, get_ast
from parso.tree import NodeOrLeaf

ROOT = Path(__file__).parent.parent
SAME = Path(__file__).with_name("mutants_same.json")
LEFT_OUT = ("RemoveDecorator", "VariableReplacer", "VariableInserter")  # see above; the last two need to be told names
SLACK_S = 20.0  # beyond three times what the tests take
WIDER_S = 1200.0  # for tests farther away


@dataclass(frozen=True)
class Group:
    """Modules below a folder of the package, and the tests that are there for them, nearest first; `options` go to pytest.

    What these do not catch, `wider` tests are asked about, which notice it as part of something larger.
    """

    folder: str
    modules: str
    tests: str
    options: tuple[str, ...] = ()
    wider: str = ""

    def files(self) -> list[Path]:
        return [Path("toolkit") / self.folder / f"{module}.py" for module in self.modules.split()]


MEASURING = "tests/core/test_device.py::test_measuring_is_quick_and_gives_what_a_machine_can_be"
PLAIN = ("-k", "not compiled")  # numba would compile every mutant for half a minute; the plain functions are the same source

GROUPS = {
    "core": Group(
        "core",
        "alarm charges context device ledger row_buffer statefile streams machines work record checkpoint",
        "tests/core tests/cluster/test_network.py tests/acoustic/test_batteries.py",
        ("--deselect=tests/core/test_trust.py", f"--deselect={MEASURING}"),
        "tests/test_resume.py tests/test_cluster_scenarios.py tests/test_recost.py tests/test_export.py tests/methods/training",
    ),
    "medium": Group(
        "acoustic",
        "phy/medium phy/room phy/wide fabric",
        "tests/acoustic/phy tests/acoustic/water/test_sea.py tests/acoustic/test_described_sea.py tests/acoustic/test_batteries.py"
        " tests/acoustic/mac",
        PLAIN,
        "tests/acoustic/test_trace.py tests/acoustic/test_channel_record.py tests/acoustic/routing/test_routing_laws.py",
    ),
    "kernel": Group(
        "acoustic",
        "phy/kernel/due phy/kernel/way phy/kernel/surroundings phy/kernel/deciding phy/kernel/receiving phy/kernel/sending"
        " phy/kernel/advancing phy/kernel/records",
        "tests/acoustic/phy tests/acoustic/water/test_sea.py tests/acoustic/mac",
        PLAIN,
        "tests/acoustic/test_trace.py tests/acoustic/test_batteries.py tests/acoustic/test_channel_record.py",
    ),
    "channel": Group(
        "acoustic",
        "water/absorption water/noise water/propagation water/sound_speed phy/channel phy/fading phy/faded_success phy/modulation phy/modem"
        " reach environment/daily_noise environment/flow_noise environment/harmonic_tide environment/surface_noise"
        " environment/synthetic_wind",
        "tests/acoustic/water tests/acoustic/environment tests/acoustic/phy tests/acoustic/test_reach.py"
        " tests/acoustic/test_channel_record.py",
        PLAIN,
    ),
    "routing": Group(
        "acoustic/routing",
        "carp dbcar_o dbr eedbr flooding forwarding hh_vbf holding next_hop shortest_path vbf vectors",
        "tests/acoustic/routing",
        ("--deselect=tests/acoustic/routing/test_scenarios.py",),
        "tests/acoustic/test_trace.py tests/acoustic/test_sea_report.py",
    ),
    "dbcar": Group(
        "acoustic/routing",
        "dbcar neighbours link_monitor",
        "tests/acoustic/routing/test_dbcar.py tests/acoustic/routing/test_dbcar_rules.py tests/acoustic/routing/test_dbcar_voids.py"
        " tests/acoustic/routing/test_dbcar_o.py tests/acoustic/routing/test_routing_laws.py",
        (),
        "tests/acoustic/test_trace.py",
    ),
    "mac": Group("acoustic/mac", "aloha broadcast csma csma_aloha sfama slotted_aloha tdma", "tests/acoustic/mac"),
    "cluster": Group("cluster", "flows maxmin messages network link worker ideal", "tests/cluster tests/collectives", (),
                     "tests/test_cluster_scenarios.py tests/methods/distributed"),
    "sketch": Group(
        "learning",
        "sketch sketch_cpu sketch_hash sketch_sizes top_k top_k_cpu",
        "tests/learning/test_sketch.py tests/learning/test_top_k.py",
    ),
    "continual": Group(
        "methods/continual",
        "a_gem batch clfd cls_er der derpp e2net e2net_search episodic er er_ace fdr feature_selection frequency gem gss hal icarl lwf"
        " oewc si springs storage teacher ../../learning/buffer",
        "tests/methods/continual/test_baselines.py tests/methods/continual/test_hosts.py tests/methods/continual/test_clfd.py"
        " tests/methods/continual/test_e2net.py tests/learning/test_buffer.py tests/methods/continual/test_storage.py"
        " tests/methods/continual/test_weight_passes.py",
        (),
        "tests/methods/continual",
    ),
    "search": Group("learning/genetic", "fitness genome operators pareto search", "tests/learning/genetic", (), "tests/methods/pruning"),
    "report": Group(
        "",
        "acoustic/report cluster/report analysis/statistics analysis/comparison analysis/report analysis/costs analysis/rows",
        "tests/analysis tests/acoustic/test_sea_report.py tests/cluster tests/methods/distributed/test_distributed_report.py",
        (),
        "tests/test_simulate.py",
    ),
}


@dataclass(frozen=True)
class Mutant:
    """A module with one small change."""

    file: Path
    operator: str
    occurrence: int
    source: str

    def change(self) -> tuple[int, str, str]:
        """The first line that differs: its number, as it was, and as it is."""
        source = (ROOT / self.file).read_text()
        place = _first_difference(source, self.source)
        return place + 1, source.splitlines()[place].strip(), self.source.splitlines()[place].strip()


def _first_difference(source: str, mutated: str) -> int:
    lines = zip(source.splitlines(), mutated.splitlines(), strict=False)
    return next(place for place, (before, after) in enumerate(lines) if before != after)


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node


def meaning(source: str) -> str:
    """The program without what does nothing at run time, to tell whether two are the same."""
    return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))


def _is_a_choice(node: NodeOrLeaf | None) -> bool:
    """Whether a place lies in `Field(...)` or `MetricInfo(...)`."""
    while node is not None:
        first = getattr(node, "children", [None])[0]
        if node.type in ("power", "atom_expr") and getattr(first, "value", None) in ("Field", "MetricInfo"):
            return True
        node = node.parent
    return False


def places(file: Path) -> list[list[tuple[Path, str, int]]]:
    """For every place of a file where something can be mutated: the operators that can, and which of their occurrences it is."""
    operators = {name: plugins.get_operator(name)() for name in sorted(plugins.operator_names()) if not name.endswith(LEFT_OUT)}
    seen: Counter[str] = Counter()
    found: dict[tuple[int, int], list[tuple[Path, str, int]]] = {}
    for node in ast_nodes(get_ast((ROOT / file).read_text())):
        chosen = _is_a_choice(node)
        for name, operator in operators.items():
            for _ in operator.mutation_positions(node):
                if not chosen:
                    found.setdefault(node.start_pos, []).append((file, name, seen[name]))
                seen[name] += 1
    return list(found.values())


def drawn(group: Group, size: int, draw: random.Random) -> list[Mutant]:
    """One mutant at each of so many places, drawn without replacement."""
    everywhere = [place for file in group.files() for place in places(file)]
    chosen: list[Mutant] = []
    for place in draw.sample(everywhere, len(everywhere)):
        if len(chosen) == size:
            break
        file, name, occurrence = draw.choice(place)
        source = (ROOT / file).read_text()
        mutated = mutating.mutate_code(source, plugins.get_operator(name)(), occurrence)
        try:
            same = meaning(mutated) == meaning(source)
        except SyntaxError:
            continue
        if not same and "TYPE_CHECKING" not in mutated.splitlines()[_first_difference(source, mutated)]:
            chosen.append(Mutant(file, name, occurrence, mutated))
    return chosen


@dataclass
class Copy:
    """A checkout of its own, in which mutants can be tried."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Copy:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        return cls(folder)

    def caught(self, tests: str, options: tuple[str, ...], limit_s: float | None) -> tuple[bool, float]:
        """Whether *tests* fail, or take longer than they may, and the seconds that they took."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split(), *options]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1",
                       "NUMBA_CACHE_DIR": str(self.folder / "compiled")}
        begun_s = time.perf_counter()
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True)
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return True, time.perf_counter() - begun_s
        if limit_s is None and process.returncode:
            raise SystemExit(f"the tests fail without any mutation:\n{output[-3000:]}")
        return process.returncode != 0, time.perf_counter() - begun_s


def interval(caught: int, tried: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z = caught / tried, 1.96
    centre, half = share + z * z / (2 * tried), z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    scale = 1 + z * z / tried
    return (centre - half) / scale, (centre + half) / scale


def table(rows: list[dict[str, object]]) -> str:
    same = {(row["file"], row["before"], row["after"]) for row in json.loads(SAME.read_text())}
    lines = ["| modules | mutants tried | mean the same | caught | share | 95 % interval |", "|---|---|---|---|---|---|"]
    for name in [*dict.fromkeys(str(row["group"]) for row in rows), "all"]:
        drawn_here = [row for row in rows if name in ("all", row["group"])]
        mine = [bool(row["caught"]) for row in drawn_here if row["caught"] or (row["file"], row["before"], row["after"]) not in same]
        low, high = interval(sum(mine), len(mine))
        left = len(drawn_here) - len(mine)
        lines.append(f"| {name} | {len(drawn_here)} | {left} | {sum(mine)} | {sum(mine) / len(mine):.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="one line of JSON per mutant; what is in it already is not tried again")
    parser.add_argument("--sample", type=int, default=20, help="mutants per group (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=sorted(GROUPS), help="a group; may be repeated")
    parser.add_argument("--again", action="store_true", help="try the survivors in the file once more")
    chosen = parser.parse_args()
    rows = [json.loads(line) for line in chosen.out.read_text().splitlines()] if chosen.out.exists() else []
    if chosen.again:
        rows = [row for row in rows if row["caught"]]
        chosen.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = {(row["file"], row["operator"], row["before"], row["after"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy.make(Path(folder).resolve())
        for name in chosen.only or GROUPS:
            group = GROUPS[name]
            sample = drawn(group, chosen.sample, random.Random(f"{chosen.seed} {name}"))
            sample = [mutant for mutant in sample if (str(mutant.file), mutant.operator, *mutant.change()[1:]) not in done]
            if not sample:
                continue
            copy.caught(group.tests, group.options, None)  # compiles what numba keeps
            _, alone_s = copy.caught(group.tests, group.options, None)
            print(f"{name}: {len(sample)} mutants; the tests take {alone_s:.0f} s", flush=True)
            for mutant in sample:
                (copy.folder / mutant.file).write_text(mutant.source)
                caught, took_s = copy.caught(group.tests, group.options, 3 * alone_s + SLACK_S)
                if not caught and group.wider:
                    caught, longer_s = copy.caught(group.wider, (), WIDER_S)
                    took_s += longer_s
                shutil.copy2(ROOT / mutant.file, copy.folder / mutant.file)
                line, before, after = mutant.change()
                row = {"group": name, "file": str(mutant.file), "operator": mutant.operator, "line": line, "before": before, "after": after,
                       "caught": caught, "took_s": round(took_s, 1)}
                rows.append(row)
                with chosen.out.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
                if not caught:
                    print(f"  survived: {mutant.file}:{line}\n    {before}\n    {after}", flush=True)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
