"""Forecasts inside one's own program, and records tuned and forecast from the command line."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.compare import holm
from toolkit.acoustic.prediction.evaluate import Z90
from toolkit.acoustic.prediction.tuning import SPACES, candidates, tune
from toolkit.errors import DataError, ScenarioError
from toolkit.predict import Stream, main

STEP_S = 1800.0


def filled(predictor: str = "ar", **settings: object) -> Stream:
    stream = Stream(predictor, step_s=STEP_S, **settings)
    for index, (one, other) in enumerate(zip(series_a(0, 12), series_a(1, 12), strict=True)):
        stream.push((index + 0.5) * STEP_S, one, link="a")
        if index % 3:
            stream.push((index + 0.5) * STEP_S, other, link="b")
    return stream


def test_a_stream_says_what_the_predictor_says() -> None:
    stream = filled()
    part = Predictor.find("ar").model_validate({"step_s": STEP_S, "max_cells": 8192})
    state = part.init()
    for index, value in enumerate(series_a(0, 12)):
        part.update(state, (index + 0.5) * STEP_S, float(value))
    said, found = part.predict(state, 579.5 * STEP_S), stream.forecast("2h", link="a")
    assert (found.mean, found.std, found.fell_back) == (said.mean_db, said.std_db, said.fell_back)
    assert found.at == 579.5 * STEP_S
    assert found.high - found.mean == pytest.approx(Z90 * found.std) == found.mean - found.low
    assert stream.links == ["a", "b"]
    assert stream.forecast(7200.0, link="b") != found


@pytest.mark.parametrize("predictor", ["knn", "rls", "harmonic", "lags_and_phases"])
def test_a_saved_stream_goes_on_as_if_nothing_had_happened(tmp_path: Path, predictor: str) -> None:
    stream = filled(predictor)
    stream.save(tmp_path / "links.npz")
    again = Stream.load(tmp_path / "links.npz")
    for one in (stream, again):
        one.push(576.5 * STEP_S, 30.0, link="a")
    for link in "ab":
        assert again.forecast("3h", link=link) == stream.forecast("3h", link=link)


def test_times_may_be_dates_and_missing_values_leave_no_trace() -> None:
    stream = Stream("persistence", step_s=60.0)
    stream.push(datetime(2024, 5, 1, 12, 0), 3.0)
    stream.push(datetime(2024, 5, 1, 12, 5, tzinfo=UTC), math.nan)
    assert stream.forecast("1min").at == datetime(2024, 5, 1, 12, 1, tzinfo=UTC).timestamp()


def test_mistakes_get_a_sentence(tmp_path: Path) -> None:
    stream = Stream("persistence", step_s=60.0)
    with pytest.raises(DataError, match="nothing was pushed yet"):
        stream.forecast("1h")
    stream.push(600.0, 1.0)
    with pytest.raises(DataError, match="samples come in order of time"):
        stream.push(0.0, 1.0)
    with pytest.raises(ScenarioError, match="is not a predictor"):
        Stream("knnn")
    with pytest.raises(ScenarioError, match=r"knn\.kk|unknown key 'kk'"):
        Stream("knn", kk=3)
    (tmp_path / "bad.npz").write_text("no archive", encoding="utf-8")
    with pytest.raises(DataError, match="is no saved stream"):
        Stream.load(tmp_path / "bad.npz")


def test_a_young_link_says_that_it_falls_back() -> None:
    stream = Stream("knn", step_s=STEP_S)
    stream.push(0.0, 5.0)
    assert stream.forecast("1h").fell_back


MEDIAN = '''
from typing import final
import numpy as np
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.core.work import Work

@final
class Median(Predictor):
    def init(self, truth=None):
        return []
    def update(self, state, t_s, snr_db, *, censored=False):
        state.append(snr_db)
    def predict(self, state, at_s):
        return Forecast(float(np.median(state)), float(np.std(state)) + 1.0) if state else None
    def work(self, state):
        return Work(1.0, 1.0)
'''


def test_a_predictor_of_ones_own_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "mypkg" / "median.py").write_text(MEDIAN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "a.csv"
    path.write_text("time,snr_db\n" + "\n".join(f"{i * STEP_S},{v:.3f}" for i, v in enumerate(series_a(0, 4))) + "\n", encoding="utf-8")
    assert main([str(path), "--predictor", "mypkg.median", "--compare", "ewma", "--json"]) == 0
    assert {row["predictor"] for row in json.loads(capsys.readouterr().out)} == {"mypkg.median", "persistence", "ewma"}
    assert Stream("mypkg.median").predictor.type_name() == "mypkg.median"
    assert main([str(path), "--predictor", "mypkg.mean"]) == 2
    assert "mypkg.mean" in capsys.readouterr().err
    sys.modules.pop("mypkg.median", None)


def test_tuning_sees_the_past_alone_and_every_method_gets_as_many_tries(tmp_path: Path, capsys) -> None:
    values = series_a(0, 12)
    part = Predictor.find("ar")
    choices = []
    for end in (values[400:], 100.0 * np.ones(176)):
        row = np.concatenate([values[:400], end])
        choices.append(tune("ar", part.model_validate, row[:400], (1, 6), count=5))
    assert choices[0] == choices[1]
    assert choices[0].tried == 5
    assert choices[0].score <= choices[0].default_score
    path = tmp_path / "a.csv"
    path.write_text("time,snr_db\n" + "\n".join(f"{i * STEP_S},{v:.3f}" for i, v in enumerate(values)) + "\n", encoding="utf-8")
    arguments = [str(path), "--predictor", "ar", "--compare", "ewma", "--tune", "3", "--figure", str(tmp_path / "f.png")]
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "(3 settings;" in out


@pytest.mark.parametrize("name", SPACES)
def test_every_setting_that_tuning_tries_is_one(name: str) -> None:
    """The defaults come first, and nothing twice."""
    tried = candidates(name, 20)
    assert tried[0] == {}
    assert len({str(one) for one in tried}) == len(tried)
    for settings in tried:
        Predictor.find(name).model_validate({**settings, **({"segments": 3, "window": 24} if name == "knn_compressed" else {})})


def test_holms_adjustment_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, math.nan]) == pytest.approx([0.03, 0.06, 0.06, math.nan], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_notebook_runs_and_is_the_script(capsys) -> None:
    folder = Path(__file__).parent.parent / "docs" / "notebooks"
    script = (folder / "prediction_stream.py").read_text(encoding="utf-8")
    exec(compile(script, "prediction_stream.py", "exec"), {"__name__": "notebook"})
    out = capsys.readouterr().out
    assert "within the 90 % interval" in out
    cells = json.loads((folder / "prediction_stream.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert "".join(cell["source"]) in script


def test_the_example_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first Python block of docs/prediction.md, at most fifteen lines of it."""
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "docs" / "prediction.md").read_text(encoding="utf-8")
    block = text.split("```python\n")[1].split("```")[0]
    assert len(block.strip().splitlines()) <= 15
    exec(compile(block, "prediction.md", "exec"), {})


def test_a_saved_stream_makes_no_code_of_others_run(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    Stream("ewma").save(path)
    with np.load(path) as archive:
        rows = {name: archive[name] for name in archive.files}
    head = json.loads(str(rows["head"]))
    rows["head"] = np.array(json.dumps({**head, "predictor": {"type": "this.x"}}))
    np.savez(path, **rows)
    with pytest.raises(DataError, match=r"s\.npz: its predictor cannot be used: .*--trust this"):
        Stream.load(path)
    assert "this" not in sys.modules
