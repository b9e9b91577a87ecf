"""The page that plays a run: it holds the trace, needs nothing else, and shows in a browser what the trace says."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit import replay
from toolkit.core.rundir import RunDirectory
from toolkit.core.world import World
from toolkit.replay import main
from toolkit.replay_page import pack, render
from toolkit.scenario import Scenario

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS: dict[str, Any] = {
    "name": "played", "seed": 1, "seeds": 2, "duration_s": 600,
    "fabric": {
        "type": "acoustic", "trace": True, "epoch_s": 60, "history_s": 21_600, "drain_s": 60,
        "layout": {"nodes": 9, "sinks": 2, "width_m": 2500, "length_m": 2500, "depth_m": 400},
        "modem": {"profile": "evologics_like"}, "sea": {}, "routing": {"type": "dbr"}, "mobility": {"type": "anchored_drift"},
    },
    "program": {"type": "poisson", "interval_s": 60, "nbytes": 64},
    "compare": {"DBR": {}, "flooding.fast": {"fabric.routing": {"type": "flooding"}}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run directory with all that the page is made from."""
    out = RunDirectory(tmp_path_factory.mktemp("replay") / "run")
    scenario = Scenario.build(SETTINGS)
    out.open(scenario.dump(), resume=False)
    for arm, spec in scenario.arms().items():
        for seed in (1, 2):
            world = World(seed, 600.0, trace=out.trace_stem(f"{arm}-s{seed}"))
            sea = spec.fabric.build(world)
            sea.launch(spec.program)
            world.env.run(until=600.0)
            sea.finish()
            world.ledger.close(out.metrics(f"{arm}-s{seed}"))
    return out.path


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    assert main([str(run)]) == 0
    return run / "replay" / "DBR-s1.html"


def events(run: Path, name: str = "DBR-s1") -> pd.DataFrame:
    return pd.read_parquet(run / "trace" / f"{name}.parquet")


def payload(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="replay">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def column(table: dict[str, Any], name: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(table[name]["data"]), dtype="<" + table[name]["type"])


def test_the_page_holds_the_whole_trace(run: Path, page: Path) -> None:
    rows, packed = events(run), payload(page)
    sent = rows[rows.event == "tx"].sort_values("t_s", kind="stable")
    np.testing.assert_array_equal(column(packed["tx"], "t"), sent.t_s)
    for name, source in (("node", "node"), ("peer", "peer"), ("packet", "packet"), ("nbytes", "nbytes")):
        np.testing.assert_array_equal(column(packed["tx"], name), sent[source])
    assert [packed["kinds"][code] for code in column(packed["tx"], "kind")] == sent.kind.tolist()
    first = column(packed["tx"], "first")
    cause = np.repeat(np.arange(len(sent)), np.diff(first))
    heard = rows[rows.event == "rx"].assign(cause=lambda frame: frame.frame.map({n: k for k, n in enumerate(sent.frame)}))
    heard = heard.sort_values(["cause", "t_s"], kind="stable")
    assert first[-1] == len(heard) > 100
    np.testing.assert_array_equal(column(packed["rx"], "node"), heard.node)
    assert [packed["outcomes"][code] for code in column(packed["rx"], "outcome")] == heard.outcome.tolist()
    np.testing.assert_allclose(column(packed["tx"], "t")[cause] + column(packed["rx"], "lag"), heard.t_s, atol=1e-6)
    np.testing.assert_allclose(column(packed["rx"], "snr") / 10, heard.snr_db, atol=0.05 + 1e-9)
    sinr = column(packed["rx"], "sinr")
    np.testing.assert_array_equal(sinr == -32768, heard.sinr_db.isna())
    end = rows[rows.event == "end"].set_index("packet")
    fate = [packed["fates"][code] for code in column(packed["packet"], "fate")]
    assert fate == end.outcome[column(packed["packet"], "id")].tolist()
    places = pd.read_parquet(run / "trace" / "DBR-s1-nodes.parquet")
    np.testing.assert_allclose(column(packed["epoch"], "place").reshape(-1, 3), places[["x_m", "y_m", "depth_m"]], rtol=1e-6, atol=1e-3)
    assert packed["sinks"] == [9, 10]


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=|<link|@import|url\(|fetch\(|XMLHttpRequest|import ", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "{{" not in text.split("<script")[0]


def test_the_same_trace_gives_the_same_page(run: Path, page: Path, tmp_path: Path) -> None:
    assert main([str(run), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_window_holds_what_begins_in_it(run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "part.html"
    assert main([str(run), "--arm", "flooding.fast", "--seed", "2", "--from", "100", "--to", "220", "--out", str(out)]) == 0
    rows, packed = events(run, "flooding.fast-s2"), payload(out)
    sent = rows[(rows.event == "tx") & (rows.t_s >= 100) & (rows.t_s < 220)]
    assert f"{len(sent)} frames" in capsys.readouterr().out
    np.testing.assert_array_equal(column(packed["tx"], "t"), sent.t_s)
    assert column(packed["tx"], "first")[-1] == rows[rows.event == "rx"].frame.isin(sent.frame).sum()
    end = rows[rows.event == "end"]
    alive = end[(end.t_s >= 100) & (end.t_s - end.dur_s < 220)]
    assert sorted(column(packed["packet"], "id")) == sorted(alive.packet)
    assert column(packed["epoch"], "t").tolist() == [60.0, 120.0, 180.0]


def test_no_text_of_a_scenario_becomes_markup(run: Path) -> None:
    nodes = pd.read_parquet(run / "trace" / "DBR-s1-nodes.parquet")
    text = render(pack(events(run), nodes, 1500.0, 0.0, 10.0, {"title": "</script><b>", "subtitle": "<i>"}))
    assert "</script><b>" not in text
    assert "<i>" not in text
    assert html.escape("</script><b>") in text.split("</title>")[0]


def test_a_window_in_which_nothing_happens_is_a_page_too(run: Path, tmp_path: Path) -> None:
    assert main([str(run), "--from", "0", "--to", "0.001", "--out", str(tmp_path / "still.html")]) == 0
    assert len(column(payload(tmp_path / "still.html")["tx"], "t")) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arm", "DBRR"], r"--arm DBRR: .* has no trace of it; did you mean 'DBR'\? \(has: DBR, flooding.fast\)"),
        (["--seed", "7"], r"--seed 7: .* has no trace of it for DBR \(has: 1, 2\)"),
        (["--from", "600"], r"--from 600: must be at least 0 and below 600 s"),
        (["--from", "50", "--to", "50"], r"--to 50: must be above --from \(50\) and at most 600 s"),
        (["--to", "601"], r"--to 601: must be above --from \(0\) and at most 600 s"),
        (["--from", "nan"], r"--from nan: must be at least 0"),
        (["--out", "/dev/null/page.html"], r"/dev/null/page.html: cannot be written .*give another --out"),
    ],
)
def test_a_mistake_gets_one_sentence(run: Path, capsys, arguments: list[str], said: str) -> None:
    assert main([str(run), *arguments]) == 2
    error = capsys.readouterr().err
    assert re.match(f"error: {said}", error), error
    assert error.count("\n") == 1


def test_a_run_without_a_trace_says_how_to_get_one(tmp_path: Path, capsys) -> None:
    (tmp_path / "trace").mkdir()
    assert main([str(tmp_path)]) == 2
    assert re.fullmatch(r"error: .*: holds no trace; run its scenario with fabric\.trace: true .*\n", capsys.readouterr().err)
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is no run directory" in capsys.readouterr().err


def test_a_broken_trace_is_named(run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "DBR-s1.parquet").write_bytes(b"PAR1 and then nothing")
    assert main([str(tmp_path)]) == 2
    assert re.fullmatch(r"error: .*DBR-s1\.parquet: cannot be read as a trace .*\n", capsys.readouterr().err)


def test_a_page_too_large_is_refused_with_a_window_that_fits(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(replay, "LARGEST_BYTES", 120_000)
    out = tmp_path / "page.html"
    command = [str(run), "--arm", "flooding.fast", "--out", str(out)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert not out.exists()
    window = re.search(r"give a shorter window, for example (--from \S+ --to \S+)\n", error)
    assert window is not None, error
    assert main([*command, *window[1].split()]) == 0
    assert out.stat().st_size <= 120_000


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, toolkit.replay as r\ntry:\n    r.main(['--help'])\nexcept SystemExit:\n    sys.stderr.write(' '.join(sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())
    assert not loaded & {"pandas", "numpy", "pyarrow", "simpy", "pydantic"}


# In a browser

def browse(page: Path, where: str, folder: Path, *more: str) -> str:
    """What Chromium makes of the page at *where*: its document after the scripts have run."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}",
        "--window-size=1360,860", "--virtual-time-budget=2000", *more, f"file://{page}#{where}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def shown(document: str) -> dict[str, str]:
    """The data attributes of the document's root."""
    root = re.search(r"<html[^>]*>", document)
    assert root is not None
    return {name: html.unescape(value) for name, value in re.findall(r'data-([a-z-]+)="([^"]*)"', root[0])}


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")


@needs_browser
def test_the_browser_counts_what_the_trace_says(run: Path, page: Path, tmp_path: Path) -> None:
    rows = events(run)
    sent = rows[rows.event == "tx"]
    length_s = sent.set_index("frame").dur_s
    at_s = float(sent.t_s.iloc[len(sent) // 2]) + 0.2  # a frame is in the water
    data = shown(browse(page, f"t={at_s}&view=side", tmp_path, "--dump-dom"))
    assert data["ready"] == "yes"
    assert float(data["t"]) == pytest.approx(at_s, abs=1e-3)
    assert data["view"] == "side"
    end = rows[rows.event == "end"]
    over = end[(end.t_s <= at_s) & (end.outcome != "in_flight")]
    created = rows[(rows.event == "new") & (rows.t_s <= at_s)]
    heard = rows[rows.event == "rx"]
    arrived = heard[heard.t_s + length_s[heard.frame].to_numpy() <= at_s]
    expected = {
        "created": len(created), "delivered": (over.outcome == "delivered").sum(), "lost": (over.outcome != "delivered").sum(),
        "underway": len(created) - len(over), "sent": (sent.t_s <= at_s).sum(), "decoded": (arrived.outcome == "decoded").sum(),
    }
    assert {name: int(data[name]) for name in expected} == expected
    assert int(data["in-water"]) >= 1


@needs_browser
def test_a_packet_can_be_followed_to_its_sink(run: Path, page: Path, tmp_path: Path) -> None:
    """The route that the page draws has as many hops as the frame that was delivered said it had made."""
    metrics = pd.read_parquet(run / "metrics" / "DBR-s1.parquet").query("name == 'hops'")
    farthest = metrics.loc[metrics.value.idxmax()]
    end = events(run).query("event == 'end'").set_index("packet").loc[int(farthest.step)]
    assert farthest.value >= 2
    document = browse(page, f"t={end.t_s + 0.1}&packet={int(farthest.step)}", tmp_path, "--dump-dom")
    route = [int(node) for node in shown(document)["route"].split("-")]
    assert (route[0], route[-1], len(route) - 1) == (end.node, end.peer, farthest.value)
    assert f"delivered at sink {end.peer}" in document


@needs_browser
def test_a_picture_is_drawn(page: Path, tmp_path: Path) -> None:
    """Both themes give a picture of many colours, and not the same one."""
    import matplotlib.image

    pictures = []
    for theme in ("light", "dark"):
        browse(page, f"t=60&theme={theme}", tmp_path, f"--screenshot={tmp_path / theme}.png")
        pictures.append(matplotlib.image.imread(tmp_path / f"{theme}.png")[..., :3])
        stage = np.round(pictures[-1][70:740, 30:1030] * 255).astype(int)
        assert len(np.unique(stage @ [65_536, 256, 1])) > 300
    assert pictures[0].mean() > 0.75 > 0.3 > pictures[1].mean()


@needs_browser
def test_playing_moves_the_clock_and_skips_quiet_times(run: Path, page: Path, tmp_path: Path) -> None:
    """Two seconds at a tenth of the speed of time get past a silence of which they would otherwise play a fraction."""
    sent = events(run).query("event == 'tx'").t_s.to_numpy()
    quiet = int(np.diff(sent).argmax())
    begin_s, end_s = sent[quiet] + 4.0, sent[quiet + 1]  # by then all sound of the last frame has gone by
    assert end_s - begin_s > 2.0
    data = shown(browse(page, f"t={begin_s}&speed=0.1&play=1", tmp_path, "--dump-dom"))
    assert end_s - 0.1 < float(data["t"]) < end_s + 0.5
