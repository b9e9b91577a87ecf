"""Forecasts inside one's own program: push what was measured, ask what comes.

    from toolkit.predict import Stream

    stream = Stream("lags_and_phases", step_s=600.0)
    stream.push(1_700_000_000.0, 12.3)
    stream.forecast("3h").mean
"""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.evaluate import Z90
from toolkit.core.part import explain
from toolkit.core.trust import trust_named
from toolkit.errors import CausalityError, DataError, ScenarioError
from toolkit.predict.spans import span_s

FORMAT = 1
REMEMBERED_CELLS = 8192


class Forecast(NamedTuple):
    """What is expected at a time, in the unit of what was pushed."""

    mean: float
    std: float
    low: float
    """Lower end of the 90 % interval."""
    high: float
    """Upper end of the 90 % interval."""
    at: float
    """The time that is forecast, in s."""
    fell_back: bool
    """Whether the method could not be applied yet and something simpler answered."""


@dataclass(slots=True)
class _Link:
    """The predictor's state of one link, and all that was pushed."""

    state: object
    times_s: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


class Stream:
    """Series that grow, one per link, each forecast by the same predictor.

    *predictor* is a name (``"knn"``, ``"mypackage.median"``) with *settings*, or a part that is ready. Values are averaged on a grid of
    *step_s*; times come in order, in seconds or as datetime (naive ones are UTC). Everything that was pushed is kept (16 bytes a sample),
    so that `save` and `load` end with the same forecasts to the last bit.
    """

    def __init__(self, predictor: str | Predictor = "knn", *, step_s: float = 1800.0, **settings: object) -> None:
        if isinstance(predictor, Predictor):
            if settings:
                raise ScenarioError(f"settings such as {next(iter(settings))} belong to the part that is given")
            self.predictor = predictor
        else:
            self.predictor = _build(predictor, {"step_s": step_s, **settings})
        self._links: dict[str, _Link] = {}

    @property
    def links(self) -> list[str]:
        """Names of the links that something was pushed for."""
        return list(self._links)

    def push(self, time: float | datetime, value: float, *, link: str = "") -> None:
        """Take in what was measured at *time*; NaN and None-like values are missing and leave no trace.

        Raises:
            DataError: the time lies before the latest cell of this link, or a number is infinite.
        """
        t_s, value = _seconds(time), float(value)
        if value != value:
            return
        if not (math.isfinite(t_s) and math.isfinite(value)):
            raise DataError(f"link '{link}': time {time} and value {value} must be finite")
        known = self._links.get(link)
        if known is None:
            known = self._links[link] = _Link(self.predictor.init())
        try:
            self.predictor.update(known.state, t_s, value)
        except CausalityError:
            raise DataError(f"link '{link}': {time} lies before {known.times_s[-1]:.3f} s, and samples come in order of time") from None
        known.times_s.append(t_s)
        known.values.append(value)

    def forecast(self, horizon: float | str, *, link: str = "") -> Forecast:
        """What is expected *horizon* (s, or like "30min") after the last sample of *link*.

        Raises:
            DataError: nothing was pushed for this link.
        """
        known = self._links.get(link)
        ahead_s = span_s("horizon", horizon) if isinstance(horizon, str) else float(horizon)
        if known is None:
            raise DataError(f"link '{link}': nothing was pushed yet")
        at_s = known.times_s[-1] + ahead_s
        said = self.predictor.predict(known.state, at_s)
        assert said is not None  # a sample was pushed
        reach = Z90 * said.std_db
        return Forecast(said.mean_db, said.std_db, said.mean_db - reach, said.mean_db + reach, at_s, said.fell_back)

    def save(self, path: str | Path) -> None:
        """Write the predictor's settings and all samples (a NumPy archive without pickled objects)."""
        head = {"format": FORMAT, "predictor": self.predictor.dump(), "links": self.links}
        rows: dict[str, np.ndarray] = {"head": np.array(json.dumps(head))}
        for index, known in enumerate(self._links.values()):
            rows[f"times_{index}"], rows[f"values_{index}"] = np.array(known.times_s), np.array(known.values)
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **rows)

    @classmethod
    def load(cls, path: str | Path) -> Stream:
        """Read what `save` wrote; forecasts are then those that the saved stream would have made.

        Raises:
            DataError: the file is none of `save`'s, or names a predictor of another package, which a file alone does not make run.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                head = json.loads(str(archive["head"]))
                rows = [(archive[f"times_{index}"], archive[f"values_{index}"]) for index in range(len(head["links"]))]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: is no saved stream ({error})") from None
        if head.get("format") != FORMAT:
            raise DataError(f"{path}: was saved in format {head.get('format')}, and this version reads {FORMAT}")
        try:
            part: Predictor = TypeAdapter(Predictor).validate_python(head["predictor"])
        except ValidationError as error:
            raise DataError(f"{path}: its predictor cannot be used: {'; '.join(explain(error))}") from None
        stream = cls(part)
        for name, (times, values) in zip(head["links"], rows, strict=True):
            for t_s, value in zip(times.tolist(), values.tolist(), strict=True):
                stream.push(t_s, value, link=name)
        return stream


def _seconds(time: float | datetime) -> float:
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return float(time)


def _build(name: str, settings: dict[str, object]) -> Predictor:
    """The part of that name.

    Raises:
        ScenarioError: there is none, or a setting is wrong.
    """
    trust_named(name)
    try:
        member = Predictor.find(name)
        given = {"max_cells": REMEMBERED_CELLS} if "max_cells" in member.model_fields else {}
        return member.model_validate({**given, **settings})
    except ValidationError as error:
        raise ScenarioError([f"{name}.{line}" for line in explain(error)]) from None
    except PydanticCustomError as error:
        raise ScenarioError(f"{name}: {error.message()}") from None
