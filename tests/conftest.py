import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tracedlm.models.architecture import new_model
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.lora import attach_lora
from tracedlm.models.tokenizer import train_tokenizer
from tracedlm.tasks import GENERATED

ROOT = Path(__file__).resolve().parents[1]
collect_ignore = ["campaigns"]  # hours of work, to be started by hand

# A busy machine is not a wrong result: no time limit for one example.
settings.register_profile("house", deadline=None, max_examples=50)
settings.load_profile("house")


class OneProcessEach(LoadScopeScheduling):
    """pytest-xdist's scheduler, with scopes of our own.

    A file stays in one process, and so does all of tests/workflow, which shares one finished study.
    `--dist loadgroup` would say the same with marks, but pytest 9.2 ignores the names that
    pytest-xdist 3.8 gives to marked tests.
    """

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return "tests/workflow" if file.startswith("tests/workflow/") else file


def pytest_xdist_make_scheduler(config, log):
    return OneProcessEach(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the papers' data, which is not shipped."""
    folder = Path(os.environ.get("TRACEDLM_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the papers' data is not here; name its folder in TRACEDLM_SHARED")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A LLaDA-architecture checkpoint with random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), hidden=32, layers=2)


def write_checkpoint(folder: Path, hidden: int, layers: int, masks: bool = True) -> Path:
    """A random checkpoint; without `masks` it will not predict the mask token."""
    tokenizer = train_tokenizer(task_texts(), 320)
    torch.manual_seed(0)
    model = new_model(tokenizer, hidden=hidden, feed_forward=2 * hidden, layers=layers, heads=2)
    with torch.no_grad():
        for weight in model.parameters():
            # Predictions far from uniform, so that orders of confidence are clear.
            weight.mul_(4 if weight.ndim == 2 else 1)
        if not masks:
            model.get_input_embeddings().weight[tokenizer.mask_token_id] *= 0.05  # tied to the head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def task_texts() -> list[str]:
    texts = []
    for task in (GENERATED["countdown"], GENERATED["sudoku"]):
        for problem in task.sample("train", 5, 0):
            texts += [task.prompt(problem), task.solve(problem, 128)]
    return texts


@pytest.fixture(scope="session")
def denoiser(checkpoint) -> Denoiser:
    return load_denoiser(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def adapter(checkpoint, tmp_path_factory) -> Path:
    """A LoRA adapter of the checkpoint with random weights in both matrices."""
    return write_adapter(checkpoint, tmp_path_factory.mktemp("adapter"))


def write_adapter(checkpoint: Path, folder: Path) -> Path:
    torch.manual_seed(1)
    adapted = attach_lora(
        load_denoiser(checkpoint, device="cpu").model, rank=4, alpha=8, dropout=0.0
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    adapted.save_pretrained(folder)
    return folder
