"""Everything this toolkit raises on purpose.

    ToolkitError
    ├── UserError            the user can mend it; the command line prints one sentence and exits with 2
    │   ├── ScenarioError    a scenario file, a --set, or an argument of a part
    │   ├── DataError        an input file: its name, the line, what would be right
    │   └── RunDirectoryError  an output folder that cannot be used as asked
    └── CausalityError       a bug of ours: something was about to happen before its cause

Physical loss (a collision, a frame drowned in noise) is data and never an exception.
"""

from __future__ import annotations


class ToolkitError(Exception):
    """Root of the tree."""


class UserError(ToolkitError):
    """The input is wrong; the message names the place, the value and what would be right."""


class ScenarioError(UserError):
    """A scenario cannot be read or run as written; one message per mistake found."""

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(UserError):
    """An input file is missing, malformed or does not cover what is asked of it."""


class RunDirectoryError(UserError):
    """An output folder cannot be written, or already holds another run."""


class CausalityError(ToolkitError):
    """Something was about to happen before its cause."""
