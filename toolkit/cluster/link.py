"""Links: one direction of a cable or radio channel between two vertices of a topology."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self, final

from pydantic import Field

from toolkit.core.profiles import Profiled, Profiles

PROFILES = Profiles(Path(__file__).parent / "links", "link")


@final
class Link(Profiled):
    """One direction of a link: how fast, how long, how lossy, and what it draws.

    `profile: name` takes all values from ``links/name.yaml``; a file of one's own is named with its ending (``link: ./radio.yaml``). Keys
    given beside it override the file, and the name alone is short for both (``link: gigabit_ethernet``). A full-duplex cable is two of
    them. The defaults are `gigabit_ethernet`'s.

    Energy is that of both ends together: `energy_j_per_bit` for what is carried, `idle_w` all the time. Profiles leave out of
    `idle_w` what a device's own idle power already holds (its network interface, when the board was measured at the socket).
    """

    profile_folder: ClassVar[Profiles] = PROFILES

    rate_bps: float = Field(941.5e6, gt=0, description="bits of messages per second: goodput, what framing takes left out")
    delay_s: float = Field(25e-6, ge=0, description="time in s from one end to the other, one way")
    loss: float = Field(0.0, ge=0, lt=1, description="share of packets that have to be sent again")
    energy_j_per_bit: float = Field(1e-9, ge=0, description="energy in J of carrying one bit, sending and receiving interface together")
    idle_w: float = Field(0.5, ge=0, description="electrical power in W of this direction at all times")

    @property
    def goodput_bps(self) -> float:
        """What is left of the rate when lost packets are sent again: ``rate_bps * (1 - loss)``."""
        return self.rate_bps * (1 - self.loss)

    @property
    def energy_j_per_delivered_bit(self) -> float:
        """Energy of one bit that arrives: a bit is carried ``1 / (1 - loss)`` times on average."""
        return self.energy_j_per_bit / (1 - self.loss)

    def bundled(self, count: float) -> Self:
        """Return *count* such links used as one: as many times the rate and the power, the same delay, loss and energy per bit."""
        return self.model_copy(update={
            "profile": None, "source": f"{count:g} x ({self.source})" if self.source else "",
            "rate_bps": self.rate_bps * count, "idle_w": self.idle_w * count,
        })

    def lengthened(self, delay_s: float) -> Self:
        """Return this link with so much more delay."""
        return self.model_copy(update={"delay_s": self.delay_s + delay_s})
