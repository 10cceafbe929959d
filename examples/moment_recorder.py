"""A Reasoning Representation Map from anybody's training script.

One callback in a plain `transformers.Trainer`.

    python examples/moment_recorder.py OUT

Here a causal language model of 0.1 M random weights learns to count, for seconds, on a CPU. In your
script keep your model, data and loss; what matters are the four marked lines. LoRA on q, k and v is
needed, and AdamW in full precision.
"""

import argparse
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import tracedlm  # 1


def train(out: Path, optim: str = "adamw_torch") -> None:
    """Train, and write `moments.safetensors` and `q.safetensors`.

    The second is the map of the last block's queries.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj"])
    model = get_peft_model(LlamaForCausalLM(config), lora)
    counting = [(torch.arange(16) + start) % 64 for start in range(64)]
    recorder = tracedlm.MomentRecorder()  # 2
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out / "work"),
            max_steps=20,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            optim=optim,
            save_steps=10,  # the recorder saves with every checkpoint, and resumes with it
            report_to="none",
            use_cpu=True,
        ),
        train_dataset=[{"input_ids": numbers, "labels": numbers} for numbers in counting],  # pyright: ignore[reportArgumentType]
        callbacks=[recorder],  # 3
    )
    trainer.train()
    recorder.moments().write(out / "moments.safetensors")  # 4
    tracedlm.build_rrm(out / "moments.safetensors", projection="q").write(out / "q.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Records AdamW's moments in a plain Trainer, and makes a map of them."
    )
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="folder for moments.safetensors, q.safetensors and the Trainer's checkpoints",
    )
    out = parser.parse_args().out
    train(out)
    print(
        f"{out / 'moments.safetensors'}: mean updates of every LoRA matrix;"
        f" {out / 'q.safetensors'}: the map of the last block's queries"
    )
