"""Who averages with whom in a DDP hook, and whether they all mean the same."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def group_of_ddp(parameters: Iterable[nn.Parameter], given: dist.ProcessGroup | None) -> dist.ProcessGroup:
    """Return the group of the `DistributedDataParallel` that holds *parameters*; DDP does not tell it to a hook.

    Raises:
        RuntimeError: none or several are found, or one whose ranks are not those of the group that was *given*: a hook would average
            over others than DDP does.
    """
    mine = {id(parameter) for parameter in parameters}
    found: dict[tuple[int, ...], dist.ProcessGroup] = {}
    for candidate in gc.get_objects():
        is_ddp = issubclass(type(candidate), DistributedDataParallel)
        if is_ddp and any(id(parameter) in mine for parameter in candidate.parameters()):
            found[tuple(dist.get_process_group_ranks(candidate.process_group))] = candidate.process_group
    if given is None:
        if len(found) != 1:
            raise RuntimeError(
                f"GsSgdHook: DistributedDataParallel holds these parameters in {len(found)} groups; give the one meant as process_group"
            )
        return next(iter(found.values()))
    ranks = tuple(dist.get_process_group_ranks(given))
    if found and ranks not in found:
        raise RuntimeError(
            f"GsSgdHook: process_group holds ranks {list(ranks)} and DistributedDataParallel's {list(next(iter(found)))}; "
            "leave it out, or give both the same"
        )
    return given


def agree(settings: str, group: dist.ProcessGroup | None, device: torch.device) -> None:
    """Make sure that all ranks of *group* have the same *settings*; a digest of eight bytes travels.

    Raises:
        RuntimeError: on every rank, naming those that differ from rank 0.
    """
    digest = int.from_bytes(hashlib.blake2b(settings.encode(), digest_size=7).digest(), "little")
    mine = torch.tensor([digest], device=device)
    theirs = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(theirs, mine, group=group)
    different = [rank for rank, other in enumerate(theirs) if int(other) != int(theirs[0])]
    if different:
        raise RuntimeError(f"GsSgdHook: ranks {different} have other settings, seed or model than rank 0; make them all the same")
