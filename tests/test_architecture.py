"""Who may import whom: the sea and the core never pay for torch, and help answers before anything heavy is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "toolkit"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("core", ("torch", "toolkit.acoustic", "toolkit.cluster", "toolkit.methods")),
     ("acoustic", ("torch", "toolkit.cluster", "toolkit.methods")),
     ("collectives", ("torch", "simpy", "toolkit.acoustic", "toolkit.cluster", "toolkit.methods")),
     ("cluster", ("toolkit.acoustic", "toolkit.methods")), ("methods", ("simpy", "toolkit.acoustic")),
     ("models", ("simpy", "toolkit.core", "toolkit.acoustic")), ("learning", ("simpy", "toolkit.core", "toolkit.acoustic"))],
)
def test_dependencies_point_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    """`toolkit.core.work` imports nothing, and so may be imported by everybody."""
    for path in (ROOT / folder).rglob("*.py"):
        for name in imports(path) - {"toolkit.core.work"}:
            assert not any(name == bad or name.startswith(bad + ".") for bad in forbidden), f"{path} imports {name}"


def test_work_is_a_leaf() -> None:
    for name in ("core/__init__.py", "core/work.py"):
        assert not any(found.startswith("toolkit") for found in imports(ROOT / name)), name


def test_of_the_cluster_only_real_processes_need_torch() -> None:
    assert {path.name for path in (ROOT / "cluster").rglob("*.py") if "torch" in imports(path)} == {"distributed.py"}


def loaded_after(code: str) -> set[str]:
    output = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"], capture_output=True, text=True, check=True
    )
    return set(output.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_after("from toolkit.simulate import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    assert not loaded & {"torch", "pandas", "matplotlib", "matplotlib.pyplot", "numpy", "simpy", "pydantic", "numba"}


def test_importing_toolkit_loads_nothing_heavy() -> None:
    assert not loaded_after("import toolkit") & {"torch", "pandas", "matplotlib", "numpy", "simpy", "pydantic"}


# Files are data


def unpicklers(source: str) -> list[str]:
    """What in a module would run what a file says: unpickling by any name, the classes of `layouts`' own reader of arrays apart."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in {"pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "pd.read_pickle", "eval", "exec"}:
                found.append(name)
            switches = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if name == "torch.load" and switches.get("weights_only") != "True":
                found.append(name)
            if switches.get("allow_pickle", "False") != "False":
                found.append("allow_pickle")
        elif isinstance(node, ast.ImportFrom) and node.module in {"pickle", "dill", "cloudpickle", "shelve"}:
            found.append(f"from {node.module}")
    return found


def test_no_file_is_unpickled() -> None:
    for path in ROOT.rglob("*.py"):
        assert not unpicklers(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("line", [
    "pickle.load(file)", "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)",
    "from pickle import load",
])
def test_unpickling_is_seen(line: str) -> None:
    assert unpicklers(line)


# Rings of imports


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def import_graph(root: Path) -> dict[str, set[str]]:
    """Which module of the package *root* imports which, wherever in it the import stands: inside functions and for typing too.

    ``from a.b import c`` is an import of ``a.b.c`` where that is a module, and of ``a.b`` where c is something in it; the packages on
    the way are not counted, though Python runs them first.
    """
    modules = {module_name(path, root): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = graph[name] = set()
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*above, *([node.module] if node.module else [])])
                found |= {f"{source}.{alias.name}" if f"{source}.{alias.name}" in modules else source for alias in node.names}
        graph[name] = (found & set(modules)) - {name}
    return graph


def rings(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the strongly connected components of more than one module: each reaches every other (Tarjan 1972)."""
    place: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(name: str) -> None:
        place[name] = lowest[name] = len(place)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in place:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], place[other])
        if lowest[name] == place[name]:
            ring = stack[stack.index(name):]
            del stack[stack.index(name):]
            if len(ring) > 1:
                found.add(frozenset(ring))

    for name in graph:
        if name not in place:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert not rings(import_graph(ROOT))


def test_rings_are_found_wherever_an_import_stands(tmp_path: Path) -> None:
    files = {
        "__init__": "", "a/__init__": "from pkg.a import one", "a/one": "def f():\n    from pkg.b import thing",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a.two import x\nthing = 1", "a/two": "import pkg.a.one",
        "c": "import pkg.d", "d": "from pkg import e", "e": "import pkg.a.two",
    }
    for name, text in files.items():
        (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkg" / f"{name}.py").write_text(text, encoding="utf-8")
    graph = import_graph(tmp_path / "pkg")
    assert graph["pkg.a.one"] == {"pkg.b"}
    assert graph["pkg.d"] == {"pkg.e"}
    assert rings(graph) == {frozenset({"pkg.a.one", "pkg.b", "pkg.a.two"})}


def test_the_core_knows_nothing_of_reports() -> None:
    for name, found in import_graph(ROOT).items():
        if name.startswith("toolkit.core."):
            assert not [other for other in found if other.startswith(("toolkit.analysis", "toolkit.render"))], name


def test_no_worker_loads_matplotlib() -> None:
    reports = sorted(module_name(path, ROOT) for path in ROOT.rglob("report.py"))
    assert len(reports) > 5
    assert not loaded_after(f"import toolkit.sweep, {', '.join(reports)}") & {"matplotlib", "rich"}


def test_the_reports_of_sea_and_cluster_load_no_simulator() -> None:
    assert not loaded_after("import toolkit.acoustic.report, toolkit.cluster.report") & {"simpy", "numba", "torch"}
