"""Costs by kind of work and by node add up to the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fake_cluster_run, fake_run
from toolkit.analysis.breakdown import MOST_NODES, spent
from toolkit.render.result import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fake_cluster_run.build(tmp_path_factory.mktemp("costs") / "run", arms=("gs-SGD", "dense"), steps=4, workers=12)


def test_both_tables_add_up_to_the_ledger(result: Result) -> None:
    found, ledger, seeds = spent(result), result.ledger, len(result.seeds)
    assert found is not None
    costly = ledger[ledger["kind"].isin(["compute", "store", "tx", "rx", "idle"])]
    for name in ("dur_s", "energy_j", "nbytes"):
        rows = {"dur_s": costly[costly["node"] >= 0], "energy_j": costly, "nbytes": costly[costly["kind"].isin(["tx", "store"])]}[name]
        expected = (rows.groupby("arm", observed=True)[name].sum() / seeds).to_dict()
        for table in (found.by_work[name], found.by_node[name]):
            assert table.sum().to_dict() == pytest.approx(expected)


def test_nodes_and_work_have_names_and_the_many_are_the_rest(result: Result) -> None:
    found = spent(result)
    assert found is not None
    assert {"computing, gradient", "sending, values", "idle, links"} <= set(found.by_work["energy_j"].index)
    nodes = list(found.by_node["energy_j"].index)
    assert len(nodes) == MOST_NODES + 1
    assert nodes[-1] == f"the other {12 + 1 - MOST_NODES} nodes"
    assert "links" in nodes
    assert any(node.startswith("worker ") for node in nodes)
    assert list(found.by_work["energy_j"].columns) == ["gs-SGD", "dense"]


def test_sinks_have_their_name_at_sea(tmp_path: Path) -> None:
    found = spent(fake_run.build(tmp_path / "run"))
    assert found is not None
    assert f"sink {fake_run.NODES - 1}" in found.by_node["energy_j"].index


def test_without_a_ledger_there_is_none(tmp_path: Path) -> None:
    result = fake_run.build(tmp_path / "run")
    for path in (tmp_path / "run" / "ledger").iterdir():
        path.unlink()
    assert spent(Result.load(result.directory)) is None
