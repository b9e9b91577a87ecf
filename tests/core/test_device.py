from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.cluster import this_machine
from toolkit.core.device import PROFILES, Device, amount
from toolkit.core.part import Spec, explain
from toolkit.core.profiles import MEASURE
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.scenario import replaced

FILES = [name for name in Device.profiles() if MEASURE not in PROFILES.read(name)]
MEASURED = {
    "source": "Measured here: nothing.", "peak_flops_per_s": 1e11, "efficiency": 1.0, "memory_bytes_per_s": 1e10, "memory_bytes": 2**34,
    "storage_bytes": 10**12, "overhead_s": 1e-6,
}


class Rack(Spec):
    device: Device = Device()


def problems(value: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Rack.model_validate({"device": value})
    return explain(caught.value)


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace measuring by fixed numbers; the list grows by one entry each time it is asked for."""
    calls: list[int] = []

    def measure() -> dict[str, Any]:
        calls.append(1)
        return dict(MEASURED)

    monkeypatch.setattr(this_machine, "measure", measure)
    return calls


def test_roofline_is_the_larger_of_arithmetic_and_memory_after_the_overhead() -> None:
    device = Device(peak_flops_per_s=100.0, efficiency=0.5, memory_bytes_per_s=10.0, overhead_s=0.25)
    assert device.duration_s(Work()) == 0.25
    assert device.duration_s(Work(flops=100)) == 2.25
    assert device.duration_s(Work(flops=100, read_bytes=10, write_bytes=5)) == 2.25
    assert device.duration_s(Work(flops=100, read_bytes=10, write_bytes=20)) == 3.25
    assert device.duration_s(Work(flops=100, launches=3)) == 3.0  # three kernels more, a quarter of a second each
    assert (Work(launches=3) + Work(1.0, launches=2)).launches == 5
    assert Work(launches=3).times(2).launches == 6


def test_kernels_are_paid_for_by_their_kind() -> None:
    device = Device(
        peak_flops_per_s=100.0, efficiency=0.5, memory_bytes_per_s=10.0, overhead_s=0.25, convolution_overhead_s=2.0,
        convolution_flops_per_s=20.0, matrix_flops_per_s=40.0,
    )
    work = Work(
        flops=200, read_bytes=10, write_bytes=10, launches=5, convolutions=2, convolution_flops=60, padding_flops=40, matrix_flops=80
    )
    # four others and two convolutions; 100 operations of these, 80 of products; 60 others, quicker than 20 bytes
    assert device.duration_s(work) == 4 * 0.25 + 2 * 2.0 + 100 / 20 + 80 / 40 + 20 / 10
    plain = Device(peak_flops_per_s=100.0, efficiency=0.5, memory_bytes_per_s=10.0, overhead_s=0.25)
    assert plain.duration_s(work) == 6 * 0.25 + 100 / 50 + 80 / 50 + 20 / 10
    assert (work + work).padding_flops == work.times(2).padding_flops == 80
    assert work - work == Work()
    assert work.beyond_first().launches == 4


def test_a_phase_that_was_measured_takes_that_long() -> None:
    device = Device(measured_s={"gradient": 3.4e-3})
    assert device.duration_s(Work(flops=1e9), "gradient") == 3.4e-3
    assert device.duration_s(Work(flops=1e9), "gradient", 0.25) == 0.85e-3
    assert device.duration_s(Work(flops=1e9), "compress") == device.duration_s(Work(flops=1e9))


def test_storage_is_read_and_written_at_its_own_rates() -> None:
    device = Device(storage_read_bytes_per_s=100, storage_write_bytes_per_s=10)
    assert device.storage_s(read_bytes=50, write_bytes=20) == 2.5
    assert device.storage_s() == 0
    assert (device.storage_s(read_bytes=50), device.storage_s(write_bytes=20)) == (0.5, 2.0)


def test_the_default_is_the_sensor_node_it_was_and_idles_for_free() -> None:
    device = Device()
    assert (device.peak_flops_per_s, device.efficiency, device.memory_bytes_per_s) == (80e6, 0.25, 160e6)
    assert (device.overhead_s, device.busy_w, device.idle_w) == (20e-6, 0.03, 0)


@pytest.mark.parametrize("name", FILES)
def test_every_profile_is_whole_and_says_where_its_numbers_come_from(name: str) -> None:
    values = PROFILES.read(name)
    assert values.keys() == Device.model_fields.keys() - {"profile", "measured_s"}
    device = Device(profile=name)
    assert "ssumed" in device.source
    assert "Derived" in device.source or "Vendor" in device.source
    assert 0 < device.idle_w < device.busy_w
    assert device.memory_bytes < device.storage_bytes
    assert Device.model_validate(device.model_dump(mode="json")) == device


def test_no_two_profiles_have_the_same_source() -> None:
    sources = [str(PROFILES.read(name)["source"]) for name in Device.profiles()]
    assert not any(one is not other and one.startswith(other) for one in sources for other in sources)


@pytest.mark.parametrize(
    ("name", "peak", "memory_bytes", "busy_w"),
    [
        ("raspberry_pi_4", 4 * 8 * 1.8e9, 2e9, 7.2),
        ("raspberry_pi_5", 4 * 16 * 2.4e9, 8e9, 11),
        ("jetson_nano", 128 * 2 * 921.6e6, 3.9e9, 10),
        ("jetson_nano_5w", 128 * 2 * 614.4e6, 3.9e9, 5),
        ("jetson_xavier_nx", 384 * 2 * 1100e6, 7.6e9, 15),
        ("jetson_xavier_nx_10w", 384 * 2 * 800e6, 7.6e9, 10),
        ("jetson_orin_nx", 1024 * 2 * 918e6, 15.2e9, 25),
        ("jetson_orin_nx_15w", 1024 * 2 * 612e6, 15.2e9, 15),
        ("jetson_orin_nx_8gb", 1024 * 2 * 765e6, 7.4e9, 20),
        ("desktop_cpu", 6 * 32 * 3.7e9, 32e9, 196),
    ],
)
def test_peaks_are_units_times_width_times_clock(name: str, peak: float, memory_bytes: float, busy_w: float) -> None:
    device = Device(profile=name)
    assert device.peak_flops_per_s == pytest.approx(peak, rel=1e-4)
    assert (device.memory_bytes, device.busy_w) == (memory_bytes, busy_w)


def test_a_name_alone_is_the_whole_profile_and_explicit_keys_override_it() -> None:
    plain = Rack.model_validate({"device": "raspberry_pi_5"}).device
    assert plain == Device(profile="raspberry_pi_5")
    tuned = Device.model_validate({"profile": "raspberry_pi_5", "busy_w": 6})
    assert (tuned.busy_w, tuned.peak_flops_per_s) == (6, plain.peak_flops_per_s)


def test_a_dotted_setting_reaches_into_the_short_form() -> None:
    tree = replaced({"device": "raspberry_pi_5"}, "device.busy_w", 6)
    assert Rack.model_validate(tree).device == Device(profile="raspberry_pi_5", busy_w=6)


def test_another_profile_on_a_written_out_record_keeps_only_what_was_set_by_hand() -> None:
    """An arm `device.profile: x` is applied to the resolved scenario, where every field is spelled out."""
    for before in (Device(), Device(profile="raspberry_pi_4")):
        record = {**before.model_dump(mode="json"), "profile": "h100"}
        assert Device.model_validate(record) == Device(profile="h100")
    record = {**Device(profile="raspberry_pi_4", busy_w=5).model_dump(mode="json"), "profile": "raspberry_pi_5"}
    assert Device.model_validate(record) == Device(profile="raspberry_pi_5", busy_w=5)


def test_a_source_of_ones_own_survives_being_written_out() -> None:
    device = Device(profile="raspberry_pi_4", source="My own meter.", busy_w=5.5)
    assert Device.model_validate(device.model_dump(mode="json")) == device


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    for value in ("raspbery_pi_5", {"profile": "raspbery_pi_5"}):
        (line,) = problems(value)
        assert line.startswith("device: 'raspbery_pi_5' is not a device profile; did you mean 'raspberry_pi_5'?")
        assert "jetson_nano" in line


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"busy_watt": 3}, "unknown key 'busy_watt'; did you mean 'busy_w'?"),
        ({"profile": "h100", "efficiency": 1.5}, "device.efficiency"),
        ({"memory_bytes": 0}, "device.memory_bytes"),
        ({"profile": 3}, "device.profile"),
        (3, "device"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_sentence(value: Any, words: str) -> None:
    (line,) = problems(value)
    assert words in line


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    device = Device(profile="raspberry_pi_4")
    device.check_fits(2e9, "just enough")
    with pytest.raises(ScenarioError) as caught:
        device.check_fits(3.1e9, "ResNet-18 at batch 64")
    assert str(caught.value) == "ResNet-18 at batch 64 needs 3.1 GB; raspberry_pi_4 has 2.0 GB (device.memory_bytes)"
    with pytest.raises(ScenarioError, match=r"A needs 2000000001 bytes; raspberry_pi_4 has 2000000000 bytes"):
        device.check_fits(2e9 + 1, "A")
    with pytest.raises(ScenarioError, match=r"Buffer needs 10.0 MB; the device has 8.4 MB \(device.storage_bytes\)"):
        Device().check_fits(10e6, "Buffer", "storage")


def test_amounts_are_written_for_people() -> None:
    assert [amount(n) for n in (12, 640e3, 1.25e6, 25.6e9, 2e12)] == ["12 bytes", "640 kB", "1.2 MB", "25.6 GB", "2.0 TB"]


def test_this_machine_is_measured_once_and_repeats_from_what_was_written(measurements: list[int]) -> None:
    device = Device.model_validate({"profile": "this_machine"})
    assert (device.peak_flops_per_s, device.memory_bytes, len(measurements)) == (1e11, 2**34, 1)
    assert "Assumed" in device.source
    assert device.source.endswith("Measured here: nothing.")
    again = Device.model_validate(device.model_dump(mode="json"))
    assert again == device
    assert len(measurements) == 1


def test_leaving_this_machine_leaves_its_measurements_behind(measurements: list[int]) -> None:
    record = {**Device.model_validate("this_machine").model_dump(mode="json"), "profile": "raspberry_pi_5", "idle_w": 1.0}
    assert Device.model_validate(record) == Device(profile="raspberry_pi_5", idle_w=1.0)


def test_measuring_is_quick_and_gives_what_a_machine_can_be() -> None:
    this_machine.measure.cache_clear()
    start_s = process_time()
    device = Device.model_validate("this_machine")
    assert process_time() - start_s < 8  # some two seconds, and torch's loading
    assert 1e8 < device.peak_flops_per_s < 1e14
    assert 1e8 < device.memory_bytes_per_s < 1e13
    assert 1e-7 < device.overhead_s < 1e-3
    assert device.convolution_overhead_s
    assert device.convolution_overhead_s > device.overhead_s
    assert device.memory_bytes > 2**27
    assert Device.model_validate("this_machine") == device


# A file of one's own

BOARD = {
    "source": "My meter.", "peak_flops_per_s": 1e10, "efficiency": 1.0, "memory_bytes_per_s": 1e9, "memory_bytes": 10**9,
    "storage_bytes": 10**10, "storage_read_bytes_per_s": 1e7, "storage_write_bytes_per_s": 1e7, "overhead_s": 1e-5, "idle_w": 1.0,
    "busy_w": 5.0, "storage_w": 0.0,
}


def written(folder: Path, **values: Any) -> str:
    (folder / "board.yaml").write_text("\n".join(f"{key}: {value}" for key, value in {**BOARD, **values}.items() if value is not None))
    return "./board.yaml"


def test_a_file_beside_the_scenario_is_a_device(tmp_path: Path) -> None:
    name = written(tmp_path)
    device = Rack.model_validate({"device": name}, context={"base": tmp_path}).device
    assert device.model_dump(exclude={"profile", "source", "measured_s"}) == Device(**BOARD).model_dump(
        exclude={"profile", "source", "measured_s"})
    assert device.source == "board.yaml: My meter."
    (tmp_path / "board.yaml").unlink()
    assert Device.model_validate(device.model_dump(mode="json")) == device, "what was resolved needs the file no more"
    moved = {**device.model_dump(mode="json"), "profile": "raspberry_pi_5"}
    assert Device.model_validate(moved) == Device(profile="raspberry_pi_5")


def test_a_file_may_take_the_rest_from_a_profile(tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text("profile: raspberry_pi_5\noverhead_s: 3e-5\nmeasured_s: {gradient: 2e-3}\n")
    device = Rack.model_validate({"device": "./board.yaml"}, context={"base": tmp_path}).device
    assert (device.overhead_s, device.busy_w, device.measured_s) == (3e-5, 11, {"gradient": 2e-3})


@pytest.mark.parametrize(("change", "words"), [
    ({"busy_w": None}, "./board.yaml: lacks busy_w; give them, or a profile:"),
    ({"busy_watt": 3}, "unknown key 'busy_watt'; did you mean 'busy_w'?"),
])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    written(tmp_path, **change)
    with pytest.raises(ValidationError) as caught:
        Rack.model_validate({"device": "./board.yaml"}, context={"base": tmp_path})
    assert words in explain(caught.value)[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        Rack.model_validate({"device": "bord.yaml"}, context={"base": tmp_path})
    assert f"there is no file bord.yaml in {tmp_path}" in explain(caught.value)[0]
