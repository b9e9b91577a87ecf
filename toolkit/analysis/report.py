"""A report: what the runs of a family of programs, or of a kind of fabric, are told as.

The module `report` beside a program or fabric holds one as `REPORT`; `toolkit.analysis.convention` finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.core.charges import Charges
from toolkit.core.fabric import Fabric
from toolkit.core.program import Program

Row = tuple[str, str, float]
"""Metric, unit and value of one run."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run: what it cost, what was observed, and what was run on what."""

    charges: Charges
    """Rows of `toolkit.core.ledger.Charge`, to be read as far as they are needed."""
    metrics: pd.DataFrame
    """Columns of `toolkit.core.ledger.Metric`."""
    duration_s: float
    """Simulated time that was measured."""
    fabric: Fabric
    program: Program

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """All rows at once, for runs that have not too many of them."""
        return self.charges.rows()


@dataclass(frozen=True)
class Report:
    """Which metrics a run is told in, how they come from its ledger and observations, and what a comparison says in sentences."""

    metrics: tuple[MetricInfo, ...] = ()
    """Descriptions, in the order in which they are shown. A description here stands before one of the same name in `extends`."""
    summarise: Callable[[Run], list[Row]] | None = None
    """The rows of one run, besides those of `extends`."""
    findings: Callable[[Comparison], list[str]] | None = None
    """Sentences that the numbers carry; None leaves them to `extends`."""
    extends: Report | None = None
    """Another report whose rows and descriptions come as well, such as `toolkit.analysis.costs.COSTS`."""
    ordered: bool = False
    """Whether rows are put into the order of the descriptions; else those of `extends` come first, each as they were returned."""

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """All descriptions."""
        known = {info.name for info in self.metrics}
        inherited = self.extends.infos if self.extends is not None else ()
        return (*self.metrics, *(info for info in inherited if info.name not in known))

    def rows(self, run: Run) -> list[Row]:
        """Return the (metric, unit, value) rows of one run."""
        own = self.summarise(run) if self.summarise is not None else []
        names = {name for name, _, _ in own}
        inherited = self.extends.rows(run) if self.extends is not None else []
        rows = [*(row for row in inherited if row[0] not in names), *own]
        return in_order(rows, self.infos) if self.ordered else rows

    def sentences(self, comparison: Comparison) -> list[str]:
        """Return the findings."""
        if self.findings is not None:
            return self.findings(comparison)
        return self.extends.sentences(comparison) if self.extends is not None else []


def in_order(rows: list[Row], infos: tuple[MetricInfo, ...]) -> list[Row]:
    """Return *rows* in the order of *infos*: ``x@3`` stands where ``x@*`` is described, and what is not described comes last."""
    order = {info.name: place for place, info in enumerate(infos)}

    def place(row: Row) -> int:
        head, at, _ = row[0].partition("@")
        return order.get(f"{head}@*" if at else head, len(order))

    return sorted(rows, key=place)
