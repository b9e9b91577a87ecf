"""Code that pages show is code: it compiles, and what it takes from this package is there. What can be run is run elsewhere.

Guides by `test_guides`, notebooks by `test_notebooks`, docs/start.md by `tests/test_api.py`, docs/own.md by `tests/test_own_work.py`,
docs/data.md by `tests/methods/test_own.py`, docs/ddp.md by `tests/learning/test_ddp.py`, docs/prediction.md by `tests/test_stream.py`,
docs/records.md by `tests/acoustic/test_records_guide.py`.
"""

from __future__ import annotations

import ast
import importlib

import pytest

from tests.docs.pages import PAGES, blocks
from toolkit.core import yaml12
from toolkit.scenario import Scenario

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
WITH_YAML = [page for page in PAGES if blocks(page, "yaml")]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_what_python_takes_is_there(page: str) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "toolkit":
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}") is not None
                    assert found, f"{page}: {node.module} has no {alias.name}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] == "toolkit":
                        importlib.import_module(alias.name)


@pytest.mark.parametrize("page", WITH_YAML)
def test_yaml_can_be_read_and_whole_scenarios_name_settings_that_there_are(page: str) -> None:
    fields = set(Scenario.model_fields)
    for block in blocks(page, "yaml"):
        tree = yaml12.parse(block, page)
        if isinstance(tree, dict) and {"fabric", "program"} <= tree.keys():
            assert tree.keys() <= fields, f"{page}: {set(tree) - fields}"
