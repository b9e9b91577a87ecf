"""The HTML report stands alone, is well formed, and takes no text for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import fake_run
from toolkit.render.html import ReportHeader, page, write_html
from toolkit.render.result import Result

HEADER = ReportHeader(
    "Tide & <tune>", "Does it help?", ["Yes: <b>more</b> arrives."], {"modem <x>": "25 kHz & more"},
    ["One sea <script>alert(1)</script>."], "python -m toolkit.simulate scenario.yaml",
)
VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Collects tags, addresses and text, and notes tags that are closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.broken: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    result = fake_run.build(tmp_path_factory.mktemp("html") / "run")
    result.write_tables()
    (result.directory / "figures").mkdir()
    for name in result.captions:
        (result.directory / "figures" / f"{name}.png").write_bytes(name.encode())
    return result


@pytest.fixture(scope="module")
def html(result: Result) -> str:
    return write_html(result, HEADER, result.captions).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def test_it_is_well_formed(read: Reader) -> None:
    assert not read.open
    assert not read.broken


def test_it_stands_alone(html: str, read: Reader, result: Result) -> None:
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert "@import" not in html
    assert "url(" not in html
    for address in read.addresses:
        assert address.startswith(("data:image/png;base64,", "#")) or (result.directory / address).is_file()


def test_text_is_escaped(html: str, read: Reader) -> None:
    for text in ("Tide & <tune>", "Yes: <b>more</b> arrives.", "modem <x>", "One sea <script>alert(1)</script>.", "ewma <fast>"):
        assert text in read.text
        assert text not in html


def test_figures_come_in_order_with_captions(html: str, result: Result) -> None:
    order = [name for name in result.captions if (result.directory / "figures" / f"{name}.png").is_file()]
    places = [html.index(f'alt="{name.replace("_", " ")}"') for name in order]
    assert len(order) == 6
    assert places == sorted(places)
    assert html.count("<figcaption>") == 6


def test_a_reader_meets_question_verdict_results_and_figures_and_unfolds_the_rest(html: str, read: Reader) -> None:
    places = [html.index(text) for text in (
        '<p class="question">', 'id="verdict"', 'id="results"', 'id="figures"', 'id="what-to-beware-of"', "<details",
        'id="findings-in-full"', 'id="differences"', 'id="all-metrics"', 'id="costs-by-kind-of-work"', 'id="costs-by-node"',
        'id="what-was-run"',
    )]
    assert places == sorted(places)
    assert "open" not in re.findall(r"<details([^>]*)>", html)


def test_the_contents_lead_to_every_part_and_unfold_it(html: str) -> None:
    addresses = re.findall(r'<li><a href="#([^"]+)">', html)
    assert len(addresses) == 11
    for address in addresses:
        assert html.count(f'id="{address}"') == 1
    for body in re.findall(r"<details>.*?</details>", html, flags=re.DOTALL):
        assert re.match(r'<details><summary>[^<]+</summary><div id="', body)


def test_style_stays_on_the_page(html: str, result: Result) -> None:
    """Every rule is of the class of the page, so that a notebook keeps its looks."""
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    for rule in re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"@media[^{]*\{", "", style)):
        for selector in rule.strip().split(","):
            assert re.match(r"\s*(body)?\.tk(\b|\s)", selector), selector


def test_shares_are_told_within_0_and_1_and_how(read: Reader) -> None:
    assert "that of a share is cut off at 0 and 1" in read.text


@pytest.mark.parametrize(("quick", "seeds", "tag"), [
    (["seeds 2 instead of 5"], 3, "quick look: no verdicts"), (None, 1, "one seed: no verdicts"),
    ([], 1, "quick look, one seed: no verdicts"),
])
def test_a_run_that_bears_no_verdicts_says_so_in_its_title_and_gives_none(
    result: Result, tmp_path: Path, quick: list[str] | None, seeds: int, tag: str
) -> None:
    (tmp_path / "versions.json").write_text(json.dumps({} if quick is None else {"quick": quick}), encoding="utf-8")
    report = result.report[result.report["seed"] <= seeds]
    text = page(Result(tmp_path, report, result.infos), HEADER, {}, {})
    assert f"<title>Tide &amp; &lt;tune&gt; ({tag})</title>" in text
    assert f"<small>{tag}</small>" in text
    for word in ("better", "worse", "no difference shown", "nan", "1 seeds"):
        assert word not in text[text.index("</style>") :].lower().replace("more</b>", ""), word
    if quick:
        assert "seeds 2 instead of 5" in text


def test_it_tells_results_differences_and_how_to_repeat(read: Reader) -> None:
    for text in ("0.860 ± 0.050", "▲ better", "▼ worse", "no difference shown", "p (Holm)", "paired comparisons over 3 seeds",
                 "python -m toolkit.simulate scenario.yaml", "numpy", "Does it help?"):
        assert text in read.text


def test_an_empty_header_and_no_figures_still_make_a_page(result: Result) -> None:
    text = page(result, ReportHeader("bare"), {}, {})
    assert 'id="figures"' not in text
    assert "What to beware of" not in text


def test_short_form_for_notebooks(result: Result) -> None:
    assert result._repr_html_().count("<table>") == 2
