"""Modems: band, rate, levels, powers and what a frame needs to get through."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self, final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from toolkit.acoustic.phy.modulation import RICIAN_K_DB, THRESHOLD_DB, Modulation, SuccessTable, success_table
from toolkit.core.profiles import Profiled, Profiles

Floats = NDArray[np.float64]

PROFILES = Profiles(Path(__file__).parent / "modems", "modem")


@final
class Modem(Profiled):
    """An acoustic modem.

    Electrical power (what a frame costs) and source level (how far it reaches) are two numbers and never derived from each other.
    `profile: name` takes all values from ``modems/name.yaml``; a file of one's own is named with its ending (``modem: ./mine.yaml``). Keys
    given beside it override the file, and the name alone is short for both (``modem: evologics_like``).

    Source: the shape of the link budget is the textbook one (SNR in the band, Eb/N0 = SNR · B/R_b). The default values are those
    of an EvoLogics-like modem (DESERT's `uwphysical` sample) at 136 dB, where a usual wind swings the reach threefold.
    """

    profile_folder: ClassVar[Profiles] = PROFILES

    carrier_hz: float = Field(25_000.0, gt=0, description="centre of the band in Hz")
    bandwidth_hz: float = Field(5_000.0, gt=0, description="width of the band in Hz")
    rate_bps: float = Field(4_800.0, gt=0, description="information bits per second, after any code")
    source_level_db: float = Field(136.0, ge=0, le=250, description="acoustic level in dB re 1 uPa at 1 m")
    tx_w: float = Field(3.3, ge=0, description="electrical power in W while sending")
    rx_w: float = Field(0.62, ge=0, description="electrical power in W while receiving, whatever becomes of the frame")
    idle_w: float = Field(0.085, ge=0, description="electrical power in W otherwise")
    modulation: Modulation = Field("bpsk", description="what turns Eb/N0 into bit errors; see modulation.py")
    coding_gain_db: float = Field(0.0, ge=-30, le=30, description="dB of Eb/N0 that the code is worth (3-5 for rate 1/2)")
    threshold_db: float = Field(THRESHOLD_DB, ge=-30, le=60, description="dB at which 'threshold' (Eb/N0), 'threshold_sinr' (SINR) decode")
    rician_k_db: float = Field(RICIAN_K_DB, ge=-30, le=60, description="Rician factor in dB of modulation 'bpsk_rician'")
    preamble_s: float = Field(0.0, ge=0, description="time in s before the first bit of a frame")
    detection_snr_db: float = Field(0.0, description="SNR in the band in dB from which a preamble can lock the receiver")
    cca_snr_db: float = Field(3.0, description="carrier sense: energy in the band in dB above the noise that counts as busy")
    capture_db: float = Field(10.0, ge=0, description="dB by which a later frame must be louder to take a locked receiver")

    @model_validator(mode="after")
    def _band_above_zero(self) -> Self:
        if self.bandwidth_hz >= 2 * self.carrier_hz:
            raise ValueError(
                f"a band of {self.bandwidth_hz:g} Hz around {self.carrier_hz:g} Hz reaches below zero;"
                f" bandwidth_hz must be below {2 * self.carrier_hz:g}"
            )
        return self

    def frame_s(self, nbytes: float) -> float:
        """Return the time on the air in s of a frame of *nbytes* bytes: preamble and bits."""
        return self.preamble_s + 8 * nbytes / self.rate_bps

    @overload
    def noise_level_db(self, psd_db: float) -> float: ...
    @overload
    def noise_level_db(self, psd_db: ArrayLike) -> Floats: ...
    def noise_level_db(self, psd_db: ArrayLike) -> float | Floats:
        """Return the noise in the band, dB re 1 µPa, for a density *psd_db* in dB re 1 µPa²/Hz taken as flat over the band."""
        level: Floats = np.asarray(psd_db, dtype=np.float64) + 10 * np.log10(self.bandwidth_hz)
        return level

    @overload
    def ebn0_db(self, snr_db: float) -> float: ...
    @overload
    def ebn0_db(self, snr_db: ArrayLike) -> Floats: ...
    def ebn0_db(self, snr_db: ArrayLike) -> float | Floats:
        """Return Eb/N0 in dB for an SNR in the band; the coding gain is in the table, not here."""
        ratio: Floats = np.asarray(snr_db, dtype=np.float64) + 10 * np.log10(self.bandwidth_hz / self.rate_bps)
        return ratio

    def success_table(self) -> SuccessTable:
        """Return the packet error rates of this modem against `ebn0_db`."""
        threshold_db = self.threshold_db
        if self.modulation == "threshold_sinr":
            threshold_db = self.ebn0_db(threshold_db)  # the table is against Eb/N0
        return success_table(self.modulation, self.coding_gain_db, threshold_db=threshold_db, rician_k_db=self.rician_k_db)
