"""Optimiser checkpoints of other tools.

The mean of their updates by a naive twin, and nothing in a file is ever run.
"""

import json
import math
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.lora import attach_lora
from tracedlm.models.optimizer_dump import OptimizerDumps, load_pickled
from tracedlm.records.checkpoints import optimizer_files
from tracedlm.records.lora_names import short_name

OFFICIAL = "base_model.model.model.transformer.blocks.{}.{}_proj.lora_{}.default.weight"
SAVED = "base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.weight"
MODULES = [
    (layer, projection, matrix) for layer in range(2) for projection in "qkv" for matrix in "AB"
]
SHAPES = {"A": (2, 6), "B": (6, 2)}
EPS, BETAS = 1e-6, (0.8, 0.99)


def short(module):
    return "{}.{}.{}".format(*module)


def moments(seed, step, rank=0, scale=1.0):
    """Moments of every module at one step: module -> (M, V)."""
    generator = torch.Generator().manual_seed(1000 * seed + 10 * step + rank)
    return {
        module: (
            scale * torch.randn(SHAPES[module[2]], generator=generator),
            torch.rand(SHAPES[module[2]], generator=generator),
        )
        for module in MODULES
    }


def release(folder, step, ranks=1, with_step=True, **changes):
    """EDIT's layout."""
    for rank in range(ranks):
        content = {
            OFFICIAL.format(*module): {
                "exp_avg": m,
                "exp_avg_sq": v,
                "epsilon": EPS,
                **({"step": torch.tensor(float(step))} if with_step else {}),
            }
            for module, (m, v) in moments(0, step, changes.get("same_rank", rank)).items()
        }
        path = folder / f"checkpoint-{step}/rank-{rank}/lora_optim_step{step}-rank{rank}.pt"
        path.parent.mkdir(parents=True)
        torch.save(content, path)
    return folder


def naive(states, variant, steps):
    """Mean over checkpoints, each a list of its processes' (M, V), element by element."""
    states = [[(m.tolist(), v.tolist()) for m, v in processes] for processes in states]
    rows, columns = len(states[0][0][0]), len(states[0][0][0][0])
    mean = [[0.0] * columns for _ in range(rows)]
    for processes, step in zip(states, steps, strict=True):
        weight = 1 / (len(states) * len(processes))
        for m, v in processes:
            for i in range(rows):
                for j in range(columns):
                    first, second = m[i][j], v[i][j]
                    if variant.endswith("corrected"):
                        first, second = (
                            first / (1 - BETAS[0] ** step),
                            second / (1 - BETAS[1] ** step),
                        )
                    root = (
                        math.sqrt(second + EPS)
                        if variant.startswith("inside")
                        else math.sqrt(second) + EPS
                    )
                    mean[i][j] += weight * first / root
    return mean


def found(dumps, module, variant="outside_raw"):
    return dumps.matrices([short(module)], [variant])[f"{short(module)}/{variant}"]


@pytest.mark.parametrize(
    "variant", ["outside_raw", "outside_corrected", "inside_raw", "inside_corrected"]
)
def test_the_released_layout_gives_the_mean_over_processes_and_checkpoints(variant, tmp_path):
    for step in (2, 10, 4):
        release(tmp_path, step, ranks=2)
    dumps = OptimizerDumps(optimizer_files(tmp_path), betas=BETAS)
    assert dumps.steps == 3 and dumps.modules() == sorted(map(short, MODULES))
    for module in (MODULES[1], MODULES[-2]):
        states = [[moments(0, step, rank)[module] for rank in range(2)] for step in (2, 4, 10)]
        assert found(dumps, module, variant) == pytest.approx(
            torch.tensor(naive(states, variant, (2, 4, 10))).numpy(), rel=1e-5
        )


def test_two_equal_processes_are_one(tmp_path):
    one = OptimizerDumps(optimizer_files(release(tmp_path / "one", 4, same_rank=0)))
    two = OptimizerDumps(optimizer_files(release(tmp_path / "two", 4, ranks=2, same_rank=0)))
    assert all((found(one, module) == found(two, module)).all() for module in MODULES)


def test_a_module_that_only_one_process_holds_is_that_processes(tmp_path):
    release(tmp_path, 4, ranks=2)
    path = tmp_path / "checkpoint-4/rank-1/lora_optim_step4-rank1.pt"
    content = torch.load(path, weights_only=True)
    del content[OFFICIAL.format(*MODULES[1])]
    torch.save(content, path)
    dumps = OptimizerDumps(optimizer_files(tmp_path))
    assert found(dumps, MODULES[1]) == pytest.approx(
        torch.tensor(naive([[moments(0, 4)[MODULES[1]]]], "outside_raw", [4])).numpy(), rel=1e-5
    )


def test_parts_of_a_sharded_optimiser_are_refused(tmp_path):
    release(tmp_path, 4, ranks=2)
    path = tmp_path / "checkpoint-4/rank-1/lora_optim_step4-rank1.pt"
    content = torch.load(path, weights_only=True)
    entry = content[OFFICIAL.format(*MODULES[1])]
    entry["exp_avg"], entry["exp_avg_sq"] = entry["exp_avg"][:1], entry["exp_avg_sq"][:1]
    torch.save(content, path)
    with pytest.raises(
        ValueError,
        match=r"rank1\.pt: 0\.q\.B is \(1, 2\), in another dump \(6, 2\): of another run, or parts",
    ):
        found(OptimizerDumps(optimizer_files(tmp_path)), MODULES[1])


def test_bias_correction_needs_the_step(tmp_path):
    dumps = OptimizerDumps(optimizer_files(release(tmp_path, 4, with_step=False)))
    assert dumps.variants == ("outside_raw", "inside_raw")


def train(folder, named_groups=False, order=MODULES):
    """Three steps of a real AdamW on parameters in a given order, a Trainer checkpoint after each.

    Returns module -> [(M, V)].
    """
    torch.manual_seed(0)
    weights = {module: torch.nn.Parameter(torch.randn(SHAPES[module[2]])) for module in order}
    groups = (
        list({OFFICIAL.format(*module): weight for module, weight in weights.items()}.items())
        if named_groups
        else list(weights.values())
    )
    empty = [] if named_groups else [{"params": []}]
    optimizer = torch.optim.AdamW([{"params": groups}, *empty], lr=0.1, eps=EPS, betas=BETAS)
    states = {module: [] for module in order}
    for step in (1, 2, 3):
        for weight in weights.values():
            weight.grad = torch.randn_like(weight)
        optimizer.step()
        path = folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        torch.save(optimizer.state_dict(), path / "optimizer.pt")
        for module, weight in weights.items():
            states[module].append(
                tuple(optimizer.state[weight][key].clone() for key in ("exp_avg", "exp_avg_sq"))
            )
    return states


def check(folder, states, **settings):
    dumps = OptimizerDumps(optimizer_files(folder), **settings)
    assert dumps.modules() == sorted(map(short, MODULES))
    made = dumps.matrices(dumps.modules(), ["outside_raw", "inside_corrected"])
    for module in MODULES:
        for variant in ("outside_raw", "inside_corrected"):
            expected = torch.tensor(
                naive([[one] for one in states[module]], variant, (1, 2, 3))
            ).numpy()
            assert made[f"{short(module)}/{variant}"] == pytest.approx(expected, rel=1e-4)


SHUFFLED = [MODULES[i] for i in (5, 2, 11, 0, 7, 1, 10, 3, 9, 4, 8, 6)]


@pytest.mark.parametrize("form", ["list", "name: number", "number: name"])
def test_a_trainers_optimizer_is_read_with_its_name_map(form, tmp_path):
    states = train(tmp_path, order=SHUFFLED)
    names = [OFFICIAL.format(*module) for module in SHUFFLED]
    maps = {
        "list": names,
        "name: number": {name: n for n, name in enumerate(names)},
        "number: name": {str(n): name for n, name in enumerate(names)},
    }
    (tmp_path / "param_names.json").write_text(json.dumps(maps[form]))
    check(tmp_path, states)
    (tmp_path / "param_names.json").rename(tmp_path / "order.json")
    check(tmp_path, states, names=tmp_path / "order.json")


def test_names_that_the_optimiser_kept_are_used(tmp_path):
    check(tmp_path, train(tmp_path, named_groups=True, order=SHUFFLED))


def save_adapters(folder, extra=()):
    for checkpoint in folder.glob("checkpoint-*"):
        tensors = {SAVED.format(*module): torch.ones(SHAPES[module[2]]) for module in MODULES}
        save_file(
            {**tensors, **{name: torch.ones(2, 2) for name in extra}},
            checkpoint / "adapter_model.safetensors",
        )


def test_the_adapter_gives_the_order_where_it_leaves_no_choice(tmp_path):
    states = train(tmp_path)
    save_adapters(tmp_path)
    check(tmp_path, states)


def test_that_order_is_the_one_of_a_real_model(checkpoint, tmp_path):
    adapted = attach_lora(
        load_denoiser(checkpoint, device="cpu").model, rank=2, alpha=4, dropout=0.0
    )
    trained = [
        (name, weight) for name, weight in adapted.named_parameters() if weight.requires_grad
    ]
    optimizer = torch.optim.AdamW([weight for _, weight in trained], lr=0.1)
    for _, weight in trained:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    adapted.save_pretrained(tmp_path)
    dumps = OptimizerDumps(optimizer_files(tmp_path))
    assert len(dumps.modules()) == len(trained) == 2 * 3 * 2
    made = dumps.matrices(dumps.modules(), ["outside_corrected"])
    for name, weight in trained:
        assert made[f"{short_name(name)}/outside_corrected"] == pytest.approx(
            weight.grad.sign().numpy(), abs=1e-4
        )


def test_an_order_that_could_be_another_is_asked_for(tmp_path):
    train(tmp_path / "none")
    with pytest.raises(
        ValueError,
        match=(
            r"neither a \*name\*\.json nor adapter_model\.safetensors beside it names them; pass"
            r" names=FILE"
        ),
    ):
        OptimizerDumps(optimizer_files(tmp_path / "none")).modules()
    train(tmp_path / "more")
    save_adapters(
        tmp_path / "more", extra=["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"]
    )
    with pytest.raises(
        ValueError,
        match=(
            r"12 parameters in 1 groups do not follow from the adapter's 12 matrices .* and 1"
            r" others; pass names"
        ),
    ):
        OptimizerDumps(optimizer_files(tmp_path / "more")).modules()
    train(tmp_path / "swapped", order=MODULES[::-1])
    save_adapters(tmp_path / "swapped")
    with pytest.raises(
        ValueError,
        match=r"parameter 0 has shape \(6, 2\), the adapter's 0\.q\.A \(2, 6\); pass names=FILE",
    ):
        OptimizerDumps(optimizer_files(tmp_path / "swapped")).modules()


def test_moments_in_half_precision_and_in_the_old_file_format_are_read(tmp_path):
    release(tmp_path, 4)
    path = tmp_path / "checkpoint-4/rank-0/lora_optim_step4-rank0.pt"
    content = torch.load(path, weights_only=True)
    before = found(OptimizerDumps(optimizer_files(tmp_path)), MODULES[0])
    for entry in content.values():
        entry["exp_avg"] = entry["exp_avg"].bfloat16()
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert found(OptimizerDumps(optimizer_files(tmp_path)), MODULES[0]) == pytest.approx(
        before, rel=1e-2
    )


class Hostile:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("how", ["zip", "plain pickle", "empty", "text", "truncated"])
def test_a_hostile_or_broken_dump_is_refused_in_one_message_and_not_run(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "optimizer.pt"
    if how == "zip":
        torch.save({"state": {0: Hostile()}, "param_groups": []}, path)
    elif how == "truncated":
        torch.save({"state": torch.ones(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_bytes(
            {"plain pickle": pickle.dumps(Hostile(), protocol=2), "empty": b"", "text": b"hello"}[
                how
            ]
        )
    with pytest.raises(
        ValueError,
        match=(
            r"optimizer\.pt: not a dump of tensors and plain values \(\w+\); nothing in it was run"
        ),
    ) as error:
        load_pickled(path)
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()


def test_a_quantised_optimiser_is_named(tmp_path):
    torch.save(
        {
            OFFICIAL.format(0, "q", "B"): {
                "step": 3,
                "state1": torch.ones(2),
                "state2": torch.ones(2),
            }
        },
        tmp_path / "lora_optim_step3.pt",
    )
    with pytest.raises(
        ValueError,
        match=(
            r"0\.q\.B has step, state1, state2; expected exp_avg and exp_avg_sq, as AdamW in full"
            r" precision keeps"
        ),
    ):
        OptimizerDumps(optimizer_files(tmp_path)).modules()


def test_a_dump_of_something_else_says_what_was_expected(tmp_path):
    torch.save({"model": {"weight": torch.ones(2)}}, tmp_path / "optimizer.pt")
    with pytest.raises(
        ValueError,
        match=r"no moments of a LoRA matrix on q, k or v; expected a Trainer's optimizer\.pt, or",
    ):
        OptimizerDumps(optimizer_files(tmp_path)).modules()
