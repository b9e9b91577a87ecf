"""Scenarios: the frozen description of one comparison, read from YAML and written back without loss."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from toolkit.core import trust, yaml12
from toolkit.core.fabric import Fabric
from toolkit.core.outline import as_html, as_text, branches
from toolkit.core.part import Spec, explain, nearest
from toolkit.core.program import Program
from toolkit.errors import Note, ScenarioError, shortened

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,99}")
RUN_FIELDS = ("duration_s", "fabric", "program")
"""What an arm may change; everything else is of the comparison."""
EXPERIMENT = ("duration_s", "fabric.layout", "fabric.sea", "fabric.mobility", "fabric.shadowing", "fabric.fading", "fabric.epoch_s",
              "fabric.history_s", "fabric.channel_record", "fabric.workers")
"""What makes two runs of one seed different experiments: they meet neither the same sea nor the same number of machines."""


def refuse_no_file_name(what: str, name: str) -> None:
    """Raise a ValueError where files cannot be named after *name*."""
    if not FILE_NAME.fullmatch(name):
        rule = "must be letters, digits and _ . + @ - only, begin with one of the first two and have at most 100"
        raise ValueError(f"{what} {shortened(name)!r} {rule}, since files are named after it")


class Scenario(Spec):
    """One question put to the simulator: a network, what its nodes do on it, and the arms that are compared.

    Runs are arms x seeds. An arm is this scenario with the overrides of `compare`: dotted paths to values
    (``fabric.routing.prediction: {type: ewma}``). All arms of a seed share channel and traffic draws.
    """

    name: str = Field(description="short name, used for the output folder")
    question: str = Field("", description="what the report answers, in one sentence")
    caveats: list[str] = Field(default_factory=list, description="sentences to be shown wherever results are shown")
    seed: int = Field(1, ge=0, description="first seed; the others follow")
    seeds: int = Field(5, ge=1, le=10_000, description="number of seeds")
    duration_s: float | None = Field(None, gt=0, description="simulated time that is measured; without it a run ends with its programs")
    fabric: Fabric = Field(description="the network: an acoustic one under water, or machines and links")
    program: Program = Field(description="what its nodes do: traffic, or a learning method")
    compare: dict[str, dict[str, Any]] = Field(default_factory=dict, description="arms: name to overrides")
    quick: dict[str, Any] = Field(default_factory=dict, description="overrides of --quick")

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str) -> str:
        refuse_no_file_name("the name", name)
        return name

    @field_validator("compare")
    @classmethod
    def _arm_names_are_file_names(cls, compare: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in compare:
            refuse_no_file_name("arm name", name)
        return compare

    @field_validator("compare")
    @classmethod
    def _arms_are_runs(cls, compare: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, overrides in compare.items():
            for path in overrides:
                first = str(path).split(".")[0]
                if first in cls.model_fields and first not in RUN_FIELDS:
                    raise ValueError(f"arm '{name}' sets '{shortened(str(path))}', which belongs to the comparison as a whole")
        return compare

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.duration_s is None and not self.fabric.ends_by_itself:
            raise ValueError(f"duration_s is missing; a run over fabric '{self.fabric.type_name()}' does not end by itself")
        return self

    def __str__(self) -> str:
        """As it would be written to a file, every setting spelled out."""
        return yaml12.dump(self.dump())

    def __repr__(self) -> str:
        """In one line."""
        runs = f"{max(1, len(self.compare))} arm{'s' * (len(self.compare) > 1)} x {self.seeds} seed{'s' * (self.seeds > 1)}"
        return f"<Scenario {self.name}: {runs}, {self.program.type_name()} over {self.fabric.type_name()}>"

    def outline(self) -> str:
        """Return what is set apart from the defaults, as an indented tree; ``str`` of a scenario spells out everything."""
        return "\n".join(as_text(branches(self)))

    def _repr_html_(self) -> str:
        """In a notebook: what is set apart from the defaults, as a tree that folds."""
        return as_html(repr(self)[1:-1], branches(self))

    @classmethod
    def model_json_schema(cls, *arguments: object, **settings: object) -> dict[str, Any]:
        """Return the JSON schema of scenario files, for editors; pydantic's arguments mean nothing here."""
        from toolkit.json_schema import schema_of

        return schema_of(cls)

    @property
    def limit_s(self) -> float:
        """Simulated time at which a run ends at the latest; infinite where it ends with its programs."""
        return float("inf") if self.duration_s is None else self.duration_s

    def check(self) -> None:
        """Check every arm with the files and devices it names.

        Raises:
            UserError: an arm cannot be run; one clear sentence.
        """
        if self.quick:
            try:
                self.quickened().arms()
            except ScenarioError as error:
                raise ScenarioError([f"quick: {problem}" for problem in error.problems]) from error
        for arm in self.arms().values():
            arm.fabric.check(arm.limit_s)
            arm.program.check_on(arm.fabric)
            sending = arm.program.sending(arm.fabric)
            if sending is not None:
                arm.fabric.check_sending(sending, arm.limit_s)

    def changed(self, overrides: Mapping[str, Any]) -> Scenario:
        """Return this scenario with the values at dotted paths replaced: ``{"fabric.layout.nodes": 60, "seeds": 3}``.

        Raises:
            ScenarioError: one sentence per mistake.
        """
        tree = self.dump()
        for key, value in overrides.items():
            tree = replaced(tree, key, value)
        return Scenario.build(tree, self.home, self.home)

    def quickened(self) -> Scenario:
        """Return this scenario with its `quick` overrides."""
        return self.changed({**self.quick, "quick": {}})

    def experiments(self) -> list[str]:
        """Return a sentence for every arm that is another experiment than the first, so that differences to it are not of one cause."""
        first, *others = self.arms().items() if self.compare else [("", self)]
        sentences = []
        for name, arm in others:
            different = [path for path in EXPERIMENT if value_at(arm.dump(), path) != value_at(first[1].dump(), path)]
            if different:
                told = f"arm {name} differs from {first[0]} in {', '.join(different)}"
                sentences.append(f"{told}: a run of one is another experiment than the other's of the same seed, and pairs mean little.")
        return sentences

    @classmethod
    def load(cls, path: str | Path, overrides: dict[str, Any] | None = None, *, quick: bool = False, own: bool = True) -> Self:
        """Read a scenario file: ``Scenario.load("scenarios/sea_trial.yaml", {"fabric.layout.nodes": 60, "seeds": 3})``.

        Args:
            path: the YAML file; input files, profiles and parts that it names are looked up beside it first.
            overrides: dotted path to value, applied last (after ``--quick``), as ``--set`` does. A value is what YAML would give: a
                number, a text, a list, or a mapping such as ``{"type": "ewma", "alpha": 0.2}`` for a part.
            quick: apply the scenario's own `quick` overrides.
            own: whether what lies beside the file is the user's own, so that parts may be imported from there; never in a run directory.

        Raises:
            ScenarioError: one sentence per mistake.
        """
        path = Path(path)
        tree = yaml12.read(path)
        if not isinstance(tree, dict):
            raise ScenarioError(f"{path}: must be a mapping of settings, and is {type(tree).__name__}")
        if quick:
            if not isinstance(tree.get("quick", {}), dict):
                raise ScenarioError("quick: must be a mapping of dotted paths to values")
            for key, value in tree.get("quick", {}).items():
                tree = replaced(tree, key, value)
        for key, value in (overrides or {}).items():
            tree = replaced(tree, key, value)
        return cls.build(tree, path.parent, trust.home_of(path) if own else None)

    @classmethod
    def build(cls, tree: dict[str, Any], base: Path | None = None, home: Path | None = None) -> Self:
        """Validate a plain tree; *base* is the folder that relative input files are looked up in, *home* that of the user's own parts."""
        try:
            built = cls.model_validate(tree, context={"base": base or Path.cwd(), "home": home})
        except ValidationError as error:
            raise ScenarioError(explain(error)) from error
        built.__dict__["home"] = home
        return built

    @cached_property
    def home(self) -> Path | None:
        """The folder of the user's own parts; where it came from is no part of what a scenario is."""
        return None

    def dump(self) -> dict[str, Any]:
        """Return a plain tree with every value spelled out; `Scenario.build` gives the same scenario back."""
        return self.model_dump(mode="json")

    def arms(self) -> dict[str, Scenario]:
        """Return the scenario of every arm, checked; a scenario without `compare` is its own single arm.

        Raises:
            ScenarioError: an arm's override does not fit; the sentence names the arm.
        """
        if not self.compare:
            return {self.name: self}
        base = {**self.dump(), "compare": {}, "quick": {}}
        arms: dict[str, Scenario] = {}
        problems: list[str] = []
        for name, overrides in self.compare.items():
            try:
                tree = base
                for key, value in overrides.items():
                    tree = replaced(tree, key, value)
                arms[name] = Scenario.build(tree, self.home, self.home)
            except ScenarioError as error:
                problems += [f"compare.{name}: {problem}" for problem in error.problems]
        if problems:
            raise ScenarioError(problems)
        return arms


def replaced(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of *tree* with the value at a dotted *path* replaced; list items are named by their index."""
    result = copy.deepcopy(tree)
    here: Any = result
    steps = str(path).split(".")
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(here, list):
            if not step.isdigit() or int(step) >= len(here):
                raise ScenarioError(f"{path}: '{step}' must be the index of one of {len(here)} items")
            index: Any = int(step)
        elif isinstance(here, dict):
            index = step
            if not last and (index not in here or here[index] is None):
                here[index] = {}
        else:
            raise ScenarioError(f"{path}: '{'.'.join(steps[:depth])}' is a single value and has no '{step}'")
        if last:
            here[index] = copy.deepcopy(value)
        else:
            if isinstance(here[index], str):  # the short form `mac: aloha` of a part without settings
                here[index] = {"type": here[index]}
            here = here[index]
    return result


def value_at(tree: Any, path: str) -> Any:
    """Return the value at a dotted *path* of mappings; None where there is none."""
    for step in path.split("."):
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``path=value`` of the command line; the value is read as YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ScenarioError(f"--set {shortened(text)}: must look like path=value, for example seeds=3")
    first = path.strip().split(".")[0]
    known = list(Scenario.model_fields)
    if first not in known:
        raise ScenarioError(f"--set {shortened(text)}: unknown key '{shortened(first)}'{nearest(first, known)}")
    return path.strip(), yaml12.parse(value, f"--set {shortened(text)}")


def read_for_command(path: str, settings: list[str], *, quick: bool = False, trusted: Sequence[str] = ()) -> Scenario:
    """Read a scenario with the ``--set`` *settings* of a command line, and packages that are *trusted*.

    What is old in it, and what of the user's own is imported for it, is told on the standard error.
    """
    trust.trust(list(trusted))
    overrides = dict(parse_setting(text) for text in settings)
    with telling_notes(lambda note: sys.stderr.write(f"note: {path}: {note}\n")):
        scenario = Scenario.load(path, overrides, quick=quick)
        scenario.arms()
    return scenario


@contextmanager
def telling_notes(tell: Callable[[str], object] | None) -> Iterator[None]:
    """Tell the notes of what is done inside, each once, at its end; without *tell* they stay warnings."""
    if tell is None:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Note)
        yield
    for note in dict.fromkeys(str(warning.message) for warning in caught):
        tell(note)
