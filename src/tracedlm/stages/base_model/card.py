"""Rule `card`: what a base model can do, for its model card.

Accuracy over forwards, and calibration by mask ratio.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.generation import generate
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.training import IGNORED, NoisyBatches
from tracedlm.progress import counted
from tracedlm.records.atomic import write_text
from tracedlm.resources import located
from tracedlm.stages.sft.examples import encode_example
from tracedlm.tasks import Problem, Task, generated_task, get_task
from tracedlm.theory.calibration import expected_calibration_error
from tracedlm.theory.resampling import clopper_pearson

FORWARD_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Budgets of the accuracy curve, as shares of the full T = G/2 steps."""

RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Mask ratios at which calibration is measured."""


def evaluate(
    model: dict[str, Any],
    tests: dict[str, tuple[str | None, int | None]],
    seq_lens: tuple[int, ...],
    samples: int,
    batch_size: int,
    seed: int,
    threads: int,
    out: Path,
) -> None:
    """Measure a base model and write the record its card is made from.

    On the head of each test file.

    Args:
        model: Path, precision and device.
        tests: Test file of each dataset, or None: its problems are drawn; and their difficulty.
        seq_lens: Canvas lengths.
        samples: Problems per dataset.
        batch_size: Samples decoded together.
        seed: Seed of the masks.
        threads: CPU threads.
        out: JSON file.
    """
    torch.set_num_threads(threads)
    denoiser = load_denoiser(**model)
    curves, calibration = [], []
    for dataset, (file, difficulty) in tests.items():
        task = get_task(dataset, difficulty)
        problems = (
            task.read(located(file))[:samples]
            if file
            else generated_task(dataset, difficulty).sample("test", samples, seed=0)
        )
        for seq_len in seq_lens:
            for share in counted(FORWARD_SHARES, f"card {dataset} {seq_len}", "budget"):
                curves.append(
                    _accuracy(
                        denoiser,
                        task,
                        problems,
                        seq_len,
                        max(seq_len // 32, round(share * seq_len / 2)),
                        batch_size,
                    )
                )
        calibration += _calibration(denoiser, task, problems, min(seq_lens), seed)
    write_text(
        out,
        json.dumps({"accuracy": curves, "calibration": calibration, "tests": tests}, indent=1)
        + "\n",
    )


def _accuracy(
    denoiser: Denoiser,
    task: Task,
    problems: list[Problem],
    seq_len: int,
    steps: int,
    batch_size: int,
) -> dict[str, Any]:
    """Accuracy with `steps` evenly spread forwards."""
    generation = generate(
        denoiser,
        [task.prompt(problem) for problem in problems],
        seq_len,
        min(32, seq_len),
        steps,
        batch_size=batch_size,
    )
    scores = [
        task.score(problem, text) for problem, text in zip(problems, generation.text, strict=True)
    ]
    published = [
        task.score(problem, text, "d1").value
        for problem, text in zip(problems, generation.text, strict=True)
    ]
    solved = sum(score.correct for score in scores)
    low, high = clopper_pearson(solved, len(problems))
    return {
        "dataset": task.name,
        "seq_len": seq_len,
        "forwards": steps,
        "n": len(problems),
        "solved": solved / len(problems),
        "low": low,
        "high": high,
        "d1": float(np.mean(published)),
        "output_tokens": float(
            np.mean([len(denoiser.tokenizer(text)["input_ids"]) for text in generation.text])
        ),
    }


def _calibration(
    denoiser: Denoiser, task: Task, problems: list[Problem], seq_len: int, seed: int
) -> list[dict[str, Any]]:
    """ECE and accuracy of masked-token predictions on worked solutions, by mask ratio."""
    encoded = [encode_example(denoiser.tokenizer, task, problem, seq_len) for problem in problems]
    examples = [example for example in encoded if example is not None]
    rows = []
    for ratio in RATIOS:
        confidence, right = [], []
        for start in range(0, len(examples), 16):
            part = examples[start : start + 16]
            batch = NoisyBatches(
                lambda _, part=part: part,
                1,
                denoiser.mask_id,
                denoiser.tokenizer.pad_token_id,
                seed + start,
                ratio=ratio,
            )[0]
            best = (
                denoiser(batch["input_ids"], batch["attention_mask"]).double().softmax(-1).max(-1)
            )
            masked = batch["labels"] != IGNORED
            confidence.append(best.values[masked])
            right.append((best.indices == batch["labels"])[masked])
        p, hit = torch.cat(confidence).numpy(), torch.cat(right).numpy()
        rows.append(
            {
                "dataset": task.name,
                "mask_ratio": ratio,
                "ece": expected_calibration_error(p, hit),
                "accuracy": float(hit.mean()),
                "n": len(p),
            }
        )
    return rows
