"""The channel of a measured record: the SNR of every link as a log says, in place of what levels and noise of the model would give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, final

import numpy as np
from pydantic import Field

from toolkit.acoustic import link_log
from toolkit.acoustic.environment import Span
from toolkit.acoustic.link_log import Columns, LinkLog
from toolkit.acoustic.phy.channel import Floats
from toolkit.core.inputs import InputFile
from toolkit.core.part import Spec
from toolkit.errors import DataError

SILENT_DB = -100.0
"""SNR of a link that nothing is heard on."""


@final
class ChannelRecord(Spec):
    """Links whose mean SNR in the modem's band is read from a log instead of worked out.

    The file is CSV or parquet, either with a row per measurement (time, sender, receiver, SNR) or with a column per link, called like
    3->7. Nodes are numbered from 0 on, sinks after the nodes. Times are dates, or seconds on a clock that reads `zero_s` when the
    measured part of the run begins. Positions, and so delays and depths, stay those of `layout` and `mobility`; shadowing is in the
    log and does not come on top, fast fading does. An SNR tells nothing of how loud the noise is; that is the sea's, and the level is
    what gives the SNR with it, so collisions are decided as between two measured links.

    Source: replay of a measured channel is common practice (UnetStack, Watermark); the rules for gaps and directions are ours.
    """

    file: InputFile = Field(description="CSV with a header line, or parquet")
    time_column: str = Field("time", description="column of the times")
    sender_column: str = Field("sender", description="column of the sending node, in a file with a row per measurement")
    receiver_column: str = Field("receiver", description="column of the receiving node, likewise")
    snr_column: str = Field("snr_db", description="column of the SNR in dB, likewise")
    zero_s: float = Field(0.0, description="what the record's clock reads at the start of the measured part; dates need none")
    interpolation: Literal["linear", "hold"] = Field("linear", description="between two rows: on the line in dB, or as in the earlier")
    max_gap_s: float = Field(3600.0, gt=0, description="longest time between two rows that is interpolated; also how far an end is held")
    gaps: Literal["error", "silent", "interpolate"] = Field(
        "error", description="a longer gap: refused; or a link that is not heard; or interpolated all the same"
    )
    reverse: Literal["same", "silent"] = Field("same", description="a link measured in the other direction only: that SNR, or not heard")
    others: Literal["silent", "model"] = Field("silent", description="pairs that no row names: not heard, or as the sea's model has it")

    def check(self, span: Span, count: int) -> None:
        """Read the file and refuse what does not fit a run of *count* nodes and sinks over *span*.

        Raises:
            DataError: a malformed file, a node that the run does not have or that has no link, a span that is not covered, a gap.
        """
        log, time_s = self._log(span)
        self._check_nodes(log, count)
        first_s, last_s = float(time_s.min()), float(time_s.max())
        if first_s - span.first_s > self.max_gap_s or span.last_s - last_s > self.max_gap_s:
            remedy = "sea.start" if log.by_calendar else "channel_record.zero_s"
            raise DataError(
                f"{log.path}: covers {self._span_text(log, span, first_s, last_s)}, and the run needs "
                f"{self._span_text(log, span, span.first_s, span.last_s)}, history included; move {remedy}, or shorten the run or history_s"
            )
        if self.gaps == "error":
            self._check_gaps(log, time_s, span)

    def init(self, span: Span, count: int) -> RecordedLinks:
        """Return the links of one run of *count* nodes and sinks.

        Raises:
            DataError: see `check`.
        """
        self.check(span, count)
        log, time_s = self._log(span)
        return RecordedLinks(self, log, time_s, count)

    def _log(self, span: Span) -> tuple[LinkLog, Floats]:
        """The log, and its times in s from the start of the measured part."""
        log = link_log.read(self.file, Columns(self.time_column, self.sender_column, self.receiver_column, self.snr_column))
        return log, log.time_s - (span.origin.timestamp() if log.by_calendar else self.zero_s)

    def _check_nodes(self, log: LinkLog, count: int) -> None:
        named = np.unique(np.concatenate([log.senders, log.receivers]))
        if named[-1] >= count:
            raise DataError(f"{log.path}: names node {named[-1]}, and the layout has nodes and sinks 0 to {count - 1}")
        if self.others == "silent":
            alone = np.setdiff1d(np.arange(count), named)
            if len(alone):
                more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
                raise DataError(
                    f"{log.path}: has no link of node {alone[0]}{more}; the layout has nodes and sinks 0 to {count - 1}; add rows, or "
                    "set channel_record.others to model"
                )

    def _check_gaps(self, log: LinkLog, time_s: Floats, span: Span) -> None:
        for link, (sender, receiver) in enumerate(zip(log.senders.tolist(), log.receivers.tolist(), strict=True)):
            own = time_s[log.starts[link] : log.starts[link + 1]]
            edges = np.concatenate([[span.first_s] if own[0] > span.first_s else [], own, [span.last_s] if own[-1] < span.last_s else []])
            edges = edges[np.searchsorted(edges, span.first_s, "right") - 1 : np.searchsorted(edges, span.last_s) + 1]
            wide = int(np.diff(edges).argmax())
            if edges[wide + 1] - edges[wide] > self.max_gap_s:
                raise DataError(
                    f"{log.path}: link {sender}->{receiver} has no row from {self._span_text(log, span, edges[wide], edges[wide + 1])}, "
                    f"more than max_gap_s = {self.max_gap_s:g}; set channel_record.gaps to silent if nothing was heard, or raise "
                    "max_gap_s to interpolate"
                )

    def _span_text(self, log: LinkLog, span: Span, *times_s: float) -> str:
        """Times from the start of the measured part as the log's clock has them."""
        if not log.by_calendar:
            return " to ".join(f"{t_s + self.zero_s:g} s" for t_s in times_s)
        return " to ".join(
            datetime.fromtimestamp(span.origin.timestamp() + t_s, UTC).strftime("%Y-%m-%d %H:%M UTC") for t_s in times_s
        )


class RecordedLinks:
    """The links of one run at its present: a place in each link's rows, which moves on with time."""

    def __init__(self, spec: ChannelRecord, log: LinkLog, time_s: Floats, count: int) -> None:
        self._spec = spec
        links = len(log.senders)
        # One row before and one after each link's own, so that every time lies between two rows.
        size = len(time_s) + 2 * links
        lengths = np.diff(log.starts)
        self._first = log.starts[:-1] + 2 * np.arange(links)
        own = np.arange(len(time_s)) + 1 + 2 * np.repeat(np.arange(links), lengths)
        self._last = last = self._first + lengths + 1
        self._time_s, self._snr_db = np.empty(size), np.empty(size)
        self._time_s[own], self._snr_db[own] = time_s, log.snr_db
        self._time_s[self._first], self._snr_db[self._first] = -np.inf, self._snr_db[self._first + 1]
        self._time_s[last], self._snr_db[last] = np.inf, self._snr_db[last - 1]
        self._at = self._first.copy()
        self._now_s = -np.inf
        measured = np.zeros((count, count), dtype=bool)
        measured[log.senders, log.receivers] = True
        back = np.flatnonzero(~measured[log.receivers, log.senders])  # links whose other direction is not in the log
        self._senders = np.concatenate([log.senders, log.receivers[back]])
        self._receivers = np.concatenate([log.receivers, log.senders[back]])
        self._back = back
        measured[self._senders, self._receivers] = True
        self._rest = ~measured & ~np.eye(count, dtype=bool)

    def lay_over(self, snr_db: Floats, t_s: float) -> None:
        """Put the links' SNR at *t_s* into *snr_db* (n, n), [sender, receiver], in place; the diagonal is left alone."""
        values = self._values(t_s)
        reverse = values[self._back] if self._spec.reverse == "same" else np.full(len(self._back), SILENT_DB)
        snr_db[self._senders, self._receivers] = np.concatenate([values, reverse])
        if self._spec.others == "silent":
            snr_db[self._rest] = SILENT_DB

    def _values(self, t_s: float) -> Floats:
        at = self._at
        if not 0.0 <= t_s - self._now_s < self._spec.max_gap_s:  # a leap, as at the beginning: look for the place
            at[:] = self._first + [
                np.searchsorted(self._time_s[first + 1 : last], t_s, "right") for first, last in zip(self._first, self._last, strict=True)
            ]
        self._now_s = t_s
        while (later := self._time_s[at + 1] <= t_s).any():
            at += later
        before_s, after_s = self._time_s[at], self._time_s[at + 1]
        before, after = self._snr_db[at], self._snr_db[at + 1]
        with np.errstate(invalid="ignore"):  # beyond the ends of a link both rows hold the same value
            weight = (t_s - before_s) / (after_s - before_s) if self._spec.interpolation == "linear" else np.zeros(len(at))
        inside = np.isfinite(before_s) & np.isfinite(after_s)
        found: Floats = before + np.where(inside, weight, 0.0) * (after - before)
        if self._spec.gaps == "silent":
            gap_s = np.where(inside, after_s - before_s, np.where(np.isfinite(before_s), t_s - before_s, after_s - t_s))
            found = np.where((gap_s > self._spec.max_gap_s) & (before_s != t_s), SILENT_DB, found)
        return found
