"""Somebody who has the package and an empty folder: writes a protocol, a predictor and a device, runs, checks, sweeps and compares them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toolkit
from tests.test_simulate import tiny
from toolkit.commands.front import main
from toolkit.core import trust

Toolkit = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Toolkit]:
    """Run a command in an empty folder outside the tree, and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(trust.VARIABLE, "")
    monkeypatch.setattr(trust, "_admitted", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def command(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(list(words)) == status, capsys.readouterr().err
        said = capsys.readouterr()
        return said.out if status == 0 else said.err

    yield command
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


QUICK = ("--quick", "--jobs", "1", "--quiet")


def test_a_routing_protocol_is_written_checked_run_swept_and_compared(call: Toolkit, tmp_path: Path) -> None:
    call("new", "scenario", "trial")
    call("new", "routing", "gossip")
    assert "14 of 14 laws kept" in call("check", "gossip")
    assert "gossip" in call("list", "routing")
    assert "p: number, above 0, at most 1; default 0.8" in call("describe", "gossip")

    arms = "compare={DBR: {}, gossip: {fabric.routing: gossip}}"
    call("simulate", "trial.yaml", "--set", arms, "--out", "runs/first", *QUICK)
    first = toolkit.load("runs/first")
    assert first.arms == ["DBR", "gossip"]
    assert (first.report.query("arm == 'gossip' and metric == 'delivery_ratio'").value > 0.5).all()
    assert (tmp_path / "runs" / "first" / "report.html").is_file()

    # the folder now holds runs/, and is the stranger's own all the same
    sweep = ("--set", "fabric.routing={type: gossip, jitter_s: 0.5}", "--set", "fabric.routing.p=0.2,1.0", "--set", "compare={}")
    call("sweep", "trial.yaml", *sweep, "--out", "runs/swept", *QUICK)
    swept = toolkit.load("runs/swept")
    assert swept.arms == ["p_0.2", "p_1"]
    sent = swept.summary.query("metric == 'transmissions_per_packet'").set_index("arm")["mean"]
    assert sent["p_0.2"] < sent["p_1"]

    assert "paired by seed" in call("compare", "runs/first", "runs/swept")
    (tmp_path / "gossip.py").unlink()  # what was run is looked at without what ran
    assert "p_0.2" in call("compare", "runs/first", "runs/swept", "--csv")


def test_it_runs_in_a_copy_of_a_shipped_scenario(call: Toolkit, tmp_path: Path) -> None:
    call("new", "routing", "gossip")
    arms = {"gossip": {"fabric.routing": {"type": "gossip", "p": 0.9}}, "flooding": {"fabric.routing": "flooding"}}
    tiny(tmp_path, seeds=1, compare=arms)
    call("simulate", "tiny.yaml", "--out", "runs/copy", "--jobs", "1", "--quiet")
    assert toolkit.load("runs/copy").arms == ["gossip", "flooding"]
    assert "good; 2 arms x 1 seed" in call("simulate", "tiny.yaml", "--check")
    assert "did you mean 'gossip'?" in call("simulate", "tiny.yaml", "--check", "--set", "fabric.routing=gosip", status=2)


def test_a_predictor_is_written_and_predicts(call: Toolkit, tmp_path: Path) -> None:
    call("new", "scenario", "trial")
    call("new", "predictor", "damped")
    assert "laws kept" in call("check", "damped.py")
    routing = ("--set", "fabric.routing={type: dbcar, beacon_s: 120, prediction: {type: damped, weight: 0.4}}", "--set", "compare={}")
    call("sweep", "trial.yaml", *routing, "--set", "fabric.routing.prediction=damped,ewma", "--out", "runs/them", *QUICK)
    result = toolkit.load("runs/them")
    assert result.arms == ["prediction_damped", "prediction_ewma"]
    assert (result.ledger_of("prediction_damped", kinds=["compute"]).flops > 0).any()  # its forecasts are paid for
    assert "<img" in result._repr_html_()


def test_a_device_is_written_and_priced(call: Toolkit, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: priced\nseeds: 1\nfabric: {type: cluster, workers: 2, device: raspberry_pi_4}\n"
        "program: {type: distributed, method: dense, steps: 2, task: {dataset: digits, model: {name: mlp}}}\n"
    )
    call("new", "device", "board")
    call("new", "link", "radio")
    for name in ("board", "radio"):
        assert "laws kept" in call("check", f"./{name}.yaml")
    call("simulate", "s.yaml", "--out", "runs/pi", "--jobs", "1", "--quiet")
    mine = ("--set", "fabric.device=./board.yaml", "--set", "fabric.topology.link=./radio.yaml")
    call("simulate", "s.yaml", *mine, "--out", "runs/board", "--jobs", "1", "--quiet")
    fabric = toolkit.load("runs/board").scenario.fabric
    assert fabric.device.busy_w == 8.0  # type: ignore[attr-defined]
    assert fabric.topology.link.rate_bps == 100e6  # type: ignore[attr-defined]
    slow_s, fast_s = (
        toolkit.load(f"runs/{name}").ledger_of(kinds=["compute"]).query("phase == 'gradient'").dur_s.mean() for name in ("pi", "board")
    )
    assert fast_s < slow_s  # half as fast again
    assert "paired by seed" in call("compare", "runs/pi", "runs/board")
    swept = ("--set", "fabric.device=raspberry_pi_4,./board.yaml", "--out", "runs/both", "--jobs", "1", "--quiet")
    call("sweep", "s.yaml", *swept)
    assert toolkit.load("runs/both").arms == ["device_raspberry_pi_4", "device_board"]
