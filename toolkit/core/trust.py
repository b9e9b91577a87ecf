"""Whose code runs when a file names a module: this package's, the user's own beside the scenario, and whom the user trusts by name.

A scenario is read from a file, and files come from others. What lies beside it is taken for the user's own, as `make` takes the Makefile
beside it; another package is imported only where the user named it (`--trust mypkg`, ``TOOLKIT_TRUST=mypkg,other``) or has imported it
already. A run directory is data: what lies in it is nobody's own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
import warnings
from functools import lru_cache
from pathlib import Path

from toolkit import called
from toolkit.errors import Note, shortened

VARIABLE = "TOOLKIT_TRUST"
OURS = __name__.partition(".")[0]
LEFT_BY_A_RUN = ("versions.json", "report.csv", "DONE", "runs/*.json")
"""What tells a run directory; a folder ``runs`` that holds run directories, as commands leave one where they are called, does not."""

LONGEST = 200
"""Characters above which nothing is the name of a file."""

_admitted: dict[str, str] = {}
"""Modules of others that this process was allowed to import, and the folder beside whose scenario they lie, if any."""


class OwnModule(Note):
    """A module beside the scenario is imported."""


def trust(packages: list[str]) -> None:
    """Trust *packages* from now on, in the processes that this one starts too."""
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*trusted(), *packages]))


def trust_named(module: str) -> None:
    """Trust the package of a *module* that the user named in a command line or program, not in a file."""
    top, dot, _ = module.partition(".")
    if dot and top != OURS:
        trust([top])


def trusted() -> list[str]:
    """Return the packages that the user named."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def home_of(scenario: Path) -> Path | None:
    """Return the folder whose modules are the user's own; None for a scenario in a run directory."""
    folder = scenario.resolve().parent
    return None if any(any(folder.glob(pattern)) for pattern in LEFT_BY_A_RUN) else folder


def refusal(module: str, home: Path | None) -> str:
    """Return why *module* may not be imported; empty where it may, after which it is."""
    top = module.partition(".")[0]
    if top == OURS:
        return ""
    if module in _admitted or top in trusted() or _is_the_callers(module):
        _admitted.setdefault(module, "")
        return ""
    if home is None or not is_beside(module, home):
        return f"'{module}' is code of another package, which runs only where you trust it: --trust {top}, or {VARIABLE}={top}"
    if not _is_of(top, home):
        return f"'{module}' lies beside the scenario and has the name of a module that is installed; give it another name"
    _admitted[module] = str(home)
    warnings.warn(f"{module} beside the scenario ({home}) is imported", OwnModule, stacklevel=2)
    return ""


def _is_the_callers(module: str) -> bool:
    """Whether the program that uses this package has imported *module*: neither Python, nor this package, nor what this one needs."""
    if module not in sys.modules:
        return False
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = spec.name.partition(".")[0] if spec is not None else ""
    if started == OURS or called.is_command():  # a command of this package: nobody else has imported anything
        return False
    top = module.partition(".")[0]
    return (started if top == "__main__" and started else top) not in _company()


@lru_cache(maxsize=1)
def _company() -> frozenset[str]:
    """Packages that are imported for Python's or this package's sake, which tells nothing of what the user wants: many run anything."""
    from importlib import metadata

    def plain(distribution: str) -> str:
        return re.sub(r"[-_.]+", "-", distribution).lower()

    needed: set[str] = set()
    waiting = [OURS]
    while waiting:
        name = plain(waiting.pop())
        if name in needed:
            continue
        needed.add(name)
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of an extra that is not installed
            continue
        waiting += [found.group() for text in wanted if (found := re.match(r"[\w.-]+", text))]
    is_known = len(needed) > 1  # else this package runs from a folder, and says nowhere what it needs
    packages = {
        top for top, owners in metadata.packages_distributions().items() if not is_known or needed.intersection(map(plain, owners))
    }
    return frozenset({*sys.stdlib_module_names, *sys.builtin_module_names, "__mp_main__", *packages})


def is_beside(module: str, home: Path) -> bool:
    """Whether *module* is a file, or the package of a folder, in *home*."""
    path = home.joinpath(*module.split("."))
    named = all(name.isidentifier() and len(name) < LONGEST for name in module.split("."))
    return named and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def is_installed(top: str) -> bool:
    """Whether a module called *top* is found on Python's own places, apart from the working folder."""
    from importlib.machinery import PathFinder

    here = {"", str(Path.cwd())}
    return top in sys.stdlib_module_names or PathFinder.find_spec(top, [place for place in sys.path if place not in here]) is not None


def beside(home: Path, package: str = "") -> list[str]:
    """Return the modules in *home*, or in a *package* of it, by their whole names; nothing is imported for it."""
    folder = home.joinpath(*package.split(".")) if package else home
    try:
        found = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/__init__.py")]
    except OSError:
        return []
    return sorted(f"{package}.{name}" if package else name for name in found if name.isidentifier() and not name.startswith(("_", "test_")))


def _is_of(top: str, home: Path) -> bool:
    """Make *home* a place that modules are found in, after all others, and say whether the one called *top* is found there."""
    if str(home) not in sys.path:
        sys.path.append(str(home))
        importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(top)  # of a name without dots: nothing is imported for it
    except ValueError:
        return False
    places = [] if spec is None else [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(place is not None and Path(place).resolve().is_relative_to(home) for place in places)


def why(error: Exception) -> str:
    """Return what went wrong in importing a module, and where, for a sentence."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (where.filename, where.lineno)
    place = f", {Path(file).name} line {line}" if file and not file.startswith("<") else ""
    return f"{type(error).__name__}: {shortened(str(error).partition(' (')[0] if isinstance(error, SyntaxError) else str(error))}{place}"


def admitted() -> tuple[tuple[str, str], ...]:
    """Return what this process was allowed to import, for `readmit` in another one."""
    return tuple(_admitted.items())


def readmit(modules: tuple[tuple[str, str], ...]) -> None:
    """Allow what another process was allowed, whose work this one does."""
    for module, home in modules:
        _admitted[module] = home
        if home and home not in sys.path:
            sys.path.append(home)
