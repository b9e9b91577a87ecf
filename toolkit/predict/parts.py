"""The predictors that a comparison is made of, from the command line's names and settings, tuned if that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.compare import Grid
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.tuning import tune
from toolkit.core import yaml12
from toolkit.core.part import explain, nearest
from toolkit.core.trust import trust_named
from toolkit.errors import ScenarioError

Settings = dict[str, object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of the predictors (the one in question first), their settings, and what is tuned."""

    names: list[str]
    settings: dict[str, Settings] = field(default_factory=dict)
    tune: int = 0
    """Settings tried per method; 0: none."""


def wanted(predictors: Sequence[str], compare: Sequence[str] | None, texts: Sequence[str], tune_count: int) -> Wanted:
    """Read names and ``predictor.name=value``.

    Raises:
        ScenarioError: a name that is none, or a setting of none that is compared.
    """
    known = [name for name in Predictor.member_names() if name != "oracle"]  # nobody knows the truth of a record
    rivals = compare or ([] if len(predictors) > 1 else ["ewma", "ar", "harmonic"])
    names = list(dict.fromkeys([*predictors, "persistence", *(known if "all" in rivals else rivals)]))
    for name in names:
        if name not in known and not ("." in name and name != "oracle"):
            raise ScenarioError(f"'{name}' is not a predictor{nearest(name, known)} (known: {', '.join(known)}, or package.module)")
    settings: dict[str, Settings] = {name: {} for name in names}
    for text in texts:
        place, equals, value = text.partition("=")
        name, dot, setting = place.strip().rpartition(".")
        if not (equals and dot and setting):
            raise ScenarioError(f"--set {text}: must look like predictor.name=value, for example knn.k=8")
        if name not in settings:
            raise ScenarioError(f"--set {text}: '{name}' is not among the predictors compared{nearest(name, names)}")
        settings[name][setting] = yaml12.parse(value, f"--set {text}")
    return Wanted(names, settings, tune_count)


def build(
    asked: Wanted, grid: Grid, horizons: Sequence[int], first: int, remember: int, around: Exogenous | None, said: list[str],
    done: Callable[[str], None],
) -> dict[str, Predictor]:
    """The predictors by name; what tuning chose goes to *said*. Tuning sees the cells before *first* alone.

    Raises:
        ScenarioError: a setting is wrong, or nobody uses the columns beside the series.
    """
    parts: dict[str, Predictor] = {}
    for name in asked.names:
        trust_named(name)
        own = asked.settings[name]
        chosen: Settings = {}
        _member(name, own, grid, horizons, remember, around)  # a mistake is told before anything is tuned
        if asked.tune:
            def tried(more: Settings, name: str = name, own: Settings = own) -> Predictor:
                member = Predictor.find(name)
                slow = {"refit_s": first * grid.step_s / 10.0} if "refit_s" in member.model_fields else {}
                return _member(name, {**slow, **more, **own}, grid, horizons, remember, around)

            choice = tune(name, tried, grid.values[:first], horizons, count=asked.tune, first_cell=grid.first_cell)
            chosen = choice.settings
            if choice.tried > 1:
                shown = ", ".join(f"{key} {_shown(value)}" for key, value in chosen.items()) or "the defaults"
                gain = f"{choice.score / choice.default_score:.0%} of the defaults' error there" if chosen else "nothing did better"
                said.append(f"{name}: {shown} ({choice.tried} settings; {gain})")
            done(f"tuned {name}")
        parts[name] = _member(name, {**chosen, **own}, grid, horizons, remember, around)
    if around is not None and not any("exogenous" in type(part).model_fields for part in parts.values()):
        raise ScenarioError(f"--exogenous {' '.join(around.columns)}: none of {', '.join(parts)} uses columns beside the series")
    return parts


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{one:g}" for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _member(name: str, settings: Settings, grid: Grid, horizons: Sequence[int], remember: int, around: Exogenous | None) -> Predictor:
    try:
        member = Predictor.find(name)
        fields = member.model_fields
        given: Settings = {"step_s": grid.step_s}
        if "horizons_s" in fields:
            given["horizons_s"] = [h * grid.step_s for h in horizons]
        if "max_cells" in fields:
            default = int(fields["max_cells"].default)
            given["max_cells"] = max(default, min(len(grid.values) + 1, remember), 2 * max(horizons) + 64)
        if around is not None and "exogenous" in fields:
            given["exogenous"] = around
        return member.model_validate({**given, **settings})
    except ValidationError as error:
        raise ScenarioError([f"{name}.{line}" for line in explain(error)]) from None
    except PydanticCustomError as error:
        raise ScenarioError(f"{name}: {error.message()}") from None


