"""What one run at sea came to: delivery, delay, energy, overhead, losses and how good the forecasts were.

Every number is a groupby of the run's ledger (rows of `Charge`) and its observations (rows of `Metric`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.acoustic.findings import sea_findings
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import NAN, is_in, named, ratio
from toolkit.core.charges import Charges
from toolkit.errors import CausalityError, ToolkitError

ABOVE_IDLE = ("tx", "rx", "compute")
DAY_S = 86_400.0
SENT = ("t0_s", "dur_s", "phase", "nbytes", "outcome", "packet")
"""Columns of the end-to-end records that a report needs."""
GREY = ("grey_share_peak", "grey_share_ever")

SEA_METRICS: tuple[MetricInfo, ...] = (
    MetricInfo("delivery_ratio", "1", "delivery ratio", "higher", 3, headline=True, share=True),
    MetricInfo("delay_mean_s", "s", "mean delay", "lower", 1, headline=True),
    MetricInfo("delay_p50_s", "s", "median delay", "lower", 1),
    MetricInfo("delay_p90_s", "s", "90th percentile of delay", "lower", 1),
    MetricInfo("delay_p95_s", "s", "95th percentile of delay", "lower", 1),
    MetricInfo("energy_per_delivered_j", "J", "energy per delivered packet", "lower", 2, headline=True),
    MetricInfo("energy_per_bit_j", "J", "energy per delivered bit", None, 4),
    MetricInfo("energy_total_per_delivered_j", "J", "energy per delivered packet, idle included", None, 1),
    MetricInfo("energy_per_node_j", "J", "energy per node, idle included", "lower", 1),
    MetricInfo("energy_sinks_j", "J", "energy of all sinks, idle included", None, 1),
    MetricInfo("compute_energy_per_node_j", "J", "computing energy per node", None, 4),
    MetricInfo("transmissions_per_delivered", "1", "data transmissions per delivered packet", "lower", 2, headline=True),
    MetricInfo("transmissions_per_packet", "1", "data transmissions per generated packet", None, 2),
    MetricInfo("hops_mean", "1", "hops", None, 2),
    MetricInfo("collisions", "1", "collisions per delivered packet", "lower", 2),
    MetricInfo("control_bytes_per_data_byte", "1", "control bytes per data byte", None, 3),
    MetricInfo("duplicates", "1", "duplicates at sinks, and at relays that acknowledge", None, 1),
    MetricInfo("fairness_jain", "1", "fairness of energy (Jain)", "higher", 3, share=True),
    MetricInfo("lifetime_first_d", "d", "first node's battery empty after", None, 2),
    MetricInfo("lifetime_tenth_d", "d", "a tenth of the batteries empty after", None, 2),
    MetricInfo("lifetime_half_d", "d", "half of the batteries empty after", None, 2),
    MetricInfo("death_first_d", "d", "time to the first death", "higher", 3, headline=True),
    MetricInfo("death_half_d", "d", "time until half of the nodes are dead", "higher", 3),
    MetricInfo("cut_off_first_d", "d", "time until the dead cut a living node off", "higher", 3, headline=True),
    MetricInfo("deaths", "nodes", "nodes dead at the end", "lower", 1),
    MetricInfo("rmse_db@*", "dB", "forecast RMSE at {}", "lower", 2, headline=True),
    MetricInfo("bias_db@*", "dB", "forecast bias at {}", None, 2),
    MetricInfo("coverage90@*", "1", "coverage of the 90 % interval at {}", None, 3, share=True),
    MetricInfo("lost_*", "1", "share lost: {}", None, 3, absent=0.0, share=True),
    MetricInfo("reachable_any@*", "1", "could have been delivered: hops with success {} or more", None, 3, share=True),
    MetricInfo("reachable_up@*", "1", "could have been delivered: upward hops with success {} or more", None, 3, share=True),
    MetricInfo("generated", "packets", "generated and counted", None, 1),
    MetricInfo("delivered", "packets", "of these delivered", None, 1),
    MetricInfo("lost", "packets", "of these lost", None, 1),
    MetricInfo("in_flight", "packets", "of these in flight at the end", None, 1),
    MetricInfo("grey_share_peak", "1", "share of upward links that are grey at the worst hour", None, 3, share=True),
    MetricInfo("grey_share_ever", "1", "share of upward links that are grey at some hour", None, 3, share=True),
)


def summarise(run: Run) -> list[Row]:
    """Return the rows of one run over the acoustic fabric."""
    from toolkit.acoustic.batteries import RECKONED_J
    from toolkit.acoustic.fabric import Acoustic  # with numba and simpy, which nobody needs who only reads a report

    assert isinstance(run.fabric, Acoustic)
    fabric = run.fabric
    battery_j = RECKONED_J if fabric.battery_j is None else fabric.battery_j
    rows = summarise_run(run.charges, run.metrics, run.duration_s, drain_s=fabric.drain_s, battery_j=battery_j)
    return rows if fabric.battery_j is None or not fabric.dies else rows + _deaths(run.metrics, fabric.layout.node_count)


def summarise_run(
    charges: Charges, metrics: pd.DataFrame, duration_s: float, drain_s: float, battery_j: float | None = None
) -> list[Row]:
    """Return (metric, unit, value) rows of one run.

    Counts, delivery, delay, hops and loss are of the packets created before ``duration_s - drain_s``, so that the last ones had
    time to arrive. What is divided by "delivered packets" (energy, transmissions, collisions) is a total of the whole run, and so
    is its divisor: all packets delivered in it; transmissions are also told per packet generated in the whole run. Energy above
    idle is that of sending, receiving and computing. Sinks have a supply of their own, hence their energy is told apart and in
    none of the other energies. Nothing delivered gives NaN. Lifetimes are projected: they say when batteries of *battery_j* would be empty
    if every node went on spending, idle included, as it did in the run; of a node that died in it, when it did.

    Raises:
        ToolkitError: packets were created that were neither delivered nor lost nor are in flight, or one was told twice.
        CausalityError: a packet arrived before it was created.
    """
    values: list[Row] = []
    sends, totals = charges.rows("send", columns=SENT), charges.totals
    arrived = is_in(sends, "outcome", "delivered")
    delivered, bits = int(arrived.sum()), 8 * int(sends["nbytes"].to_numpy(np.int64)[arrived].sum())
    values += _packets(sends, metrics, duration_s - drain_s)
    values += _energy(totals, metrics, delivered, bits, None if battery_j is None else battery_j * duration_s / DAY_S)
    values += _overhead(totals, metrics, len(sends), delivered)
    values += _forecasts(metrics)
    values += _reach(metrics)
    values += [(name, "1", float(named(metrics, name)["value"].iloc[0])) for name in GREY if len(named(metrics, name))]
    order = {info.name: i for i, info in enumerate(SEA_METRICS)}
    return sorted(values, key=lambda row: order.get(row[0], len(order)))


def _packets(sends: pd.DataFrame, metrics: pd.DataFrame, created_before_s: float) -> list[Row]:
    """Delivery, delay, hops and loss by reason."""
    if sends["packet"].duplicated().any():
        raise ToolkitError(f"packet {sends.loc[sends['packet'].duplicated(), 'packet'].iloc[0]} has two 'send' rows")
    counted = sends[sends["t0_s"].to_numpy() < created_before_s]
    arrived = counted[is_in(counted, "outcome", "delivered")]
    lost = counted[is_in(counted, "outcome", "lost")]
    flying = int(is_in(counted, "outcome", "in_flight").sum())
    generated = len(counted)
    if generated != len(arrived) + len(lost) + flying:
        raise ToolkitError(
            f"packets are not conserved: {generated} created, {len(arrived)} delivered, {len(lost)} lost, {flying} in flight"
        )
    delay_s = arrived["dur_s"].to_numpy(float)
    if len(delay_s) and delay_s.min() < 0:
        packet = arrived["packet"].iloc[int(delay_s.argmin())]
        raise CausalityError(f"packet {packet} arrived {-delay_s.min():g} s before it was created")
    hops = named(metrics, "hops")
    hops = hops[hops["step"].isin(arrived["packet"]).to_numpy()]
    reasons = lost["phase"].astype(str).replace("", "unknown").value_counts().sort_index()
    return [
        ("delivery_ratio", "1", ratio(len(arrived), generated)),
        ("delay_mean_s", "s", float(delay_s.mean()) if len(delay_s) else NAN),
        *((f"delay_p{share}_s", "s", float(np.quantile(delay_s, share / 100)) if len(delay_s) else NAN) for share in (50, 90, 95)),
        ("hops_mean", "1", float(hops["value"].mean()) if len(hops) else NAN),
        *((f"lost_{reason}", "1", ratio(count, generated)) for reason, count in reasons.items()),
        ("generated", "packets", float(generated)),
        ("delivered", "packets", float(len(arrived))),
        ("lost", "packets", float(len(lost))),
        ("in_flight", "packets", float(flying)),
    ]


def _energy(totals: pd.DataFrame, metrics: pd.DataFrame, delivered: int, bits: int, battery_j_d: float | None) -> list[Row]:
    """Energy of the nodes that are no sinks, and that of the sinks; *battery_j_d* is the battery times the run's length in days."""
    energy_j = totals["energy_j"].to_numpy(float)
    node = totals["node"].to_numpy(np.int64)
    roles = named(metrics, "is_sink").drop_duplicates("who")
    ids = roles["who"].astype(np.int64).to_numpy() if len(roles) else np.unique(node)
    is_sink = roles["value"].to_numpy(float) > 0 if len(roles) else np.zeros(len(ids), bool)
    places = int(max(node.max(initial=-1), ids.max(initial=-1))) + 1

    def per_node(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(node[rows], weights=energy_j[rows], minlength=places).astype(np.float64)
        return sums

    costs = ~is_in(totals, "kind", "send")
    total_j = per_node(costs)
    above_j = per_node(is_in(totals, "kind", *ABOVE_IDLE))[ids[~is_sink]]
    compute_j = per_node(is_in(totals, "kind", "compute"))[ids[~is_sink]]
    nodes = len(above_j)
    own_j = total_j[ids[~is_sink]]
    died = named(metrics, "death")
    died_d = dict(zip(died["who"].astype(np.int64), died["t_s"] / DAY_S, strict=True))
    ends_d = sorted(
        died_d.get(node, ratio(battery_j_d or NAN, float(spent_j))) for node, spent_j in zip(ids[~is_sink].tolist(), own_j, strict=True)
    )
    dead = {"first": 1, "tenth": -(-nodes // 10), "half": -(-nodes // 2)}
    lifetimes = [] if battery_j_d is None or not nodes else [
        (f"lifetime_{name}_d", "d", float(ends_d[count - 1])) for name, count in dead.items()
    ]
    return [
        ("energy_per_delivered_j", "J", ratio(above_j.sum(), delivered)),
        ("energy_per_bit_j", "J", ratio(above_j.sum(), bits)),
        ("energy_total_per_delivered_j", "J", ratio(own_j.sum(), delivered)),
        *lifetimes,
        ("energy_per_node_j", "J", ratio(own_j.sum(), nodes)),
        ("energy_sinks_j", "J", float(total_j[ids[is_sink]].sum())),
        ("compute_energy_per_node_j", "J", ratio(compute_j.sum(), nodes)),
        ("fairness_jain", "1", ratio(above_j.sum() ** 2, nodes * float((above_j**2).sum()))),
    ]


def _overhead(totals: pd.DataFrame, metrics: pd.DataFrame, generated: int, delivered: int) -> list[Row]:
    """What was sent, and what was heard in vain, beyond one frame per packet."""
    sent = is_in(totals, "kind", "tx")
    data = sent & is_in(totals, "phase", "data")
    rows, nbytes = totals["rows"].to_numpy(np.int64), totals["nbytes"].to_numpy(np.int64)
    collided = is_in(totals, "kind", "rx") & is_in(totals, "outcome", "collision")
    return [
        ("transmissions_per_delivered", "1", ratio(rows[data].sum(), delivered)),
        ("transmissions_per_packet", "1", ratio(rows[data].sum(), generated)),
        ("control_bytes_per_data_byte", "1", ratio(nbytes[sent & ~data].sum(), int(nbytes[data].sum()))),
        ("collisions", "1", ratio(rows[collided].sum(), delivered)),
        ("duplicates", "1", float(named(metrics, "duplicates")["value"].sum())),
    ]


def _forecasts(metrics: pd.DataFrame) -> list[Row]:
    """Error per horizon over all links and times: RMSE, bias, and how often the 90 % interval held the truth."""
    rows: list[Row] = []
    errors = named(metrics, "forecast_error_db")
    if len(errors):
        square = errors["value"].pow(2).groupby(errors["step"]).mean().pow(0.5)
        bias = errors["value"].groupby(errors["step"]).mean()
        rows += [(f"rmse_db@{_hours(step)}", "dB", float(value)) for step, value in square.items()]
        rows += [(f"bias_db@{_hours(step)}", "dB", float(value)) for step, value in bias.items()]
    covered = named(metrics, "forecast_covered")
    if len(covered):
        share = covered["value"].groupby(covered["step"]).mean()
        rows += [(f"coverage90@{_hours(step)}", "1", float(value)) for step, value in share.items()]
    return rows


def _deaths(metrics: pd.DataFrame, nodes: int) -> list[Row]:
    """When batteries ended in the run itself; NaN for what the run did not live to see."""
    died_d = np.sort(named(metrics, "death")["t_s"].to_numpy(float)) / DAY_S
    cut_off_d = named(metrics, "cut_off")["t_s"].to_numpy(float) / DAY_S
    half = -(-nodes // 2)
    return [
        ("death_first_d", "d", float(died_d[0]) if len(died_d) else NAN),
        ("death_half_d", "d", float(died_d[half - 1]) if len(died_d) >= half else NAN),
        ("cut_off_first_d", "d", float(cut_off_d[0]) if len(cut_off_d) else NAN),
        ("deaths", "nodes", float(len(died_d))),
    ]


def _reach(metrics: pd.DataFrame) -> list[Row]:
    """What any protocol could have delivered in time, see `toolkit.acoustic.reach`."""
    rows = named(metrics, "reachable")
    return [
        (f"reachable_{who}@{float(str(step)) / 100:g}", "1", float(value))
        for who, step, value in zip(rows["who"], rows["step"], rows["value"], strict=True)
    ]


def _hours(step_s: object) -> str:
    return f"{float(str(step_s)) / 3600:g}h"


REPORT = Report(metrics=SEA_METRICS, summarise=summarise, findings=sea_findings)
