"""What there is: every family, its members, profiles, networks and data sets, read from the source without importing any of it.

So a listing needs neither torch nor what is not installed, and runs nothing of a folder that is looked at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from toolkit.core.once import read_once
from toolkit.errors import ScenarioError, listed

PACKAGE = Path(__file__).parent
OURS = PACKAGE.name
MARK = "family: ClassVar[str] ="
"""How the class that defines a family begins to say so."""
NICKNAMES = {
    "routing": ("protocol",), "prediction": ("predictors",), "program": ("traffic", "programs", "methods"),
    "distributed": ("exchange_method", "compressor", "gradient_exchange"), "detection": ("detector",), "fabric": ("network",),
}
"""What else people may call a family, by its key; singular and plural of its own word count anyway."""
PROFILES = {
    "device": ("cluster/profiles", f"{OURS}.core.device", "Device", "Machines that compute: a name for `device`."),
    "modem": ("acoustic/phy/modems", f"{OURS}.acoustic.phy.modem", "Modem", "Acoustic modems: a name for `modem`."),
    "link": ("cluster/links", f"{OURS}.cluster.link", "Link", "Links between machines: a name for `link`."),
}
"""Folder of each kind of profile, module and class that it fills, and what it is."""


@dataclass(frozen=True)
class Member:
    """A part, profile, network or data set that a scenario can name."""

    name: str
    module: str
    item: str
    """The class or function in the module; nothing of a profile."""
    about: str
    """The first sentence that it says of itself."""
    path: Path


@dataclass(frozen=True)
class Family:
    """What belongs together: members of one family replace each other in a scenario."""

    key: str
    word: str
    """What one of them is called in sentences: ``routing protocol``."""
    about: str
    module: str = ""
    item: str = ""
    """The class that defines it, or that a profile fills; nothing of networks and data sets."""
    patterns: tuple[str, ...] = ()

    @property
    def is_of_parts(self) -> bool:
        return bool(self.patterns)

    @property
    def names(self) -> set[str]:
        """Whatever it may be called on a command line."""
        words = {self.key, plain(self.word), plain(self.word).rpartition("_")[2], *NICKNAMES.get(self.key, ())}
        return words | {f"{word}s" for word in words}


def plain(text: str) -> str:
    """Return *text* as a word of a command line: lower case, with _ between words."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring on one line."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    found = re.match(r"(.+?[.!?])(?=\s+[A-Z`*(]|$)", paragraph)
    return found.group(1) if found else paragraph


# Classes in source text


@dataclass(frozen=True)
class Source:
    """A module's classes, and where the names that it uses come from."""

    module: str
    path: Path
    tree: ast.Module
    classes: dict[str, ast.ClassDef]
    origins: dict[str, tuple[str, str]]
    """Name to (module, name there), of what is imported."""


@read_once(2048)
def source(path: Path, module: str) -> Source:
    """Parse a file.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    origins = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for alias in node.names
    }
    return Source(module, path, tree, {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}, origins)


def file_of(module: str) -> Path | None:
    """Return the file of a module of this package."""
    if module.partition(".")[0] != OURS:
        return None
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def bases(where: Source, name: str) -> Iterator[tuple[Source, str]]:
    """Yield the class *name* of a module and all that it derives from, as far as that is in this package or beside it."""
    if name not in where.classes:
        return
    yield where, name
    for base in where.classes[name].bases:
        node = base.value if isinstance(base, ast.Subscript) else base
        if not isinstance(node, ast.Name):
            continue
        if node.id in where.classes:
            yield from bases(where, node.id)
        elif node.id in where.origins:
            module, there = where.origins[node.id]
            path = file_of(module)
            if path is not None:
                yield from bases(source(path, module), there)


def _is_abstract(chain: list[tuple[Source, str]]) -> bool:
    """Whether a method that a base class leaves open is defined by none before it."""
    defined: set[str] = set()
    for where, name in chain:
        for node in where.classes[name].body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if any(ast.unparse(each).endswith("abstractmethod") for each in node.decorator_list) and node.name not in defined:
                    return True
                defined.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    return False


def parts_in(path: Path, module: str) -> dict[str, Member]:
    """Return the parts that a file defines, by the key of their family; one that is no Python has none."""
    try:
        where = source(path, module)
    except (SyntaxError, UnicodeDecodeError, OSError):
        return {}
    found = {}
    for name in where.classes:
        chain = list(bases(where, name))
        for family in part_families():
            homes = [place for place, (there, item) in enumerate(chain) if (there.module, item) == (family.module, family.item)]
            if homes and homes[0] > 0 and not _is_abstract(chain):
                about = first_sentence(ast.get_docstring(where.classes[name]))
                found[family.key] = Member(path.stem, module, name, about, path)
    return found


# Families


@lru_cache(maxsize=1)
def part_families() -> tuple[Family, ...]:
    """The families of parts, by their keys: the name of the package that a family is, or its word where a package holds several."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if MARK not in text:
            continue
        module = ".".join((OURS, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        where = source(path, module)
        here = []
        for name, node in where.classes.items():
            values = {
                item.target.id: item.value for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None
            }
            if "family" in values:
                patterns = ast.literal_eval(values["modules"]) if "modules" in values else (f"{module}.{{}}",)
                here.append(Family(
                    "", str(ast.literal_eval(values["family"])), first_sentence(ast.get_docstring(node)), module, name, patterns
                ))
        for family in here:
            key = plain(family.word) if len(here) > 1 else module.rpartition(".")[2]
            found.append(Family(key, family.word, family.about, family.module, family.item, family.patterns))
    return tuple(sorted(found, key=lambda family: family.key))


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """All families: of parts, and of what a scenario names without a part."""
    others = [Family(key, f"{key} profile", about, module, item) for key, (_, module, item, about) in PROFILES.items()]
    others.append(Family("model", "network to be learnt", "Networks: a name for `task.model`."))
    others.append(Family("dataset", "data set", "Labelled images: a name for `task.dataset`."))
    return tuple(sorted((*part_families(), *others), key=lambda family: family.key))


def family_called(name: str) -> Family | None:
    """Return the family that *name* means, if any."""
    wanted = plain(name)
    exact = [family for family in families() if wanted in {family.key, f"{family.key}s"}]
    return next(iter([*exact, *(family for family in families() if wanted in family.names)]), None)


def members(family: Family) -> dict[str, Member]:
    """Return the members of a family by name."""
    if family.key in PROFILES:
        files = sorted((PACKAGE / PROFILES[family.key][0]).glob("*.yaml"))
        return {path.stem: Member(path.stem, "", "", _source_of(path), path) for path in files}
    if family.key == "model":
        return dict(sorted(_builders()))
    if family.key == "dataset":
        return dict(sorted(_readers()))
    found: dict[str, Member] = {}
    for pattern in family.patterns:
        head, _, tail = pattern.partition("{}")
        folder = PACKAGE.joinpath(*head.strip(".").split(".")[1:])
        for path in sorted(folder.glob("*.py") if not tail else folder.glob(f"*/{tail.strip('.')}.py")):
            name = path.parent.name if tail else path.stem
            module = pattern.format(name)
            member = parts_in(path, module).get(family.key)
            if member is not None:
                found[name] = Member(name, module, member.item, member.about, path)
    return dict(sorted(found.items()))


def _source_of(path: Path) -> str:
    """The first sentence of a profile's `source`."""
    from toolkit.core import yaml12

    return first_sentence(str(yaml12.read(path).get("source", "")))


def _builders() -> Iterator[tuple[str, Member]]:
    for path in sorted((PACKAGE / "models").glob("*.py")):
        where = source(path, f"{OURS}.models.{path.stem}")
        for node in where.tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                taken = {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
                if {"generator", "num_classes"} <= taken:
                    yield node.name, Member(node.name, where.module, node.name, first_sentence(ast.get_docstring(node)), path)


def _readers() -> Iterator[tuple[str, Member]]:
    for path in sorted((PACKAGE / "datasets").glob("*.py")):
        where = source(path, f"{OURS}.datasets.{path.stem}")
        for node in where.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "load":
                yield path.stem, Member(path.stem, where.module, "load", first_sentence(ast.get_docstring(where.tree)), path)


def own(folder: Path) -> dict[str, list[Member]]:
    """Return the parts that lie in *folder*, by the key of their family; nothing is imported."""
    found: dict[str, list[Member]] = {}
    for path in sorted(folder.glob("*.py")):
        if MARKED.search(path.read_text(encoding="utf-8", errors="replace")):
            for key, member in parts_in(path, path.stem).items():
                found.setdefault(key, []).append(member)
    return found


MARKED = re.compile(rf"^\s*from {OURS}\b", re.MULTILINE)
"""A file that can hold a part imports this package."""


def find(name: str) -> tuple[Family, Member]:
    """Return what ``dbcar``, or ``routing/dbcar`` where several are called so, is.

    Raises:
        ScenarioError: nothing is called so, or several are.
    """
    from toolkit.core.part import nearest

    where, slash, short = name.rpartition("/")
    stem = short.replace("-", "_")
    chosen = families()
    if slash:
        family = family_called(where)
        if family is None:
            raise ScenarioError(f"{name}: there is no family '{where}'{nearest(plain(where), [each.key for each in families()])}")
        chosen = (family,)
    found = [(family, members(family)[stem]) for family in chosen if stem in members(family)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ScenarioError(f"{name}: is several things; say which: {listed(f'{family.key}/{stem}' for family, _ in found)}")
    known = sorted({each for family in chosen for each in members(family)})
    raise ScenarioError(f"{name}: nothing is called so{nearest(stem, known)}; 'toolkit list' says what there is")
