"""What the model predicts.

Loss, accuracy, entropy and calibration, of all tokens and of each kind of token, against the
corpus' floor.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from tracedlm.dynamics.batches import UNSCORED, Batch, Labels
from tracedlm.dynamics.undisturbed import undisturbed
from tracedlm.records.measures import Measure
from tracedlm.theory.calibration import expected_calibration_error
from tracedlm.theory.prediction import clustered_mean, equal_mass_bands


class Predictions(NamedTuple):
    """What was predicted of each token; float64 [n, length], NaN where the token was not predicted.

    nll: -log p(token), nats.
    correct: 1 where the token is the most probable one, else 0.
    entropy: Of the predicted distribution, nats.
    confidence: Largest probability.
    """

    nll: np.ndarray
    correct: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray


def logits_of(model: Any, batch: Batch) -> torch.Tensor:
    """Scores of every token that can be scored, [n, length - shift, vocabulary]."""
    device = next(model.parameters()).device
    logits = model(
        input_ids=batch.input_ids.to(device), attention_mask=batch.attention_mask.to(device)
    ).logits
    return logits[:, : logits.shape[1] - batch.shift]


def predictions(model: Any, batches: Iterable[Batch]) -> Predictions:
    """Predictions of all batches' tokens, with probabilities in float64.

    The model is left as it was.
    """
    rows = []
    with undisturbed(model), torch.no_grad():
        for batch in batches:
            scored = batch.weights > 0
            log_p = logits_of(model, batch).cpu()[scored[:, batch.shift :]].double().log_softmax(-1)
            truth = batch.tokens[scored]
            best, guess = log_p.max(-1)
            # values: [nll, correct, entropy and confidence, rows, length]
            values = torch.full((4, *scored.shape), torch.nan, dtype=torch.float64)
            values[0, scored] = -log_p.gather(-1, truth[:, None])[:, 0]
            values[1, scored] = (guess == truth).double()
            # 0 log 0 = 0: a finite logarithm in place of minus infinity.
            lowest = torch.finfo(log_p.dtype).min
            values[2, scored] = -(log_p.exp() * log_p.clamp(min=lowest)).sum(-1)
            values[3, scored] = best.exp()
            rows.append(values.numpy())
    return Predictions(*np.concatenate(rows, axis=1))


def output_measures(
    model: Any,
    batches: Iterable[Batch],
    groups: Mapping[str, Labels],
    floor: float | np.ndarray | None = None,
    module: str = "",
) -> list[Measure]:
    """Mean nll, accuracy and entropy with errors over sentences, and calibration.

    Args:
        model: A model of transformers; it is left as it was.
        batches: All of the evaluation set, in the order of the labels.
        groups: Kind (pos, role, frequency) -> label of each token; their rows are labelled
            `kind:name`. "" is all predicted tokens.
        floor: Least possible nll of each token, [n, length], or of the mean token; nats.
            `excess_nll` is what the model loses beyond it.
        module: Of the measures; for a masked model, which mask ratio the batches have.

    Returns:
        Metrics nll, accuracy, entropy, excess_nll (nats) for every label and ece for every label; n
            = tokens.

    Raises:
        ValueError: Labels or floor have another shape than the tokens.
    """
    started = time.process_time()
    predicted = predictions(model, batches)
    scored = ~np.isnan(predicted.nll)
    # Tokens of one sentence are not independent: errors are taken over sentences.
    sentence = np.broadcast_to(np.arange(len(scored))[:, None], scored.shape)
    values = {"nll": predicted.nll, "accuracy": predicted.correct, "entropy": predicted.entropy}
    if floor is not None:
        values["excess_nll"] = predicted.nll - _like(
            scored, np.broadcast_to(floor, scored.shape) if np.ndim(floor) == 0 else floor, "floor"
        )
    measures = []
    for label, chosen in _selections(groups, scored):
        n = int(chosen.sum())
        reason = "" if n else "no predicted token has this label"
        for metric, value in values.items():
            mean, error = clustered_mean(value[chosen], sentence[chosen]) if n else (None, None)
            measures.append(
                Measure(
                    module,
                    None,
                    metric=metric,
                    label=label,
                    value=mean,
                    stderr=error,
                    n=n,
                    seconds=0.0,
                    reason=reason,
                )
            )
        ece = (
            expected_calibration_error(predicted.confidence[chosen], predicted.correct[chosen] == 1)
            if n
            else None
        )
        measures.append(
            Measure(
                module,
                None,
                metric="ece",
                label=label,
                value=ece,
                stderr=None,
                n=n,
                seconds=0.0,
                reason=reason,
            )
        )
    return share_seconds(measures, time.process_time() - started)


def frequency_bands(
    word: np.ndarray,
    attention_mask: np.ndarray,
    names: tuple[str, ...] = ("frequent", "middle", "rare"),
) -> Labels:
    """Label tokens by how frequent their word is among them.

    The bands hold about as many tokens each.

    Args:
        word: int [n, length], type of each token; below 0: none.
        attention_mask: [n, length], 1 for real tokens.
        names: Of the bands, the most frequent first.
    """
    real = (np.asarray(attention_mask) == 1) & (word >= 0)
    # types: the words that occur; index: which of them each real token is.
    types, index = np.unique(word[real], return_inverse=True)
    ids = np.full(word.shape, UNSCORED)
    ids[real] = equal_mass_bands(np.bincount(index, minlength=len(types)), len(names))[index]
    return Labels(ids, names)


def share_seconds(measures: list[Measure], seconds: float) -> list[Measure]:
    """The measures of one computation, each with its share of the CPU time."""
    return [measure._replace(seconds=seconds / len(measures)) for measure in measures]


def _selections(groups: Mapping[str, Labels], scored: np.ndarray) -> list[tuple[str, np.ndarray]]:
    chosen = [("", scored)]
    for kind, (ids, names) in groups.items():
        ids = _like(scored, ids, f"labels of {kind}")
        chosen += [(f"{kind}:{name}", scored & (ids == index)) for index, name in enumerate(names)]
    return chosen


def _like(scored: np.ndarray, values: Any, subject: str) -> np.ndarray:
    if np.shape(values) != scored.shape:
        raise ValueError(
            f"{subject} is {np.shape(values)}, the tokens are {scored.shape}: one value a token,"
            " padding included"
        )
    return np.asarray(values)
