"""Published throughputs that a rehearsal is held against."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, final

from pydantic import Field

from toolkit.core.bounds import Positive
from toolkit.core.inputs import InputFile, number, read_columns
from toolkit.core.once import read_once
from toolkit.core.part import Spec, nearest
from toolkit.errors import DataError

ALONE = "alone"
"""What stands for the method in the row of a single worker."""


class Throughput(NamedTuple):
    """One row of the file."""

    samples_per_s: float
    """Of one worker."""
    batch: float
    """Samples per worker and step."""

    @property
    def step_s(self) -> float:
        return self.batch / self.samples_per_s


@final
class MeasuredRuns(Spec):
    """Throughputs of real runs, and what is done with them.

    The file is a CSV with the columns `model`, `batch`, `method`, `workers`, `samples_per_s` (per worker); models are called as
    the cases, methods as the exchanges, and the method of a single worker is ``alone``.
    """

    file: InputFile = Field(description="CSV of the throughputs")
    fit_workers: list[int] = Field(default_factory=lambda: [4, 8, 16], min_length=1, description="group sizes that constants are fitted on")
    aims: dict[str, Positive] = Field(default_factory=dict, description="exchange to the relative error of predictions that was aimed at")

    def find(self, model: str, method: str, workers: int) -> Throughput:
        """Return one row.

        Raises:
            DataError: the file has no such row, or two.
        """
        rows = _rows(self.file)
        if (model, method, workers) in rows:
            return rows[model, method, workers]
        models = sorted({key[0] for key in rows})
        if model not in models:
            raise DataError(f"{self.file}: has no model '{model}'{nearest(model, models)} (models: {', '.join(models)})")
        has = ", ".join(f"{name} x {count}" for found, name, count in rows if found == model)
        raise DataError(f"{self.file}: has no row of {model} with method '{method}' on {workers} workers (it has: {has})")


@read_once(4)
def _rows(path: Path) -> dict[tuple[str, str, int], Throughput]:
    columns = read_columns(path, ["model", "batch", "method", "workers", "samples_per_s"])
    rows: dict[tuple[str, str, int], Throughput] = {}
    for line, (model, batch, method, workers, rate) in enumerate(zip(*columns.values(), strict=True), start=2):
        key = model, method, int(number(path, line, "workers", workers))
        row = Throughput(number(path, line, "samples_per_s", rate), number(path, line, "batch", batch))
        if min(row) <= 0:
            raise DataError(f"{path}, line {line}: batch and samples_per_s must be above 0")
        if key in rows:
            raise DataError(f"{path}, line {line}: {model} with method '{method}' on {key[2]} workers stands there twice")
        rows[key] = row
    return rows
