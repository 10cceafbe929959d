"""Rule `sft`: LoRA fine-tuning on worked solutions, with moment logging.

On one process or several.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tracedlm.config import Sft
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.divergence import LOWER, StopsWhereItDiverges
from tracedlm.models.lora import attach_lora
from tracedlm.models.moment_recorder import STATE_FILE, MomentRecorder
from tracedlm.models.snapshots import AdapterSaver
from tracedlm.models.training import (
    DiffusionTrainer,
    NoisyBatches,
    lora_state,
    only_item,
    reporting,
    resumable,
    training_arguments,
)
from tracedlm.records.atomic import replacing_folder
from tracedlm.records.manifest import code_digest, digest_of, fingerprint, write_manifest
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.parquet import write_table
from tracedlm.resources import checkpoint_state
from tracedlm.stages.sft.examples import batches, read_examples

WORKER = "tracedlm.stages.sft.worker"


def fine_tune(
    model: dict[str, Any],
    settings: Sft,
    files: dict[str, Path],
    seed: int,
    threads: int,
    scratch: Path,
    out: dict[str, Path],
) -> None:
    """Fine-tune, or resume an interrupted run of the same settings.

    Publish adapter, moments, gradient log, snapshots and manifest.

    Args:
        model: Path and device of the base checkpoint (`config.Model`).
        settings: See `config.Sft`.
        files: Train file of each dataset.
        seed: Seed of LoRA's initialisation, order, noise and dropout.
        threads: CPU threads, shared by the processes.
        scratch: Resumable checkpoints live in here, under a digest of everything that decides them;
            removed when all is published.
        out: `adapter` (folder), `moments`, `gradients`, `manifest`; `snapshots` (folder), where
            they are to be kept.

    Raises:
        ValueError: An example, a setting or the checkpoint is unusable, or there are fewer
            accelerators than processes.
    """
    if settings.processes == 1:
        train(model, settings, files, seed, threads, scratch, out)
        return
    on_cpu = model["device"] == "cpu" or not torch.accelerator.is_available()
    if on_cpu and settings.shard:
        raise ValueError(
            "sft.shard: on a CPU accelerate copies the weights to every process; set it to false"
        )
    if not on_cpu and torch.accelerator.device_count() < settings.processes:
        raise ValueError(
            f"sft.processes = {settings.processes}: this machine has"
            f" {torch.accelerator.device_count()} accelerators"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    job, mistake = scratch / "job.json", scratch / "mistake.txt"
    mistake.unlink(missing_ok=True)
    arguments = {
        "model": model,
        "settings": settings.model_dump(),
        "files": files,
        "seed": seed,
        "scratch": scratch,
        "out": out,
    }
    job.write_text(
        json.dumps({**arguments, "threads": max(1, threads // settings.processes)}, default=str)
    )
    run = subprocess.run(
        launch(settings.processes, job), stdout=sys.stdout, stderr=sys.stderr, check=False
    )
    if mistake.exists():
        raise ValueError(mistake.read_text())
    if run.returncode:
        raise RuntimeError(
            f"training on {settings.processes} processes ended with code {run.returncode}; their"
            " messages are above"
        )


def launch(processes: int, job: Path) -> list[str]:
    """Command line of several training processes on this machine.

    It is what `accelerate launch --multi_gpu` runs underneath, but works on CPUs too. For several
    machines, start the worker with `accelerate launch` and the job file yourself.
    """
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
        "-m",
        WORKER,
        str(job),
    ]


def train(
    model: dict[str, Any],
    settings: Sft,
    files: dict[str, Path],
    seed: int,
    threads: int,
    scratch: Path,
    out: dict[str, Path],
) -> None:
    """What each process of a run does; see `fine_tune`. The first process publishes."""
    torch.set_num_threads(threads)
    data = {name: digest_of(path) for name, path in files.items()}
    kept = settings.model_dump(exclude={"report_to"})
    facts = {"model": model, "settings": kept, "seed": seed, "data": data}
    work = scratch / fingerprint(
        **facts, weights=checkpoint_state(model["path"]), code=code_digest("sft.fine_tune")
    )
    # Shards are cut from the CPU's copy, so that a model needs to fit no single accelerator.
    device = "cpu" if settings.shard else model["device"]
    denoiser = load_denoiser(**{**model, "device": device, "dtype": settings.precision})
    examples = read_examples(denoiser.tokenizer, files, settings, seed)
    draw, steps = batches(examples.encoded, settings, denoiser.tokenizer.pad_token_id, seed)
    micro_batch = settings.micro_batch or settings.batch_size // settings.processes
    parts = settings.batch_size // micro_batch
    torch.manual_seed(seed)
    adapted = attach_lora(denoiser.model, settings.rank, settings.alpha, settings.dropout)
    if not settings.fp32_moments:
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(torch.bfloat16)
    recorder = MomentRecorder()
    snapshots = settings.snapshots(steps) if "snapshots" in out else ()
    saver = AdapterSaver(work / "kept", snapshots, recorder)
    pad_id = denoiser.tokenizer.pad_token_id
    trainer = DiffusionTrainer(
        model=adapted,
        args=training_arguments(
            work,
            seed,
            **_arguments(settings, model["device"], parts),
            **reporting(settings.report_to, out["moments"].parent / "runs"),
        ),
        train_dataset=NoisyBatches(draw, steps, denoiser.mask_id, pad_id, seed, parts=parts),
        data_collator=only_item,
        callbacks=[StopsWhereItDiverges(), recorder, saver],
    )
    # The main process removes half-written checkpoints, which the others must not see.
    with trainer.args.main_process_first(local=False):
        resume = resumable(work, STATE_FILE)
    trainer.train(resume_from_checkpoint=resume)
    counts = {
        "examples": len(examples.encoded),
        "left_out": examples.left_out,
        "cut": examples.cut,
        "corrupted": examples.corrupted,
    }
    _publish(trainer, adapted, recorder, work / "kept", {**facts, **counts, "steps": steps}, out)
    if trainer.is_world_process_zero():
        shutil.rmtree(scratch)


def _publish(
    trainer: DiffusionTrainer,
    adapted: Any,
    recorder: MomentRecorder,
    kept: Path,
    facts: dict[str, Any],
    out: dict[str, Path],
) -> None:
    """Write the results, from the first process.

    Every process takes part in gathering what is sharded.

    Each file and the adapter's folder appear whole. A kill in between leaves no manifest, which is
    one of the rule's declared outputs: Snakemake then runs the rule again, which resumes from the
    last checkpoint, and all are written anew from one run.
    """
    moments, gradients, adapter = recorder.moments(), recorder.gradients, lora_state(adapted)
    if broken := [name for name, weight in adapter.items() if not weight.isfinite().all()]:
        raise ValueError(
            f"{broken[0]} of the trained adapter is not finite after step"
            f" {trainer.state.global_step}; {LOWER}"
        )
    if not trainer.is_world_process_zero():
        return
    out["manifest"].unlink(missing_ok=True)
    with replacing_folder(out["adapter"]) as staged:
        adapted.save_pretrained(staged, state_dict=adapter, save_embedding_layers=False)
    if "snapshots" in out:
        with replacing_folder(out["snapshots"]) as staged:
            shutil.copytree(kept, staged, dirs_exist_ok=True)
    moments.write(out["moments"])
    log = {entry["step"]: entry for entry in trainer.state.log_history if "loss" in entry}
    rows = [
        {
            "step": step,
            "module": module,
            "rms": rms,
            "loss": float(log[step]["loss"]),
            "lr": float(log[step]["learning_rate"]),
        }
        for step, module, rms in gradients
    ]
    write_table(out["gradients"], rows, GRADIENTS)
    write_manifest(out["manifest"], "sft.fine_tune", **facts)


def _arguments(settings: Sft, device: str, parts: int) -> dict[str, Any]:
    """Trainer's arguments for our settings."""
    recompute = {
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }
    return {
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "lr_scheduler_type": "constant",
        "optim": settings.optimizer,
        "logging_steps": 1,
        "save_steps": settings.checkpoint_every,
        "gradient_accumulation_steps": parts // settings.processes,
        "bf16": settings.precision == "bfloat16" and settings.fp32_moments,
        "use_cpu": device == "cpu" or not torch.accelerator.is_available(),
        "fsdp": settings.shard or None,
        **(recompute if settings.gradient_checkpointing else {}),
    }
