"""What was read is remembered for as long as the files are what they were: a notebook that edits a file reads it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

DEPTH = 2
"""Folders within folders that are looked into: classes of images, or the lists beside them."""


def state_of(path: Path, depth: int = DEPTH) -> tuple[object, ...]:
    """Return what a file, or a folder with what lies in it and in its folders, is known again by: place, sizes and times of change."""
    try:
        place = path.resolve() if depth == DEPTH else path
        stat = place.stat()
        within = sorted(state_of(each, depth - 1) for each in place.iterdir()) if depth and place.is_dir() else ()
    except (OSError, ValueError):  # it is not there, or no path: whoever reads it says so
        return (str(path),)
    return (str(place), stat.st_size, stat.st_mtime_ns, *within)


F = TypeVar("F", bound=Callable[..., Any])


def read_once(maxsize: int, files: Callable[..., Iterable[Path]] | None = None) -> Callable[[F], F]:
    """Remember the last *maxsize* answers of a function that reads files, as `functools.lru_cache` does, until a file changes.

    The files are those that *files* says of the arguments; without it all arguments that are paths. A relative path is another file in
    another working folder.
    """

    def remembering(call: F) -> F:
        @lru_cache(maxsize=maxsize)
        def kept(_: object, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
            return call(*args, **dict(kwargs))

        @wraps(call)
        def asked(*args: Any, **kwargs: Any) -> Any:
            paths = [each for each in (*args, *kwargs.values()) if isinstance(each, Path)] if files is None else files(*args, **kwargs)
            return kept(tuple(map(state_of, paths)), args, tuple(sorted(kwargs.items())))

        return cast(F, asked)

    return remembering
