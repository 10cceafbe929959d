"""What rules and recorders remember of each slot from one forward to the next."""

import torch

from tracedlm.decode.step import Step

Memory = dict[str, torch.Tensor]
"""Name -> [slots, ...]."""


def swap(memory: Memory, name: str, step: Step, value: torch.Tensor) -> torch.Tensor:
    """Remember a value [r, ...] for a slot's next forward and return the last one.

    Zero where there was none.

    A view that grows (`Step.position_rk`) does so on the right: what was remembered of its earlier
    columns stays.
    """
    shape = (step.slots, *value.shape[1:])
    if name not in memory or memory[name].shape[1:2] < value.shape[1:2]:
        # The new columns are zero, as those of a slot that remembers nothing yet.
        wider = value.new_zeros(shape)
        if name in memory:
            wider[:, : memory[name].shape[1]] = memory[name]
        memory[name] = wider
    before = _columns(memory[name], value)[step.slot_r]
    _columns(memory[name], value)[step.slot_r] = value
    return before


def _columns(memory: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What is remembered of the columns that a value [r, k, ...] has."""
    return memory[:, : value.shape[1]] if value.ndim > 1 else memory
