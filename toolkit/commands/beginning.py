"""toolkit new: a part, profile, network, data set or scenario of one's own, as a file that runs, and the tests that it has to pass."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from toolkit.called import program
from toolkit.commands.telling import USUAL_EXIT, told

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = {
    "routing": "a routing protocol at sea", "mac": "a MAC at sea", "prediction": "a predictor of SNR", "mobility": "how nodes move",
    "program": "traffic", "distributed": "a way of exchanging gradients", "continual": "a method of continual learning",
    "pruning": "a way of choosing what is pruned",
    "model": "a network to be learnt", "dataset": "a data set", "device": "a machine that computes", "modem": "an acoustic modem",
    "link": "a link between machines", "scenario": "a small scenario at sea",
}
"""What can be begun, by family."""
FILES = {"device": ".yaml", "modem": ".yaml", "link": ".yaml", "scenario": ".yaml"}
"""Ending of what is no Python."""

TEST_OF_A_PART = '''"""{name}: what every member of its family keeps. Laws of your own go below."""

from __future__ import annotations

import pytest
from {module} import {item}

from toolkit.laws import Law, laws_of, title


@pytest.mark.parametrize("law", laws_of({item}), ids=title)
def test_it_keeps_the_laws_of_its_family(law: Law) -> None:
    law({item}())
'''
TEST_OF_A_PROFILE = '''"""{name}: its numbers make sense together, and their source is told. Laws of your own go below."""

from __future__ import annotations

from pathlib import Path

from toolkit.laws.profiles import judged_file


def test_its_numbers_make_sense() -> None:
    _, verdicts = judged_file(str(Path(__file__).with_name("{name}.yaml")))
    assert [verdict for verdict in verdicts if verdict.broken] == []
'''
TEST_OF_A_MODEL = '''"""{name}: it takes the images of a data set, and every weight of it learns."""

from __future__ import annotations

import torch
from {module} import {item}


def test_it_scores_images_and_every_weight_learns() -> None:
    network = {item}(num_classes=10, in_channels=1)
    scores = network(torch.randn(4, 1, 16, 16))
    assert scores.shape == (4, 10)
    scores.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
'''
TEST_OF_A_DATASET = '''"""{name}: images and labels fit each other, and every class is there."""

from __future__ import annotations

import torch
from {module} import load


def test_images_and_labels_fit() -> None:
    data = load()
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert images.dtype == torch.uint8
        assert images.shape[0] == labels.shape[0] > 0
        assert sorted(labels.unique().tolist()) == list(range(data.num_classes))
'''
TEST_OF_A_SCENARIO = '''"""{name}: every arm of it can be run."""

from __future__ import annotations

from pathlib import Path

from toolkit import Scenario


def test_every_arm_can_be_run() -> None:
    Scenario.load(Path(__file__).with_name("{name}.yaml")).check()
'''
TESTS = {
    "device": TEST_OF_A_PROFILE, "modem": TEST_OF_A_PROFILE, "link": TEST_OF_A_PROFILE, "model": TEST_OF_A_MODEL,
    "dataset": TEST_OF_A_DATASET, "scenario": TEST_OF_A_SCENARIO,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        prog=program("new"), formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write a file that runs as it is, to be changed, and a test file with what it has to keep.",
        epilog="families:\n" + "\n".join(f"  {key:12}  {about}" for key, about in ABOUT.items()) + f"\n\n{USUAL_EXIT}",
    )
    cli.add_argument("family", metavar="FAMILY", help="for example routing, predictor, mac, device, scenario")
    cli.add_argument("name", metavar="NAME", help="of the file, in small letters: gossip")
    cli.add_argument("--out", metavar="FOLDER", default=".", help="where the files are written (default: here)")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return told(_new, parser().parse_args(argv))


def _new(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit.errors import RunDirectoryError

    key = _family(args.family)
    name = _checked_name(args.name)
    folder = Path(args.out)
    files = written(key, name)
    for path in files:
        if (folder / path).exists():
            raise RunDirectoryError(f"{folder / path}: is there already, and is not overwritten; give another name, or another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(f"--out {folder}: cannot be written ({error.strerror or error})") from error
    first, test = files
    sys.stdout.write(f"{folder / first}: {ABOUT[key]}, which runs as it is\n{folder / test}: its tests\n\n")
    sys.stdout.write(_next(key, folder / first, folder / test))
    return 0


def _next(key: str, path: Path, test: Path) -> str:
    """What to do now."""
    shown = path.as_posix() if "/" in path.as_posix() else f"./{path.name}"
    lines = [] if key in {"model", "dataset", "scenario"} else [f"toolkit check {shown}"]
    lines.append(f"python -m pytest {test.as_posix()}")
    if key == "scenario":
        lines.append(f"toolkit simulate {path.as_posix()}")
    where = "" if key == "scenario" else "\nIts first lines say how a scenario beside it names it.\n"
    return "Next:\n\n" + "\n".join(f"  {line}" for line in lines) + f"\n{where}"


def _family(name: str) -> str:
    """Return the key of what can be begun.

    Raises:
        ScenarioError: there is no such family, or nothing to begin it with.
    """
    from toolkit import catalogue
    from toolkit.core.part import nearest
    from toolkit.errors import ScenarioError

    if catalogue.plain(name) in {"scenario", "scenarios"}:
        return "scenario"
    family = catalogue.family_called(name)
    if family is None:
        raise ScenarioError(f"{name}: is not a family{nearest(catalogue.plain(name), list(ABOUT))} (can be begun: {', '.join(ABOUT)})")
    if family.key not in ABOUT:
        member = next(iter(catalogue.members(family).values()))
        place = member.path.relative_to(catalogue.PACKAGE.parent)
        raise ScenarioError(f"{name}: there is nothing to begin a {family.word} with; copy one that is there, such as {place}")
    return family.key


def _checked_name(name: str) -> str:
    import re

    from toolkit.core import trust
    from toolkit.errors import ScenarioError, shortened

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name == "mine":
        rule = "must be small letters, digits and _, begin with a letter, have at most 40 of them, and be another than 'mine'"
        raise ScenarioError(f"{shortened(name)}: {rule}")
    if trust.is_installed(name):
        raise ScenarioError(f"{name}: is the name of a module that is installed, which would be found instead; give another")
    return name


def written(key: str, name: str) -> dict[str, str]:
    """Return the files that are begun with, name to text: the thing itself, and its test."""
    import re
    from importlib.resources import files

    item = "".join(word.capitalize() for word in name.split("_"))
    ending = FILES.get(key, ".py")
    text = files("toolkit.templates").joinpath(f"{key}{ending}").read_text(encoding="utf-8")
    title, _, rest = text.partition("Mine: ")
    own = re.sub(r"\bMine(?=[A-Z]|\b)", item, rest)
    own = re.sub(r"\bmine\b", name, f"{title}{name}: {own}")
    test = TESTS.get(key, TEST_OF_A_PART).format(name=name, module=name, item=item)
    return {f"{name}{ending}": own, f"test_{name}.py": test}
