"""Masked-diffusion training with `transformers.Trainer`: batches that are pure functions of (seed, step), and the loss.

Order of the data and the noise are functions of the step number alone, so a run that is killed and resumed sees exactly
what an uninterrupted one sees, whatever the state of any random number generator.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from tracedlm.theory import masking

IGNORED = -100
"""Label of positions that carry no loss, as in torch's cross-entropy."""

WIDTH_MULTIPLE = 16
"""Prompts are padded to multiples of this, so that a compiled model sees few shapes."""

Encoded = tuple[list[int], list[int]]
"""Prompt tokens and response tokens of one example; the response is already padded to its canvas."""


class NoisyBatches(Dataset):
    """One item per optimiser step: a batch of examples with its noise drawn.

    Args:
        draw: step -> the examples of that batch.
        steps: Number of items.
        mask_id: Token of a masked position.
        pad_id: Token left of short prompts.
        seed: Seed of the noise.
        block_length: Where given, a `block_share` of the samples is noised as decoding sees them: text before the
            active block, masks after it, a part of the active block masked.
        block_share: See `block_length`; in [0, 1].
        ratio: One fixed masking probability instead of t ~ U(eps, 1).
    """

    def __init__(
        self,
        draw: Callable[[int], list[Encoded]],
        steps: int,
        mask_id: int,
        pad_id: int,
        seed: int,
        block_length: int | None = None,
        block_share: float = 0.0,
        ratio: float | None = None,
    ) -> None:
        self.draw, self.steps, self.mask_id, self.pad_id = draw, steps, mask_id, pad_id
        self.seed, self.block_length, self.block_share, self.ratio = seed, block_length, block_share, ratio

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        if not 0 <= step < self.steps:
            raise IndexError(step)
        examples = self.draw(step)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        tokens, attention, position = _pad_left(examples, self.pad_id)
        maskable = position >= 0
        uniform = torch.rand(len(examples), generator=generator)
        ratio = masking.mask_ratio(uniform) if self.ratio is None else torch.full_like(uniform, self.ratio)
        masked = masking.masked_positions(ratio, torch.rand(tokens.shape, generator=generator), maskable)
        weights = masking.sft_weights(masked, ratio, maskable.sum(1))
        if self.block_length:
            weights = masked / masked.sum(1, keepdim=True).clamp(min=1)
            blocks = torch.tensor([len(response) // self.block_length for _, response in examples])
            active_block = (torch.rand(len(examples), generator=generator) * blocks).long()
            active, future = masking.block_context(active_block, position[0], self.block_length)
            chosen = torch.rand(len(examples), generator=generator) < self.block_share
            weights = torch.where(chosen[:, None], (masked & active) / (masked & active).sum(1, keepdim=True).clamp(min=1), weights)
            masked = torch.where(chosen[:, None], (masked & active) | (future & maskable), masked)
        return {
            "input_ids": torch.where(masked, self.mask_id, tokens),
            "attention_mask": attention,
            "labels": torch.where(weights > 0, tokens, IGNORED),
            "loss_weights": weights,
        }


def _pad_left(examples: list[Encoded], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, attention mask (1 = real) and position in the response (negative in the prompt), each [n, length]."""
    width = -(-max(len(prompt) for prompt, _ in examples) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    canvas = max(len(response) for _, response in examples)
    tokens = torch.full((len(examples), width + canvas), pad_id)
    attention = torch.zeros_like(tokens)
    position = torch.arange(-width, canvas).expand(len(examples), -1).clone()
    for row, (prompt, response) in enumerate(examples):
        tokens[row, width - len(prompt) : width + len(response)] = torch.tensor(prompt + response)
        attention[row, width - len(prompt) : width + len(response)] = 1
        position[row, width + len(response) :] = -1
    return tokens, attention, position


class DiffusionTrainer(Trainer):
    """`Trainer` with the masked-diffusion loss: weighted cross-entropy on masked positions, mean over samples."""

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Loss of one batch from `NoisyBatches`."""
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
        losses = functional.cross_entropy(logits.flatten(0, 1).float(), inputs["labels"].flatten(), ignore_index=IGNORED, reduction="none")
        loss = (losses * inputs["loss_weights"].flatten()).sum() / len(inputs["input_ids"])
        return (loss, {"logits": logits}) if return_outputs else loss

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        """Steps in order: the items are already independent draws."""
        assert isinstance(self.train_dataset, NoisyBatches)
        return SequentialSampler(self.train_dataset)


def only_item(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Collator for data sets whose items are whole batches."""
    (item,) = items
    return item


def training_arguments(work: Path, seed: int, **settings: Any) -> TrainingArguments:
    """Arguments for one pass over `NoisyBatches`, one batch a step, with resumable checkpoints in `work`."""
    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        seed=seed,
        save_total_limit=2,
        report_to="none",
        remove_unused_columns=False,
        use_cpu=not torch.accelerator.is_available(),
        **settings,
    )


def resumable(work: Path, last: str) -> bool:
    """Whether there is a checkpoint to resume from, after removing those that a killed run left half-written.

    Args:
        work: Folder of the checkpoints.
        last: Name of the file that is written last into each.
    """
    for folder in work.glob("checkpoint-*"):
        if not (folder / last).exists():
            shutil.rmtree(folder)
    return any(work.glob("checkpoint-*"))
