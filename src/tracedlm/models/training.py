"""Masked-diffusion training with `transformers.Trainer`.

Batches that are pure functions of (seed, step), and the loss.

Order of the data, noise and dropout are functions of the step number alone, so a run that is killed
and resumed sees exactly what an uninterrupted one sees, whatever the state of any random number
generator.
"""

import importlib.util
import inspect
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from tracedlm.models.progress import TrainingProgress
from tracedlm.models.sharding import gathered, local
from tracedlm.theory import masking

IGNORED = -100
"""Label of positions that carry no loss, as in torch's cross-entropy."""

WIDTH_MULTIPLE = 16
"""Prompts are padded to multiples of this, so that a compiled model sees few shapes."""

TRACKERS = {
    "tensorboard": "TENSORBOARD_LOGGING_DIR",
    "wandb": "WANDB_DIR",
    "trackio": "TRACKIO_DIR",
}
"""Package of a tracker -> environment variable that says where its files go."""

Encoded = tuple[list[int], list[int]]
"""Prompt tokens and response tokens of one example.

Padding that is learnt, so that responses end, is part of the response.
"""


class NoisyBatches(Dataset):
    """One item per forward of training.

    A batch of examples, or its share of one, with its noise drawn.

    Noise is drawn for whole batches, so that splitting them over processes and accumulated forwards
    changes nothing.

    Args:
        draw: step -> the examples of that batch.
        steps: Number of optimiser steps.
        mask_id: Token of a masked position.
        pad_id: Token left of short prompts.
        seed: Seed of the noise.
        block_length: Where given, a `block_share` of the samples is noised as decoding sees them:
            text before the active block, masks after it, a part of the active block masked.
        block_share: See `block_length`; in [0, 1].
        ratio: One fixed masking probability instead of t ~ U(eps, 1).
        parts: Items that a step's batch is divided into: processes times accumulated forwards.
            Divides the batch.
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
        parts: int = 1,
    ) -> None:
        self.draw, self.steps, self.parts = draw, steps, parts
        self.mask_id, self.pad_id = mask_id, pad_id
        self.seed, self.ratio = seed, ratio
        self.block_length, self.block_share = block_length, block_share

    def __len__(self) -> int:
        return self.steps * self.parts

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Tokens, attention mask, labels and loss weights, each [rows, length], and `canvas`.

        The last positions that hold responses.
        """
        if not 0 <= item < len(self):
            raise IndexError(item)
        step, part = divmod(item, self.parts)
        examples = self.draw(step)
        masked, weights = self._noise(
            step, *(torch.tensor(sizes) for sizes in zip(*map(self._sizes, examples), strict=True))
        )
        rows = slice(part * len(examples) // self.parts, (part + 1) * len(examples) // self.parts)
        tokens, attention = _padded(examples[rows], masked.shape[1], self.pad_id)
        prompt = tokens.shape[1] - masked.shape[1]
        # Prompts carry no noise.
        masked = functional.pad(masked[rows], (prompt, 0))
        weights = functional.pad(weights[rows], (prompt, 0))
        return {
            "input_ids": torch.where(masked, self.mask_id, tokens),
            "attention_mask": attention,
            "labels": torch.where(weights > 0, tokens, IGNORED),
            "loss_weights": weights,
            "canvas": tokens.shape[1] - prompt,
        }

    def _sizes(self, example: Encoded) -> tuple[int, int]:
        """Tokens of a response, and of these, those before its padding."""
        response = example[1]
        written = len(response)
        while written > 1 and response[written - 1] == self.pad_id:
            written -= 1
        return len(response), written

    def _noise(
        self, step: int, lengths: torch.Tensor, written: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masked positions and the weights of their losses, each [n, canvas].

        Responses have these lengths, `written` without padding.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        n, canvas = len(lengths), int(lengths.max())
        position = torch.arange(canvas)
        maskable = position < lengths[:, None]
        uniform = torch.rand(n, generator=generator)
        ratio = (
            masking.mask_ratio(uniform)
            if self.ratio is None
            else torch.full_like(uniform, self.ratio)
        )
        masked = masking.masked_positions(
            ratio, torch.rand(n, canvas, generator=generator), maskable
        )
        weights = masking.sft_weights(masked, ratio, lengths)
        if self.block_length:
            weights = masked / masked.sum(1, keepdim=True).clamp(min=1)
            # Blocks of padding alone have nothing to teach that uniform noise does not.
            active_block = (
                torch.rand(n, generator=generator) * ((written - 1) // self.block_length + 1)
            ).long()
            active, future = masking.block_context(active_block, position, self.block_length)
            chosen = torch.rand(n, generator=generator) < self.block_share
            weights = torch.where(
                chosen[:, None],
                (masked & active) / (masked & active).sum(1, keepdim=True).clamp(min=1),
                weights,
            )
            masked = torch.where(chosen[:, None], (masked & active) | (future & maskable), masked)
        return masked, weights


def _padded(examples: list[Encoded], canvas: int, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and attention mask (1 = real), each [n, length].

    All responses begin at the same position, `canvas` before the end.
    """
    width = -(-max(len(prompt) for prompt, _ in examples) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    tokens = torch.full((len(examples), width + canvas), pad_id)
    attention = torch.zeros_like(tokens)
    for row, (prompt, response) in enumerate(examples):
        tokens[row, width - len(prompt) : width + len(response)] = torch.tensor(prompt + response)
        attention[row, width - len(prompt) : width + len(response)] = 1
    return tokens, attention


class DiffusionTrainer(Trainer):
    """`Trainer` with the masked-diffusion loss.

    Weighted cross-entropy on masked positions, mean over samples.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Our loss is a mean over rows: Trainer divides it by the accumulated forwards, DDP averages
        # it over processes.
        self.loss_is_scaled_for_ga, self.model_accepts_loss_kwargs = False, False
        for theirs in (ProgressCallback, PrinterCallback):
            self.remove_callback(theirs)
        self.progress = TrainingProgress()
        self.add_callback(self.progress)
        self.add_callback(SeedOfStep())
        causal_lm: Any = (
            self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        )
        self.can_skip_prompts = "logits_to_keep" in inspect.signature(causal_lm.forward).parameters
        self.shift: int = getattr(causal_lm.config, "logit_shift", 0)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Loss of one batch from `NoisyBatches`."""
        self.progress.tokens += inputs["input_ids"].numel()
        # Logits of the prompt, a vocabulary each, would be computed for nothing.
        limits = {"logits_to_keep": inputs["canvas"] + self.shift} if self.can_skip_prompts else {}
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            **limits,
        ).logits
        # Dream's logits score the token to their right.
        logits = logits[:, : logits.shape[1] - self.shift]
        labels = inputs["labels"][:, -logits.shape[1] :].flatten()
        weights = inputs["loss_weights"][:, -logits.shape[1] :].flatten()
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels, ignore_index=IGNORED, reduction="none"
        )
        loss = (losses * weights).sum() / len(inputs["input_ids"])
        return (loss, {"logits": logits}) if return_outputs else loss

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        """Steps in order: the items are already independent draws."""
        assert isinstance(self.train_dataset, NoisyBatches)
        return SequentialSampler(self.train_dataset)


class SeedOfStep(TrainerCallback):
    """Makes dropout a function of (seed, step, process).

    Resuming then needs no generator's state, whatever the device.
    """

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seed every device's generator."""
        torch.manual_seed((args.seed * 1_000_003 + state.global_step) * 1_009 + args.process_index)


def grouped_by_length(lengths: list[int], batch_size: int, seed: int) -> list[list[int]]:
    """Whole batches of examples of similar length, in random order.

    The batch with the longest example comes first: memory fails early or never.

    What does not fill a batch is left out; another seed leaves out others.
    """
    order = get_length_grouped_indices(
        lengths, batch_size, generator=torch.Generator().manual_seed(seed)
    )
    batches = [
        order[start : start + batch_size]
        for start in range(0, len(order) - batch_size + 1, batch_size)
    ]
    first, *rest = batches
    random.Random(seed).shuffle(rest)
    return [first, *rest]


def only_item(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Collator for data sets whose items are whole batches."""
    (item,) = items
    return item


def training_arguments(work: Path, seed: int, **settings: Any) -> TrainingArguments:
    """Arguments for one pass over `NoisyBatches`, one item a forward.

    Checkpoints in `work` are resumable.
    """
    defaults = {
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "save_total_limit": 2,
        "report_to": "none",
        "remove_unused_columns": False,
        "use_cpu": not torch.accelerator.is_available(),
        # It would log an average in place of a loss that is not finite.
        "logging_nan_inf_filter": False,
        "ddp_find_unused_parameters": False,
    }
    arguments = TrainingArguments(output_dir=str(work), seed=seed, **{**defaults, **settings})
    # One process uses one accelerator: with several in sight, Trainer would wrap the model in
    # DataParallel and ask for several items.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def reporting(trackers: Sequence[str], folder: Path) -> dict[str, Any]:
    """Trainer's arguments for reporting to trackers.

    Their local files go to `folder`, unless their own variables name another place.

    Raises:
        ValueError: The package of a tracker is not installed.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"sft.report_to: {name} is not installed; run `pip install {name}`, or leave it out"
            )
        # W&B turns to /tmp where its folder does not exist.
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(TRACKERS[name], str(folder.resolve()))
        os.environ.setdefault("WANDB_PROJECT", "tracedlm")  # the others take it from `project`
    return {
        "report_to": list(trackers) or "none",
        "project": "tracedlm",
        "run_name": folder.parent.as_posix(),
    }


def lora_state(model: Any) -> dict[str, torch.Tensor]:
    """An adapter's trained weights, gathered where they are sharded.

    Under FSDP every process must call it.
    """
    return {
        name: gathered(local(weight.detach()), weight)
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def resumable(work: Path, last: str) -> bool:
    """Whether there is a checkpoint to resume from.

    Those that a killed run left half-written are removed first.

    Args:
        work: Folder of the checkpoints.
        last: Name of the file that is written last into each.
    """
    for folder in work.glob("checkpoint-*"):
        if not (folder / last).exists():
            shutil.rmtree(folder)
    return any(work.glob("checkpoint-*"))
