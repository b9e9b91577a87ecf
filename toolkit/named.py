"""Parts that a command line names: imported, since the user named them there, and checked to be one."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

from pydantic_core import PydanticCustomError

from toolkit.core import trust
from toolkit.core.part import Part, Spec, import_part, module_exists, nearest, not_yet, parts_of
from toolkit.errors import ScenarioError, listed, shortened


def class_of(module: str, item: str) -> type[Spec]:
    """Return a class of settings of this package.

    Raises:
        ScenarioError: a package that its module needs is not installed.
    """
    try:
        found: type[Spec] = getattr(import_part(module), item)
    except PydanticCustomError as error:
        raise ScenarioError(error.message()) from error
    return found


def member_of(module: str, item: str, name: str) -> type[Part]:
    """Return the part *name* of the family that the class *item* defines.

    Raises:
        ScenarioError: as `class_of`.
    """
    family = class_of(module, item)
    assert issubclass(family, Part)
    try:
        return family.find(name)
    except PydanticCustomError as error:
        raise ScenarioError(error.message()) from error


def own_part(name: str) -> type[Part]:
    """Return the part in a file (``./gossip.py``), or in a module (``mypkg.gossip``) of the current folder or of an installed package.

    Raises:
        ScenarioError: there is none, it does not import, or it holds no part, or several; one sentence.
    """
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise ScenarioError(f"{shortened(name)}: no such file")
        home, module_name = path.resolve().parent, path.stem
    else:
        home, module_name = Path.cwd(), name
        if not all(step.isidentifier() for step in name.split(".")):
            raise ScenarioError(f"{shortened(name)}: is neither a file (./gossip.py) nor a module (mypkg.gossip)")
        if not trust.is_beside(name, home):
            trust.trust_named(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trust.OwnModule)
        refusal = trust.refusal(module_name, home)
    try:
        if not trust.is_beside(module_name, home) and (refusal or not module_exists(module_name)):
            raise ScenarioError(f"{shortened(name)}: there is no such module{nearest(name, trust.beside(home))}")
        if refusal:
            raise ScenarioError(refusal)
        module = import_part(module_name)
    except PydanticCustomError as error:
        raise ScenarioError(error.message()) from error
    return _only_part(parts_of(module), name)


def _only_part(parts: list[type[Part]], asked: str) -> type[Part]:
    if not parts:
        raise ScenarioError(f"{shortened(asked)}: has no part in it, a class derived from that of a family (see 'toolkit list')")
    whole = [part for part in parts if not inspect.isabstract(part)]
    if not whole:
        raise ScenarioError(f"{shortened(asked)}: {not_yet(parts[0])}")
    if len(whole) > 1:
        raise ScenarioError(f"{shortened(asked)}: defines {len(whole)} parts, {listed(part.__name__ for part in whole)}; a file holds one")
    return whole[0]
