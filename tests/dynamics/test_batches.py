"""What is read, what is predicted, and what the losses of batches add up to."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tracedlm.dynamics import causal_batches, hidden_states, masked_batches
from tracedlm.dynamics.gradients import loss_of

from .conftest import MASK, sentences


def test_causal_losses_add_up_to_the_mean_over_tokens(models):
    model, batches = models["llama"]
    text = sentences(12)
    ids, real = torch.tensor(text.input_ids), torch.tensor(text.attention_mask)
    logits = model(input_ids=ids, attention_mask=real).logits
    labels = torch.where(real == 1, ids, -100)[:, 1:]
    expected = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels.flatten(), ignore_index=-100
    )
    assert float(sum(loss_of(model, batch).detach() for batch in batches)) == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_masked_losses_are_the_diffusion_loss():
    """Cross-entropy of masked tokens / (t * tokens), mean over sentences.

    A model that knows nothing pays log V for each.
    """
    text = sentences(2000)
    parts = masked_batches(text.input_ids, text.attention_mask, MASK, seed=1, size=300)
    assert float(sum(batch.weights.sum() for batch in parts)) == pytest.approx(1, abs=0.1)
    for batch in parts:
        hidden = batch.weights > 0
        assert (batch.input_ids[hidden] == MASK).all()
        assert (batch.input_ids[~hidden] == batch.tokens[~hidden]).all()
        assert not hidden[batch.attention_mask == 0].any()


def test_the_noise_belongs_to_the_sentences_and_not_to_the_batches():
    text = sentences(20)
    whole, parts = (
        masked_batches(text.input_ids, text.attention_mask, MASK, seed=3, ratio=0.5, size=size)
        for size in (20, 6)
    )
    torch.testing.assert_close(whole[0].input_ids, torch.cat([batch.input_ids for batch in parts]))
    allowed = np.zeros_like(text.attention_mask)
    allowed[:, 2:4] = 1
    (some,) = masked_batches(
        text.input_ids, text.attention_mask, MASK, seed=3, ratio=1.0, maskable=allowed
    )
    assert ((some.weights > 0).numpy() == (allowed * text.attention_mask == 1)).all()


def test_hidden_states_are_the_models_own_and_views_are_averaged(models):
    text = sentences(12)
    for name in ("gpt2", "llada"):
        model, batches = models[name]
        read = torch.cat([batch.input_ids for batch in batches])
        model.eval()
        expected = model(
            input_ids=read,
            attention_mask=torch.tensor(text.attention_mask),
            output_hidden_states=True,
        ).hidden_states
        expected = torch.stack(expected).detach().numpy()
        real = text.attention_mask == 1
        np.testing.assert_allclose(
            hidden_states(model, batches)[:, real], expected[:, real], atol=1e-5
        )
    views = [
        masked_batches(text.input_ids, text.attention_mask, MASK, seed=0, ratio=ratio)
        for ratio in (0.2, 0.9)
    ]
    alone = [hidden_states(model, view) for view in views]
    np.testing.assert_allclose(hidden_states(model, *views), (alone[0] + alone[1]) / 2, atol=1e-6)


def test_what_cannot_be_is_refused():
    text = sentences(3)
    with pytest.raises(ValueError, match="ratio"):
        masked_batches(text.input_ids, text.attention_mask, MASK, seed=0, ratio=0.0)
    with pytest.raises(ValueError, match=r"\[3, 7\] and \[2, 7\]"):
        causal_batches(text.input_ids, text.attention_mask[:2])
    with pytest.raises(ValueError, match="at least one view"):
        hidden_states(None)
