from __future__ import annotations

import sys
from functools import cached_property

import pytest
from pydantic import Field, ValidationError

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mac.csma import Csma
from toolkit.core.part import Spec, default_part, explain


class Holder(Spec):
    mac: Mac
    count: int = Field(1, ge=1)


def problems(**tree: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate(tree)
    return explain(caught.value)


def test_a_part_is_found_by_the_name_of_its_module() -> None:
    assert Holder.model_validate({"mac": {"type": "csma", "window": 7}}).mac == Csma(window=7)
    assert Holder.model_validate({"mac": "csma"}).mac == Csma()


def test_dump_and_validate_are_inverse() -> None:
    holder = Holder(mac=Csma(window=3), count=4)
    assert Holder.model_validate(holder.model_dump(mode="json")) == holder


def test_mistakes_name_place_value_and_remedy() -> None:
    known = ", ".join(Mac.member_names())
    assert problems(mac="cmsa") == [f"mac: 'cmsa' is not a MAC; did you mean 'csma'? (known: {known})"]
    assert problems(mac={"type": "csma", "windw": 3}) == ["mac: unknown key 'windw'; did you mean 'window'?"]
    assert problems(mac={"window": 3}) == [f"mac: needs a 'type' naming a MAC: one of {known}"]
    assert problems(mac={"type": "csma", "window": 0}) == ["mac.window: input should be greater than or equal to 1 (got 0)"]
    assert problems(mac="csma", count="many")[0].startswith("count: input should be a valid integer")
    assert problems() == ["mac: is required and missing"]


def test_settings_without_a_type_are_those_of_the_usual_part() -> None:
    class Usual(Spec):
        mac: Mac = default_part("csma")

    assert Usual.model_validate({"mac": {"window": 3}}).mac == Csma(window=3)
    assert Usual.model_validate({"mac": {}}).mac == Csma()
    with pytest.raises(ValidationError) as caught:
        Usual.model_validate({"mac": {"windw": 3}})
    assert explain(caught.value) == ["mac: unknown key 'windw'; did you mean 'window'?"]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems(mac={"type": "csma", "window": 0, "slot_s": -1}, count=0)) == 3


def test_a_part_of_an_outside_package(tmp_path, monkeypatch) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shout.py").write_text(
        "from toolkit.acoustic.mac import Mac\nclass Shout(Mac):\n    volume: int = 11\n    def run(self, radio):\n        yield\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert problems(mac="pkg.shout") == [
        "mac: 'pkg.shout' is code of another package, which runs only where you trust it: --trust pkg, or TOOLKIT_TRUST=pkg"
    ]
    assert "pkg" not in sys.modules
    monkeypatch.setenv("TOOLKIT_TRUST", "other, pkg")
    part = Holder.model_validate({"mac": {"type": "pkg.shout", "volume": 3}}).mac
    assert part.dump() == {"type": "pkg.shout", "queue_limit": 50, "volume": 3}


def test_a_part_that_needs_an_extra_says_so(tmp_path, monkeypatch) -> None:
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mac.py").write_text("import torch\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("TOOLKIT_TRUST", "heavy")
    assert problems(mac="heavy.mac") == ["mac: 'mac' needs torch, which is not installed: pip install 'toolkit[learn]'"]


def test_parts_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Csma().window = 3


def test_settings_can_be_the_key_of_a_cache() -> None:
    """Equal values have equal hashes, lists and dicts among them; what is worked out from them on the way does not count."""

    class Nested(Spec):
        options: dict[str, list[int]] = Field(default_factory=dict)
        size: int = 1

        @cached_property
        def double(self) -> int:
            return 2 * self.size

    class Whole(Spec):
        part: Nested = Nested()

    first, second = (Whole.model_validate({"part": {"options": {"a": [1, 2]}}}) for _ in range(2))
    assert first.part.double == 2
    assert hash(first) == hash(second)
    assert first == second
    assert {first: "kept"}[second] == "kept"
    assert Whole.model_validate({"part": {"options": {"a": [2, 1]}}}) not in {first}
