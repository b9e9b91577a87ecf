"""What is a quick look, what it gives up, and that such a run bears no verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.analysis.standing import Standing, given_up, in_line, short_type, shrunk
from toolkit.core.yaml12 import parse
from toolkit.scenario import Scenario

ROOT = Path(__file__).parents[2]
TREE = {
    "name": "tiny", "duration_s": 3600, "seeds": 4, "fabric": {"type": "cluster", "workers": 4},
    "program": {"type": "distributed", "steps": 100, "task": {"type": "classification"}},
}


@pytest.mark.parametrize(("standing", "bears", "tag"), [
    (Standing(5), True, ""), (Standing(1), False, "one seed: no verdicts"), (Standing(5, quick=True), False, "quick look: no verdicts"),
    (Standing(1, quick=True), False, "quick look, one seed: no verdicts"),
])
def test_verdicts_take_two_seeds_and_a_whole_run(standing: Standing, bears: bool, tag: str) -> None:
    assert (standing.bears, standing.tag) == (bears, tag)
    assert bool(standing.sentences) != bears


def test_a_scenario_with_all_of_its_quick_settings_is_a_quick_look() -> None:
    path = ROOT / "scenarios" / "sea_trial.yaml"
    assert shrunk(Scenario.load(path, quick=True))
    assert shrunk(Scenario.load(path, {"seeds": 9}, quick=True)), "more seeds make it no longer"
    assert not shrunk(Scenario.load(path))
    assert not shrunk(Scenario.load(path, {"seeds": 2})), "fewer seeds are no quick look"


def test_what_is_given_up_is_told_leaf_by_leaf_against_what_the_file_says() -> None:
    whole = {"seeds": 5, "program": {"steps": 200, "base": {"epochs": 30, "batch": 16}}, "compare": {"a": {}, "b": {}, "c": {}}}
    quick = {"seeds": 2, "program.base": {"epochs": 1, "batch": 16}, "program.lr": 0.1, "compare": {"a": {}}}
    assert given_up(quick, whole) == ["seeds 2 instead of 5", "program.base.epochs 1 instead of 30", "program.lr 0.1", "1 arm instead of 3"]
    assert given_up({"seeds": 2}) == ["seeds 2"]
    assert given_up({"cases": {"a": {"size": 3}}}, {"cases": {"a": {"size": 3}, "b": {}, "c": {}}}) == ["cases without b and c"]
    assert given_up({"compare.b": {"program.steps": 3, "program.lr": 1}}, {"compare": {"b": {"program.lr": 1}}}) == [
        "program.steps 3 in arm b",
    ]


def test_without_quick_settings_that_is_said() -> None:
    (sentence,) = Standing(5, quick=True).sentences
    assert "has no quick settings" in sentence


def test_a_setting_on_a_line_is_yaml_that_says_the_same() -> None:
    tree = {"a": False, "b": None, "c": [1, True], "d": {"type": "ewma", "alpha": 0.24}}
    assert in_line(tree) == "a: false, b: null, c: [1, true], d: {type: ewma, alpha: 0.24}"
    assert parse(f"{{{in_line(tree)}}}", "here") == tree


@pytest.mark.parametrize(("long", "short"), [
    ("toolkit.acoustic.mac.csma", "csma"), ("toolkit.methods.distributed.program", "distributed"), ("toolkit.cluster.fabric", "cluster"),
    ("mine.gossip", "mine.gossip"), ("toolkit", "toolkit"), ("csma", "csma"),
])
def test_parts_are_shown_by_their_short_names(long: str, short: str) -> None:
    assert short_type(long) == short
