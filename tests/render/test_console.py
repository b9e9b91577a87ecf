"""What commands print is as wide as COLUMNS says where it is piped, and 120 columns where nothing is said."""

from __future__ import annotations

import pytest

from toolkit.render.console import console, say, show, table


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("", 120), ("wide", 120), ("3", 20), ("200", 120)])
def test_prose_wraps_at_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    say(console(), "word [not markup] " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(len(line.rstrip()) for line in lines) <= width
    assert max(len(line) for line in lines) > width - 20
    assert " ".join(lines).split() == ("word [not markup] " * 40).split()


def test_a_quiet_console_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say(console(quiet=True), "word")
    assert capsys.readouterr().out == ""


def test_tables_have_no_frame_and_their_titles_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table()
    shown.add_column("arm")
    shown.add_row("x")
    show(console(), "a [title] that is wider than the table", shown)
    out = capsys.readouterr().out
    assert out.startswith("a [title] that is wider than the table\n")
    assert not set("│┃┏╭") & set(out)


def test_numbers_of_a_piped_table_are_not_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = table()
    for number in range(6):
        shown.add_column(f"column {number}", no_wrap=True)
    shown.add_row(*(f"{number}.23456789" for number in range(6)))
    out = console()
    show(out, "title", shown)
    text = capsys.readouterr().out
    assert out.width == 40
    assert all(f"{number}.23456789" in text for number in range(6))
