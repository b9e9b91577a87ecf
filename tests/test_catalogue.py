"""What there is is read from the source, and is what the families find when they are asked."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.test_bounds import specs
from toolkit import catalogue
from toolkit.commands import beginning, describing, listing
from toolkit.core.device import Device
from toolkit.core.part import Part
from toolkit.description import kind, settings
from toolkit.errors import ScenarioError


@pytest.mark.parametrize("family", catalogue.part_families(), ids=lambda family: family.key)
def test_the_source_says_what_the_family_finds(family: catalogue.Family) -> None:
    part: type[Part] = getattr(importlib.import_module(family.module), family.item)
    assert (part.family, tuple(part._patterns())) == (family.word, family.patterns)
    found = {name: (member.__module__, member.__name__) for name, member in part.members().items()}
    assert {name: (member.module, member.item) for name, member in catalogue.members(family).items()} == found


def test_every_family_of_the_package_is_there() -> None:
    classes = {(spec.__module__, spec.__name__) for spec in specs() if issubclass(spec, Part) and spec.is_family()}
    assert {(family.module, family.item) for family in catalogue.part_families()} == classes
    assert len(classes) > 20


def test_profiles_networks_and_data_sets_are_those_that_scenarios_find() -> None:
    from toolkit.methods.dataset_spec import readers
    from toolkit.methods.model_spec import builders

    by_key = {family.key: family for family in catalogue.families()}
    assert list(catalogue.members(by_key["device"])) == Device.profiles()
    assert list(catalogue.members(by_key["model"])) == list(builders())
    assert list(catalogue.members(by_key["dataset"])) == sorted(readers())


def test_everything_says_what_it_is() -> None:
    for family in catalogue.families():
        assert family.about, family.key
        for name, member in catalogue.members(family).items():
            assert member.about, f"{family.key}/{name}"
            assert "\n" not in member.about


@pytest.mark.parametrize(("name", "key"), [
    ("routing", "routing"), ("predictor", "prediction"), ("predictors", "prediction"), ("MAC", "mac"), ("traffic", "program"),
    ("noise source", "noise_source"), ("all-reduce", "all_reduce"), ("devices", "device"), ("compressor", "distributed"),
    ("pruner", "pruning"),
])
def test_families_go_by_several_names(name: str, key: str) -> None:
    found = catalogue.family_called(name)
    assert found is not None
    assert found.key == key


def test_a_name_of_several_is_asked_back() -> None:
    assert catalogue.find("dbcar")[1].module == "toolkit.acoustic.routing.dbcar"
    assert catalogue.find("mac/slotted-aloha")[1].name == "slotted_aloha"
    with pytest.raises(ScenarioError, match=r"^joint: is several things; say which: continual/joint, detection/joint$"):
        catalogue.find("joint")
    with pytest.raises(ScenarioError, match=r"^dbcr: nothing is called so; did you mean 'd"):
        catalogue.find("dbcr")
    with pytest.raises(ScenarioError, match=r"^routng/dbr: there is no family 'routng'; did you mean 'routing'"):
        catalogue.find("routng/dbr")


def test_parts_of_ones_own_are_seen_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "gossip.py").write_text(
        f"from pathlib import Path\nfrom toolkit.acoustic.mac import Mac\nPath({str(mark)!r}).touch()\n\n\n"
        'class Gossip(Mac):\n    """Talks at random. And so on."""\n\n    def run(self, mac):\n        yield\n\n\n'
        "class Unfinished(Mac):\n    pass\n"
    )
    (tmp_path / "broken.py").write_text("from toolkit.acoustic.mac import Mac\nclass (:\n")
    (tmp_path / "other.py").write_text("import os\n")
    found = catalogue.own(tmp_path)
    assert {key: [member.item for member in members] for key, members in found.items()} == {"mac": ["Gossip"]}
    monkeypatch.chdir(tmp_path)
    assert listing.main(["mac"]) == 0
    assert "Talks at random." in capsys.readouterr().out
    assert listing.main([]) == 0
    assert "gossip (here)" in capsys.readouterr().out
    assert not mark.exists()


def test_every_setting_has_a_description() -> None:
    missing = [
        f"{spec.__module__}.{spec.__qualname__}.{name}"
        for spec in specs() for name, field in spec.model_fields.items() if not field.description
    ]
    assert not missing


def test_settings_are_told_in_words() -> None:
    from toolkit.acoustic.fabric import Acoustic
    from toolkit.acoustic.routing.dbcar import Dbcar

    rows = {row.path: row for row in settings(Dbcar)}
    assert rows["beacon_s"] == ("beacon_s", "number", "s", "above 0", "120", "mean beacon period T_b")
    assert rows["prediction"].kind == "a predictor"
    assert rows["prediction"].default == "required"
    assert rows["suppress_beacons"].default == "true"
    inner = {row.path: row for row in settings(Acoustic)}
    assert inner["layout.nodes"].range == "0 to 100000"
    assert inner["modem"].kind == "name of a modem profile, file, or settings"
    assert kind(dict[str, float]) == "mapping of names to numbers"
    assert kind(tuple[float, ...] | None) == "list of numbers"


@pytest.mark.parametrize(("name", "says"), [
    ("dbcar", "beacon_s: number, s, above 0; default 120"), ("raspberry_pi_5", "peak_flops_per_s: number, FLOP/s, above 0; default"),
    ("resnet20", "num_classes: int"), ("digits", "1,797 handwritten digits"), ("scenario", "duration_s: number, s, above 0"),
    ("acoustic", "layout.nodes: whole number, 0 to 100000; default 40"), ("modem/evologics_like", "tx_w: number, W"),
])
def test_a_member_is_described(name: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describing.main([name]) == 0
    out = capsys.readouterr().out
    assert says in " ".join(out.split())
    assert out.partition(":")[0] == name.rpartition("/")[2]


def test_all_members_can_be_described() -> None:
    for family in catalogue.families():
        for name in catalogue.members(family):
            head, text, _ = describing.found(f"{family.key}/{name}")
            assert head.startswith(f"{name}: ")
            assert text


def test_a_part_in_this_folder_is_described_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert beginning.main(["mac", "hushed"]) == 0
    for name in ("hushed", "hushed.py", "./hushed.py"):
        capsys.readouterr()
        assert describing.main([name]) == 0
        assert capsys.readouterr().out.startswith("hushed: MAC, hushed.py")
