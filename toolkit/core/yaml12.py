"""YAML as people expect it: version 1.2 numbers and booleans, duplicate keys refused.

Stock PyYAML follows YAML 1.1, where `1e6` is a text, `no` is false and `012` is ten.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import ScenarioError, shortened

LARGEST = 100_000
"""Values that a file may come to once its aliases are written out: a few hundred bytes can stand for billions."""
DEEPEST = 100
"""Levels of nesting."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Say where a value is that is none of its tag: ``!!int abc``, an integer of thousands of digits."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            what = node.tag.rpartition(":")[2]
            text = shortened(repr(node.value)) if isinstance(node, yaml.ScalarNode) else "this"
            raise yaml.constructor.ConstructorError(None, None, f"{text} cannot be read as {what}", node.start_mark) from error


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a text or a number", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{shortened(str(key))}' is given twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse(text: str, source: str) -> Any:
    """Parse YAML text; *source* names it in errors.

    Raises:
        ScenarioError: the text is not YAML, or a key is given twice; says the line.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_too_large(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        raise ScenarioError(f"{place}: {error.problem or error.context}") from error
    except RecursionError:
        raise ScenarioError(f"{source}: is nested too deeply, above {DEEPEST} levels") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}: is not YAML text ({_first_line(error)})") from error
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_too_large(root: yaml.Node) -> None:
    """Count every value, one that an alias names as often as it is named, and refuse too many of them, too deep ones and rings."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes or depth > DEEPEST:
            problem = "an alias names what it is part of" if id(node) in open_nodes else f"is nested too deeply, above {DEEPEST} levels"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        open_nodes.add(id(node))
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        total = 1 + sum(size(part, depth + 1) for part in inner)
        open_nodes.discard(id(node))
        if total > LARGEST:
            problem = f"its aliases written out come to more than {LARGEST} values"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        sizes[id(node)] = total
        return total

    size(root, 0)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def read(path: Path) -> Any:
    """Read and parse a YAML file."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ScenarioError(f"{path}: is no regular file, but a pipe or a device")
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ScenarioError(f"{path}: is a folder, not a scenario file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error})") from None


def dump(tree: object) -> str:
    """Write a plain tree as YAML text, keys in the given order."""
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120))
