"""The page that plays a trace: columns packed into one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

SCRIPTS = ("data.js", "scene.js", "motion.js", "panel.js", "main.js")
OUTCOMES = ("decoded", "collision", "noise", "half_duplex", "in_flight")
"""Outcomes of an arrival in the order of the legend; others follow."""


def pack(
    events: pd.DataFrame, nodes: pd.DataFrame, speed_m_s: float, from_s: float, to_s: float, captions: dict[str, str]
) -> dict[str, Any]:
    """Return what the page has to know of [from_s, to_s), ready for JSON.

    A transmission belongs to the window when it begins there, a reception when its transmission does, a packet when it lives then.
    SNRs are kept in tenths of a decibel.
    """
    sent = events[(events.event == "tx") & (events.t_s >= from_s) & (events.t_s < to_s)].sort_values("t_s", kind="stable")
    place = {number: row for row, number in enumerate(sent.frame.tolist())}
    heard = events[(events.event == "rx") & events.frame.isin(sent.frame)].copy()
    heard["row"] = heard.frame.map(place).astype(np.int64) if len(heard) else np.zeros(0, dtype=np.int64)
    heard = heard.sort_values(["row", "t_s"], kind="stable")
    lag_s = heard.t_s.to_numpy() - sent.t_s.to_numpy()[heard.row.to_numpy()]
    drops = events[(events.event == "drop") & (events.t_s >= from_s) & (events.t_s < to_s)].sort_values("t_s", kind="stable")
    packets = _packets(events)
    packets = packets[(packets.created_s < to_s) & (packets.end_s >= from_s)].sort_values("created_s", kind="stable")
    kinds, reasons, fates = (_names(column) for column in (sent.kind, drops.outcome, packets.fate))
    met = {"decoded", *_names(heard.outcome)}
    outcomes = [name for name in OUTCOMES if name in met] + sorted(met.difference(OUTCOMES))
    return {
        **captions,
        "from": from_s, "to": to_s, "speed": speed_m_s, "nodes": int(nodes.node.max()) + 1,
        "sinks": sorted(nodes.loc[nodes.sink, "node"].unique().tolist()),
        "frames": len(sent), "kinds": kinds, "outcomes": outcomes, "drops": reasons, "fates": fates,
        "epoch": _epochs(nodes, from_s, to_s),
        "tx": {
            "t": _column(sent.t_s, "f8"), "dur": _column(sent.dur_s, "f4"), "node": _column(sent.node, "u2"),
            "peer": _column(sent.peer, "i2"), "packet": _column(sent.packet, "i4"), "kind": _column(_codes(sent.kind, kinds), "u1"),
            "nbytes": _column(sent.nbytes, "u4"),
            "first": _column(np.searchsorted(heard.row.to_numpy(), np.arange(len(sent) + 1)), "u4"),
        },
        "rx": {
            "node": _column(heard.node, "u2"), "lag": _column(lag_s, "f4"), "outcome": _column(_codes(heard.outcome, outcomes), "u1"),
            "snr": _column(_tenths(heard.snr_db), "i2"), "sinr": _column(_tenths(heard.sinr_db), "i2"),
        },
        "drop": {
            "t": _column(drops.t_s, "f8"), "node": _column(drops.node, "u2"), "packet": _column(drops.packet, "i4"),
            "reason": _column(_codes(drops.outcome, reasons), "u1"),
        },
        "packet": {
            "id": _column(packets.packet, "i4"), "node": _column(packets.node, "u2"), "nbytes": _column(packets.nbytes, "u4"),
            "created": _column(packets.created_s, "f8"), "end": _column(packets.end_s, "f8"), "sink": _column(packets.sink, "i2"),
            "fate": _column(_codes(packets.fate, fates), "u1"),
        },
    }


def render(packed: dict[str, Any]) -> str:
    """The page as HTML."""
    files = resources.files(__name__)
    parts = {
        "TITLE": html.escape(packed["title"]),
        "STYLE": (files / "style.css").read_text(encoding="utf-8").rstrip(),
        "SCRIPT": "\n".join((files / name).read_text(encoding="utf-8").rstrip() for name in SCRIPTS),
        "DATA": json.dumps(packed, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = (files / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text, 1)
    return page


def _packets(events: pd.DataFrame) -> pd.DataFrame:
    """One row per packet: packet, node, nbytes, created_s, end_s, sink, fate."""
    end = events[events.event == "end"]
    return end.assign(created_s=end.t_s - end.dur_s, end_s=end.t_s, sink=end.peer, fate=end.outcome)[
        ["packet", "node", "nbytes", "created_s", "end_s", "sink", "fate"]
    ]


def _epochs(nodes: pd.DataFrame, from_s: float, to_s: float) -> dict[str, dict[str, str]]:
    """Times and places (time, node, axis) within the window, without those at which nobody moved."""
    times_s = np.sort(nodes.t_s.unique())
    ordered = nodes.sort_values(["t_s", "node"], kind="stable")
    place_m = ordered[["x_m", "y_m", "depth_m"]].to_numpy(dtype=np.float32).reshape(len(times_s), -1, 3)
    first = max(0, int(np.searchsorted(times_s, from_s, side="right")) - 1)
    times_s, place_m = times_s[first:], place_m[first:]
    keep = times_s < to_s
    keep[1:] &= (place_m[1:] != place_m[:-1]).any(axis=(1, 2))
    keep[0] = True
    return {"t": _column(times_s[keep], "f8"), "place": _column(place_m[keep].ravel(), "f4")}


def _column(values: pd.Series | NDArray[Any], kind: str) -> dict[str, str]:
    """Numbers as text: little-endian bytes in base64."""
    array = np.asarray(values).astype("<" + kind)
    return {"type": kind, "data": base64.b64encode(array.tobytes()).decode("ascii")}


def _names(column: pd.Series) -> list[str]:
    return sorted(column.unique().tolist())


def _codes(column: pd.Series, names: list[str]) -> NDArray[np.int64]:
    return np.asarray(column.map({name: code for code, name in enumerate(names)}), dtype=np.int64)


def _tenths(column: pd.Series) -> NDArray[np.float64]:
    """Tenths of a decibel; the lowest number of 16 bits stands for none."""
    tenths = np.clip(np.round(10.0 * column.to_numpy(dtype=float)), -32767, 32767)
    return np.where(np.isnan(tenths), -32768.0, tenths)
