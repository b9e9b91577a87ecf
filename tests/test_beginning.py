"""What `toolkit new` writes runs as it is and keeps the laws of its family; and the laws notice what is wrong."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit import catalogue
from toolkit.commands import beginning, checking, describing
from toolkit.core import trust
from toolkit.laws import judged
from toolkit.named import own_part
from toolkit.scenario import Scenario

PARTS = ["routing", "mac", "prediction", "mobility", "program", "distributed", "continual", "pruning"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, which is the working one, and is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(trust.VARIABLE, "")
    monkeypatch.setattr(trust, "_admitted", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.parametrize("family", PARTS)
def test_a_part_that_is_begun_keeps_the_laws_of_its_family(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert beginning.main([family, "first_try"]) == 0
    part = own_part("first_try.py")
    assert part.__name__ == "FirstTry"
    verdicts = list(judged(part()))
    assert len(verdicts) >= 5
    assert [verdict for verdict in verdicts if verdict.broken] == []
    out = capsys.readouterr().out
    assert "toolkit check ./first_try.py" in out
    assert describing.main(["first_try"]) == 0
    assert "settings" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["device", "modem", "link"])
def test_a_profile_that_is_begun_keeps_the_laws_of_its_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert beginning.main([kind, "mine_too"]) == 0
    assert checking.main(["./mine_too.yaml"]) == 0
    assert f"(./mine_too.yaml ({kind})" in capsys.readouterr().out.replace("\n./", "(./")


def run_tests_of(path: Path) -> dict[str, object]:
    """Run the tests of a file that need no fixture; return what it defines."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, item in vars(module).items():
        if name.startswith("test_") and callable(item):
            item()
    return vars(module)


@pytest.mark.parametrize("family", ["device", "modem", "link", "model", "dataset", "scenario"])
def test_the_tests_that_are_begun_pass(family: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    assert beginning.main([family, "new_one"]) == 0
    assert any(name.startswith("test_") for name in run_tests_of(folder / "test_new_one.py"))


def test_a_method_a_network_and_data_of_ones_own_go_together(folder: Path) -> None:
    import toolkit

    assert beginning.main(["model", "net"]) == 0
    assert beginning.main(["dataset", "corners"]) == 0
    assert beginning.main(["continual", "again"]) == 0
    (folder / "s.yaml").write_text(
        "name: own\nseeds: 1\nfabric: {type: cluster, workers: 1}\nprogram:\n  type: continual\n  method: again\n  stream: {tasks: 2}\n"
        "  budget: {epochs: 1}\n  task: {dataset: corners, model: {name: 'net:Net', options: {width: 4}}}\n"
    )
    with pytest.warns(trust.OwnModule):
        scenario = Scenario.load(folder / "s.yaml")
    result = toolkit.run(scenario, out=folder / "out")
    assert result.arms == ["own"]


def test_all_that_can_be_begun_is_in_the_package() -> None:
    there = {path.stem for path in (catalogue.PACKAGE / "templates").iterdir() if path.suffix in {".py", ".yaml"}} - {"__init__"}
    assert there == set(beginning.ABOUT)
    for key in beginning.ABOUT:
        text, test = beginning.written(key, "gossip").values()
        assert "ine" not in text.replace("line", "").replace("machine", "").split("\n")[0]
        assert "Mine" not in text
        assert "mine" not in text.replace("determine", "")
        assert test.startswith('"""gossip: ')


@pytest.mark.parametrize(("words", "says"), [
    (["rutting", "x"], "rutting: is not a family; did you mean 'routing'? (can be begun: routing, mac"),
    (["topology", "x"], "topology: there is nothing to begin a topology with; copy one that is there, such as toolkit/cluster/topology/"),
    (["mac", "Gossip"], "Gossip: must be small letters"), (["mac", "json"], "json: is the name of a module that is installed"),
    (["mac", "numpy"], "numpy: is the name of a module that is installed"), (["mac", "x" * 100], "must be small letters"),
    (["mac", "gossip", "--out", "/proc/none"], "--out /proc/none: cannot be written"),
], ids=range(7))
def test_what_cannot_be_begun_is_one_sentence(words: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert beginning.main(words) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test_gossip.py").write_text("mine")
    assert beginning.main(["mac", "gossip"]) == 2
    assert "test_gossip.py: is there already, and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["test_gossip.py"]


# The laws notice


def broken(family: str, name: str, old: str, new: str) -> list[str]:
    """The laws that a template does not keep once *old* in it is *new*."""
    assert beginning.main([family, name]) == 0
    path = Path(f"{name}.py")
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new))
    return [verdict.law for verdict in judged(own_part(path.name)()) if verdict.broken]


@pytest.mark.parametrize(("family", "old", "new", "law"), [
    ("routing", 'node.tracker.drop(packet, "unheard")', "pass",
     "a packet that nobody can carry on is lost for a reason"),
    ("routing", "node.rng.random() < self.settings.p", "__import__('random').random() < self.settings.p",
     "the same seed gives the same run"),
    ("routing", "hops=frame.hops + 1", "hops=frame.hops", "no packet circles and sinks never forward"),
    ("routing", "if node.ends(packet):", "if False:", "good links deliver everything"),
    ("routing", 'Field(0.8, gt=0, le=1, description="probability with which a packet is repeated")', "Field(0.8, gt=0, le=1)",
     "it says what it is"),
    ("mac", "yield mac.transmit(frame)", "yield mac.sleep(1.0)", "every frame is sent or dropped once"),
    ("mac", "if not mac.busy():", "if frame.nbytes < 60:", "a light load gets through"),
    ("prediction", "self.weight * values + (1 - self.weight) * means", "values * 0 + 7.0", "a constant stays constant"),
    ("prediction", "lagged_spread_db(state, said, cells)", "0.1", "the spread is honest"),
    ("prediction", "state.update(t_s, snr_db, censored)", "censored or state.update(t_s, snr_db, False)",
     "silence lowers what is expected"),
    ("prediction", "def work(self", "def worked(self", ""),
    ("mobility", "self.radius_m * np.cos(angle)", "900 * np.cos(1000 * angle)", "nobody jumps and nobody flies"),
    ("mobility", "moved = home_m.copy()", "moved = home_m", "homes are left as they were"),
    ("program", "rng.standard_exponential()", "__import__('random').expovariate(1.0)", "the same seed gives the same messages"),
    ("continual", "return loss.detach()", "return loss.detach() + __import__('torch').rand(())", "a seed decides weights and costs"),
    ("continual", "images = learner.augmented(batch)",
     "self.__dict__.setdefault('seen', batch.images)\n        images = learner.augmented(batch)\n"
     "        images = images + self.__dict__['seen'][:len(images)].float().mean() / 255", "the past is out of reach"),
    ("continual", "self.weight * cross_entropy",
     "self.__dict__.setdefault('n', []).append(1) or len(self.__dict__['n']) % 7 * cross_entropy", "a run goes on from a checkpoint"),
    ("continual", "learner.insert(batch)", "pass", "the memory keeps within its budget"),
    ("continual", "learner.descend(loss)",
     "learner.descend(loss)\n        float(loss) * 1e4 % 2 > 1 and learner.passes(images, batch.labels)",
     "what is charged was planned"),
    ("pruning", "return self.problem.genome.repair(masks, self.problem.saliency)",
     "masks[-1, self.problem.genome.parts[0]] = False\n        return masks", "every mask leaves a network"),
    ("pruning", "shares, self.left = self.left[: self.problem.evaluations], []", "shares = self.left", "every mask leaves a network"),
    ("pruning", "rank < share * len(rank)", "rank < np.random.random() * len(rank)", "the same seed chooses the same"),
], ids=range(22))
def test_a_part_that_is_wrong_breaks_a_law(family: str, old: str, new: str, law: str) -> None:
    if not law:  # it is none at all
        from toolkit.errors import ScenarioError

        with pytest.raises(ScenarioError, match="does not define work"):
            broken(family, "wrong", old, new)
        return
    assert law in broken(family, "wrong", old, new)


def test_the_command_says_what_is_broken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert beginning.main(["mac", "loud"]) == 0
    path = folder / "loud.py"
    text = path.read_text().replace("mac.give_up(frame)", "raise RuntimeError('too busy')")
    path.write_text(text.replace("Field(30, ge=1", "Field(1, ge=1"))
    capsys.readouterr()
    assert checking.main(["loud"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "BROKEN states fill the run: RuntimeError: too busy, loud.py line" in out
    assert checking.main(["loud", "--set", "attempts=30", "--set", "slot_s=0.1"]) == 0
    assert "laws kept" in capsys.readouterr().out
    assert checking.main(["loud", "--set", "attempts=0"]) == 2
    assert "loud.attempts: input should be greater than or equal to 1 (got 0)" in capsys.readouterr().err
    assert checking.main(["mobility/static", "--list"]) == 0
    assert "nobody sinks below the bottom: Nodes all the way down" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("text", "says"), [
    ("profile: raspberry_pi_4\nbusy_w: 1\nsource: me\n", "busy_w 1 is below idle_w 2.7"),
    ("profile: raspberry_pi_4\nbusy_w: 5\n", "source: is missing"),
    ("profile: evologics_like\ntx_w: 0.1\nsource: me\n", "does not hold"),
])
def test_a_profile_that_is_wrong_breaks_a_law(folder: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.yaml").write_text(text)
    assert checking.main(["x.yaml"]) == 1
    assert says in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("text", "says"), [
    ("profile: raspberry_pi_4\nbusy_watt: 1\n", "x.yaml: is neither a device, a modem nor a link: 'busy_watt' is no setting of a device"),
    ("profile: raspberry_pi_4\nbusy_w: -1\nsource: me\n", "x.yaml: busy_w: input should be greater than or equal to 0"),
    ("[1]", "x.yaml: must be a mapping"), ("tx_w: 3\nrate_bps: 10\n", "x.yaml: x.yaml: lacks"),
])
def test_a_profile_that_is_none_is_told(folder: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.yaml").write_text(text)
    assert checking.main(["x.yaml"]) == 2
    errors = capsys.readouterr().err
    assert says.replace("x.yaml: x.yaml", "x.yaml") in errors.replace(f"{folder}/", "")
    assert errors.count("\n") == 1
