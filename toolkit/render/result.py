"""Results: a comparison that can draw itself."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from toolkit.analysis.comparison import Comparison, read_versions
from toolkit.analysis.convention import figures_module, find_report, recorded_module
from toolkit.analysis.metric import MetricInfo
from toolkit.errors import ScenarioError
from toolkit.render.jupyter import notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from toolkit.render.figures import Figures


@dataclass(frozen=True, eq=False)
class Result(Comparison):
    """What `toolkit.run` returns: the frames of a run directory, and its figures."""

    module: str = field(default="", repr=False)
    """Name of the module whose `REPORT` these runs are told by; its figures are in the module `figures` beside it."""

    @classmethod
    def load(cls, directory: str | Path, infos: Sequence[MetricInfo] | None = None, module: str | None = None) -> Self:
        """Open a run directory.

        Without *infos* and *module*, metrics are described by the report that ``versions.json`` names, if it is one of this package. One of
        another package is never imported because a file says so: give its name as *module*.

        Raises:
            RunDirectoryError: *directory* is no finished run, or names a report that there is none of.
        """
        name = recorded_module(read_versions(Path(directory))) if module is None else module
        plain = Comparison.load(directory, find_report(name).infos if infos is None else infos)
        return cls(plain.directory, plain.report, plain.infos, name)

    def network(self, arm: str | None = None, seed: int | None = None, *, part: str | None = None) -> nn.Module:
        """Return the network that an arm has trained, in eval mode: `toolkit.export.trained` without the facts.

        Raises:
            RunDirectoryError: there is none.
        """
        from toolkit.export import trained  # with torch

        return trained(self.directory, arm, seed, part=part)[0]

    @property
    def captions(self) -> Mapping[str, str]:
        """What stands below the figures, by name."""
        return self._figures().captions

    def plot(self) -> dict[str, Figure]:
        """Draw the figures of this run by name; nothing is written."""
        return {name: figure for name, figure in self._figures().draw(self).items() if figure is not None}

    def write_figures(self) -> dict[str, Path]:
        """Draw all figures into ``figures/`` and return their paths by name."""
        from toolkit.render.figures import save  # with matplotlib

        return {name: save(figure, self.directory / "figures" / f"{name}.png") for name, figure in self.plot().items()}

    def _figures(self) -> Figures:
        """The `FIGURES` beside the report, or those that any comparison has.

        Raises:
            ScenarioError: the module has no proper `FIGURES`.
        """
        from toolkit.render import figures, overview  # with matplotlib

        name = figures_module(self.module)
        if not name:
            return overview.FIGURES
        found = getattr(importlib.import_module(name), "FIGURES", None)
        if not isinstance(found, figures.Figures):
            what = "has no FIGURES" if found is None else f"FIGURES is a {type(found).__name__}"
            raise ScenarioError(f"{name}: {what}; define it as a toolkit.render.figures.Figures, or remove the module")
        return found

    def _repr_html_(self) -> str:
        """In a notebook: tables and figures."""
        return notebook(self, self._pictures(), self.captions)

    def _pictures(self) -> dict[str, bytes]:
        """The figures as PNG by name: those in the run directory, or drawn anew where it holds none."""
        from toolkit.render.figures import style  # with matplotlib

        drawn = {path.stem: path.read_bytes() for path in sorted((self.directory / "figures").glob("*.png"))}
        if not drawn:
            for name, figure in self.plot().items():
                file = io.BytesIO()
                with style():
                    figure.savefig(file, format="png")
                drawn[name] = file.getvalue()
        return drawn


def load(directory: str | Path) -> Result:
    """Open a finished run directory: what `toolkit.run` returned when it was made.

    Raises:
        RunDirectoryError: it is none.
    """
    return Result.load(directory)
