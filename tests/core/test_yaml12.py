from __future__ import annotations

import pytest

from toolkit.core import yaml12
from toolkit.errors import ScenarioError


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e6", 1e6), ("no", "no"), ("012", 12), ("0x10", 16), ("0o17", 15), ("true", True), ("~", None), ("1.5", 1.5), ("-3", -3),
     ("on", "on"),
     ("1_000", "1_000"), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), (".5", 0.5)],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = yaml12.parse(f"x: {text}", "test")["x"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_key_given_twice_is_refused_with_its_line() -> None:
    with pytest.raises(ScenarioError, match=r"test, line 3.*'a' is given twice"):
        yaml12.parse("b: 1\na: 1\na: 2", "test")


def test_broken_text_names_the_line() -> None:
    with pytest.raises(ScenarioError, match=r"test, line 2"):
        yaml12.parse("a: [1\nb: 2", "test")


def test_dump_and_parse_are_inverse() -> None:
    tree = {"a": 1e-9, "b": ["no", "012", None, True], "c": {"d": "x: y"}, "e": 3.0}
    assert yaml12.parse(yaml12.dump(tree), "test") == tree
