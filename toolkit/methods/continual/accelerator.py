"""Where a learner's tensors lie: all of them, network, samples and memory, on one device.

Random numbers are drawn on the CPU, so that a seed draws the same ones everywhere, and moved.
"""

from __future__ import annotations

import dataclasses

import torch

from toolkit.methods.continual.run_plan import RunPlan


def placed(run_plan: RunPlan, device: torch.device) -> RunPlan:
    """Return *run_plan* with its network, which is moved, and its stream on *device*."""
    if device.type == "cpu":
        return run_plan
    run_plan.net.to(device)
    return dataclasses.replace(run_plan, stream=run_plan.stream.on(device))
