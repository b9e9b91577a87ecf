"""Spans of time as people write them."""

from __future__ import annotations

UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def span_s(option: str, text: str) -> float:
    """Read a span such as 90s, 30min, 3h, 1d, or plain seconds; *option* is named in the error."""
    import re

    from toolkit.errors import ScenarioError

    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(s|min|h|d|)\s*", text)
    seconds = float(match[1]) * UNITS_S[match[2] or "s"] if match else 0.0
    if not 0.0 < seconds < float("inf"):
        raise ScenarioError(f"{option} {text}: must be a span such as 90s, 30min, 3h or 1d")
    return seconds


def span_text(seconds: float) -> str:
    """A span as people say it: 45 s, 30 min, 3 h."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"
