"""How long answers take: a running mean and its deviation, by which time-outs are set."""

from __future__ import annotations


class AnswerTime:
    """Smooths the times of answers as TCP does, with gains of 1/8 and 1/4.

    Source: Jacobson 1988, *Congestion avoidance and control*.
    """

    __slots__ = ("deviation_s", "mean_s")

    def __init__(self) -> None:
        self.mean_s: float | None = None
        """None before the first answer."""
        self.deviation_s = 0.0

    def observe(self, took_s: float) -> None:
        """An answer took so long."""
        if self.mean_s is None:
            self.mean_s, self.deviation_s = took_s, took_s / 2.0
        else:
            self.deviation_s += (abs(took_s - self.mean_s) - self.deviation_s) / 4.0
            self.mean_s += (took_s - self.mean_s) / 8.0

    @property
    def longest_s(self) -> float | None:
        """Mean and four deviations: what hardly an answer takes; None before the first."""
        return None if self.mean_s is None else self.mean_s + 4.0 * self.deviation_s
