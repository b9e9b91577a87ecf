"""Everything this toolkit raises on purpose.

    ToolkitError
    ├── UserError            the user can mend it; the command line prints one sentence and exits with 2
    │   ├── ScenarioError    a scenario file, a --set, or an argument of a part
    │   │   └── DivergenceError  a training whose loss or gradient is no longer finite
    │   ├── DataError        an input file: its name, the line, what would be right
    │   └── RunDirectoryError  an output folder that cannot be used as asked
    ├── WorkerLostError      a process of a sweep died; nobody's input is wrong
    └── CausalityError       a bug of ours: something was about to happen before its cause

Physical loss (a collision, a frame drowned in noise) is data and never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

LONG = 80


def shortened(text: str) -> str:
    """Return *text* as it may stand in a sentence: what is longer than a line gives way in its middle."""
    return text if len(text) <= LONG else f"{text[:LONG // 2]}…{text[-LONG // 4:]} ({len(text)} characters)"


def listed(names: Iterable[str], room: int = 160) -> str:
    """Return *names* with commas between them, as many as have *room*, and how many more there are."""
    every = list(names)
    shown: list[str] = []
    for name in every:
        if sum(map(len, shown)) + 2 * len(shown) + len(name) > room:
            break
        shown.append(name)
    left = len(every) - len(shown)
    return ", ".join([*shown, f"and {left} more"] if left else shown)


class ToolkitError(Exception):
    """Root of the tree."""


class UserError(ToolkitError):
    """The input is wrong; the message names the place, the value and what would be right."""


class ScenarioError(UserError):
    """A scenario cannot be read or run as written; one message per mistake found."""

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DivergenceError(ScenarioError):
    """A training has diverged: its loss or its gradient is no longer finite. The training loop says which setting to change."""

    def __init__(self, what: str, step: int, rate: float) -> None:
        super().__init__(f"diverged in step {step} at a learning rate of {rate:g}: {what}; use a lower one")
        self.what, self.step, self.rate = what, step, rate

    def __reduce__(self) -> tuple[type[Self], tuple[str, int, float]]:
        """Errors cross processes."""
        return type(self), (self.what, self.step, self.rate)


class Note(UserWarning):
    """What a user should know of a scenario that runs all the same; commands tell it in one line."""


class DataError(UserError):
    """An input file is missing, malformed or does not cover what is asked of it."""


class RunDirectoryError(UserError):
    """An output folder cannot be written, or already holds another run."""


class WorkerLostError(ToolkitError):
    """A process that did runs was killed or died: by hand, or for want of memory."""


class CausalityError(ToolkitError):
    """Something was about to happen before its cause."""
