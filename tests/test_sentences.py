"""Whatever is wrong with what a command is given: one sentence, a status, and never a traceback."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_simulate import ROOT, run, tiny
from toolkit import replay, timeline
from toolkit.core import yaml12
from toolkit.errors import ScenarioError, shortened
from toolkit.simulate import main

pytestmark = pytest.mark.usefixtures("undrawn_module")

BOMB = "name: x\ncompare:\n" + "  a0: &a0 {x: 1}\n" + "".join(
    f"  a{level}: &a{level} {{{', '.join(f'k{place}: *a{level - 1}' for place in range(9))}}}\n" for level in range(1, 12)
)


@pytest.mark.parametrize(("text", "says"), [
    (BOMB, "its aliases written out come to more than 100000 values"),
    ("a: &a [*a]", "an alias names what it is part of"),
    ("? [a, b]\n: 1", "a key must be a text or a number"),
    ("? {a: b}\n: 1", "a key must be a text or a number"),
    ("a: " + "[" * 3000, "is nested too deeply, above 100 levels"),
    ("a: " + "[" * 150 + "]" * 150, "is nested too deeply, above 100 levels"),
    ("seed: " + "9" * 5000, "cannot be read as int"),
    ("seed: !!int abc", "'abc' cannot be read as int"),
    ("seed: !!float abc", "'abc' cannot be read as float"),
    ("seed: !!bool abc", "'abc' cannot be read as bool"),
    ("seed: !!binary é", "s.yaml, line 1"),
    ("seed: !!timestamp abc", "'abc' cannot be read as timestamp"),
    ("seed: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ("a: \x07", "is not YAML text"),
], ids=range(14))
def test_text_that_is_no_scenario(text: str, says: str) -> None:
    begun_s = time.process_time()
    with pytest.raises(ScenarioError) as caught:
        yaml12.parse(text, "s.yaml")
    assert time.process_time() - begun_s < 5
    sentence = str(caught.value)
    assert sentence.startswith("s.yaml")
    assert says in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_aliases_within_reason_are_read() -> None:
    assert yaml12.parse("a: &a {x: 1}\nb: *a\nc: [*a, *a]", "s.yaml") == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}] * 2}
    assert yaml12.parse("", "s.yaml") is None


def test_a_pipe_is_no_scenario(tmp_path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert run(tmp_path / "pipe.yaml", tmp_path / "out") == 2
    assert "is no regular file" in capsys.readouterr().err


@pytest.mark.parametrize(("changes", "says"), [
    ({"seeds": [1, 2]}, "seeds: input should be a valid integer (got [1, 2])"),
    ({"seeds": {"a": 1}}, "seeds: input should be a valid integer (got {'a': 1})"),
    ({"x" * 100_000: 1}, "unknown key 'xxxx"),
    ({"fabric.mac": "y" * 100_000}, "(100000 characters)' is not a MAC"),
    ({"seed": "z" * 100_000}, "seed: input should be a valid integer"),
    ({"compare": {"q" * 100_000: {}}}, "compare: arm name 'qqqq"),
    ({"compare": {"[/red]": {}}}, "compare: arm name '[/red]'"),
], ids=range(7))
def test_values_are_told_and_not_echoed_whole(tmp_path, capsys, changes: dict[str, object], says: str) -> None:
    assert run(tiny(tmp_path, **changes), tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert len(errors) < 400


def test_a_file_that_is_no_table_is_not_quoted(tmp_path, capsys) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1\n")
    assert run(tiny(tmp_path, **{"fabric.sea.wind.file": str(tmp_path / "passwd")}), tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert "has 1 columns and none called 'wind_speed_m_s'" in errors
    assert "root" not in errors.replace(str(tmp_path), "")


def test_paths_that_cannot_be(tmp_path, capsys) -> None:
    path = tiny(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out in (tmp_path / ("x" * 300), tmp_path / "loop", tmp_path / "loop" / "out", tmp_path.joinpath(*["y" * 200] * 20)):
        assert run(path, out) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("error: ")
        assert "give another --out" in errors
        assert errors.count("\n") == 1
        assert len(errors) < 400


def call(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "tests.undrawn", "toolkit.simulate", *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False, text=True, stderr=subprocess.PIPE, timeout=120, **options,
    )


def small(tmp_path: Path) -> Path:
    return tiny(tmp_path, seeds=1, compare={"flooding": {"fabric.routing": {"type": "flooding"}}})


def test_markup_in_a_path_is_a_path(tmp_path, capsys) -> None:
    assert main([str(small(tmp_path)), "--jobs", "1", "--out", str(tmp_path / "q[" / "x]")]) == 0
    assert str(tmp_path / "q[" / "x]" / "report.html") in capsys.readouterr().out


def test_a_full_or_closed_output_is_told(tmp_path) -> None:
    path = small(tmp_path)
    with Path("/dev/full").open("w") as full:
        done = call(str(path), "--jobs", "1", "--out", str(tmp_path / "full"), stdout=full)
    assert (done.returncode, done.stderr) == (
        1, f"error: the standard output cannot be written (No space left on device); results are in {tmp_path / 'full'}\n"
    )
    closed = call(str(path), "--jobs", "1", "--out", str(tmp_path / "closed"), preexec_fn=lambda: os.close(1))
    assert "Traceback" not in closed.stderr
    assert (tmp_path / "closed" / "DONE").exists()


def test_a_limit_on_the_size_of_files_is_told(tmp_path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    done = call(str(small(tmp_path)), "--jobs", "1", "--out", str(tmp_path / "out"), stdout=subprocess.DEVNULL, preexec_fn=limit)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert "--resume" in done.stderr


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("traced")
    assert run(tiny(folder, **{"seeds": 1, "fabric.trace": True}), folder / "out") == 0
    return folder / "out"


GARBAGE: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"PAR1 and nothing more"), lambda path: path.write_text("[1, 2]"),
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), Path.unlink,
]


@pytest.mark.parametrize("name", [
    "report.csv", "versions.json", "scenario.yaml", "metrics.parquet", "ledger/flooding-s1-000.parquet", "trace/flooding-s1.parquet",
    "trace/flooding-s1-nodes.parquet",
])
def test_a_damaged_directory_is_told_by_every_command(traced, tmp_path, capsys, name: str) -> None:
    from toolkit.errors import UserError
    from toolkit.render.result import Result

    for number, garbage in enumerate(GARBAGE):
        damaged = tmp_path / str(number)
        shutil.copytree(traced, damaged)
        garbage(damaged / name)
        for command in (timeline, replay):
            status = command.main([str(damaged), "--arm", "flooding"])
            errors = capsys.readouterr().err
            assert status in {0, 2}
            assert errors.count("\n") == (status == 2)
            assert len(errors.replace(str(tmp_path), "")) < 400
        with contextlib.suppress(UserError):  # and nothing else
            Result.load(damaged)


@pytest.mark.parametrize(("path", "says"), [
    ("program.buffer.images", "less than or equal to 10000000"), ("program.budget.epochs", "less than or equal to 10000"),
    ("program.method", "less than or equal to 65536"),
])
@pytest.mark.parametrize("number", [2**53, 54_107_228_416])
def test_what_no_machine_holds_is_told(path: str, says: str, number: int) -> None:
    from toolkit.scenario import Scenario, replaced

    tree = {
        "name": "x", "fabric": {"type": "cluster", "workers": 1, "device": "raspberry_pi_5"},
        "program": {"type": "continual", "method": "er", "stream": {"tasks": 2},
                    "task": {"dataset": "digits", "model": {"name": "resnet", "options": {"nf": 4}}}},
    }
    value: object = {"type": "gfr", "hidden": number} if path == "program.method" else number
    with pytest.raises(ScenarioError) as caught:
        Scenario.build(replaced(tree, path, value)).check()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert says in str(caught.value)


@pytest.mark.parametrize(("error", "told"), [
    (RuntimeError("Storage size calculation overflowed with sizes=[54107228416, 54107228416]"), True),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 72057594037927936 bytes"), True),
    (MemoryError(), True), (OverflowError("int too large to convert to float"), True), (RuntimeError("a bug of ours"), False),
], ids=range(5))
def test_what_comes_of_several_numbers_together_is_told_too(error: Exception, told: bool) -> None:
    from tests.cluster.helpers import Written, cluster

    class Vast(Written):
        def check(self, fabric: object) -> None:
            raise error

    with pytest.raises(ScenarioError if told else RuntimeError) as caught:
        Vast(act=lambda ctx: iter(())).check_on(cluster(1))
    if told:
        assert "asks for more than can be counted" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_long_texts_are_shortened() -> None:
    assert shortened("a" * 80) == "a" * 80
    assert shortened("a" * 100 + "b" * 100) == "a" * 40 + "…" + "b" * 20 + " (200 characters)"
