"""Input files: finding them, and reading columns of a CSV with errors that name the line."""

from __future__ import annotations

import csv
import re
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, ValidationInfo

from toolkit.core.part import nearest
from toolkit.errors import DataError, shortened


def _find(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    tried = [path] if path.is_absolute() else [Path(base) / path, path] if base is not None else [path]
    for candidate in tried:
        if candidate.is_file():
            return candidate.resolve()
    raise ValueError(f"no such file; looked for {' and '.join(shortened(str(candidate)) for candidate in dict.fromkeys(tried))}")


InputFile = Annotated[Path, AfterValidator(_find), PlainSerializer(str, return_type=str)]
"""An existing file. A relative path is looked up beside the scenario file first, then in the working folder."""


COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_ .%()-]{0,39}")
"""What a column of an input file may be called."""


def read_header(path: Path) -> list[str]:
    """Return the names in the first line of a CSV.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    first = _rows(path, 1)  # a record of years is not read to its end for its first line
    return _header(path, first if any(first) else _rows(path))


def _rows(path: Path, most: int | None = None) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(islice(csv.reader(file), most))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None


def _header(path: Path, rows: list[list[str]]) -> list[str]:
    if not any(rows):
        raise DataError(f"{path}: is empty; a header line and rows are needed")
    return [cell.strip() for cell in rows[0]]


def read_columns(path: Path, names: list[str]) -> dict[str, list[str]]:
    """Return the named columns of a CSV as text, in file order (row i stands in line i + 2).

    Raises:
        DataError: no header, a missing column (with the nearest name), a row of another length, or no rows at all.
    """
    rows = _rows(path)
    header = _header(path, rows)
    for name in names:
        if name not in header:
            if not all(map(COLUMN.fullmatch, header)):  # no header of ours: what else a file says is nobody's business
                raise DataError(f"{path}, line 1: has no column '{name}', and is no header of names separated by commas")
            raise DataError(f"{path}, line 1: has no column '{name}'{nearest(name, header)} (columns: {', '.join(header)})")
    places = {name: header.index(name) for name in names}
    while rows and not rows[-1]:  # blank lines at the end; one in the middle would shift the count of lines
        rows.pop()
    body = list(enumerate(rows[1:], start=2))
    if not body:
        raise DataError(f"{path}: has a header and no rows")
    for line, row in body:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: has {len(row)} cells, and the header has {len(header)}")
    return {name: [row[place].strip() for _, row in body] for name, place in places.items()}


def number(path: Path, line: int, column: str, text: str) -> float:
    """Return a finite number, or raise a DataError that names the cell."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        shown = f"'{text}'" if text else "nothing"
        raise DataError(f"{path}, line {line}: column '{column}' holds {shown}, and a number is needed; fill or remove that row")
    return value
