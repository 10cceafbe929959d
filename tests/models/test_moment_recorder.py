"""The mean update is what AdamW's own moments give, and recording changes nothing.

Killed runs: stages/test_sft.py.
"""

import numpy as np
import pytest
import torch
from transformers import TrainerCallback, TrainerState

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.lora import attach_lora
from tracedlm.models.moment_recorder import MomentRecorder
from tracedlm.models.training import DiffusionTrainer, NoisyBatches, only_item, training_arguments
from tracedlm.records.lora_names import short_name
from tracedlm.records.moments import VARIANTS
from tracedlm.stages.sft.examples import encode_example
from tracedlm.tasks import get_task
from tracedlm.theory.moments import update

STEPS, EPS, BETAS = 6, 1e-8, (0.9, 0.999)


class Gradients(TrainerCallback):
    """What the optimiser is given, by (step, module)."""

    def __init__(self):
        self.seen = {}

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        for name, weight in model.named_parameters():
            if short_name(name) and weight.grad is not None:
                self.seen[state.global_step + 1, short_name(name)] = (
                    weight.grad.double().numpy().copy()
                )


class OneByOne(TrainerCallback):
    """The recorder's naive twin.

    The equation, module by module and variant by variant, from the optimiser's state.
    """

    def __init__(self):
        self.sums = {}

    def on_optimizer_step(self, args, state, control, model, optimizer, **_):
        for full_name, weight in model.named_parameters():
            if name := short_name(full_name):
                kept = optimizer.state[weight]
                for variant in VARIANTS:
                    placement, correction = variant.split("_")
                    corrected = (
                        {"step": int(kept["step"]), "betas": BETAS}
                        if correction == "corrected"
                        else {}
                    )
                    change = update(
                        kept["exp_avg"].double(),
                        kept["exp_avg_sq"].double(),
                        EPS,
                        placement,
                        **corrected,
                    )
                    self.sums[f"{name}/{variant}"] = self.sums.get(f"{name}/{variant}", 0) + change


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
    arguments = {
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "save_steps": 3,
        "lr_scheduler_type": "constant",
    }
    batches = NoisyBatches(
        lambda step: [examples[step % len(examples)]] * 2,
        STEPS,
        denoiser.mask_id,
        denoiser.tokenizer.pad_token_id,
        0,
    )
    trainer = DiffusionTrainer(
        model=model,
        args=training_arguments(
            work, 0, disable_tqdm=True, **{"optim": "adamw_torch", **arguments, **settings}
        ),
        train_dataset=batches,
        data_collator=only_item,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


@pytest.fixture(scope="module")
def run(checkpoint, examples, tmp_path_factory):
    """An uninterrupted run with everything watching."""
    recorder, gradients, twin = MomentRecorder(), Gradients(), OneByOne()
    weights = train(
        checkpoint, examples, tmp_path_factory.mktemp("run"), [recorder, gradients, twin]
    )
    return weights, recorder, gradients, twin


def mean_update(gradients, module, variant):
    """Ubar from the gradients alone.

    AdamW's recursion in double precision, then the mean of U_k.
    """
    placement, correction = variant.split("_")
    first = second = 0.0
    updates = []
    for k in range(1, STEPS + 1):
        g = gradients.seen[k, module]
        first, second = (
            BETAS[0] * first + (1 - BETAS[0]) * g,
            BETAS[1] * second + (1 - BETAS[1]) * g * g,
        )
        m, v = (
            (first / (1 - BETAS[0] ** k), second / (1 - BETAS[1] ** k))
            if correction == "corrected"
            else (first, second)
        )
        updates.append(m / (np.sqrt(v) + EPS) if placement == "outside" else m / np.sqrt(v + EPS))
    return sum(updates) / STEPS


@pytest.mark.parametrize("variant", VARIANTS)
def test_mean_updates_are_those_of_the_gradients(run, variant):
    _, recorder, gradients, _ = run
    moments = recorder.moments()
    assert moments.modules() == [
        f"{layer}.{projection}.{matrix}"
        for layer in range(2)
        for projection in "kqv"
        for matrix in "AB"
    ]
    for module in moments.modules():
        found = moments.mean_updates[f"{module}/{variant}"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, mean_update(gradients, module, variant), rtol=2e-3, atol=2e-5
        )
        assert np.abs(found).max() > 0
    assert (moments.steps, moments.eps, moments.betas) == (STEPS, EPS, BETAS)


def test_the_four_variants_are_not_the_same(run):
    _, recorder, _, _ = run
    found = [recorder.moments().mean_updates[f"0.q.B/{variant}"] for variant in VARIANTS]
    assert all(not np.allclose(found[i], found[j], rtol=0.05) for i in range(4) for j in range(i))


def test_the_gradient_log_is_the_rms_of_each_modules_gradient(run):
    _, recorder, gradients, _ = run
    assert len(recorder.gradients) == STEPS * 12
    for step, module, rms in recorder.gradients:
        assert rms == pytest.approx(np.sqrt(np.mean(gradients.seen[step, module] ** 2)), rel=1e-5)


def test_recording_does_not_change_a_weight(run, checkpoint, examples, tmp_path):
    weights, *_ = run
    plain = train(checkpoint, examples, tmp_path, [])
    assert (
        all(torch.equal(weights[name], plain[name]) for name in weights)
        and len(weights) == len(plain) == 12
    )


def test_all_modules_at_once_are_the_equation_one_by_one(run):
    _, recorder, _, twin = run
    found = recorder.moments().mean_updates
    assert found.keys() == twin.sums.keys()
    for name, total in twin.sums.items():
        np.testing.assert_allclose(found[name], total.numpy() / STEPS, rtol=2e-5, atol=1e-7)


def test_a_step_never_makes_the_accelerator_wait(checkpoint, examples, tmp_path, monkeypatch):
    """Reading one number from a device stalls it.

    The recorder keeps norms there until someone asks.
    """
    read, inside = [], []

    class Watched(MomentRecorder):
        def on_pre_optimizer_step(self, *args, **more):
            inside.append(1)
            super().on_pre_optimizer_step(*args, **more)
            inside.pop()

        def on_optimizer_step(self, *args, **more):
            inside.append(1)
            super().on_optimizer_step(*args, **more)
            inside.pop()

    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, o=original, n=name, **k: (
                (inside and read.append(n)) or o(self, *a, **k)
            ),
        )
    recorder = Watched()
    train(checkpoint, examples, tmp_path, [recorder], save_strategy="no")
    assert recorder.steps == STEPS and not read


def test_a_skipped_step_is_not_counted():
    """fp16: where the scaled loss overflows, AdamW is not run and its moments stay."""
    recorder = MomentRecorder()
    recorder.on_optimizer_step(
        None, None, None, optimizer=type("Accelerated", (), {"step_was_skipped": True})
    )
    assert recorder.steps == 0


def test_a_checkpoint_without_the_recorders_sums_is_refused(checkpoint, examples, tmp_path):
    train(checkpoint, examples, tmp_path, [])
    with pytest.raises(
        ValueError,
        match=(
            r"checkpoint-6/moment_recorder\.safetensors: not found \(the moment recorder's state\)"
        ),
    ):
        train(checkpoint, examples, tmp_path, [MomentRecorder()], resume=True)


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (
            {
                "state1": torch.zeros(1, dtype=torch.uint8),
                "state2": torch.zeros(1, dtype=torch.uint8),
            },
            "state1, state2",
        ),
        (
            {"exp_avg": torch.zeros(1).as_subclass(type("Quantised", (torch.Tensor,), {}))},
            "exp_avg",
        ),
    ],
    ids=["bitsandbytes", "torchao"],
)
def test_moments_in_8_bits_are_refused(checkpoint, state, kept):
    model = attach_lora(load_denoiser(checkpoint, device="cpu").model, rank=2, alpha=4, dropout=0.0)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    group = {"params": weights, "eps": EPS, "betas": BETAS}
    optimizer = type("AdamW8bit", (), {})()
    optimizer.param_groups, optimizer.state = [group], dict.fromkeys(weights, state)
    recorder = MomentRecorder()
    recorder.on_train_begin(None, TrainerState(), None, model=model)
    with pytest.raises(
        ValueError,
        match=(
            rf"AdamW8bit keeps no exp_avg in full precision for 0\.q\.A \(it keeps {kept}\);"
            r" .*adamw_torch"
        ),
    ):
        recorder.on_optimizer_step(None, None, None, optimizer=optimizer)


def test_a_model_without_lora_is_refused(checkpoint):
    model = load_denoiser(checkpoint, device="cpu").model
    with pytest.raises(ValueError, match="no trainable LoRA matrices on q, k or v"):
        MomentRecorder().on_train_begin(None, TrainerState(), None, model=model)


def test_an_optimiser_without_moments_is_refused(checkpoint, examples, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"SGD keeps no exp_avg in full precision for 0\.q\.A \(it keeps .*needs AdamW",
    ):
        train(checkpoint, examples, tmp_path, [MomentRecorder()], optim="sgd")


def test_a_recorder_that_saw_nothing_says_so():
    with pytest.raises(ValueError, match="no optimiser step was recorded"):
        MomentRecorder().moments()


class Again(TrainerCallback):
    """Keeps the Trainer's parts, so that a test can train once more with them."""

    def on_train_begin(self, args, state, control, model, optimizer, **_):
        self.model, self.optimizer = model, optimizer


def test_a_second_training_with_the_same_optimiser_goes_on_at_its_step(
    checkpoint, examples, tmp_path
):
    """`train()` called again counts from 1, AdamW from where it was.

    The naive twin reads AdamW's own count.
    """
    again, recorder, twin = Again(), MomentRecorder(), OneByOne()
    train(checkpoint, examples, tmp_path / "one", [again], save_strategy="no")
    inner = getattr(again.optimizer, "optimizer", again.optimizer)
    recorder.on_train_begin(None, TrainerState(), None, model=again.model, optimizer=inner)
    for _ in range(3):
        for weight in inner.state:
            weight.grad = torch.randn_like(weight)
        inner.step()
        for callback in (recorder, twin):
            callback.on_optimizer_step(
                None, TrainerState(), None, model=again.model, optimizer=inner
            )
    moments = recorder.moments()
    assert moments.steps == 3
    for name, total in twin.sums.items():
        assert moments.mean_updates[name] == pytest.approx(
            (total / 3).numpy(), rel=1e-4, abs=1e-5
        ), name


def test_a_checkpoint_of_another_optimiser_is_refused(checkpoint, examples, tmp_path):
    for name, rate in (("mine", 1e-3), ("others", 1e-2)):
        train(checkpoint, examples, tmp_path / name, [MomentRecorder()], learning_rate=rate)
    with pytest.raises(
        ValueError,
        match=(
            r"mine/checkpoint-3/moment_recorder\.safetensors: recorded beside another optimiser's"
            r" state"
        ),
    ):
        train(
            checkpoint,
            examples,
            tmp_path / "mine",
            [MomentRecorder()],
            resume=str(tmp_path / "others/checkpoint-3"),
        )


def test_a_checkpoint_without_the_optimiser_is_refused(checkpoint, examples, tmp_path):
    train(checkpoint, examples, tmp_path, [MomentRecorder()], save_only_model=True, max_steps=3)
    with pytest.raises(ValueError, match="saved without it \\(save_only_model\\)"):
        train(
            checkpoint,
            examples,
            tmp_path,
            [MomentRecorder()],
            resume=str(tmp_path / "checkpoint-3"),
        )


@pytest.mark.parametrize(
    "make",
    [
        torch.optim.NAdam,
        torch.optim.RAdam,
        lambda weights: torch.optim.AdamW(weights, amsgrad=True),
    ],
)
def test_optimisers_that_step_otherwise_are_refused(checkpoint, make):
    model = attach_lora(load_denoiser(checkpoint, device="cpu").model, rank=2, alpha=4, dropout=0.0)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer = make(weights)
    optimizer.step()
    recorder = MomentRecorder()
    recorder.on_train_begin(None, TrainerState(), None, model=model, optimizer=optimizer)
    with pytest.raises(ValueError, match="does not step as AdamW does"):
        recorder.on_optimizer_step(None, None, None, optimizer=optimizer)
