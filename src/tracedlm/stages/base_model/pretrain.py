"""Pretrain the shipped base model.

A small LLaDA-architecture denoiser on generated problems with worked reasoning.
"""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import torch

from tracedlm.config import Pretrain
from tracedlm.models.architecture import ATTENTION, new_model, retokenized
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.optimizer import MuonWithAdamW
from tracedlm.models.tokenizer import train_tokenizer
from tracedlm.models.training import (
    DiffusionTrainer,
    NoisyBatches,
    only_item,
    resumable,
    training_arguments,
)
from tracedlm.stages.sft.examples import draw_examples
from tracedlm.tasks import GeneratedTask, generated_task

CORPUS_EXAMPLES = 300
"""Problems of each task that the tokenizer learns its words from."""


def pretrain(
    settings: Pretrain,
    datasets: dict[str, int | None],
    seed: int,
    threads: int,
    work: Path,
    out: Path,
) -> None:
    """Train the base model, or resume, and publish it in `out`.

    It starts from scratch, from `settings.start`, or from the last checkpoint in `work`.

    Args:
        settings: Architecture and schedule.
        datasets: Tasks to train on, and their difficulty; their train splits exclude validation,
            test and the papers' test files.
        seed: Seed of weights, data and noise.
        threads: CPU threads.
        work: Resumable checkpoints live here, outside Snakemake's outputs.
        out: Folder of the published checkpoint.
    """
    torch.set_num_threads(threads)
    tasks = [generated_task(*entry) for entry in datasets.items()]
    weights = [settings.task_weights.get(name, 1.0) for name in datasets]
    tokenizer, model = _start(settings, tasks, seed)

    def draw(step: int) -> list[tuple[list[int], list[int]]]:
        canvas = settings.canvases[step % len(settings.canvases)]
        return draw_examples(
            tokenizer,
            tasks,
            weights=weights,
            n=max(1, settings.batch_tokens // canvas),
            canvas=canvas,
            rng=random.Random(f"pretrain/{seed}/{step}"),
        )

    batches = NoisyBatches(
        draw,
        settings.steps,
        mask_id=tokenizer.mask_token_id,
        pad_id=tokenizer.pad_token_id,
        seed=seed,
        block_length=settings.block_length,
        block_share=settings.block_share,
    )
    optimizer = MuonWithAdamW(model, settings.learning_rate, settings.weight_decay)
    trainer = DiffusionTrainer(
        model=model,
        args=training_arguments(
            work,
            seed,
            logging_steps=50,
            save_steps=settings.checkpoint_every,
            max_grad_norm=1.0,
            bf16=True,
            torch_compile=True,
        ),
        train_dataset=batches,
        data_collator=only_item,
        optimizers=(
            optimizer,
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: trapezoid(step, settings)),
        ),
    )
    trainer.train(resume_from_checkpoint=resumable(work, "trainer_state.json"))
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts = {"seed": seed, "datasets": datasets, "settings": settings.model_dump()}
    _write_training(out, facts, trainer.state.log_history)


def _write_training(out: Path, facts: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """Write `training.json`: how the published weights were made, and their digest."""
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    record = {**facts, "sha256": digest, "log": log}
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def _start(settings: Pretrain, tasks: list[GeneratedTask], seed: int) -> tuple[Any, Any]:
    """A tokenizer of these tasks, and the model to train: a new one, or a checkpoint's."""
    tokenizer: Any = train_tokenizer(_corpus(tasks, seed), settings.vocabulary)
    if settings.start is not None:
        denoiser = load_denoiser(settings.start, dtype="float32", device="cpu")
        denoiser.model.set_attn_implementation(ATTENTION)
        return (
            tokenizer,
            retokenized(denoiser.model, denoiser.tokenizer, tokenizer).requires_grad_(True).train(),
        )
    torch.manual_seed(seed)
    return tokenizer, new_model(
        tokenizer, settings.hidden, settings.feed_forward, settings.layers, settings.heads
    )


def trapezoid(step: int, settings: Pretrain) -> float:
    """Learning rate factor in [0, 1]: a linear rise, a plateau, a linear fall to zero.

    >>> [trapezoid(step, Pretrain(steps=10, warmup=0.2, decay=0.5)) for step in (0, 1, 2, 5, 7, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.6, 0.2]
    """
    rise = min(1.0, (step + 1) / max(1.0, settings.warmup * settings.steps))
    fall = min(1.0, (settings.steps - step) / max(1.0, settings.decay * settings.steps))
    return max(0.0, min(rise, fall))


def _corpus(tasks: list[GeneratedTask], seed: int) -> list[str]:
    texts = []
    for task in tasks:
        problems = task.stream("train", seed)
        for index in range(CORPUS_EXAMPLES):
            problem = next(problems)
            texts += [task.prompt(problem), task.solve(problem, (128, 256)[index % 2])]
    return texts
