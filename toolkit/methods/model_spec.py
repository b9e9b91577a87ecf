"""Networks by name: every function of `toolkit.models` that builds one from a generator."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from functools import lru_cache
from typing import Any, Self, final, get_type_hints

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from torch import nn

from toolkit import models
from toolkit.core.part import Spec, nearest
from toolkit.errors import ScenarioError, listed, shortened


@final
class ModelSpec(Spec):
    """A network of `toolkit.models` by the name of its function."""

    name: str = Field("small_cnn", description="function in a module of toolkit/models, e.g. small_cnn, lenet5, resnet20, vgg16")
    options: dict[str, Any] = Field(default_factory=dict, description="its arguments, e.g. {width: 32}")

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = builders()
        if self.name not in known:
            raise ValueError(f"'{shortened(self.name)}' is not a model{nearest(self.name, list(known))} (known: {listed(known)})")
        accepted = inspect.signature(known[self.name]).parameters
        kinds = get_type_hints(known[self.name])
        for option, value in self.options.items():
            if option not in accepted or option == "generator":
                raise ValueError(f"model {self.name} has no option '{option}'{nearest(option, list(accepted))}")
            wanted = kinds[option]
            try:
                TypeAdapter(wanted, config=ConfigDict(strict=True, arbitrary_types_allowed=True)).validate_json(json.dumps(value))
            except ValidationError as error:
                why = error.errors()[0]["msg"]
                raise ValueError(f"model {self.name}, option '{option}': {why[:1].lower()}{why[1:]}") from error
        return self

    def build(self, generator: torch.Generator, **defaults: Any) -> nn.Module:
        """Return a new network whose first weights are drawn from *generator*; *defaults* are what the data set asks for.

        Raises:
            ScenarioError: an option fights with the data set, or no network can be built with it.
        """
        builder = builders()[self.name]
        accepted = inspect.signature(builder).parameters
        known = {key: value for key, value in defaults.items() if key in accepted}
        for key, value in known.items():
            if self.options.get(key, value) != value:
                given = shortened(str(self.options[key]))
                raise ScenarioError(f"model {self.name}, option '{key}': is {given}, and the data set has {value}; leave it out")
        try:
            model: nn.Module = builder(**{**known, **self.options, "generator": generator})
        except (ValueError, TypeError, ArithmeticError, IndexError, RuntimeError, MemoryError) as error:
            why = shortened(str(error).partition("\n")[0])
            raise ScenarioError(f"model {self.name} cannot be built with {shortened(str({**known, **self.options}))}: {why}") from error
        return model


@lru_cache(maxsize=1)
def builders() -> dict[str, Any]:
    """Every function of `toolkit.models` that builds a network from a generator, by name."""
    found = {}
    for module in pkgutil.iter_modules(models.__path__):
        loaded = importlib.import_module(f"{models.__name__}.{module.name}")
        for name, item in vars(loaded).items():
            if not inspect.isfunction(item) or item.__module__ != loaded.__name__ or name.startswith("_"):
                continue
            if {"generator", "num_classes"} <= set(inspect.signature(item).parameters):
                found[name] = item
    return dict(sorted(found.items()))
