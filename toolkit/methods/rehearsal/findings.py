"""What a rehearsal says, in sentences: predictions against measured throughputs, or what each network makes of the same messages."""

from __future__ import annotations

from typing import Any

import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.core.words import counted
from toolkit.methods.rehearsal.cases import cases_table, rehearsal_of, validation_table


def rehearsal_findings(result: Comparison) -> list[str]:
    """Return the findings; misses are told as plainly as hits."""
    table = cases_table(result)
    program = rehearsal_of(result.scenario)
    if program.measured is not None:
        sizes = set(table["workers"])
        if sizes & set(program.measured.fit_workers) and sizes - set(program.measured.fit_workers):
            return _against_measured(validation_table(table, program.measured), program.measured.aims)
        fit = ", ".join(map(str, program.measured.fit_workers))
        nothing = f"Nothing is foretold: that takes arms with {fit} workers to fit constants on, and arms with other numbers."
        return [nothing, *_by_network(table)]
    return _by_network(table)


def _against_measured(table: pd.DataFrame, aims: dict[str, float]) -> list[str]:
    sentences = []
    for name in dict.fromkeys(table["exchange"]):
        foretold = ~table["fitted"] & table["error"].notna()
        rows: list[Any] = list(table[(table["exchange"] == name) & foretold].itertuples())
        if not rows:
            continue
        errors = ", ".join(
            f"{row.case} {row.error:+.1%} (step of {row.predicted_step_s:.3g} s, measured {row.measured_step_s:.3g} s)" for row in rows
        )
        workers = " and ".join(str(count) for count in sorted({row.workers for row in rows}))
        sentences.append(f"{name}: with one constant per network, throughput on {workers} workers is foretold with errors of {errors}.")
        if name in aims:
            missed = [row.case for row in rows if abs(row.error) > aims[name]]
            told = f"{len(rows) - len(missed)} of {len(rows)}, missed by {', '.join(missed)}" if missed else f"all {len(rows)}"
            sentences.append(f"{name}: the aim of {aims[name]:.0%} is met by {told}.")
        constants = ", ".join(
            f"{row.case} {row.constant_s:.3g} s ({row.constant_low_s:.3g} to {row.constant_high_s:.3g})" for row in rows
        )
        sentences.append(f"{name}: the fitted constants and the range of what they stand for on the fitted group sizes are {constants}.")
        negative = [row.case for row in rows if row.constant_s < 0]
        if negative:
            sentences.append(
                f"{name}: a negative constant ({', '.join(negative)}) has no meaning; on those group sizes the wire was faster than the "
                "model."
            )
        strict = ", ".join(f"{row.case} {row.error_per_parameter:+.0%}" for row in rows)
        rate_ns = rows[0].per_parameter_s * 1e9
        sentences.append(f"{name}: with one constant for all networks, {rate_ns:.3g} ns per parameter, the errors are {strict}.")
    return sentences


def _by_network(table: pd.DataFrame) -> list[str]:
    sentences = []
    for (case, exchange, schedule, _), group in table.groupby(["case", "exchange", "schedule", "workers"], sort=False):
        first, *rest = list[Any](group.itertuples())
        if not first.exchange_s:
            continue  # a single worker
        others = ", ".join(f"{row.network} {row.exchange_s:.3g} s ({row.exchange_s / first.exchange_s:.2f} times)" for row in rest)
        label = f"{case}, {exchange} over {schedule}, {counted(first.workers, 'worker')}"
        sentences.append(f"{label}: an exchange takes {first.exchange_s:.3g} s on {first.network}" + (f", {others}." if others else "."))
    return sentences
