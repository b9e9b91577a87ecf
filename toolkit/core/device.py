"""Devices: how long a machine needs for a `Work`, what it draws meanwhile, and what fits into it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, final

from pydantic import Field

from toolkit.core.profiles import Profiled, Profiles
from toolkit.core.work import Work
from toolkit.errors import ScenarioError

PROFILES = Profiles(Path(__file__).parents[1] / "cluster" / "profiles", "device")


@final
class Device(Profiled):
    """A machine that does one kernel after another: what starting each costs, then convolutions, matrix products and all else.

    A convolution takes its operations, channels rounded up to eight, at a rate of its own, a matrix product likewise; the rest is under
    the roofline (Williams, Waterman and Patterson 2009): the longer of its operations at the peak's reached share and the bytes of all
    kernels at the memory's rate. Kernels of training are small on the networks of this package, so the starts are often most of it.

    `profile: name` takes all values from ``cluster/profiles/name.yaml``; a file of one's own is named with its ending
    (``device: ./board.yaml``, as `python -m toolkit.calibrate` writes it). Keys given beside it override the file, and the name alone
    is short for both (``device: raspberry_pi_5``). `this_machine` is measured when it is first asked for; the numbers then stand
    in the resolved scenario, and reading that does not measure again.

    The defaults are those of a small sensor-node microcontroller (Cortex-M4F class, 80 MHz, single precision): one
    multiply-add per cycle at best, reached to a quarter by compiled code, 256 KiB of SRAM, a serial flash chip of 8 MiB, 30 mW while
    busy. They are round numbers of that class, not a measurement of one board. What such a node draws while idle belongs to its
    modem there, hence `idle_w` 0.

    A message takes `message_overhead_s` at each of its ends, copies, system calls and wake-ups of threads, beside what its links take: the
    overhead o of LogGP (Alexandrov, Ionescu, Schauser and Scheiman 1995). A machine handles one message at a time, beside its kernels.
    The first that it sends after computing for at least `message_wake_s` leaves that much later: threads that slept are woken, and what
    they need has left the caches.

    Departures: kernels follow one another, on GPUs too, whose host starts the next one meanwhile; kernels smaller than what a rate was
    found with are taken to reach it. Powers are those of the profile's mode, whatever share of the machine a computation uses.
    `storage_w` is 0 in all profiles, for want of sources.
    """

    profile_folder: ClassVar[Profiles] = PROFILES

    peak_flops_per_s: float = Field(80e6, gt=0, description="peak floating-point rate")
    efficiency: float = Field(0.25, gt=0, le=1, description="share of the peak that real code reaches")
    memory_bytes_per_s: float = Field(160e6, gt=0, description="memory bandwidth")
    memory_bytes: int = Field(256 * 1024, gt=0, description="memory that a program can use")
    storage_bytes: int = Field(8 * 1024**2, ge=0, description="room on disk, card or flash")
    storage_read_bytes_per_s: float = Field(5e6, gt=0, description="rate of reading from storage")
    storage_write_bytes_per_s: float = Field(0.3e6, gt=0, description="rate of writing to storage")
    overhead_s: float = Field(20e-6, ge=0, description="fixed cost of starting a computation, and each further kernel of it")
    convolution_overhead_s: float | None = Field(None, ge=0, description="the same of a convolution; without it `overhead_s`")
    convolution_flops_per_s: float | None = Field(
        None, gt=0, description="rate of convolutions, channels rounded up to 8; without it efficiency times peak"
    )
    matrix_flops_per_s: float | None = Field(None, gt=0, description="rate of matrix products; without it efficiency times peak")
    message_overhead_s: float | None = Field(
        None, ge=0, description="time that a machine spends on each message it sends and each it receives (LogGP's o); without it none"
    )
    message_wake_s: float | None = Field(
        None, ge=0, description="time by which the first message after a computation of at least as long leaves later; without it none"
    )
    measured_s: dict[str, float] = Field(
        default_factory=dict,
        description="time in s that a computation of a phase was measured to take, whatever it asks: {gradient: 3.4e-3}"
    )
    idle_w: float = Field(0.0, ge=0, description="electrical power while it has nothing to compute")
    busy_w: float = Field(0.03, ge=0, description="electrical power while computing")
    storage_w: float = Field(0.0, ge=0, description="electrical power that reading or writing storage adds to idle")

    def duration_s(self, work: Work, phase: str = "", share: float = 1.0) -> float:
        """Return the time in s of *work*, or the *share* of what its *phase* was measured to take."""
        if phase in self.measured_s:
            return share * self.measured_s[phase]
        reached = self.peak_flops_per_s * self.efficiency
        other_flops, other_starts = work.flops, 1 + work.launches
        time_s = 0.0
        if work.convolutions:
            other_flops, other_starts = other_flops - work.convolution_flops, other_starts - work.convolutions
            start_s = self.overhead_s if self.convolution_overhead_s is None else self.convolution_overhead_s
            time_s += start_s * work.convolutions
            time_s += (work.convolution_flops + work.padding_flops) / (self.convolution_flops_per_s or reached)
        if work.matrix_flops:
            other_flops -= work.matrix_flops
            time_s += work.matrix_flops / (self.matrix_flops_per_s or reached)
        memory_s = (work.read_bytes + work.write_bytes) / self.memory_bytes_per_s
        return time_s + self.overhead_s * other_starts + max(other_flops / reached, memory_s)

    @property
    def handling_s(self) -> float:
        """Time in s that one end takes for a message."""
        return self.message_overhead_s or 0.0

    @property
    def handling_j(self) -> float:
        """Energy in J of one end's handling of a message, beyond what the machine draws idle."""
        return self.handling_s * max(0.0, self.busy_w - self.idle_w)

    def waking_s(self, computed_s: float) -> float:
        """Time in s by which a message leaves later that is the first after so much computing."""
        wake_s = self.message_wake_s or 0.0
        return wake_s if computed_s >= wake_s else 0.0

    def storage_s(self, read_bytes: float = 0, write_bytes: float = 0) -> float:
        """Return the time in s of reading and writing that much storage, one after the other."""
        return read_bytes / self.storage_read_bytes_per_s + write_bytes / self.storage_write_bytes_per_s

    def check_fits(self, nbytes: float, what: str, place: Literal["memory", "storage"] = "memory") -> None:
        """Raise a ScenarioError if *what* (``ResNet-18 at batch 64``) needs more than there is of *place*."""
        has = self.memory_bytes if place == "memory" else self.storage_bytes
        if nbytes <= has:
            return
        needed, there = amount(nbytes), amount(has)
        if needed == there:
            needed, there = f"{nbytes:.0f} bytes", f"{has} bytes"
        raise ScenarioError(f"{what} needs {needed}; {self.profile or 'the device'} has {there} (device.{place}_bytes)")


def amount(nbytes: float) -> str:
    """Return a number of bytes for people, in powers of ten: ``3.1 GB``, ``640 kB``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            count = nbytes / size
            return f"{count:.0f} {unit}" if count >= 99.5 else f"{count:.1f} {unit}"
    return f"{nbytes:.0f} bytes"
