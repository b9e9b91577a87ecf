"""How commands tell: mistakes in sentences with status 2, and lines within the width of the terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable

USUAL_EXIT = "exit status: 0 done, 2 something in the input is wrong (said in one sentence)"


def told(act: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Return the exit status of *act*; a mistake of the user's is told, one line each. A reader that stops reading is no mistake."""
    from toolkit.errors import UserError

    try:
        status = act(args)
        sys.stdout.flush()
        return status
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return 2
    except BrokenPipeError:  # `toolkit list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def columns() -> int:
    """How wide a line may be: the terminal, or what COLUMNS says, within reason."""
    return max(40, min(160, shutil.get_terminal_size((100, 24)).columns))
