from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.helpers import FREE, LINK
from toolkit.core.world import World
from toolkit.errors import UserError
from toolkit.methods.rehearsal.cases import cases_table, validation_table
from toolkit.scenario import Scenario
from toolkit.sweep import run

FOLDER = Path(__file__).parents[3] / "scenarios"
WIDTH = 4


def scenario(program: dict[str, Any], workers: int, servers: int = 0) -> Scenario:
    return Scenario.build({
        "name": "test",
        "fabric": {
            "type": "cluster", "workers": workers, "servers": servers, "device": {**FREE, "memory_bytes": 10**9},
            "topology": {"type": "star", "link": LINK}, "collectives": {"all_reduce": "rabenseifner", "all_gather": "doubling"},
        },
        "program": program,
    })


def sent(spec: Scenario) -> dict[str, int]:
    """Bytes by phase of one run."""
    world = World(1, float("inf"))
    network = spec.fabric.build(world)
    world.env.run(until=network.launch(spec.program))
    rows = world.ledger.charges()
    totals: dict[str, int] = rows[rows["kind"] == "tx"].groupby("node")["nbytes"].sum().to_dict()
    return totals


@pytest.mark.parametrize("workers", [2, 4, 5])
@pytest.mark.parametrize("name", ["dense", "top_k", "gtop_k", "gs_sgd", "sketched_sgd"])
def test_a_rehearsal_sends_the_bytes_of_the_method(name: str, workers: int) -> None:
    """Every node sends exactly what it sends when the method is run with data."""
    from toolkit.methods.task import TaskSpec

    task = {"dataset": "digits", "model": {"name": "small_cnn", "options": {"width": WIDTH}}}
    servers = 1 if name == "sketched_sgd" else 0
    method = {"type": name} if name == "dense" else {"type": name, "density": 0.02}
    real = scenario({"type": "distributed", "task": task, "method": method, "steps": 2, "batch": 4, "evaluate_every": 99}, workers, servers)
    size = TaskSpec.model_validate(task).load().layout.size
    cases = {"net": {"parameters": size, "gradient_s": 0.01}}
    rehearsed = scenario({"type": "rehearsal", "exchange": method, "cases": cases, "steps": 2}, workers, servers)
    rehearsed.check()
    assert sent(rehearsed) == sent(real)


def test_a_step_takes_gradient_local_work_and_exchange() -> None:
    cases = {"net": {"parameters": 250_000, "gradient_s": 0.5, "local_s": 0.25}}
    spec = scenario({"type": "rehearsal", "exchange": "dense", "cases": cases, "steps": 3, "at_flops_per_s": 1e12}, 4)
    world = World(1, float("inf"))
    network = spec.fabric.build(world)
    world.env.run(until=network.launch(spec.program))
    fabric: Any = spec.fabric
    exchange_s = fabric.collectives.all_reduce.seconds(1e6, 4, network.ideal.link_cost())
    metrics = {m.name: m.value for m in world.ledger.metrics().itertuples()}
    assert metrics["step_s@net"] == pytest.approx(0.75 + exchange_s, rel=1e-9)
    assert metrics["exchange_s@net"] == pytest.approx(exchange_s, rel=1e-9)


def test_constants_fitted_on_few_workers_foretell_many(tmp_path: Path) -> None:
    """Acceptance check 12: hits and misses of P = 32 as worked out apart from the simulator, by the closed forms."""
    result = run(Scenario.load(FOLDER / "gtopk_validation.yaml"), out=tmp_path / "run")
    program: Any = result.scenario.program
    table = validation_table(cases_table(result), program.measured)
    errors = table[table["workers"] == 32].set_index(["exchange", "case"])["error"]
    expected = {
        ("gtop_k", "VGG-16"): 0.043, ("gtop_k", "ResNet-20"): 0.041, ("gtop_k", "AlexNet"): 0.030, ("gtop_k", "ResNet-50"): 0.0,
        ("gtop_k", "LSTM-PTB"): 0.533, ("top_k", "VGG-16"): 0.645, ("top_k", "ResNet-20"): 0.103, ("top_k", "ResNet-50"): 0.120,
        ("dense", "VGG-16"): 3.852, ("dense", "AlexNet"): 5.013,
    }
    for key, error in expected.items():
        assert errors[key] == pytest.approx(error, abs=0.001), key
    answers = (tmp_path / "run" / "answers.txt").read_text()
    assert "gtop_k: the aim of 15% is met by 4 of 5, missed by LSTM-PTB." in answers
    assert "top_k: the aim of 30% is met by 2 of 5, missed by VGG-16, AlexNet, LSTM-PTB." in answers
    assert (tmp_path / "run" / "figures" / "foretold.png").exists()


def test_a_narrow_uplink_is_felt(tmp_path: Path) -> None:
    """Acceptance check 11: a dense exchange takes at least 1.5 times as long over a 4:1 tree as on a star."""
    result = run(Scenario.load(FOLDER / "oversubscription.yaml"), out=tmp_path / "run")
    table = cases_table(result)
    rows = table[(table["schedule"] == "rabenseifner") & (table["exchange"] == "dense")].set_index("network")["exchange_s"]
    assert rows["tree 4:1"] / rows["star"] >= 1.5
    assert rows["tree 2:1"] < rows["tree 4:1"] < rows["tree 8:1"]
    assert "exchange takes" in (tmp_path / "run" / "answers.txt").read_text()


@pytest.mark.parametrize(
    ("program", "servers", "sentence"),
    [
        ({"exchange": "dense", "cases": {"net": {"parameters": 10}}}, 0, "gradient_s"),
        ({"exchange": "sketched_sgd", "cases": {"net": {"parameters": 10, "gradient_s": 1}}}, 0, "servers"),
        ({"exchange": {"type": "top_k", "k": 11}, "cases": {"net": {"parameters": 10, "gradient_s": 1}}}, 0, "use at most 10"),
        ({"exchange": {"type": "gs_sgd", "rows": 2}, "cases": {"net": {"parameters": 10, "gradient_s": 1}}}, 0, "odd"),
        ({"exchange": "dense", "cases": {"net": {"parameters": 10**12, "gradient_s": 1}}}, 0, "has 1.0 GB"),
    ],
)
def test_a_mistake_gets_one_sentence(program: dict[str, Any], servers: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scenario({"type": "rehearsal", **program}, 4, servers).check()
