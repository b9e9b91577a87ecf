"""Parts of one's own: what is wrong with a name or a module is told apart, and told before anything of somebody else's runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mac.csma import Csma
from toolkit.acoustic.routing import Routing
from toolkit.core import trust
from toolkit.core.part import Part, Spec, explain
from toolkit.errors import ScenarioError
from toolkit.named import own_part

GOOD = "from toolkit.acoustic.mac import Mac\n\n\nclass Gossip(Mac):\n    def run(self, mac):\n        yield\n"
UNFINISHED = (
    "from toolkit.acoustic.mac import Mac\nfrom toolkit.acoustic.routing import Routing\n\n\nclass Half(Mac):\n    pass\n\n\n"
    "class Other(Routing[int]):\n    pass\n"
)
FILES = {
    "gossip.py": GOOD, "pair.py": GOOD + GOOD.partition("\n\n\n")[2].replace("Gossip", "Second"), "unfinished.py": UNFINISHED,
    "plain.py": "x = 1\n", "broken.py": "import os\n\n\ndef f(:\n", "fails.py": "def g():\n    return {}['k']\n\n\ng()\n",
    "mypkg/__init__.py": "", "mypkg/gossip.py": GOOD, "mypkg/quiet.py": GOOD,
}


class Holder(Spec):
    mac: Mac


class Carrier(Spec):
    routing: Routing


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv(trust.VARIABLE, "")
    monkeypatch.setattr(trust, "_admitted", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("toolkit"):
            del sys.modules[name]


def said(home: Path | None, name: str, spec: type[Spec] = Holder, field: str = "mac") -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trust.OwnModule)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - pydantic's, whose sentence is looked at
            spec.model_validate({field: name}, context={"home": home})
    (line,) = explain(caught.value)  # type: ignore[arg-type]
    return line


def test_what_lies_beside_the_scenario_is_found(home: Path) -> None:
    for name in ("gossip", "mypkg.gossip"):
        with pytest.warns(trust.OwnModule):
            part = Holder.model_validate({"mac": name}, context={"home": home}).mac
        assert part.dump() == {"type": name, "queue_limit": 50}


def test_what_is_wrong_is_told_apart(home: Path) -> None:
    known = ", ".join(Mac.member_names())
    assert said(home, "gosip") == f"mac: 'gosip' is not a MAC; did you mean 'gossip'? (known: {known})"
    assert said(home, "mypkg.gosip") == "mac: there is no module 'mypkg.gosip' beside the scenario; did you mean 'mypkg.gossip'?"
    assert said(home, "nopkg.gossip").startswith("mac: 'nopkg.gossip' is code of another package, which runs only where you trust it")
    assert said(home, "plain") == "mac: 'plain' (plain.py) has no MAC in it: a class derived from toolkit.acoustic.mac.Mac"
    assert said(home, "pair") == "mac: 'pair' (pair.py) defines 2 of family MAC, Gossip, Second; a file holds one"
    assert said(home, "broken") == "mac: 'broken' does not import (SyntaxError: invalid syntax, broken.py line 4)"
    assert said(home, "fails") == "mac: 'fails' does not import (KeyError: 'k', fails.py line 2)"


def test_a_member_of_another_family_is_named(home: Path) -> None:
    line = said(home, "gossip", Carrier, "routing")
    assert line == (
        "routing: 'gossip' (gossip.py) has no routing protocol in it: a class derived from toolkit.acoustic.routing.Routing; "
        "Gossip in it is of family MAC"
    )


def test_missing_methods_are_named(home: Path) -> None:
    assert said(home, "unfinished") == "mac: 'unfinished' (unfinished.py): class Half is no MAC yet, since it does not define run"
    other = said(home, "unfinished", Carrier, "routing")
    assert other == "routing: 'unfinished' (unfinished.py): class Other is no routing protocol yet, since it does not define init"


def test_a_module_of_a_trusted_package_that_is_none_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.VARIABLE, "mypkg")
    monkeypatch.syspath_prepend(str(home))
    assert said(None, "mypkg.gosip") == "mac: there is no module 'mypkg.gosip'; did you mean 'mypkg.gossip'?"
    assert Holder.model_validate({"mac": "mypkg.gossip"}).mac.type_name() == "mypkg.gossip"


def test_members_of_this_package_come_first(home: Path) -> None:
    (home / "csma.py").write_text("raise SystemExit('ran')\n")
    assert Holder.model_validate({"mac": "csma"}, context={"home": home}).mac == Csma()


# Parts that a command line names


def test_a_command_line_names_files_modules_and_members(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    for name in ("gossip.py", "./gossip.py", str(home / "gossip.py"), "gossip", "mypkg.gossip"):
        part: type[Part] = own_part(name)
        assert (part.__name__, part.family) == ("Gossip", "MAC")


@pytest.mark.parametrize(("name", "says"), [
    ("./nope.py", "./nope.py: no such file"), ("a b", "a b: is neither a file (./gossip.py) nor a module (mypkg.gossip)"),
    ("nopkg.gossip", "nopkg.gossip: there is no such module"), ("plain.py", "plain.py: has no part in it"),
    ("gosip", "gosip: there is no such module; did you mean 'gossip'?"),
    ("pair.py", "pair.py: defines 2 parts, Gossip, Second; a file holds one"),
    ("unfinished.py", "unfinished.py: class Half is no MAC yet, since it does not define run"),
    ("broken.py", "'broken' does not import (SyntaxError: invalid syntax, broken.py line 4)"),
])
def test_what_is_no_part_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(ScenarioError) as caught:
        own_part(name)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_file_with_the_name_of_an_installed_module_is_refused(home: Path) -> None:
    (home / "this.py").write_text("raise SystemExit('this ran')\n")
    with pytest.raises(ScenarioError, match="has the name of a module that is installed"):
        own_part(str(home / "this.py"))
