"""Distillation as a program: bytes, resuming, what is said before, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import toolkit
from toolkit.core.streams import Streams
from toolkit.core.world import World
from toolkit.datasets import digits
from toolkit.errors import UserError
from toolkit.estimate import estimates
from toolkit.learning.diffusion.base import BaseTraining
from toolkit.learning.diffusion.distillation import Ladder
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.random import torch_generator
from toolkit.methods.diffusion import prepared as prepared_module
from toolkit.methods.diffusion import program as program_module
from toolkit.methods.diffusion.findings import diffusion_findings
from toolkit.methods.diffusion.left import samples, student
from toolkit.methods.diffusion.prepared import SCHEDULE
from toolkit.methods.diffusion.program import Diffusion, counted
from toolkit.methods.trained_network import trained_network
from toolkit.repricing import recost
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")

SCENARIOS = Path(__file__).parents[3] / "scenarios"
TINY = {
    "program.base": {"steps": 4, "batch": 8, "sampling": 4}, "program.stage_steps": 4, "program.batch": 8, "program.save_every": 3,
    "program.judging": {"samples": 40, "feature_steps": 4, "steps": [2, 1], "loss_widths": [4, 8], "metric_widths": [4, 6]},
    "program.queue": {"length": 200, "keys": 16, "per_step": 16}, "seeds": 1,
}


def scenario(name: str = "rdd_edge", **changes: Any) -> Scenario:
    return Scenario.load(SCENARIOS / f"{name}.yaml", {**TINY, "compare": {}, **changes})


def simulated(spec: Scenario) -> tuple[World, pd.DataFrame]:
    world = World(1, float("inf"))
    net = spec.fabric.build(world)
    world.env.run(until=net.launch(spec.program))
    net.finish()
    return world, world.ledger.charges()


@pytest.mark.parametrize("losses", ["none", "pd", "rdd_pd", "cd"])
def test_what_is_said_before_is_what_a_run_takes(losses: str) -> None:
    spec = scenario(**{"program.losses": losses})
    (said,) = estimates(spec).values()
    world, rows = simulated(spec)
    assert world.now == pytest.approx(said.time_s, rel=1e-9)
    assert rows["flops"].sum() == pytest.approx(said.flops, rel=1e-9)


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = scenario()
    toolkit.run(spec, out=tmp_path / "whole", jobs=1)
    whole, steps = Ladder.update, []

    def dying(ladder: Ladder) -> None:
        steps.append(ladder.step)
        if len(steps) == 6:
            raise Killed
        whole(ladder)

    with monkeypatch.context() as patch:
        patch.setattr(Ladder, "update", dying)
        with pytest.raises(Killed):
            toolkit.run(spec, out=tmp_path / "killed", jobs=1)
    taken: list[int] = []

    def counting(ladder: Ladder) -> None:
        taken.append(ladder.step)
        whole(ladder)

    monkeypatch.setattr(Ladder, "update", counting)
    toolkit.run(spec, out=tmp_path / "killed", resume=True, jobs=1)
    assert taken == list(range(3, 8))
    for name in ("report.csv", "summary.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("dies_at", [2, 7])
def test_a_run_killed_in_its_base_or_its_halvings_goes_on_too(dies_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps of base, then two halvings of two."""
    spec = scenario(**{
        "program.base": {"steps": 4, "batch": 8, "sampling": 16, "halving_steps": 2}, "program.save_every": 1, "program.flip": True,
        "program.net.labels": True,
    })
    forget = prepared_module._MADE.clear
    forget()
    toolkit.run(spec, out=tmp_path / "whole", jobs=1)
    forget()
    taken: list[str] = []
    dying = [True]

    def watched(name: str, real: Any) -> Any:
        def step(self: Any, *args: Any) -> Any:
            if dying[0] and len(taken) == dies_at:
                raise Killed
            taken.append(name)
            return real(self, *args)

        return step

    monkeypatch.setattr(BaseTraining, "take_step", watched("base", BaseTraining.take_step))
    monkeypatch.setattr(Ladder, "update", watched("ladder", Ladder.update))
    with pytest.raises(Killed):
        toolkit.run(spec, out=tmp_path / "killed", jobs=1)
    dying[0] = False
    toolkit.run(spec, out=tmp_path / "killed", resume=True, jobs=1)
    assert taken.count("base") == 4
    assert taken.count("ladder") == 2 * 2 + 2 * 4
    for name in ("report.csv", "summary.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_network_in_the_losses_and_labels(tmp_path: Path) -> None:
    """A small DenseNet looks; its map sets the memory's rows; what is said before is what a run takes; the student needs its labels."""
    judging = {**TINY["program.judging"], "loss_net": {"name": "densenet_bc", "options": {"growth": 4, "blocks": [1, 1]}}}  # type: ignore[dict-item]
    spec = scenario(**{"program.judging": judging, "program.net.labels": True, "program.flip": True})
    (said,) = estimates(spec).values()
    world, rows = simulated(spec)
    assert world.now == pytest.approx(said.time_s, rel=1e-9)
    assert rows["flops"].sum() == pytest.approx(said.flops, rel=1e-9)
    assert counted(spec.program).queue_bytes == 200 * (2 * 4 + 4) // 2 * 4 + 200 * 4 * 4  # type: ignore[arg-type] # rows of 10 numbers
    toolkit.run(spec, out=tmp_path / "run", jobs=1)
    (left,) = (tmp_path / "run" / "models").glob("*.safetensors")
    model, facts = student(left.with_suffix(""))
    assert facts["classes"] == 10
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    one, other = (sample(model, noise, 1, schedule=SCHEDULE, labels=torch.full((4,), label)) for label in (0, 7))
    assert not torch.equal(one, other)


def test_a_network_without_maps_cannot_look() -> None:
    judging = {**TINY["program.judging"], "loss_net": {"name": "mlp"}}  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"program.judging.loss_net: feature network: \w+ has no method maps\(images\)"):
        scenario(**{"program.judging": judging}).check()


def test_10_the_bytes_of_one_step_of_four_workers() -> None:
    """Gradient and head by all-reduce, and 128 / W vectors of each worker to all others; a local memory sends none of these."""
    parts = {}
    for together in ("shared", "local", "stale"):
        spec = scenario("rdd_queue", **{
            "program.end": 2, "program.stage_steps": 1, "fabric.collectives.all_reduce": "ring", "fabric.collectives.all_gather": "ring",
            "program.queue": {"length": 200, "keys": 16, "per_step": 128, "together": together}, "program.judging.steps": [2],
        })
        _, rows = simulated(spec)
        parts[together] = rows[(rows["kind"] == "tx").to_numpy(bool)].groupby("phase", observed=True)["nbytes"].sum()
        costs = counted(spec.program)  # type: ignore[arg-type]
    assert parts["shared"]["gradient"] == 2 * 3 * 4 * (costs.size + costs.head_size)  # 2 (W - 1) / W of the vector, by W workers
    assert parts["shared"]["queue"] == 3 * 4 * (128 // 4) * 4 * 8  # each of four blocks of 32 vectors of 8 numbers goes to three
    assert "queue" not in parts["local"]
    assert "queue" not in parts["stale"]  # one step is none of its exchanges
    assert costs.queue_bytes == 200 * 8 * 4


def test_the_cloud_sends_targets_and_takes_weights_and_the_board_learns_the_same(tmp_path: Path) -> None:
    spec = scenario("rdd_cloud", compare={"cloud": {}, "board": {"fabric.workers": 1, "fabric.node_devices": {}, "program.place": "here"}})
    result = toolkit.run(spec, out=tmp_path / "run", jobs=1)
    values = result.report.set_index(["arm", "metric"])["value"]
    assert values["cloud", "clf_fid@1"] == values["board", "clf_fid@1"]
    size = counted(spec.program).size  # type: ignore[arg-type]
    assert values["cloud", "bytes_total"] == 8 * (8 * 64 * 4 + 8) + 2 * 4 * size
    recost(tmp_path / "run", {"fabric.device.busy_w": 22.0}, out=tmp_path / "again")
    again = pd.read_csv(tmp_path / "again" / "report.csv").set_index(["arm", "metric"])["value"]
    assert again["board", "clf_fid@1"] == values["board", "clf_fid@1"]
    assert again["board", "distil_j"] == pytest.approx(2 * values["board", "distil_j"])


def test_fewer_steps_take_time_and_energy_in_proportion_and_a_batch_saves_starts() -> None:
    spec = scenario(**{"program.losses": "none"})
    _, rows = simulated(spec)
    took = rows.set_index("phase")["dur_s"]
    overhead_s = spec.fabric.machines().first.overhead_s
    assert took["sample_64_1"] == pytest.approx(64 * took["sample_1_1"], rel=0.02, abs=64 * overhead_s)
    assert took["sample_1_16"] < 16 * took["sample_1_1"]


@pytest.mark.parametrize(("changes", "says"), [
    ({"program.begin": 6}, "steps: 6 is no power of two"),
    ({"program.base.sampling": 2048}, "steps: 2048 are more than the schedule's 1024"),
    ({"program.end": 4}, "steps: from 4 to 4 halves nothing"),
    ({"program.net.multipliers": [1, 2, 2, 2, 2]}, "images of 8x8 cannot be halved 4 times"),
    ({"program.net.groups": 5}, "width 16 must be even and a multiple of groups"),
    ({"program.queue.length": 10}, "queue.length: 10 vectors are fewer than the 16"),
    ({"program.queue.keys": 500}, "queue.keys: 500 of a queue of 200"),
    ({"program.losses": "rddd"}, "program.losses"),
    ({"fabric.workers": 2}, "several need program.place: cloud or parallel"),
    ({"program.place": "cloud"}, "at least 2 workers"),
    ({"fabric.device.memory_bytes": 1000}, "student, teacher and memory of distillation needs"),
])
def test_what_does_not_go_together_is_one_sentence(changes: dict[str, Any], says: str) -> None:
    def checked() -> None:
        spec = scenario(**changes)
        spec.program.check_on(spec.fabric)

    with pytest.raises(UserError, match=says) as caught:
        checked()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [*SCENARIOS.glob("rdd_*.yaml"), *(SCENARIOS / "paper").glob("rdd_*.yaml")], ids=lambda path: path.stem)
def test_scenarios_are_whole(path: Path) -> None:
    for arm in Scenario.load(path).arms().values():
        assert isinstance(arm.program, Diffusion)


@pytest.mark.slow
def test_9_four_steps_by_distillation_beat_four_of_ddim(tmp_path: Path) -> None:
    spec = Scenario.load(SCENARIOS / "rdd_edge.yaml", {
        "compare": {"PD": {"program.losses": "pd"}, "DDIM": {"program.losses": "none"}}, "program.stage_steps": 1,
        "program.judging.steps": [4],
    })
    values = toolkit.run(spec, out=tmp_path / "run").report.set_index(["metric", "arm", "seed"])["value"]["clf_fid@4"]
    assert (values["PD"] < values["DDIM"]).all()
    assert len(values["PD"]) == 5


def test_a_run_leaves_its_student_and_samples_to_look_at(tmp_path: Path) -> None:
    """The student that was left says what the trained one said, and its samples are in the figure."""
    spec = scenario(compare={"PD": {"program.losses": "pd"}, "CD": {"program.losses": "cd"}})
    result = toolkit.run(spec, out=tmp_path / "run", jobs=1)
    for arm in ("PD", "CD"):
        stem = tmp_path / "run" / "models" / f"{arm}-s1"
        model, facts = student(stem)
        shown = samples(stem)
        assert sorted(shown) == [1, 2]
        draws = torch_generator(Streams(1).shared("judge", 1))
        noise = torch.randn((40, 1, 8, 8), generator=draws)
        made = sample(model, noise, 1, schedule=SCHEDULE, sampler=facts["sampler"], generator=draws)[:32]
        again = ((made + 1) * 127.5).round().to(torch.uint8).numpy()
        assert abs(again.astype(int) - shown[1]).max() <= 1
    assert "samples" in result.plot()
    with pytest.raises(UserError, match="makes images and gives no scores"):
        trained_network(stem)
    path = stem.with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"CD-s1\.safetensors"):
        student(stem)


def test_the_report_says_what_distances_are_to_be_read_with(tmp_path: Path) -> None:
    result = toolkit.run(scenario(), out=tmp_path / "run", jobs=1)
    (said,) = [sentence for sentence in diffusion_findings(result) if sentence.startswith("Every distance")]
    assert "40 samples" in said
    assert "4 and 6 channels, 4 steps" in said


def test_fid_is_taken_by_the_users_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of features that are the mean brightness of an image the distance is known; real images are looked at once."""
    looked: list[int] = []

    class Brightness(torch.nn.Module):
        def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            looked.append(len(images))
            return images.double().mean((1, 2, 3))[:, None]

    monkeypatch.setattr(program_module, "loaded", Brightness)
    result = toolkit.run(scenario(**{"program.judging.inception": True}), out=tmp_path / "run", jobs=1)
    values = result.report.set_index("metric")["value"]
    real = digits.load().train_images.double().mean((1, 2, 3))
    assert sum(looked) == len(real) + 2 * 40
    (left,) = (tmp_path / "run" / "models").glob("*.safetensors")
    made = torch.from_numpy(samples(left.with_suffix(""))[1]).double().mean((1, 2, 3))
    about = (real.mean() - made.mean()) ** 2 + (real.std() - made.std()) ** 2
    assert values["fid@1"] == pytest.approx(float(about), rel=0.5)  # of 32 of the 40 samples


def test_inception_needs_its_weights_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLKIT_INCEPTION", raising=False)
    spec = scenario(**{"program.judging.inception": True})
    with pytest.raises(UserError, match="TOOLKIT_INCEPTION=FILE"):
        spec.program.check_on(spec.fabric)


@pytest.mark.usefixtures("drawn")
def test_figures_show_what_differs(tmp_path: Path) -> None:
    """Ways of distilling differ in quality at a price, machines in the price alone."""
    ways = {"PD": {"program.losses": "pd"}, "DDIM": {"program.losses": "none"}}
    assert set(toolkit.run(scenario(compare=ways), out=tmp_path / "ways", jobs=1).plot()) == {"quality_against_cost", "samples"}
    machines = {"slow": {}, "fast": {"fabric.device": "a100"}}
    spec = scenario("rdd_latency", compare=machines, **{"program.judging.steps": [1]})
    assert set(toolkit.run(spec, out=tmp_path / "machines", jobs=1).plot()) == {"cost_by_steps", "samples"}
