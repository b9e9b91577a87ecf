"""Tables as people have them: text of any separator with or without a header, packed or not, parquet, NumPy archives, DataFrames.

What is unambiguous is found out and said (`notes`); what is not is refused with what would settle it. Cells stay text until something is
made of them, and every row keeps the number of its line, so that a mistake can be named.
"""

from __future__ import annotations

import csv
import gzip
import re
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from toolkit.core.part import nearest
from toolkit.errors import DataError, listed

SAMPLED_LINES = 400
SEPARATORS = (";", "\t", ",", "|", " ")
"""In this order: where commas cut as well as semicolons, they are decimal."""
CALLED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a text is to be cut into cells; None: to be found out."""

    sep: str | None = None
    decimal: str | None = None
    comment: str | None = None


@dataclass
class Table:
    """Columns of text or numbers; the index is the line that a row stands in (from 1), or its number."""

    name: str
    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    decimal: str = "."
    header_line: int = 1

    def column(self, name: str) -> pd.Series:
        """The column called *name*, or, in a table without a header, of that number from 1.

        Raises:
            DataError: there is none, or more than one.
        """
        names = [str(column) for column in self.frame.columns]
        count = names.count(name)
        where = f"{self.name}, line {self.header_line}"
        if count > 1:
            raise DataError(f"{where}: column '{name}' is there {count} times; keep one, or rename the others")
        if not count:
            raise DataError(f"{where}: has no column '{name}'{nearest(name, names)} (columns: {listed(names)})")
        found = self.frame.iloc[:, names.index(name)]
        assert isinstance(found, pd.Series)
        return found


def read_table(source: str | Path | pd.DataFrame | pd.Series, options: TableOptions) -> Table:
    """Read a file, or take a DataFrame or Series as it is (its index is the column 'time').

    Raises:
        DataError: says what is wrong, where, and what would be right.
    """
    if isinstance(source, pd.Series):
        source = source.to_frame(source.name if source.name is not None else "value")
    if isinstance(source, pd.DataFrame):
        frame = source.copy()
        if "time" not in frame.columns and not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None):
            frame.insert(0, "time", frame.index)
        frame.index = pd.RangeIndex(1, len(frame) + 1)
        return Table("the table", frame)
    path = Path(source)
    if path.suffix in {".parquet", ".pq"}:
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as parquet ({error})") from None
        return Table(str(path), read_table(frame, options).frame)
    if path.suffix == ".npz":
        return _archive(path)
    return _text_table(path, options)


def _archive(path: Path) -> Table:
    """The rows of a NumPy archive that are as long as the longest."""
    try:
        with np.load(path) as archive:
            rows = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy archive ({error})") from None
    length = max((len(row) for row in rows.values() if row.ndim == 1), default=0)
    columns = {name: row for name, row in rows.items() if row.ndim == 1 and len(row) == length}
    if not length:
        raise DataError(f"{path}: holds no row of numbers")
    rest = [f"{name} = {rows[name]}" for name in rows if name not in columns and rows[name].size == 1]
    frame = pd.DataFrame(columns, index=pd.RangeIndex(1, length + 1))
    return Table(str(path), frame, [f"beside the rows there is {', '.join(rest)}"] if rest else [])


def _text_table(path: Path, options: TableOptions) -> Table:
    notes: list[str] = []
    text = _text(path, notes)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if options.comment:
        lines = [(number, line) for number, line in lines if not line.lstrip().startswith(options.comment)]
    if not lines:
        raise DataError(f"{path}: is empty; a header line and rows are needed")
    sep = options.sep if options.sep is not None else _separator([line for _, line in lines])
    if sep == "\\t":
        sep = "\t"
    rows = _cut(lines, sep)
    kinds = [[_kind(cell) for cell in row] for _, row in rows]
    start = _first_row(kinds)
    header, header_line = _header(rows, kinds, start)
    body = rows[start:]
    if not body:
        raise DataError(f"{path}: has a header and no rows")
    width = len(header) if header is not None else max(len(row) for _, row in body)
    if header is None:
        header = [str(place) for place in range(1, width + 1)]
        notes.append(f"no header: the columns are called 1 to {width}")
    if sep != "," and options.sep is None:
        notes.append(f"columns are separated by {CALLED.get(sep, repr(sep))}")
    if start > 1:
        notes.append(f"{rows[start][0] - 1} lines before the rows are no data, the last is the header")
    cells = []
    for number, row in body:
        trimmed = row[:width] + row[width:] if any(cell for cell in row[width:]) else row[:width]
        if len(trimmed) != width and not (sep == " " and not trimmed):
            raise DataError(f"{path}, line {number}: has {len(trimmed)} cells, and the header has {width}")
        cells.append(trimmed)
    frame = pd.DataFrame(cells, columns=header, index=pd.Index([number for number, _ in body]), dtype=str)
    frame = frame[~(frame == "").all(axis=1)]
    decimal = options.decimal or _decimal(frame, sep, notes)
    return Table(str(path), frame, notes, decimal, header_line)


def _text(path: Path, notes: list[str]) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        notes.append("text is UTF-16")
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append("text is not UTF-8 and was read as Latin-1")
        return raw.decode("latin-1")


def _separator(lines: list[str]) -> str:
    """The separator that cuts most lines into the same number of cells, and into most of them."""
    sample = lines[: SAMPLED_LINES // 2] + lines[-SAMPLED_LINES // 2 :]
    best, chosen = (0.0, 0), ","
    for sep in SEPARATORS:
        widths = [len(row) for _, row in _cut(list(enumerate(sample)), sep)]
        usual = max(set(widths), key=lambda width: (widths.count(width), width))
        agreed = widths.count(usual) / len(widths)
        if usual > 1 and (agreed, usual) > best and not (sep == " " and best[0] >= 0.9):
            best, chosen = (agreed, usual), sep
    return chosen


def _cut(lines: list[tuple[int, str]], sep: str) -> list[tuple[int, list[str]]]:
    if sep == " ":
        return [(number, line.split()) for number, line in lines]
    found = []
    for number, line in lines:
        row = next(csv.reader(StringIO(line), delimiter=sep), [])
        found.append((number, [cell.strip() for cell in row]))
    return found


def _kind(cell: str) -> str:
    """n: a number, t: a time, e: empty, s: something else."""
    if not cell or cell.lower() in {"nan", "na", "n/a", "null", "none", "-"}:
        return "e"
    if NUMBER.match(cell):
        return "n"
    return "t" if DATE.search(cell) else "s"


def _first_row(kinds: list[list[str]]) -> int:
    """Index of the first row from which on rows look like those at the end."""
    tail = kinds[-min(len(kinds), 60) :] if len(kinds) > 3 else kinds[1:] or kinds
    width = max(map(len, tail))
    usual = []
    for place in range(width):
        seen = [row[place] for row in tail if len(row) > place and row[place] != "e"]
        usual.append(max(set(seen), key=seen.count) if seen else "e")
    telling = [place for place, kind in enumerate(usual) if kind in {"n", "t"}]
    for index, row in enumerate(kinds):
        alike = [row[place] in {usual[place], "e"} for place in telling if place < len(row)]
        if telling and len(row) >= min(len(one) for one in tail) and all(alike) and any(row[p] != "e" for p in telling if p < len(row)):
            return index
    return min(1, len(kinds))


def _header(rows: list[tuple[int, list[str]]], kinds: list[list[str]], start: int) -> tuple[list[str] | None, int]:
    """Names of the columns and their line: the nearest line above the rows that has as many cells and no number among them."""
    body = [len(row) for _, row in rows[start : start + 50]]
    width = max(set(body), key=body.count) if body else 0
    for index in range(start - 1, max(-1, start - 4), -1):
        number, row = rows[index]
        if row and row[0].startswith("#") and index > 0 and rows[index - 1][1] and rows[index - 1][1][0].startswith("#"):
            continue  # the second of two lines with # holds units
        names = [cell.lstrip("#").strip() if place == 0 else cell for place, cell in enumerate(row)]
        while len(names) > 1 and not names[-1]:
            names.pop()
        if (width - 1 <= len(names) <= width or not body) and not any(kind == "n" for kind in kinds[index]):
            return names, number
        if len(names) > width and not any(kind == "n" for kind in kinds[index]):
            return names, number
    return None, 1


def _decimal(frame: pd.DataFrame, sep: str, notes: list[str]) -> str:
    """A comma, if numbers have commas and none has a point."""
    if sep == ",":
        return "."
    sample = frame.head(SAMPLED_LINES)
    commas = points = 0
    for column in sample.columns.unique():
        texts = sample[column].to_numpy().ravel().astype(str)
        commas += sum(bool(re.fullmatch(r"[+-]?\d+,\d+", text)) for text in texts)
        points += sum(bool(re.fullmatch(r"[+-]?\d+\.\d+", text)) for text in texts)
    if commas and not points:
        notes.append("numbers have decimal commas")
        return ","
    return "."
