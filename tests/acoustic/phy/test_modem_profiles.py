"""A modem by the name of its profile, or from a file of one's own, and in arms that change it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.test_simulate import ROOT
from toolkit.acoustic.phy.modem import Modem
from toolkit.core import yaml12
from toolkit.core.part import explain
from toolkit.scenario import Scenario

SEA = ROOT / "scenarios" / "sea_trial.yaml"


def arm(overrides: dict[str, object], **base: object) -> Modem:
    settings = {f"fabric.{key}": value for key, value in base.items()}
    return Scenario.load(SEA, {**settings, "compare": {"A": overrides}}).arms()["A"].fabric.modem  # type: ignore[attr-defined]


def test_the_name_alone_is_short_for_the_profile() -> None:
    assert Modem.model_validate("whoi_micromodem") == Modem(profile="whoi_micromodem")
    assert Scenario.load(SEA, {"fabric.modem": "whoi_micromodem"}).fabric.modem.tx_w == 50  # type: ignore[attr-defined]
    (line,) = problems("whoi_micromodm")
    assert "'whoi_micromodm' is not a modem profile; did you mean 'whoi_micromodem'?" in line


def problems(value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Modem.model_validate(value)
    return explain(caught.value)


@pytest.mark.parametrize("base", ["evologics_like", {"profile": "evologics_like"}, {"profile": "tritech_micron"}], ids=str)
@pytest.mark.parametrize("overrides", [
    {"fabric.modem.profile": "whoi_micromodem"}, {"fabric.modem": "whoi_micromodem"}, {"fabric.modem": {"profile": "whoi_micromodem"}},
], ids=str)
def test_an_arm_with_another_profile_has_all_of_its_numbers(base: object, overrides: dict[str, object]) -> None:
    assert arm(overrides, modem=base) == Modem(profile="whoi_micromodem")


def test_what_was_set_beside_the_old_profile_stays() -> None:
    modem = arm({"fabric.modem.profile": "whoi_micromodem"}, modem={"profile": "evologics_like", "source_level_db": 150})
    assert (modem.source_level_db, modem.tx_w, modem.rate_bps) == (150, 50, 80)


def test_an_arm_may_name_a_file_beside_the_scenario(tmp_path: Path) -> None:
    tree = yaml12.read(SEA)
    tree["fabric"]["sea"] = {}
    (tmp_path / "mine.yaml").write_text("profile: evologics_like\ntx_w: 7.5\nsource: measured in a tank\n")
    (tmp_path / "s.yaml").write_text(yaml12.dump({**tree, "compare": {"A": {"fabric.modem": "./mine.yaml"}, "B": {}}, "quick": {}}))
    scenario = Scenario.load(tmp_path / "s.yaml")
    for found in (scenario, scenario.changed({"seeds": 2})):
        modem = found.arms()["A"].fabric.modem  # type: ignore[attr-defined]
        assert (modem.tx_w, modem.rate_bps, modem.source) == (7.5, 4800, "mine.yaml: measured in a tank")
    again = Modem.model_validate(modem.model_dump(mode="json"))  # what a run directory keeps needs the file no more
    assert again == modem
