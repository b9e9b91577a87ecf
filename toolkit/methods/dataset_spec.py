"""Which data set: a named one, or one of one's own by the module that reads it and what that is to be told."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, final

from pydantic import ConfigDict, Field, ValidationInfo, model_serializer, model_validator

from toolkit import datasets
from toolkit.core import trust
from toolkit.core.once import read_once
from toolkit.core.part import Spec, nearest
from toolkit.datasets import Dataset
from toolkit.errors import DataError, listed, shortened
from toolkit.methods.builders import checked_options, own_module, type_hints

NAMED_TAKE = ("path",)
"""What readers of named sets take: given as ``path`` of the task, for all of them alike."""


@final
class DatasetSpec(Spec):
    """A reader of `toolkit.datasets`, or a module of one's own, with a function ``load(...) -> Dataset``, and the arguments it is given.

    In a scenario ``digits``, or a mapping ``{type: images, folder: photos, size: 32}``. Files and folders are looked up beside the
    scenario's file first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    short: ClassVar[Mapping[str, Any]] = {
        "description": "the name of a data set, or a mapping whose type says what reads it",
        "anyOf": [{"type": "string"}, {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}],
    }

    name: str = Field(description="module in toolkit/datasets, or one of your own")
    options: dict[str, Any] = Field(default_factory=dict, description="what its `load` is given")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" not in value:
            if not isinstance(value.get("type"), str):
                raise ValueError(f"needs a 'type': one of {listed(readers())}, or a module of your own")
            return {"name": value["type"], "options": {str(key): item for key, item in value.items() if key != "type"}}
        return value

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        call = self._reader(context.get("home"))
        checked_options(f"dataset {self.name}", call, self.options)
        kinds = type_hints(call)
        for option, value in self.options.items():
            if Path in _parts(kinds.get(option)) and isinstance(value, str):
                self.options[option] = str(_found(Path(value), context.get("base")))
        return self

    @model_serializer
    def _plain(self) -> str | dict[str, Any]:
        return {"type": self.name, **self.options} if self.options else self.name

    def _reader(self, home: Path | None = None) -> Any:
        if self.name in readers():
            return importlib.import_module(f"{datasets.__name__}.{self.name}").load
        beside = home is not None and trust.is_beside(self.name, home)
        if not (beside or "." in self.name or self.name in dict(trust.admitted())):
            known = readers()
            raise ValueError(f"dataset '{shortened(self.name)}' is unknown{nearest(self.name, known)} (known: {listed(known)})")
        module = own_module(self.name, home, datasets.__name__)
        if not callable(getattr(module, "load", None)):
            raise ValueError(f"dataset '{self.name}': the module has no function load, which returns a toolkit.datasets.Dataset")
        return module.load

    def load(self, path: str | None = None) -> Dataset:
        """Return the data set; *path* is where a named one lies.

        Raises:
            DataError: it is not there, or not what it should be.
        """
        return _loaded(self, path)

    def files(self, path: str | None = None) -> list[Path]:
        """The files and folders that it is read from, as far as a scenario names them."""
        named = [value for value in self.options.values() if isinstance(value, str)]
        return [Path(name) for name in (*named, path) if name is not None]


@read_once(4, lambda spec, path: spec.files(path))
def _loaded(spec: DatasetSpec, path: str | None) -> Dataset:
    call = spec._reader()
    kinds = type_hints(call)
    options = {key: Path(value) if Path in _parts(kinds.get(key)) else value for key, value in spec.options.items()}
    if path is not None:
        options["path"] = path
    try:
        data = call(**options)
    except TypeError as error:
        raise DataError(f"dataset {spec.name}: {error}") from error
    if not isinstance(data, Dataset):
        raise DataError(f"dataset {spec.name}: its load returns {type(data).__name__}, and must return a toolkit.datasets.Dataset")
    return data


@lru_cache(maxsize=1)
def readers() -> list[str]:
    """The modules of `toolkit.datasets` that read a data set."""
    modules = [module.name for module in pkgutil.iter_modules(datasets.__path__)]
    return [name for name in modules if hasattr(importlib.import_module(f"{datasets.__name__}.{name}"), "load")]


def _parts(kind: Any) -> tuple[Any, ...]:
    return (kind, *getattr(kind, "__args__", ()))


def _found(path: Path, base: object) -> Path:
    """Return where *path* is: beside the scenario, or as it stands; beside the scenario where it is in neither."""
    tried = [path] if path.is_absolute() or base is None else [Path(str(base)) / path, path]
    return next((place.resolve() for place in tried if place.exists()), tried[0].absolute())
