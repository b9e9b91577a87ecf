"""What can be said of a program's messages before a run: whether the water, or a battery, holds them at all."""

from __future__ import annotations

import warnings

from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.transport import Transport
from toolkit.core.device import amount
from toolkit.core.fabric import Sending
from toolkit.errors import Note, ScenarioError


class TooSlow(Note):
    """A run will be over before a program is at its end."""


def refuse_too_much(sending: Sending, transport: Transport, modem: Modem, *, duration_s: float, battery_j: float | None) -> None:
    """Raise a ScenarioError where one round of a node takes longer on the air than the run or its battery lasts; tell of all rounds.

    Counted is the node's own transmission alone, each fragment once, as if it were next to the receiver: a bound from below.
    """
    if not sending.nbytes:
        return
    on_air_nbytes, count = transport.on_air_nbytes(sending.nbytes)
    airtime_s = 8.0 * on_air_nbytes / modem.rate_bps + count * modem.preamble_s
    once = (
        f"{sending.who} hands over {amount(sending.nbytes)} a round, in {count} frames that take a node {_time(airtime_s)} on the air at "
        f"{modem.rate_bps:g} bit/s"
    )
    mend = "take a smaller model, a method that sends less, or a faster modem"
    if airtime_s > duration_s:
        raise ScenarioError(f"program: {once}, and the run lasts {_time(duration_s)}; {mend}")
    if battery_j is not None and airtime_s * modem.tx_w > battery_j:
        raise ScenarioError(f"program: {once} and {airtime_s * modem.tx_w:.3g} J, and its battery_j holds {battery_j:g} J; {mend}")
    wanted_s = sending.rounds * airtime_s
    if wanted_s > duration_s:
        warnings.warn(f"{once}; {sending.rounds} rounds take at least {_time(wanted_s)} of {_time(duration_s)}", TooSlow, stacklevel=2)
    elif battery_j is not None and wanted_s * modem.tx_w > battery_j:
        warnings.warn(
            f"{once}; {sending.rounds} rounds take at least {wanted_s * modem.tx_w:.3g} J of a battery of {battery_j:g} J", TooSlow,
            stacklevel=2,
        )


def _time(time_s: float) -> str:
    return f"{time_s / 3600:.3g} h" if time_s >= 3600 else f"{time_s:.3g} s"
