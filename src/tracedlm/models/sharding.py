"""Tensors that FSDP spreads over processes: this process's part, and the whole again.

Plain tensors pass through unchanged.
"""

import torch
from torch.distributed.tensor import DTensor, Partial, Replicate, distribute_tensor


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process holds; all of it where nothing is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The whole tensor from every process's part, sharded as `like` is.

    Every process must call it.
    """
    if not isinstance(like, DTensor):
        return part
    return DTensor.from_local(
        part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    ).full_tensor()


def scattered(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor that every process holds whole: the inverse of `gathered`."""
    # No source process: each has the tensor already, so that nothing is sent.
    return (
        distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None).to_local()
        if isinstance(like, DTensor)
        else whole
    )


def summed(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Sum over the processes that hold different parts of `like`. Every process must call it."""
    if not isinstance(like, DTensor):
        return part
    placements = [
        Partial() if placement.is_shard() else Replicate() for placement in like.placements
    ]
    return DTensor.from_local(part, like.device_mesh, placements).full_tensor()
