"""The HTML report stands alone, is well formed, and takes no text for markup."""

from __future__ import annotations

from html.parser import HTMLParser

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
        assert address.startswith("data:image/png;base64,") or (result.directory / address).is_file()


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


def test_it_tells_results_differences_and_how_to_repeat(read: Reader) -> None:
    for text in ("0.860 ± 0.050", "▲ better", "▼ worse", "no difference shown", "p (Holm)", "paired comparisons over 3 seeds",
                 "python -m toolkit.simulate scenario.yaml", "numpy", "Does it help?"):
        assert text in read.text


def test_an_empty_header_and_no_figures_still_make_a_page(result: Result) -> None:
    text = page(result, ReportHeader("bare"), {}, {})
    assert "<h2>Figures</h2>" not in text
    assert "What to beware of" not in text


def test_short_form_for_notebooks(result: Result) -> None:
    assert result._repr_html_().count("<table>") == 2
