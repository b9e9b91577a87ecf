"""The command line as its user meets it: results, resuming, determinism, and one clear sentence for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import toolkit
from toolkit.core import yaml12
from toolkit.core.world import World
from toolkit.errors import RunDirectoryError, UserError
from toolkit.scenario import Scenario
from toolkit.simulate import main

ROOT = Path(__file__).parent.parent
SEA_TRIAL = ROOT / "scenarios" / "sea_trial.yaml"
TINY = {
    "duration_s": 1800.0, "seeds": 2, "fabric.layout.nodes": 8, "fabric.drain_s": 300.0, "fabric.history_s": 43_200.0,
    "program.interval_s": 600.0, "fabric.probe.every_s": 600.0, "fabric.probe.horizons_s": [600.0],
}


def tiny(tmp_path: Path, **changes: object) -> Path:
    """A small copy of the sea trial with three arms, in a folder of its own."""
    tree = yaml12.read(SEA_TRIAL)
    for group in (tree["fabric"]["sea"]["wind"], tree["fabric"]["sea"]["tide"]):
        group["file"] = str((SEA_TRIAL.parent / group["file"]).resolve())
    tree["compare"] = {name: tree["compare"][name] for name in ("DBCAR-kNN", "DBCAR-persistence", "flooding")}
    from toolkit.scenario import replaced

    for key, value in {**TINY, **changes}.items():
        tree = replaced(tree, key, value)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml12.dump(tree), encoding="utf-8")
    return path


def run(path: Path, out: Path, *more: str) -> int:
    return main([str(path), "--out", str(out), "--quiet", "--jobs", "1", *more])


def ledger_bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((directory / "ledger").glob("*.parquet"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("finished")
    path = tiny(folder)
    assert run(path, folder / "out") == 0
    return path, folder / "out"


def test_a_run_leaves_what_the_readme_promises(finished) -> None:
    _, out = finished
    names = {str(path.relative_to(out)) for path in out.rglob("*")}
    assert {"scenario.yaml", "versions.json", "metrics.parquet", "report.csv", "summary.csv", "differences.csv", "report.html",
            "log.txt", "DONE"} <= names
    assert len(list((out / "figures").glob("*.png"))) >= 4
    report = pd.read_csv(out / "report.csv")
    assert list(report.columns) == ["arm", "seed", "metric", "unit", "value"]
    assert set(report.arm) == {"DBCAR-kNN", "DBCAR-persistence", "flooding"}
    assert {"delivery_ratio", "delay_mean_s", "delay_p95_s", "energy_per_delivered_j", "energy_per_node_j", "hops_mean",
            "transmissions_per_packet"} <= set(report.metric)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "src=\"http" not in html
    assert "data:image/png;base64," in html


def test_the_resolved_scenario_gives_the_same_scenario(finished) -> None:
    path, out = finished
    assert Scenario.load(out / "scenario.yaml") == Scenario.load(path)


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_bytes_in_one_process_or_two(finished, tmp_path) -> None:
    path, out = finished
    assert main([str(path), "--out", str(tmp_path / "two"), "--quiet", "--jobs", "2"]) == 0
    assert (tmp_path / "two" / "report.csv").read_bytes() == (out / "report.csv").read_bytes()
    assert ledger_bytes(tmp_path / "two") == ledger_bytes(out)
    assert len(ledger_bytes(out)) == 6


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_resumes_to_the_same_result(finished, tmp_path) -> None:
    path, out = finished
    again = tmp_path / "killed"
    command = [sys.executable, "-m", "toolkit.simulate", str(path), "--out", str(again), "--quiet", "--jobs", "1"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    for _ in range(600):
        if len(list((again / "runs").glob("*.json"))) >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {record.name: record.stat().st_mtime_ns for record in (again / "runs").glob("*.json")}
    assert kept
    assert not (again / "DONE").exists()
    assert run(path, again, "--resume") == 0
    assert (again / "report.csv").read_bytes() == (out / "report.csv").read_bytes()
    assert ledger_bytes(again) == ledger_bytes(out)
    assert all((again / "runs" / name).stat().st_mtime_ns == stamp for name, stamp in kept.items()), "finished runs are not run again"


def default_signals() -> None:
    """Who started us may ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def begun(folder: Path, jobs: int) -> tuple[subprocess.Popen[str], Path]:
    """A long run in a session of its own, two of whose runs are finished."""
    path, out = tiny(folder, seeds=20), folder / "out"
    command = [sys.executable, "-m", "toolkit.simulate", str(path), "--out", str(out), "--jobs", str(jobs)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=default_signals)  # noqa: PLW1509
    for _ in range(1200):
        if len(list((out / "runs").glob("*.json"))) >= 2:
            break
        time.sleep(0.05)
    return process, out


def session(number: int) -> dict[int, str]:
    """Processes that are left of a session, and what was called."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[3]) == number and state[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("number", "whom", "jobs"), [
    (signal.SIGINT, os.killpg, 2), (signal.SIGTERM, os.kill, 2), (signal.SIGHUP, os.killpg, 1),
    *(pytest.param(*case, marks=pytest.mark.slow)
      for case in ((signal.SIGINT, os.killpg, 1), (signal.SIGTERM, os.kill, 1), (signal.SIGHUP, os.killpg, 2))),
])
def test_what_stops_a_run_keeps_what_is_finished(tmp_path, number: signal.Signals, whom, jobs: int) -> None:
    """Ctrl-C and the end of a terminal reach the workers too; `kill` only the process that is named.

    Every signal, and one process and two, are among the quick cases; which signal comes makes no difference to how workers end.
    """
    process, out = begun(tmp_path, jobs)
    whom(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.count("\n") == 1, errors
    assert "finished runs are kept; the same command with --resume does the rest" in errors
    until = time.monotonic() + 2
    while session(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not session(process.pid)
    assert len(list((out / "runs").glob("*.json"))) >= 2


def test_a_worker_that_dies_is_told_in_one_sentence(tmp_path) -> None:
    process, out = begun(tmp_path, 2)
    workers = [pid for pid, command in session(process.pid).items() if "popen_loky" in command]
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("\n") == 1, errors
    assert errors.startswith("error: a process that did runs was killed or died")
    assert "--resume" in errors
    assert len(list((out / "runs").glob("*.json"))) >= 2


def test_arms_share_the_channel(finished) -> None:
    """Common random numbers: in every seed the channel trace is the same for all arms, and differs between seeds."""
    _, out = finished
    metrics = pd.read_parquet(out / "metrics.parquet")
    prints = metrics[metrics.name == "channel_fingerprint"].pivot(index="seed", columns="arm", values="value")
    assert (prints.nunique(axis=1) == 1).all()
    assert prints.iloc[:, 0].nunique() == 2


def test_packets_and_states_are_conserved_in_every_run(finished) -> None:
    _, out = finished
    for path in sorted((out / "ledger").glob("*.parquet")):
        rows = pd.read_parquet(path)
        sends = rows[rows.kind == "send"]
        assert sends.outcome.isin(["delivered", "lost", "in_flight"]).all()
        assert sends.packet.is_unique
        radio = rows[rows.kind.isin(["tx", "rx", "idle"])]
        assert radio.groupby("node").dur_s.sum().to_numpy() == pytest.approx(1800.0, abs=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_from_python(tmp_path) -> None:
    scenario = Scenario.load(tiny(tmp_path, seeds=1), {"compare": {}})
    result = toolkit.run(scenario, out=tmp_path / "out")
    assert result.arms == ["sea_trial"]
    assert {"arm", "seed", "kind", "energy_j"} <= set(result.ledger.columns)
    assert set(result.plot())
    assert "<table" in result._repr_html_()
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        toolkit.run(scenario, out=tmp_path / "out")


MISTAKES = [
    ({"fabric.routng": {"type": "dbr"}}, "fabric: unknown key 'routng'; did you mean 'routing'?"),
    ({"fabric.routing.type": "dbcra"}, "fabric.routing: 'dbcra' is not a routing protocol; did you mean 'dbcar'?"),
    ({"fabric.routing.prediction.type": "knnn"}, "fabric.routing.prediction: 'knnn' is not a predictor; did you mean 'knn'?"),
    ({"duration_s": "long"}, "duration_s: input should be a valid number, unable to parse string as a number (got 'long')"),
    ({"fabric.routing.prediction.k": 0}, "fabric.routing.prediction.k: input should be greater than or equal to 1 (got 0)"),
    ({"fabric.layout.positions_m": [[0, 0, -5]]}, "fabric.layout.positions_m.0.2: input should be greater than or equal to 0 (got -5)"),
    ({"fabric.layout.sinks": 0}, "fabric.layout: sinks: there is no sink; packets need at least 1 to go to"),
    ({"fabric.layout.nodes": 0}, "fabric.layout: nodes: there are 0 nodes; a network needs at least 1"),
    ({"fabric.sea.wind.file": "nowhere.csv"}, "fabric.sea.wind.file: no such file"),
    ({"compare.DBR": {"fabric.routing": {"type": "dbr", "delta": 1}}}, "compare.DBR: fabric.routing: unknown key 'delta'"),
    ({"fabric.modem.profile": "evologic"}, "evologics_like"),
    ({"fabric.sea.start": "1996-06-28T10:00:00Z"}, "stay inside one month"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[next(iter(changes)) for changes, _ in MISTAKES])
def test_mistakes_get_one_clear_sentence(tmp_path, capsys, changes: dict, sentence: str) -> None:
    path = tiny(tmp_path, **changes)
    assert run(path, tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_a_wind_record_with_a_hole_is_refused_with_its_line(tmp_path, capsys) -> None:
    source = ROOT / "data" / "sand_point" / "wind_tmy3_703165_hourly.csv"
    lines = source.read_text(encoding="utf-8").splitlines()
    for name, change, sentence in (
        ("gap", lambda rows: rows[:3700] + rows[3710:], "follows a gap"),
        ("nan", lambda rows: [*rows[:3700], rows[3700].replace(rows[3700].split(",")[2], "nan", 1), *rows[3701:]], "a number is needed"),
        ("twice", lambda rows: [*rows[:3701], rows[3700], *rows[3701:]], "occurs twice"),
        ("unsorted", lambda rows: [*rows[:3700], rows[3701], rows[3700], *rows[3702:]], "sort the rows by time"),
    ):
        record = tmp_path / f"{name}.csv"
        record.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
        assert run(tiny(tmp_path, **{"fabric.sea.wind.file": str(record)}), tmp_path / "out") == 2
        errors = capsys.readouterr().err
        assert sentence in errors, name
        assert f"{name}.csv, line 370" in errors
        assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["nowhere.yaml"], "nowhere.yaml: no such file"), (["{}", "--set", "seeds"], "must look like path=value"),
     (["{}", "--set", "sedes=3"], "unknown key 'sedes'; did you mean 'seeds'?"), (["{}", "--seeds", "0"], "--seeds 0: must be at least 1")],
)
def test_mistakes_on_the_command_line(tmp_path, capsys, arguments: list[str], sentence: str) -> None:
    path = tiny(tmp_path)
    assert main([argument.format(path) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_used_directory_is_not_overwritten(finished, capsys) -> None:
    path, out = finished
    before = (out / "report.csv").read_bytes()
    assert run(path, out) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert run(path, out, "--resume", "--set", "duration_s=900") == 2
    assert "another scenario" in capsys.readouterr().err
    assert (out / "report.csv").read_bytes() == before


def test_a_full_disk_gets_one_sentence(finished, capsys, monkeypatch, tmp_path) -> None:
    import errno

    from toolkit.core.ledger import Ledger

    def full(self, *paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Ledger, "close", full)
    path, _ = finished
    assert run(path, tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert "No space left on device" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors


def test_a_file_in_the_way_of_the_directory(tmp_path, capsys) -> None:
    (tmp_path / "out").write_text("in the way")
    assert run(tiny(tmp_path), tmp_path / "out") == 2
    assert "a file stands where a folder is needed" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_links_of_the_sea_trial_are_grey_as_they_should_be(seed: int) -> None:
    """Check 8: at the worst hour 20 to 60 % of the upward links are neither good nor dead."""
    scenario = Scenario.load(SEA_TRIAL)
    network = scenario.fabric.build(World(seed, 60.0))
    metrics = network.world.ledger.metrics()
    assert 0.2 <= metrics.loc[metrics.name == "grey_share_peak", "value"].item() <= 0.6


def test_check_reads_everything_and_runs_nothing(tmp_path, capsys) -> None:
    path = tiny(tmp_path)
    assert main([str(path), "--check", "--out", str(tmp_path / "out")]) == 0
    assert "3 arms x 2 seeds" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_records_say_what_was_run(finished) -> None:
    _, out = finished
    record = json.loads((out / "runs" / "flooding-s1.json").read_text(encoding="utf-8"))
    assert record["arm"] == "flooding"
    assert record["seed"] == 1
    with pytest.raises(UserError):
        Scenario.load(out / "report.csv")


@pytest.mark.parametrize("name", ["sea_trial", "sea_trial_open"])
def test_shipped_scenarios_are_good(name: str, capsys) -> None:
    assert main([str(ROOT / "scenarios" / f"{name}.yaml"), "--check"]) == 0
    assert main([str(ROOT / "scenarios" / f"{name}.yaml"), "--check", "--quick"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sea_trial", "sea_trial_open"])
def test_quick_runs_end_to_end(tmp_path, name: str) -> None:
    out = tmp_path / name
    assert main([str(ROOT / "scenarios" / f"{name}.yaml"), "--quick", "--quiet", "--out", str(out)]) == 0
    assert (out / "DONE").exists()
    assert len(list((out / "figures").glob("*.png"))) == 6
