"""Constants come back from the times they make; what is measured here is said again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from toolkit.calibrate import main, own_probes
from toolkit.calibration.fit import Constants, fitted
from toolkit.calibration.probes import FITTED, HELD
from toolkit.calibration.timing import times_of
from toolkit.core.device import Device
from toolkit.core.work import Work
from toolkit.errors import ScenarioError

TRUTH = Constants(8e-5, 1e-5, 7e10, 1.2e11, 6e9)


def said(constants: Constants, work: Work) -> float:
    return Device(**constants._asdict(), peak_flops_per_s=1e15, efficiency=1.0).duration_s(work)


@pytest.fixture(scope="module")
def works() -> dict[str, Work]:
    return {probe.name: probe.work() for probe in (*FITTED, *HELD)}


def test_a_device_that_keeps_to_its_constants_is_found_again(works: dict[str, Work]) -> None:
    """For any of several devices, three orders of magnitude apart."""
    for factor in (0.03, 1.0, 30.0):
        truth = Constants(8e-5 * factor, 1e-5 * factor, 7e10 / factor, 1.2e11 / factor, 6e9 / factor)
        fit = [works[probe.name] for probe in FITTED]
        found = fitted(fit, [said(truth, work) for work in fit])
        for work in works.values():
            assert said(found, work) == pytest.approx(said(truth, work), rel=1e-3)
        assert found == pytest.approx(truth, rel=0.02)


def test_what_counts_most_is_met_best(works: dict[str, Work]) -> None:
    fit = [works[probe.name] for probe in FITTED]
    times = [said(TRUTH, work) for work in fit]
    times[1] *= 1.5
    last = [abs(said(fitted(fit, times, [1.0, weight, *[1.0] * (len(fit) - 2)]), fit[1]) / times[1] - 1) for weight in (1.0, 100.0)]
    assert last[1] < 0.05 < last[0]


def test_a_constant_that_nothing_asks_for_is_missed() -> None:
    with pytest.raises(ValueError, match="nothing that was timed asks"):
        fitted([Work(1e6, 1e3, 1e3, 5, matrix_flops=1e6)] * 5, [1e-3] * 5)


def test_calls_take_turns_and_the_least_counts() -> None:
    done: list[str] = []
    found = times_of({name: lambda name=name: done.append(name) or sum(range(2000)) for name in "ab"}, rounds=3)
    assert set(found.seconds) == set("ab")
    assert all(spread >= 1 for spread in found.spread.values())
    assert done.index("b") < len(done) - 1 - done[::-1].index("a")


def test_networks_of_ones_own_are_refused_in_a_sentence() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'resnet20'"):
        own_probes(["resnet2O"], "3x32x32", 8)
    with pytest.raises(ScenarioError, match="must look like 3x32x32"):
        own_probes(["resnet20"], "32", 8)
    assert [probe.shape for probe in own_probes(["resnet20"], "3x32x32", 8)] == [(2, 3, 32, 32), (8, 3, 32, 32)]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--out", "board"], "ends with .yaml"), (["--like", "raspberry"], "is not a device profile"), (["--rounds", "0"], "at least 1"),
])
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_this_machine_is_written_down_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "board.yaml"
    assert main(["--out", str(out), "--rounds", "3", "--model", "small_cnn"]) == 0
    shown = capsys.readouterr().out
    assert "not fitted" in shown
    assert "small_cnn b16 (own)" in shown.replace("\n", " ")
    values = yaml.safe_load(out.read_text())
    device = Device.model_validate(str(out))
    assert device.busy_w == 65
    assert device.message_overhead_s is not None
    assert 1e-6 < device.message_overhead_s < 0.1
    assert device.convolution_overhead_s == pytest.approx(values["convolution_overhead_s"])
