"""The mean update is what AdamW's own moments give, recording changes nothing, and a killed run loses nothing."""

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.lora import attach_lora, short_name
from tracedlm.models.moment_recorder import MomentRecorder
from tracedlm.models.training import DiffusionTrainer, NoisyBatches, only_item, training_arguments
from tracedlm.records.moments import VARIANTS
from tracedlm.stages.examples import encode_example
from tracedlm.tasks import get_task

STEPS, EPS, BETAS = 6, 1e-8, (0.9, 0.999)


class Gradients(TrainerCallback):
    """What the optimiser is given, by (step, module)."""

    def __init__(self):
        self.seen = {}

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        for name, weight in model.named_parameters():
            if short_name(name) and weight.grad is not None:
                self.seen[state.global_step + 1, short_name(name)] = weight.grad.double().numpy().copy()


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 4:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def examples(checkpoint):
    tokenizer = load_denoiser(checkpoint, device="cpu").tokenizer
    problems = get_task("sudoku").sample("train", 8, 0)
    encoded = [encode_example(tokenizer, get_task("sudoku"), problem, 192) for problem in problems]
    return [example for example in encoded if example]


def train(checkpoint, examples, work, callbacks, resume=False, **settings):
    """LoRA weights after six steps, from scratch or from the last checkpoint."""
    denoiser = load_denoiser(checkpoint, device="cpu")
    torch.manual_seed(0)
    model = attach_lora(denoiser.model, rank=2, alpha=4, dropout=0.1)
    arguments = {"learning_rate": 1e-3, "weight_decay": 0.1, "max_grad_norm": 1.0, "save_steps": 3, "lr_scheduler_type": "constant"}
    batches = NoisyBatches(lambda step: [examples[step % len(examples)]] * 2, STEPS, denoiser.mask_id, denoiser.tokenizer.pad_token_id, 0)
    trainer = DiffusionTrainer(
        model=model,
        args=training_arguments(work, 0, disable_tqdm=True, **{"optim": "adamw_torch", **arguments, **settings}),
        train_dataset=batches,
        data_collator=only_item,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.fixture(scope="module")
def run(checkpoint, examples, tmp_path_factory):
    """An uninterrupted run with everything watching."""
    recorder, gradients = MomentRecorder(), Gradients()
    weights = train(checkpoint, examples, tmp_path_factory.mktemp("run"), [recorder, gradients])
    return weights, recorder, gradients


def mean_update(gradients, module, variant):
    """Ubar from the gradients alone: AdamW's recursion in double precision, then the mean of U_k."""
    placement, correction = variant.split("_")
    first = second = 0.0
    updates = []
    for k in range(1, STEPS + 1):
        g = gradients.seen[k, module]
        first, second = BETAS[0] * first + (1 - BETAS[0]) * g, BETAS[1] * second + (1 - BETAS[1]) * g * g
        m, v = (first / (1 - BETAS[0] ** k), second / (1 - BETAS[1] ** k)) if correction == "corrected" else (first, second)
        updates.append(m / (np.sqrt(v) + EPS) if placement == "outside" else m / np.sqrt(v + EPS))
    return sum(updates) / STEPS


@pytest.mark.parametrize("variant", VARIANTS)
def test_mean_updates_are_those_of_the_gradients(run, variant):
    _, recorder, gradients = run
    moments = recorder.moments()
    assert moments.modules() == [f"{layer}.{projection}.{matrix}" for layer in range(2) for projection in "kqv" for matrix in "AB"]
    for module in moments.modules():
        found = moments.mean_updates[f"{module}/{variant}"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, mean_update(gradients, module, variant), rtol=2e-3, atol=2e-5)
        assert np.abs(found).max() > 0
    assert (moments.steps, moments.eps, moments.betas) == (STEPS, EPS, BETAS)


def test_the_four_variants_are_not_the_same(run):
    _, recorder, _ = run
    found = [recorder.moments().mean_updates[f"0.q.B/{variant}"] for variant in VARIANTS]
    assert all(not np.allclose(found[i], found[j], rtol=0.05) for i in range(4) for j in range(i))


def test_the_gradient_log_is_the_rms_of_each_modules_gradient(run):
    _, recorder, gradients = run
    assert len(recorder.gradients) == STEPS * 12
    for step, module, rms in recorder.gradients:
        assert rms == pytest.approx(np.sqrt(np.mean(gradients.seen[step, module] ** 2)), rel=1e-5)


def test_recording_does_not_change_a_weight(run, checkpoint, examples, tmp_path):
    weights, _, _ = run
    plain = train(checkpoint, examples, tmp_path, [])
    assert all(torch.equal(weights[name], plain[name]) for name in weights) and len(weights) == len(plain) == 12


def test_a_killed_and_resumed_run_gives_the_same_bits(run, checkpoint, examples, tmp_path):
    weights, whole, _ = run
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint, examples, tmp_path, [MomentRecorder(), Kill()])
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    recorder = MomentRecorder()
    resumed = train(checkpoint, examples, tmp_path, [recorder], resume=True)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    before, after = whole.moments(), recorder.moments()
    assert (before.steps, before.eps, before.betas) == (after.steps, after.eps, after.betas)
    assert all(np.array_equal(before.mean_updates[name], after.mean_updates[name]) for name in before.mean_updates)
    assert recorder.gradients == whole.gradients


def test_an_optimiser_without_moments_is_refused(checkpoint, examples, tmp_path):
    with pytest.raises(ValueError, match=r"SGD keeps no exp_avg and exp_avg_sq for .*needs AdamW"):
        train(checkpoint, examples, tmp_path, [MomentRecorder()], optim="sgd")


def test_a_recorder_that_saw_nothing_says_so():
    with pytest.raises(ValueError, match="no optimiser step was recorded"):
        MomentRecorder().moments()
