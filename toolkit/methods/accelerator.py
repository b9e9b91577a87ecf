"""What torch computes on: the CPU, or a GPU where a scenario asks for one."""

from __future__ import annotations

from typing import Literal

import torch

from toolkit.errors import ScenarioError

Accelerator = Literal["cpu", "cuda", "auto"]


def accelerator(name: Accelerator) -> torch.device:
    """Return the device that a scenario calls ``cpu``, ``cuda`` or ``auto``.

    Raises:
        ScenarioError: there is no GPU that torch could use.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ScenarioError("program.accelerator: torch finds no GPU here; use cpu, or auto for whatever there is")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
