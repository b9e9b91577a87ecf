"""The DDP hook: what its trainings in `ddp_scenes.py` must come to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.learning.ddp_scenes import (
    CONSERVED,
    LIMIT_S,
    LR,
    ROOT,
    SCENES,
    SEED,
    SMALL_BUCKETS_MB,
    K,
    build,
    everything,
    flat,
    free_port,
    launch,
    loss_of,
    scenes,
)
from toolkit.collectives import Collectives
from toolkit.core.context import Asking, Context
from toolkit.core.local import run_local
from toolkit.learning.ddp import GsSgdHook
from toolkit.learning.flat import FlatLayout, adopt, gradient
from toolkit.methods.distributed import Step
from toolkit.methods.distributed.gs_sgd import GsSgd


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every scene on two ranks."""
    return launch(2, tmp_path_factory.mktemp("two"), everything)


@pytest.mark.parametrize("scene", SCENES)
def test_replicas_are_equal_to_the_bit(two: list[dict[str, Any]], scene: str) -> None:
    assert torch.equal(two[0][scene]["weights"], two[1][scene]["weights"])
    assert not torch.equal(two[0][scene]["weights"], flat(build()))


def test_buckets_were_rebuilt(two: list[dict[str, Any]]) -> None:
    assert two[0]["one"]["buckets"] == [1] * 12
    first, *others = two[0]["whole"]["buckets"]
    assert first == 1
    assert min(others) >= 3


def test_buckets_make_no_difference_to_one_table(two: list[dict[str, Any]]) -> None:
    torch.testing.assert_close(two[0]["whole"]["weights"], two[0]["one"]["weights"], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(two[0]["bucket"]["weights"], two[0]["one"]["weights"], atol=1e-4)


@pytest.mark.parametrize("scene", ["all", "all bucket"])
def test_all_coordinates_are_plain_ddp(two: list[dict[str, Any]], scene: str) -> None:
    torch.testing.assert_close(two[0][scene]["weights"], two[0]["plain"]["weights"], rtol=1e-5, atol=1e-6)


def test_payload_bytes(two: list[dict[str, Any]]) -> None:
    """Two dense steps, then table and candidates; always six flags; the digest of the settings is not counted."""
    dense, flags = 4 * 4710, 12 * 4 * 6
    assert two[0]["one"]["payload"] == two[0]["whole"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K) + flags
    assert two[0]["small"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K + 60 + 40 + 10) + flags
    assert two[0]["no dense steps"]["payload"] == 12 * 4 * (5 * 608 + 4 * K) + flags


def test_it_learns(two: list[dict[str, Any]]) -> None:
    for scene in ("one", "whole", "bucket"):
        losses = two[0][scene]["losses"]
        assert sum(losses[-3:]) < sum(losses[:3])


def simulated(settings: dict[str, Any], ranks: int, steps: int) -> Tensor:
    """The same training by the method of the simulator."""
    weights: list[Tensor] = [torch.empty(0)] * ranks
    method = GsSgd.model_validate(settings)

    def program(ctx: Context) -> Asking:
        model = build()
        weights[ctx.rank] = adopt(model)
        state = method.init(ctx, FlatLayout.of(model))
        for index in range(steps):
            model.zero_grad()
            loss_of(model, ctx.rank, index).backward()  # type: ignore[no-untyped-call]
            yield from method.step(ctx, state, weights[ctx.rank], gradient(model.parameters()), Step(index, LR))

    run_local(program, ranks, SEED, collectives=Collectives.model_validate({"all_reduce": "binomial"}))
    return weights[0]


def test_the_hook_and_the_simulators_method_are_one(two: list[dict[str, Any]]) -> None:
    weights = simulated({"k": K, "momentum": 0.9}, 2, 12)
    torch.testing.assert_close(two[0]["no dense steps"]["weights"], weights, rtol=1e-5, atol=1e-6)


def test_a_different_seed_is_noticed_by_all(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert "ranks [1] have other settings, seed or model than rank 0" in result["sentence"]


@pytest.mark.parametrize("scene", CONSERVED)
def test_gradients_are_given_or_wait(two: list[dict[str, Any]], scene: str) -> None:
    """Branches taken in turn, a tied weight listed twice, small tensors, momentum, a changing scale, a group of one's own."""
    for result in two:
        assert result["conserved"][scene] < 1e-4


@pytest.mark.parametrize("tables", ["whole", "bucket"])
def test_an_infinite_gradient_is_a_step_that_all_ranks_skip(two: list[dict[str, Any]], tables: str) -> None:
    """Two such steps: every parameter's gradient tells the scaler, nothing changes, the scale is halved, and the loss goes on falling."""
    for result in two:
        found = result["infinite"][tables]
        assert found["grads"] == [True, True]
        assert found["changed"] == [[], []]
        assert found["scale"] == 2.0**7
        assert found["skipped"] == 2
        assert sum(found["losses"][-5:]) < sum(found["losses"][:5])
    assert torch.equal(two[0]["infinite"][tables]["weights"], two[1]["infinite"][tables]["weights"])


def test_sparse_gradients_and_a_foreign_group_get_one_sentence(two: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(two):
        assert "a parameter has sparse gradients, as Embedding(sparse=True) gives" in result["sparse"]
        assert f"process_group holds ranks [0, 1] and DistributedDataParallel's [{rank}]" in result["other group"]


@pytest.mark.parametrize("tables", ["whole", "bucket"])
@pytest.mark.parametrize("cap_mb", [25, SMALL_BUCKETS_MB])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(two: list[dict[str, Any]], cap_mb: float, tables: str) -> None:
    """To the bit, though DDP begins with other buckets than it had."""
    for result in two:
        found = result["resumed"][f"{cap_mb} {tables}"]
        assert torch.equal(found["whole"]["weights"], found["rest"]["weights"])
        assert found["rest"]["state"]["step"] == 12
        assert found["rest"]["buckets"][0] == 1


@pytest.mark.slow
def test_four_ranks_stay_equal_for_many_steps(tmp_path: Path) -> None:
    """The regression of several buckets in flight, where a second round started from a callback was seen to stop."""
    names = ("one", "whole", "bucket", "small", "small bucket", "no dense steps")
    settings = {name: {**SCENES[name], "steps": 60} for name in names}
    results = launch(4, tmp_path, scenes, settings=settings)
    for name in names:
        assert all(torch.equal(result[name]["weights"], results[0][name]["weights"]) for result in results)
        assert sum(results[0][name]["losses"][-5:]) < sum(results[0][name]["losses"][:5])
        assert "ranks [1, 2, 3] have other settings" in results[0]["sentence"]
    weights = simulated({"k": K, "momentum": 0.9}, 4, 60)
    torch.testing.assert_close(results[0]["no dense steps"]["weights"], weights, rtol=1e-4, atol=1e-5)


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "ddp.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 32
    script = tmp_path / "train.py"
    script.write_text(code, encoding="utf-8")
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            },
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=LIMIT_S) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    words = said[0][0].split()
    assert words[0] == "loss"
    assert float(words[1].rstrip(",")) < 0.9
    k = round(0.05 * (20 * 200 + 200 + 200 * 5 + 5))
    cols = -(-10 * k // 16) * 16
    assert int(words[2]) == 2 * 4 * 5205 + 198 * 4 * (5 * cols + 4 * k) + 200 * 4 * 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"start_step": 1}, "start_step must be at least 2"),
        ({"rows": 4}, "must be odd"),
        ({"cols": 100}, "multiple of"),
        ({"k": 4711}, "between 1 and the 4710 compressed coordinates"),
        ({"density": 0.0}, "density must be above 0"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"p2": 0}, "p2 must be"),
        ({"tables": "some"}, "'whole' or 'bucket'"),
        ({"dense_below": 5000}, "leaves no parameter to compress"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GsSgdHook(build().parameters(), **settings)
    with pytest.raises(ValueError, match="no parameter"):
        GsSgdHook([])


def test_a_state_of_another_model_is_refused() -> None:
    saved = GsSgdHook(build().parameters(), k=K).state_dict()
    with pytest.raises(ValueError, match="the saved state has size 4710, this hook has 310"):
        GsSgdHook(nn.Linear(30, 10).parameters()).load_state_dict(saved)
    with pytest.raises(ValueError, match="the saved state has seed 0, this hook has 3"):
        GsSgdHook(build().parameters(), k=K, seed=3).load_state_dict(saved)
