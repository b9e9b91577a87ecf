"""Networks by name: every function of `toolkit.models` that builds one from a generator, and classes or functions of one's own."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, final

import torch
from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, model_serializer, model_validator
from torch import nn

from toolkit import models
from toolkit.core.part import Spec, nearest
from toolkit.errors import Note, ScenarioError, listed, shortened
from toolkit.methods.builders import checked_options, own_module
from toolkit.models import ModelError
from toolkit.models.installed import LIBRARIES, library_builder
from toolkit.models.parted import in_parts
from toolkit.models.weights import load_weights

_TOLD: set[str] = set()
GIVEN_FROM_PYTHON = "toolkit.given"
GIVEN = ("generator",)
"""What a builder is always given, and no option of the user's."""


class WeightsTaken(Note):
    """Which weights of a file went where."""


@final
class ModelSpec(Spec):
    """A network of `toolkit.models` by the name of its function, or one of one's own: ``nets:Net`` from `nets.py` beside the scenario.

    What is named after the colon is called with the options; what of `num_classes`, `in_channels`, `image_size` and `generator` its
    signature has, is given to it. Without `generator` its weights are drawn from torch's own state, which is seeded for the call. A name
    alone will do: ``model: resnet20``.
    """

    short: ClassVar[Mapping[str, Any]] = {"description": "the name of a network, or module:Class of your own", "type": "string"}

    name: str = Field("small_cnn", description="function in toolkit/models, e.g. small_cnn, lenet5, resnet20, or module:Class of your own")
    options: dict[str, Any] = Field(default_factory=dict, description="its arguments, e.g. {width: 32}")
    weights: str | None = Field(None, description="safetensors file of its first weights, beside the scenario or absolute")
    features: str | None = Field(None, description="module or method that gives features, by path, where they are wanted apart")
    classifier: str | None = Field(None, description="linear layer after them, by path; without it the last one, found by running it")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _plain(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in plain(self).items() if value is not None}

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        checked_options(f"model {self.name}", self._builder(context.get("home")), self.options, GIVEN)
        if self.weights is not None and context.get("base") is not None:
            self.__dict__["weights"] = str((Path(context["base"]) / self.weights).absolute())
        return self

    @property
    def is_own(self) -> bool:
        """Whether it is a network of the user's."""
        return ":" in self.name

    def _builder(self, home: Path | None = None) -> Callable[..., Any]:
        module_name, colon, item = self.name.partition(":")
        if not colon:
            known = builders()
            if self.name not in known:
                own = "; one of your own is named module:Class"
                raise ValueError(f"'{shortened(self.name)}' is not a model{nearest(self.name, list(known))} (known: {listed(known)}){own}")
            return known[self.name]
        if module_name in LIBRARIES:
            own_module(module_name, home, GIVEN_FROM_PYTHON)
            return library_builder(module_name, item)
        found: Callable[..., Any] | None = getattr(own_module(module_name, home, GIVEN_FROM_PYTHON), item, None)
        if found is None or not callable(found):
            raise ValueError(f"model '{shortened(self.name)}': '{module_name}' has no class or function '{shortened(item)}'")
        return found

    def build(self, generator: torch.Generator, **defaults: Any) -> nn.Module:
        """Return a new network whose first weights are drawn from *generator*; *defaults* are what the data set asks for.

        Raises:
            ScenarioError: an option fights with the data set, or no network can be built with it.
        """
        builder = self._builder()
        accepted = inspect.signature(builder).parameters
        known = {key: value for key, value in defaults.items() if key in accepted}
        for key, value in known.items():
            if self.options.get(key, value) != value:
                given = shortened(str(self.options[key]))
                raise ScenarioError(f"model {self.name}, option '{key}': is {given}, and the data set has {value}; leave it out")
        settings = {**known, **self.options}
        try:
            model = builder(**settings, generator=generator) if "generator" in accepted else _seeded(builder, settings, generator)
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError, MemoryError, AttributeError) as error:
            why = shortened(str(error).partition("\n")[0])
            raise ScenarioError(f"model {self.name} cannot be built with {shortened(str(settings))}: {why}") from error
        if not isinstance(model, nn.Module):
            raise ScenarioError(f"model {self.name}: gives {type(model).__name__}, and must give a torch.nn.Module")
        if self.weights is not None:
            self._take_weights(model)
        return model

    def _take_weights(self, model: nn.Module) -> None:
        try:
            told = load_weights(model, Path(str(self.weights)))
        except ModelError as error:
            raise ScenarioError(f"program.task.model.weights: {error}") from error
        if told not in _TOLD:
            _TOLD.add(told)
            warnings.warn(told, WeightsTaken, stacklevel=2)

    def build_in_parts(self, generator: torch.Generator, shape: Sequence[int], **defaults: Any) -> nn.Module:
        """Return a new network as `build` does, with `features` and `classifier`, for images of *shape* (channels, height, width).

        Raises:
            ScenarioError: also where it cannot be taken apart.
        """
        model = self.build(generator, **defaults)
        try:
            return in_parts(model, shape, features=self.features, classifier=self.classifier)
        except ModelError as error:
            raise ScenarioError(f"program.task.model: {error}") from error


def _seeded(builder: Callable[..., Any], settings: dict[str, Any], generator: torch.Generator) -> Any:
    """Build a network that draws its weights from torch's own state, which is left as it was."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(**settings)


@lru_cache(maxsize=1)
def builders() -> dict[str, Callable[..., Any]]:
    """Every function of `toolkit.models` that builds a network from a generator, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(models.__path__):
        loaded = importlib.import_module(f"{models.__name__}.{module.name}")
        for name, item in vars(loaded).items():
            if not inspect.isfunction(item) or item.__module__ != loaded.__name__ or name.startswith("_"):
                continue
            if {"generator", "num_classes"} <= set(inspect.signature(item).parameters):
                found[name] = item
    return dict(sorted(found.items()))
