"""Rule `sft`: LoRA fine-tuning on worked solutions, with moment logging."""

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import torch

from tracedlm.config import Sft
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.lora import attach_lora
from tracedlm.models.moment_recorder import STATE_FILE, MomentRecorder
from tracedlm.models.training import DiffusionTrainer, Encoded, NoisyBatches, only_item, resumable, training_arguments
from tracedlm.records.manifest import code_digest, digest_of, write_manifest
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.parquet import write_table
from tracedlm.resources import checkpoint_files
from tracedlm.stages.examples import encode_example
from tracedlm.tasks import get_task


def fine_tune(
    model: dict[str, str], settings: Sft, files: dict[str, Path], seed: int, threads: int, scratch: Path, out: dict[str, Path]
) -> None:
    """Fine-tune, or resume an interrupted run of the same settings, and publish adapter, moments, gradient log and manifest.

    Args:
        model: Path, precision and device of the base checkpoint.
        settings: See `config.Sft`.
        files: Train file of each dataset.
        seed: Seed of LoRA's initialisation, order and noise.
        threads: CPU threads.
        scratch: Resumable checkpoints live in here, under a digest of everything that decides them; removed when all is published.
        out: `adapter` (folder), `moments`, `gradients`, `manifest`.
    """
    torch.set_num_threads(threads)
    facts = {
        "model": model,
        "settings": settings.model_dump(),
        "seed": seed,
        "data": {name: digest_of(path) for name, path in files.items()},
    }
    weights = [(file, Path(file).stat().st_mtime_ns, Path(file).stat().st_size) for file in checkpoint_files(model["path"])]
    work = scratch / hashlib.sha256(json.dumps([facts, weights, code_digest("sft")], sort_keys=True).encode()).hexdigest()[:16]
    denoiser = load_denoiser(model["path"], device=model["device"], dtype=model["dtype"])
    examples = _examples(denoiser.tokenizer, files, settings.canvas)
    order = [
        index
        for epoch in range(settings.steps * settings.batch_size // len(examples) + 1)
        for index in _shuffled(len(examples), seed, epoch)
    ]

    def draw(step: int) -> list[Encoded]:
        return [examples[index] for index in order[step * settings.batch_size : (step + 1) * settings.batch_size]]

    torch.manual_seed(seed)
    adapted = attach_lora(denoiser.model, settings.rank, settings.alpha, settings.dropout)
    recorder = MomentRecorder()
    trainer = DiffusionTrainer(
        model=adapted,
        args=training_arguments(
            work,
            seed,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.clip,
            lr_scheduler_type="constant",
            optim="adamw_torch",
            logging_steps=1,
            save_steps=settings.checkpoint_every,
        ),
        train_dataset=NoisyBatches(draw, settings.steps, denoiser.mask_id, denoiser.tokenizer.pad_token_id, seed),
        data_collator=only_item,
        callbacks=[recorder],
    )
    trainer.train(resume_from_checkpoint=resumable(work, STATE_FILE))
    _publish(adapted, recorder, trainer.state.log_history, out)
    write_manifest(out["manifest"], "sft", **facts, examples=len(examples), steps=recorder.steps)
    shutil.rmtree(scratch)


def _examples(tokenizer: Any, files: dict[str, Path], canvas: int) -> list[Encoded]:
    """Every training problem with its worked solution; those that do not fit the canvas are left out."""
    encoded = [
        encode_example(tokenizer, task, problem, canvas)
        for name in files
        for task in [get_task(name)]
        for problem in task.read(files[name])
    ]
    fitting = [example for example in encoded if example is not None]
    if not fitting:
        raise ValueError(f"sft.canvas: no worked solution of {', '.join(files)} fits {canvas} tokens")
    return fitting


def _shuffled(n: int, seed: int, epoch: int) -> list[int]:
    order = list(range(n))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order


def _publish(model: Any, recorder: MomentRecorder, history: list[dict[str, Any]], out: dict[str, Path]) -> None:
    staged = out["adapter"].with_name(f".adapter.{os.getpid()}.part")
    model.save_pretrained(staged)
    shutil.rmtree(out["adapter"], ignore_errors=True)
    Path(staged).replace(out["adapter"])
    recorder.moments().write(out["moments"])
    log = {entry["step"]: entry for entry in history if "loss" in entry}
    rows = [
        {"step": step, "module": module, "rms": rms, "loss": float(log[step]["loss"]), "lr": float(log[step]["learning_rate"])}
        for step, module, rms in recorder.gradients
    ]
    write_table(out["gradients"], rows, GRADIENTS)
