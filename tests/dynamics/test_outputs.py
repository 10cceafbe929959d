"""Against a loop over tokens; and gradients against `backward`."""

import numpy as np
import pytest
import torch

from tracedlm.dynamics import (
    Labels,
    frequency_bands,
    gradient_measures,
    loss_gradients,
    masked_batches,
    output_measures,
)
from tracedlm.dynamics.gradients import loss_of

from .conftest import MASK, sentences


def token_by_token(model, batches):
    """Rows (sentence, position, nll, correct, entropy, confidence) of the predicted tokens."""
    rows, start = [], 0
    model.eval()
    for batch in batches:
        with torch.no_grad():
            logits = model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask
            ).logits.double()
        for i in range(len(batch.tokens)):
            for j in range(batch.tokens.shape[1]):
                if batch.weights[i, j] > 0:
                    p = logits[i, j - batch.shift].softmax(-1)
                    truth = int(batch.tokens[i, j])
                    rows.append(
                        (
                            start + i,
                            j,
                            -float(p[truth].log()),
                            int(p.argmax()) == truth,
                            -float((p * p.log()).sum()),
                            float(p.max()),
                        )
                    )
        start += len(batch.tokens)
    return rows


@pytest.mark.parametrize("name", ["gpt2", "llama", "llada"])
def test_measures_are_averages_over_tokens(models, name):
    model, batches = models[name]
    text = sentences(12)
    floor = np.linspace(0, 2, text.input_ids.size).reshape(text.input_ids.shape)
    found = {
        (one.metric, one.label): one
        for one in output_measures(model, batches, {"kind": text.labels}, floor, "here")
    }
    rows = token_by_token(model, batches)
    for index, label in ((None, ""), (0, "kind:a"), (2, "kind:c")):
        chosen = [row for row in rows if index is None or text.labels.ids[row[0], row[1]] == index]
        assert found["nll", label].n == len(chosen) > 0
        for metric, column in (("nll", 2), ("accuracy", 3), ("entropy", 4)):
            assert found[metric, label].value == pytest.approx(
                np.mean([row[column] for row in chosen]), rel=1e-5
            )
        assert found["excess_nll", label].value == pytest.approx(
            np.mean([row[2] - floor[row[0], row[1]] for row in chosen]), rel=1e-5
        )
    gap = sum(
        abs(sum(row[5] - row[3] for row in rows if int(row[5] * 10) == b)) for b in range(10)
    ) / len(rows)
    assert found["ece", ""].value == pytest.approx(gap, rel=1e-5)
    assert {one.module for one in found.values()} == {"here"}


def test_a_model_that_knows_less_of_its_input_predicts_the_same_tokens_no_better():
    """Mask ratio is an argument of the batches.

    At ratio 1 nothing but position is left to predict from.
    """
    from .conftest import llama

    text = sentences(64)
    losses = {}
    for ratio in (0.25, 1.0):
        batches = masked_batches(text.input_ids, text.attention_mask, MASK, seed=0, ratio=ratio)
        (nll,) = [one for one in output_measures(llama(False), batches, {}) if one.metric == "nll"]
        losses[ratio] = nll
        assert nll.n == sum(int((batch.weights > 0).sum()) for batch in batches)
    assert losses[1.0].n == text.attention_mask.sum() > 3 * losses[0.25].n


def test_labels_without_tokens_are_undefined_and_shapes_must_agree(models):
    model, batches = models["llama"]
    text = sentences(12)
    nobody = Labels(np.full(text.input_ids.shape, -1), ("x",))
    missing = [
        one for one in output_measures(model, batches, {"kind": nobody}) if one.label == "kind:x"
    ]
    assert len(missing) == 4 and all(
        one.value is None and one.n == 0 and "no predicted token" in one.reason for one in missing
    )
    with pytest.raises(ValueError, match="labels of kind"):
        output_measures(model, batches, {"kind": Labels(nobody.ids[:3], ("x",))})


def test_bands_order_words_by_frequency():
    word = np.array([[1, 1, 1, 1, 2, 2], [1, 1, 3, 4, -1, 9]])
    bands = frequency_bands(word, np.array([[1] * 6, [1, 1, 1, 1, 1, 0]]), ("often", "seldom"))
    assert bands.ids.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, -1, -1]]


@pytest.mark.parametrize("name", ["gpt2", "llada"])
def test_gradients_are_those_of_backward(models, name):
    model, batches = models[name]
    found = loss_gradients(model, batches)
    model.eval()
    sum(loss_of(model, batch) for batch in batches).backward()
    for module, gradient in found.items():
        own = dict(model.get_submodule(module).named_parameters(recurse=False))
        np.testing.assert_allclose(
            gradient, torch.cat([p.grad.flatten() for p in own.values()]).numpy(), atol=1e-6
        )
    assert sum(gradient.size for gradient in found.values()) == sum(
        p.numel() for p in model.parameters()
    )


def test_norms_and_cosines_by_module():
    now = {"model.layers.0.mlp": np.array([3.0, 4.0]), "lm_head": np.array([0.0])}
    before = {"model.layers.0.mlp": np.array([4.0, -3.0]), "lm_head": np.array([2.0])}
    found = {(one.module, one.metric): one for one in gradient_measures(now, before, "validation")}
    assert (
        found["", "gradient_norm"].value == 5
        and found["model.layers.0.mlp", "gradient_norm"].layer == 1
    )
    assert (
        found["", "gradient_cosine"].value
        == found["model.layers.0.mlp", "gradient_cosine"].value
        == 0
    )
    assert (
        found["lm_head", "gradient_cosine"].value,
        found["lm_head", "gradient_cosine"].reason,
    ) == (None, "a gradient is zero")
    first = [one for one in gradient_measures(now) if one.metric == "gradient_cosine"]
    assert all(one.reason == "no previous checkpoint" for one in first)


def test_lora_alone(models):
    model, batches = models["lora"]
    found = loss_gradients(model, batches, "lora")
    assert found and all("lora_" in module for module in found)
