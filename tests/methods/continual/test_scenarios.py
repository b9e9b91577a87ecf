"""The shipped scenarios of continual learning are sound, and those of published settings say what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"
PAPER = sorted(path.name for pattern in ("clfd_*.yaml", "e2net_*.yaml") for path in (SCENARIOS / "paper").glob(pattern))


def loaded(name: str) -> Scenario:
    """A scenario of published settings without its data."""
    return Scenario.load(SCENARIOS / "paper" / name, {"program.task.blank": {"train": 100, "test": 100}, "program.learn": False})


@pytest.mark.parametrize("name", PAPER)
def test_published_settings_can_be_read(name: str) -> None:
    arms = loaded(name).arms()
    assert len(arms) >= 12
    for arm in arms.values():
        program: Any = arm.program
        assert program.batch == program.replay == 32
        assert program.task.model.name == "resnet18"


@pytest.mark.parametrize("name", sorted(path.name for path in (SCENARIOS / "paper").glob("etag_*.yaml")))
def test_published_settings_of_exemplar_free_learning_can_be_read(name: str) -> None:
    """A first task, and so many later ones, as the file's name says; no arm keeps a sample."""
    first, later = map(int, name.removesuffix(".yaml").rsplit("_", 2)[1:])
    for arm in loaded(name).arms().values():
        program: Any = arm.program
        assert (program.stream.first, program.stream.tasks, program.batch) == (first, later + 1, 128)
        assert not program.method.replays


def test_a_row_of_the_published_table() -> None:
    """CLFD, Table A1: CLS-ER and CLFD-CLS-ER on S-Tiny-ImageNet with a memory of 125."""
    arms = loaded("clfd_tiny_imagenet_125.yaml").arms()
    host, clfd = (arms[name].program.model_dump() for name in ("CLS-ER", "CLFD-CLS-ER"))
    assert (host["lr"], clfd["lr"]) == (0.1, 0.1)
    assert host["budget"]["epochs"] == clfd["budget"]["epochs"] == 50
    rates = [(method["stable_rate"], method["plastic_rate"], method["reg_weight"]) for method in (host["method"], clfd["method"]["host"])]
    assert rates == [(0.05, 0.08, 0.1), (0.1, 0.16, 0.15)]
