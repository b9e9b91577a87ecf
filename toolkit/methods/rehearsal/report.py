"""What one rehearsal came to: the time of a step in each case, and what machines and links did."""

from __future__ import annotations

from dataclasses import replace

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report
from toolkit.methods.distributed.report import REPORT as DISTRIBUTED
from toolkit.methods.rehearsal.findings import rehearsal_findings

REHEARSAL_METRICS = (
    MetricInfo("step_s@*", "s", "time of a step: {}", None, 4, headline=True),
    MetricInfo("exchange_s@*", "s", "of it exchange: {}", None, 4),
    MetricInfo("measured_step_s@*", "s", "measured time of a step: {}", None, 4),
    *(replace(info, better=None, headline=False) for info in DISTRIBUTED.infos),
)
"""None is judged: nothing in a rehearsal is random where machines are not, so one seed says it all and no interval could be made."""

REPORT = Report(metrics=REHEARSAL_METRICS, findings=rehearsal_findings, extends=DISTRIBUTED)
"""A rehearsal's rows are those of the training that it stands for; the times of its cases are averaged over the workers there."""
