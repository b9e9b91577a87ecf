"""The scenarios that compare protocols: they can be run, and neither they nor the pages claim anything for a paper (check 22)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit.acoustic.figures import SEA_CAPTIONS
from toolkit.acoustic.routing import Routing
from toolkit.scenario import Scenario
from toolkit.simulate import main

ROOT = Path(__file__).parents[3]
NAMES = {"dbcar_ablation": 19, "routing_protocols": 9, "sea_local_noise": 6, "sea_lifetime": 7}
"""Scenarios, and how many arms each has."""


def path(name: str) -> Path:
    return ROOT / "scenarios" / f"{name}.yaml"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_they_can_be_run(name: str, quick: list[str], capsys) -> None:
    assert main([str(path(name)), "--check", *quick]) == 0
    assert f"{NAMES[name]} arms" in capsys.readouterr().out


def test_the_comparison_has_every_protocol() -> None:
    used = {arm.fabric.routing.type_name() for arm in Scenario.load(path("routing_protocols")).arms().values()}
    assert used == set(Routing.members())


def test_each_ablation_changes_one_thing() -> None:
    arms = Scenario.load(path("dbcar_ablation")).arms()
    full = arms["DBCAR-kNN"].fabric.routing.dump()
    changed = {
        name: {key for key in full if full[key] != arm.fabric.routing.dump()[key]}
        for name, arm in arms.items() if arm.fabric.routing.type_name() == "dbcar"
    }
    old = {"rule", "sideways_p", "sideways_hops", "way_up_p", "void", "last_try", "hold_s", "blacklist_growth"}
    assert changed == {
        "DBCAR-kNN": set(), "no-prediction": {"prediction"}, "no-feedback": {"feedback"}, "deferral": {"defer_s"},
        "no-retransmission": {"tries", "offers"}, "wait-in-voids": {"void"}, "no-last-try": {"last_try"}, "no-sideways": {"sideways_hops"},
        "blacklist-as-long": {"blacklist_growth"},
        "rule-energy": {"rule"}, "rule-C-delay": {"rule"}, "rule-C-energy": {"rule"}, "oracle-SNR": {"prediction"},
        "depth": {"rule"}, "depth-sideways-from-0.8": {"rule", "sideways_p", "sideways_hops"}, "depth-any-way-up": {"rule", "way_up_p"},
        "depth-wait-in-voids": {"rule", "void"}, "reconstruction": old,
    }
    opportunistic = arms["DBCAR-O"].fabric.routing
    assert opportunistic.prediction == arms["DBCAR-kNN"].fabric.routing.prediction
    assert opportunistic.beacon_s == arms["DBCAR-kNN"].fabric.routing.beacon_s


def test_nothing_is_claimed_for_a_paper() -> None:
    """Wherever the paper is named, it is said that this is a reconstruction; "three times" has its rival, horizon and series beside it."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
    texts |= {name: path(name).read_text(encoding="utf-8") for name in NAMES} | SEA_CAPTIONS
    for place, text in texts.items():
        for paragraph in re.split(r"\n\s*\n|\n\s*- ", text):
            words = " ".join(paragraph.split())
            if "2108.05057" in words:
                assert re.search(r"reconstruct|abstract", words), f"{place}: {words[:200]}"
            if re.search(r"(three|3) times|\b3x\b", words) and "SNR" in words:
                assert re.search(r"\bh\b|hour", words), f"{place}: {words[:200]}"
                assert re.search(r"persistence|EWMA|Kalman|AR", words), f"{place}: {words[:200]}"
            assert not re.search(r"reproduc\w* (the )?(paper|figure)", words), f"{place}: {words[:200]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_quick_runs_end_to_end(tmp_path: Path, name: str) -> None:
    assert main([str(path(name)), "--quick", "--quiet", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name / "figures" / "delay.png").exists()
