"""The two-step framework and its forms: serial, by workers, without generations, on islands, with losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from tests.methods.pruning.helpers import cluster, locally, program, simulate, values
from toolkit.core.ledger import Ledger
from toolkit.errors import ScenarioError
from toolkit.methods.pruning import Pruner
from toolkit.methods.pruning.messages import Evaluated, order_nbytes, pack_answer, pack_order, unpack_answer, unpack_order
from toolkit.methods.pruning.report import idle_fraction, summarise_run

SAME = ("params", "conv_macs", "macs", "error_before", "error_after", "evals", "fitness", "hypervolume", "best_fitness", "survives")


def result(metrics: pd.DataFrame) -> dict[str, list[float]]:
    return {name: values(metrics, name) for name in SAME}


def bytes_of(ledger: Ledger) -> bytes:
    return (ledger.charges().to_csv() + ledger.metrics().to_csv()).encode()


def test_messages_have_the_sizes_of_the_page() -> None:
    """An order about LeNet-5's 570 bits takes 72 bytes, an answer 16; both come back as they went."""
    mask = np.random.default_rng(0).random(570) < 0.5
    for kind in (0, 1, 2):
        order = pack_order(kind, mask)
        assert order.nbytes == order_nbytes(570) == 72
        read, back = unpack_order(order, 570)
        assert (read, back.tolist()) == (kind, mask.tolist())
    answer = Evaluated(3, 17, 1_888_000, 431_080)
    assert pack_answer(answer).nbytes == 16
    assert unpack_answer(pack_answer(answer)) == answer


@pytest.mark.parametrize("dispatch", ["static", "queue"])
def test_how_many_workers_there_are_changes_nothing_learnt(dispatch: str) -> None:
    """Check 5 of section 9 (GA), second half: worker count does not change the synchronous result; nor does dispatch or driver."""
    alone = result(simulate(cluster(1), program()).metrics())
    what = program(dispatch=dispatch)
    for workers in (2, 5):
        assert result(simulate(cluster(workers), what).metrics()) == alone
    assert result(locally(what, 3)) == alone
    assert alone["evals"] == [40.0]
    assert len(alone["best_fitness"]) > 2


def test_both_forms_replay_to_the_bit() -> None:
    """Check 10 of section 9 (GA), second half."""
    for form in ("synchronous", "asynchronous"):
        what = program(form=form)
        assert bytes_of(simulate(cluster(4), what)) == bytes_of(simulate(cluster(4), what))
    assert bytes_of(simulate(cluster(4), program())) != bytes_of(simulate(cluster(4), program(), seed=2))


def test_without_generations_nobody_waits_for_stragglers() -> None:
    """In small, where sending weights is a tenth of the search; the whole of it is in test_checks.py. Waking would be another: left out."""
    idle = {}
    for form in ("synchronous", "asynchronous"):
        what = program(form=form, dispatch="static", evaluations=480, pruner={**SLOW, "population": 16}, fine_tune_epochs=0)
        plain = cluster(9)
        boards = {node: device.model_copy(update={"message_wake_s": 0.0}) for node, device in plain.node_devices.items()}
        ledger = simulate(plain.model_copy(update={"node_devices": boards}), what)
        charges, metrics = ledger.charges(), ledger.metrics()
        idle[form] = idle_fraction(charges, metrics)
        assert {row[0]: row[2] for row in summarise_run(charges, metrics)}["idle_fraction"] == idle[form]
    assert idle["asynchronous"] < 0.15
    assert idle["synchronous"] > 0.4


SLOW = {"type": "genetic", "population": 8, "initial_rate": 0.3, "mutation_rate": 0.08, "patience": None}


@pytest.mark.parametrize("form", ["synchronous", "asynchronous"])
def test_a_lost_workers_masks_are_given_to_others(form: str) -> None:
    what = program(form=form, evaluations=60)
    whole = simulate(cluster(4), what)
    begin, end = (values(whole.metrics(), name)[0] for name in ("search_begin_s", "search_end_s"))
    crash = {"crashes": [{"node": "worker2", "at_s": begin + 0.5 * (end - begin)}], "detect_s": 0.01, "restart_s": 0.02}
    lost = simulate(cluster(4, failures=crash), what)
    metrics = lost.metrics()
    assert values(metrics, "evals") == [60.0]
    assert len(values(metrics, "recovered")) == 1
    assert values(metrics, "search_end_s")[0] > end
    if form == "synchronous":
        assert result(metrics) == result(whole.metrics())
    assert bytes_of(simulate(cluster(4, failures=crash), what)) == bytes_of(lost)


def test_the_last_worker_lost_leaves_rank_0_to_go_on_alone() -> None:
    crash = {"crashes": [{"node": "worker1", "at_s": 0.012}], "detect_s": 0.01, "restart_s": 0.02}
    for form in ("synchronous", "asynchronous"):
        metrics = simulate(cluster(2, failures=crash), program(form=form)).metrics()
        assert values(metrics, "evals") == [40.0]


def test_islands_exchange_their_best() -> None:
    what = program(form="islands", evaluations=96, migrate_every=2)
    ledger = simulate(cluster(3), what)
    charges, metrics = ledger.charges(), ledger.metrics()
    sent = charges[(charges["kind"] == "tx") & (charges["phase"] == "migrant")]
    assert set(sent["nbytes"]) <= {4, 8, order_nbytes(34), 2 * order_nbytes(34)}  # counts and masks, by themselves or gathered
    assert len(sent) >= 3 * 2
    assert len(values(metrics, "error_after")) == 1
    assert 60 <= values(metrics, "evals")[0] <= 96 + 3
    assert bytes_of(simulate(cluster(3), what)) == bytes_of(ledger)
    assert result(locally(what, 3)) == result(metrics)


def test_every_evaluation_is_charged_by_its_masks_work() -> None:
    ledger = simulate(cluster(1), program())
    charges = ledger.charges()
    work = charges[(charges["kind"] == "compute") & (charges["phase"] == "evaluate")]
    assert len(work) == 40
    dense = 2 * (14_400 * 6 + 1_600 * 6 * 8 + 16 * 8 * 20 + 200) * 150
    assert work["flops"].max() == dense  # the first mask keeps all
    assert work["flops"].min() < 0.8 * dense
    assert (charges["phase"] == "fine_tune").sum() == 1


def test_weights_are_sent_once_per_round() -> None:
    charges = simulate(cluster(4), program(rounds=2)).charges()
    sent = charges[(charges["kind"] == "tx") & (charges["phase"] == "weights")]
    assert len(sent) == 3 * 2
    assert sent["nbytes"].iloc[0] == 4 * (26 * 6 + 8 * (25 * 6 + 1) + 20 * (16 * 8 + 11) + 10)
    assert sent["nbytes"].iloc[-1] < sent["nbytes"].iloc[0]  # the second round's network is smaller


@pytest.mark.parametrize("name", [name for name in sorted(Pruner.members()) if name not in {"genetic"}])
def test_every_pruner_comes_to_an_end_and_meets_its_target(name: str) -> None:
    target = {"removed": 0.5} if name == "magnitude" else {"conv_factor": 3.0, "removed": 0.6}
    options = {"filters": [6, 8], "hidden": 20, "batch_norm": name == "slimming"}
    what = program(pruner=name, target=target, rounds=2, task={"dataset": "digits28", "model": {"name": "lenet5", "options": options}})
    metrics = simulate(cluster(1), what).metrics()
    (removed,), (factor,) = values(metrics, "removed"), values(metrics, "conv_factor")
    if name in {"filter_l1", "random_filters"}:
        assert removed >= 0.6
        assert factor >= 3.0
    if name == "slimming":
        assert factor >= 3.0
    if name == "magnitude":
        assert removed == pytest.approx(0.5, abs=0.01)
        assert factor == 1.0
    assert 0 <= values(metrics, "error_after")[0] < 0.9
    assert 0 <= removed < 1


def test_nsga2_layers_and_early_rejection_run_and_repeat() -> None:
    for settings in ({"pruner": {"type": "genetic", "selection": "nsga2", "population": 8}}, {"schedule": "layers", "evaluations": 60},
                     {"early_reject": True, "evaluations": 80}, {"bound": 0.05}):
        what = program(**settings)
        first = simulate(cluster(1), what).metrics()
        assert result(first) == result(simulate(cluster(1), what).metrics())
        (removed,) = values(first, "removed")
        assert 0 < removed < 1


@pytest.mark.slow
def test_processes_of_this_machine_count_the_same() -> None:
    """Evaluation over joblib gives what one process gives."""
    assert result(locally(program(processes=2), 1)) == result(locally(program(), 1))


def test_the_same_network_from_scratch_is_the_control() -> None:
    metrics = simulate(cluster(1), program(control=True)).metrics()
    assert len(values(metrics, "scratch_error")) == 1
    (better,), (scratch,), (after,) = (values(metrics, name) for name in ("better_than_scratch_points", "scratch_error", "error_after"))
    assert better == pytest.approx(100 * (scratch - after))


def test_latency_stands_beside_multiply_adds() -> None:
    """Check 9 of section 9 (GA): every device profile, and this machine where asked, at B = 1 and B = 256."""
    ledger = simulate(cluster(1), program(measure=True))
    rows = {name: value for name, _, value in summarise_run(ledger.charges(), ledger.metrics())}
    for batch in (1, 256):
        assert rows[f"measured_latency_ms@dense_B{batch}"] > 0
        assert rows[f"measured_latency_ms@pruned_B{batch}"] > 0
        for device in ("raspberry_pi_5", "a100", "jetson_nano"):
            assert rows[f"latency_factor@{device}_B{batch}"] >= 1
    assert rows["latency_factor@a100_B1"] < rows["latency_factor@raspberry_pi_5_B256"] <= rows["macs_factor"] * 1.5
    assert rows["macs_factor"] > 1


@pytest.mark.parametrize(("settings", "fabric", "message"), [
    ({"form": "asynchronous"}, {}, r"fabric.workers: pruning of form 'asynchronous' needs at least 2 workers \(got 1\)"),
    ({"processes": 2}, {"workers": 3}, r"runs on 1 machine \(got 3\); or set program.processes to 1"),
    ({}, {"workers": 3, "failures": {"crashes": [{"node": "worker0", "at_s": 1}]}}, "worker0 holds the search"),
    ({"form": "islands"}, {"workers": 3, "failures": {"crashes": [{"node": "worker1", "at_s": 1}]}}, "not go on without a worker"),
    ({}, {"servers": 1}, "no use for servers"),
    ({"samples": {"train": 1400, "validation": 400}}, {}, "ask for 1800 of the 1442"),
    ({"samples": {"test": 400}}, {}, "asks for 400 of the 355"),
])
def test_what_does_not_go_together_is_said(settings, fabric, message: str) -> None:
    what, spec = program(**settings), cluster(1).model_validate({"workers": 1, **fabric})
    with pytest.raises(ScenarioError, match=message):
        what.check_on(spec)


def test_only_breeders_go_without_generations() -> None:
    with pytest.raises(ValidationError, match="needs a pruner that breeds"):
        program(form="asynchronous", pruner="taylor")


def test_torch_keeps_its_global_state() -> None:
    before = torch.get_rng_state()
    simulate(cluster(1), program())
    assert torch.equal(before, torch.get_rng_state())
