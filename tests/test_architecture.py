"""Who may import whom: the sea and the core never pay for torch, and help answers before anything heavy is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
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
