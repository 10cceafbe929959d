"""Rule `dynamics_train`.

A small model trained on the corpus with fine-tuning's own Trainer, and its checkpoints.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.config import Dynamics
from tracedlm.corpora.absynth import POS as PENN_POS
from tracedlm.corpora.grammar import POS, ROLES
from tracedlm.models.architecture import new_model
from tracedlm.models.causality import check_sight
from tracedlm.models.snapshots import CausalBatches, MaskedBatches, SnapshotSaver
from tracedlm.models.tokenizer import word_tokenizer
from tracedlm.models.training import (
    DiffusionTrainer,
    Encoded,
    only_item,
    resumable,
    training_arguments,
)
from tracedlm.records.atomic import replacing_folder
from tracedlm.records.manifest import code_digest, digest_of, fingerprint, write_manifest
from tracedlm.records.sentences import EOS, MASK, PAD, read_sentences, read_vocabulary

POS_NAMES = tuple(dict.fromkeys((*POS, *PENN_POS)))
"""Parts of speech of both kinds of corpora, in the order of their numbers."""

BATCHES = {"causal": CausalBatches, "masked": MaskedBatches}


def train(
    run: str,
    settings: Dynamics,
    corpus: Path,
    vocabulary: Path,
    seed: int,
    threads: int,
    scratch: Path,
    out: dict[str, Path],
) -> None:
    """Train, or resume an interrupted run, and publish checkpoints and manifest.

    A run of other settings is not resumed.

    Args:
        run: `causal` or `masked`.
        settings: See `config.Dynamics`.
        corpus: Annotated sentences.
        vocabulary: Their vocabulary.
        seed: Of initialisation, order and noise.
        threads: CPU threads.
        scratch: Resumable checkpoints live in here; removed when all is published.
        out: `checkpoints`, a folder with one of safetensors for each step; `manifest`.

    Raises:
        ValueError: The corpus has fewer sentences than a batch, or the model looks where it must
            not.
    """
    torch.set_num_threads(threads)
    facts = {
        "run": run,
        "settings": settings.model_dump(),
        "seed": seed,
        "corpus": digest_of(corpus),
    }
    work = scratch / fingerprint(**facts, code=code_digest("dynamics.train"))
    words = read_vocabulary(vocabulary)
    sentences = read_sentences(corpus, words, POS_NAMES, ROLES, "train")
    rows: list[Encoded] = [([], row[row != PAD].tolist()) for row in sentences.input_ids]
    torch.manual_seed(seed)
    causal = run == "causal"
    model = new_model(
        word_tokenizer(words),
        settings.hidden,
        feed_forward=settings.feed_forward,
        layers=settings.layers,
        heads=settings.heads,
        causal=causal,
    )
    longest = max((row for _, row in rows), key=len)
    check_sight(model.eval(), torch.tensor(longest[:-1]), EOS, causal)
    draw = _shuffled(rows, settings.batch_size, seed)
    batches = BATCHES[run](draw, settings.steps, MASK, PAD, seed)
    trainer = _trainer(model, batches, settings, seed, work)
    trainer.train(resume_from_checkpoint=resumable(work, "trainer_state.json"))
    check_sight(model.eval(), torch.tensor(longest[:-1]), EOS, causal)
    with replacing_folder(out["checkpoints"]) as staged:
        shutil.copytree(work / "kept", staged, dirs_exist_ok=True)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    write_manifest(
        out["manifest"],
        "dynamics.train",
        **facts,
        weights=weights_digest(model),
        sentences=len(rows),
        log=log,
    )
    shutil.rmtree(scratch)


def _trainer(model: Any, batches: Any, settings: Dynamics, seed: int, work: Path) -> Any:
    """AdamW at a constant rate after warm-up; snapshots are kept in `work`."""
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (settings.warmup + 1))
    )
    return DiffusionTrainer(
        model=model,
        args=training_arguments(
            work,
            seed,
            logging_steps=50,
            save_steps=settings.interval,
            max_grad_norm=1.0,
            use_cpu=True,
        ),
        train_dataset=batches,
        data_collator=only_item,
        optimizers=(optimizer, schedule),
        callbacks=[SnapshotSaver(work / "kept", settings.checkpoints())],
    )


def weights_digest(model: Any) -> str:
    """Digest of a model's weights: equal for equal bits."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _shuffled(rows: list[Encoded], size: int, seed: int) -> Callable[[int], list[Encoded]]:
    """Step -> its batch.

    Each pass over the sentences has a fresh order. What does not fill a batch is left out.

    Raises:
        ValueError: There are fewer sentences than a batch.
    """
    per_pass = len(rows) // size
    if not per_pass:
        raise ValueError(
            f"dynamics.batch_size = {size}, but the corpus has {len(rows)} sentences to train on;"
            " draw more or lower it"
        )

    def draw(step: int) -> list[Encoded]:
        order = np.random.default_rng([seed, step // per_pass]).permutation(len(rows))
        place = step % per_pass * size
        return [rows[index] for index in order[place : place + size]]

    return draw
