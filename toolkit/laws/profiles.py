"""Laws of profiles, files of numbers about a machine, a modem or a link: a source is named, and the numbers make sense together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.acoustic.phy.modem import Modem
from toolkit.cluster.link import Link
from toolkit.core import yaml12
from toolkit.core.device import Device
from toolkit.core.part import explain
from toolkit.core.profiles import Profiled
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.laws import Verdict, judged, require


def its_source_is_told(part: Profiled) -> None:
    """Whoever reads a result can find out where the numbers come from."""
    require(part.source.strip(), "source: is missing; say where the numbers come from, and what is assumed")


def more_work_takes_longer(part: Device) -> None:
    """Twice the operations and bytes never take less time, and nothing takes no time backwards."""
    small, large = (part.duration_s(Work(n * 1e6, n * 1e5, n * 1e5)) for n in (1, 2))
    require(0 <= small <= large, f"a million operations take {small:.3g} s and two million {large:.3g} s")


def computing_draws_more_than_idling(part: Device) -> None:
    """Power while busy is at least that while idle."""
    require(part.busy_w >= part.idle_w, f"busy_w {part.busy_w:g} is below idle_w {part.idle_w:g}")


def it_can_compute_something(part: Device) -> None:
    """It has room for a network of ten thousand weights, and makes a million operations in less than an hour."""
    require(part.memory_bytes >= 40_000, f"memory_bytes {part.memory_bytes} holds not even ten thousand weights")
    need_s = part.duration_s(Work(1e6))
    require(need_s < 3600, f"a million operations take {need_s:.3g} s; peak_flops_per_s is per second")


def sending_costs_most(part: Modem) -> None:
    """Sending draws more than receiving, and that no less than idling."""
    require(part.idle_w <= part.rx_w < part.tx_w, f"idle_w {part.idle_w:g} <= rx_w {part.rx_w:g} < tx_w {part.tx_w:g} does not hold")


def louder_signals_are_decoded_better(part: Modem) -> None:
    """A frame fails less often where the signal is louder, always far below the noise and never far above."""
    table = part.success_table()
    failed = [float(table.per(part.ebn0_db(snr_db), 512)) for snr_db in range(-40, 61, 5)]
    require(all(a >= b - 1e-9 for a, b in pairwise(failed)), "a louder signal fails more often")
    require(failed[0] > 0.99 and failed[-1] < 0.01, f"of 64-byte frames {failed[0]:.2f} fail at -40 dB and {failed[-1]:.2f} at 60 dB")


def a_frame_takes_less_than_a_minute(part: Modem) -> None:
    """64 bytes at the modem's rate."""
    require(part.frame_s(64) < 60, f"a frame of 64 bytes takes {part.frame_s(64):.0f} s; rate_bps is in bits per second")


def something_gets_through(part: Link) -> None:
    """A megabyte takes less than an hour, lost packets sent again."""
    need_s = part.delay_s + 8e6 / part.goodput_bps
    require(need_s < 3600, f"a megabyte takes {need_s:.3g} s; rate_bps is in bits per second")


LAWS: dict[type[Profiled], tuple[Callable[[Any], None], ...]] = {
    Device: (its_source_is_told, more_work_takes_longer, computing_draws_more_than_idling, it_can_compute_something),
    Modem: (its_source_is_told, sending_costs_most, louder_signals_are_decoded_better, a_frame_takes_less_than_a_minute),
    Link: (its_source_is_told, something_gets_through),
}


def kind_of(values: dict[str, Any]) -> type[Profiled]:
    """Return what a file with these keys is a profile of.

    Raises:
        ScenarioError: of nothing, or of several kinds.
    """
    fitting = [kind for kind in LAWS if values.keys() <= kind.model_fields.keys()]
    named = [kind for kind in fitting if values.get("profile") in kind.profiles()]
    if len(named or fitting) != 1:
        most = max(LAWS, key=lambda kind: len(values.keys() & kind.model_fields.keys()))
        unknown = sorted(values.keys() - most.model_fields.keys())
        what = most.profile_folder.kind
        why = f"'{unknown[0]}' is no setting of a {what}, which it looks like" if unknown else "its keys are those of several kinds"
        raise ScenarioError(f"is neither a device, a modem nor a link: {why}")
    return (named or fitting)[0]


def judged_file(path: str) -> tuple[str, Sequence[Verdict]]:
    """Hold a profile in a file against the laws of its kind; return the kind and the verdicts.

    Raises:
        ScenarioError: it is none, or a value is wrong; one sentence.
    """
    values = yaml12.read(Path(path))
    if not isinstance(values, dict):
        raise ScenarioError(f"{path}: must be a mapping of settings")
    try:
        kind = kind_of(values)
        part = kind.model_validate(str(Path(path).absolute()), context={"base": Path(path).absolute().parent})
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        raise ScenarioError([f"{path}: {line.removeprefix('scenario: ')}" for line in explain(error)]) from error
    own = values.get("source") or ""
    verdicts = judged_profile(part.model_copy(update={"source": str(own)}))  # that of the profile under it tells nothing of these numbers
    return kind.profile_folder.kind, verdicts


def judged_profile(part: Profiled) -> list[Verdict]:
    """Hold a device, modem or link against the laws of its kind."""
    return list(judged(part, LAWS[type(part)]))
