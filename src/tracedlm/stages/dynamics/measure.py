"""Rule `dynamics_measure`: one metric of some checkpoints of one run, on a fixed evaluation set.

Training is long over.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm import dynamics
from tracedlm.config import Dynamics
from tracedlm.corpora.floors import causal_floor, masked_floor, role_ceilings
from tracedlm.corpora.grammar import ROLES
from tracedlm.dynamics import Batch, Labels
from tracedlm.models.snapshots import read_snapshot
from tracedlm.progress import counted
from tracedlm.records.measures import Measure, write_measures
from tracedlm.records.sentences import MASK, SPECIAL, Sentences, read_sentences, read_vocabulary
from tracedlm.stages.dynamics.corpus import grammar_of
from tracedlm.stages.dynamics.train import POS_NAMES

Checkpoint = tuple[int, int]
"""Seed and step."""


@dataclass(frozen=True)
class Setting:
    """What every checkpoint of a run is measured with; the same for all of them.

    Attributes:
        causal: The run is causal; else masked.
        settings: See `config.Dynamics`.
        sentences: Held-out sentences, all different.
        training: As many of those trained on as `curvature_sentences` says.
        noise: Seed of the masks.
    """

    causal: bool
    settings: Dynamics
    sentences: Sentences
    training: Sentences
    noise: int

    @cached_property
    def views(self) -> dict[str, list[Batch]]:
        """The evaluation set as the model sees it: once, or once for each mask ratio."""
        if self.causal:
            return {"": self._batches(self.sentences, None)}
        return {
            f"ratio {ratio:g}": self._batches(self.sentences, ratio)
            for ratio in self.settings.mask_ratios
        }

    @cached_property
    def fixed(self) -> dict[str, list[Batch]]:
        """Two disjoint batches under training's own loss.

        Sentences trained on, and held-out ones.
        """
        held_out = head(self.sentences, self.settings.curvature_sentences)
        return {
            "train": self._batches(self.training, None),
            "validation": self._batches(held_out, None),
        }

    @cached_property
    def floors(self) -> dict[str, np.ndarray | None]:
        """For each view, surprisal of each token under the grammar, nats [n, width].

        None where no grammar is known.
        """
        if self.settings.corpus_file:
            return dict.fromkeys(self.views)
        grammar, lexicon = grammar_of(self.settings)
        words = np.where(self.sentences.word >= 0, self.sentences.word - len(SPECIAL), -1)[:, 1:]
        kind = self.sentences.kind
        if self.causal:
            found = [causal_floor(grammar, lexicon, kind, words)]
        else:
            found = [
                masked_floor(grammar, lexicon, kind, words, ratio)
                for ratio in self.settings.mask_ratios
            ]
        return {
            name: np.pad(floor, ((0, 0), (1, 0)))
            for name, floor in zip(self.views, found, strict=True)
        }

    @cached_property
    def ceilings(self) -> list[Measure]:
        """Largest accuracy and F1 that any probe of roles can reach.

        On the evaluated sentences, whatever it reads. None where no grammar is known.
        """
        if self.settings.corpus_file:
            return []
        grammar, _ = grammar_of(self.settings)
        shares = np.bincount(self.sentences.kind, minlength=len(grammar.probability)) / len(
            self.sentences
        )
        accuracy, f1 = role_ceilings(grammar, shares, self.causal)
        n = int((self.sentences.role >= 0).sum())
        named = [("accuracy", "", accuracy), *(("f1", role, value) for role, value in f1.items())]
        return [
            Measure(
                "ceiling.role.sentence",
                None,
                metric=metric,
                label=label,
                value=value,
                stderr=None,
                n=n,
                seconds=0.0,
            )
            for metric, label, value in named
        ]

    def groups(self) -> dict[str, Labels]:
        """Labels of each token: part of speech, role, and frequency among the evaluated tokens."""
        real = self.sentences.word >= 0
        return {
            **self.tasks(),
            "frequency": dynamics.frequency_bands(self.sentences.word, real.astype(int)),
        }

    def tasks(self) -> dict[str, Labels]:
        """What probes are asked for."""
        return {
            "pos": Labels(self.sentences.pos, self.sentences.pos_names),
            "role": Labels(self.sentences.role, self.sentences.role_names),
        }

    def _batches(self, sentences: Sentences, ratio: float | None) -> list[Batch]:
        if self.causal:
            return dynamics.causal_batches(sentences.input_ids, sentences.attention_mask)
        words = sentences.word >= 0
        return dynamics.masked_batches(
            sentences.input_ids, sentences.attention_mask, MASK, self.noise, ratio, maskable=words
        )


def measure(
    run: str,
    metric: str,
    chosen: list[Checkpoint],
    settings: Dynamics,
    corpus: Path,
    vocabulary: Path,
    checkpoints: dict[int, Path],
    threads: int,
    out: Path,
) -> None:
    """Write what one metric says of some checkpoints.

    One that is missing or half-written has a row that says so, and no number.

    Args:
        run: `causal` or `masked`.
        metric: A key of `METRICS`.
        chosen: Which checkpoints.
        settings: See `config.Dynamics`.
        corpus: Annotated sentences.
        vocabulary: Their vocabulary.
        checkpoints: Seed -> folder with one checkpoint a step.
        threads: CPU threads.
        out: Table of `records.measures.MEASURES`.

    Raises:
        ValueError: The corpus is unusable.
    """
    torch.set_num_threads(threads)
    words = read_vocabulary(vocabulary)
    splits = (("held_out", settings.evaluation), ("train", settings.curvature_sentences))
    sets = [
        read_sentences(
            corpus, words, pos_names=POS_NAMES, role_names=ROLES, split=split, limit=limit
        )
        for split, limit in splits
    ]
    setting = Setting(run == "causal", settings, *sets, noise=0)
    rows = {}
    started = time.process_time()
    for (seed, step), model in counted(
        _models(chosen, checkpoints), f"{metric} {run}", "checkpoint", len(chosen)
    ):
        if isinstance(model, str):
            print(f"skipped: {model}", flush=True)
            rows[seed, step] = [
                Measure(
                    "",
                    None,
                    metric=metric,
                    label="",
                    value=None,
                    stderr=None,
                    n=0,
                    seconds=0.0,
                    reason=model,
                )
            ]
            continue
        found = METRICS[metric](model, setting, _before(step, settings, checkpoints[seed]))
        ended = time.process_time()
        rows[seed, step], started = with_rest(found, ended - started), ended
    write_measures(out, run, rows)


def with_rest(measures: list[Measure], spent: float) -> list[Measure]:
    """The measures of one checkpoint with all that they took.

    Reading it and its forwards are shared evenly among them.
    """
    rest = (spent - sum(one.seconds for one in measures)) / len(measures)
    return [one._replace(seconds=one.seconds + rest) for one in measures]


def _models(
    chosen: list[Checkpoint], checkpoints: dict[int, Path]
) -> Iterator[tuple[Checkpoint, Any]]:
    """Each checkpoint's model, or why there is none."""
    for seed, step in chosen:
        try:
            yield (seed, step), read_snapshot(checkpoints[seed] / str(step))
        except ValueError as error:
            yield (seed, step), str(error)


def _before(step: int, settings: Dynamics, folder: Path) -> Path | None:
    """The checkpoint before a step's; None for the first."""
    earlier = [one for one in settings.checkpoints() if one < step]
    return folder / str(earlier[-1]) if earlier else None


def _outputs(model: Any, setting: Setting, _: Path | None) -> list[Measure]:
    measures = []
    for module, batches in setting.views.items():
        measures += dynamics.output_measures(
            model, batches, setting.groups(), setting.floors[module], module
        )
    return measures


def _probes(model: Any, setting: Setting, _: Path | None) -> list[Measure]:
    states = dynamics.hidden_states(model, *setting.views.values())
    seeds = tuple(range(setting.settings.probe_seeds))
    return [
        *dynamics.probe_measures(states, setting.tasks(), setting.sentences.word, seeds),
        *setting.ceilings,
    ]


def _dimension(model: Any, setting: Setting, _: Path | None) -> list[Measure]:
    states = dynamics.hidden_states(model, *setting.views.values())
    return dynamics.dimension_measures(states, (setting.sentences.word >= 0).astype(int), seed=0)


def _curvature(model: Any, setting: Setting, _: Path | None) -> list[Measure]:
    return dynamics.curvature_measures(model, setting.fixed)


def _gradients(model: Any, setting: Setting, before: Path | None) -> list[Measure]:
    earlier = read_snapshot(before) if before is not None else None
    measures = []
    for name, batches in setting.fixed.items():
        previous = dynamics.loss_gradients(earlier, batches) if earlier is not None else None
        measures += dynamics.gradient_measures(
            dynamics.loss_gradients(model, batches), previous, name
        )
    return measures


METRICS: dict[str, Callable[[Any, Setting, Path | None], list[Measure]]] = {
    "outputs": _outputs,
    "probes": _probes,
    "dimension": _dimension,
    "curvature": _curvature,
    "gradients": _gradients,
}
"""Name -> what is measured of a model; the checkpoint before it, for what compares two."""


def head(sentences: Sentences, n: int) -> Sentences:
    """The first sentences."""
    arrays = {
        name: value[:n] for name, value in vars(sentences).items() if isinstance(value, np.ndarray)
    }
    return Sentences(sentences.vocabulary, sentences.pos_names, sentences.role_names, **arrays)
