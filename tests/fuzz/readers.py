"""Every reader of a file that may come from elsewhere, with a small valid example made by the
product's own writers.

A reader takes a path and either returns something that can be used, or raises a ValueError that
names the file. `Reader.read` uses what it returns as the product would, so that an array which is
only opened counts as read when its numbers are.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tracedlm.config import load_yaml
from tracedlm.corpora.absynth import read_absynth
from tracedlm.models.optimizer_dump import OptimizerDumps
from tracedlm.records import measures, sentences
from tracedlm.records import trace as tables
from tracedlm.records.adapter import Adapter
from tracedlm.records.card import ExitCard
from tracedlm.records.map_file import MapFiles
from tracedlm.records.metrics import read_json
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.parameter_names import read_name_map
from tracedlm.records.parquet import write_table
from tracedlm.records.released import read_settings
from tracedlm.records.rrm import Rrm, read_maps, write_maps
from tracedlm.records.series import read_late
from tracedlm.records.tensors import write_arrays
from tracedlm.report.write import SPECS, read_csv, write_csv
from tracedlm.rescoring import rescore
from tracedlm.stages.trace.check import check_traces
from tracedlm.tasks import GENERATED, TASKS, Task, get_task
from tracedlm.tasks.templates import read_template

ROOT = Path(__file__).resolve().parents[2]
LORA = "base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.weight"
FACTS = ("stage", "code", "versions")


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        file: Name of the file. What else the reader needs lies beside it in the folder.
        form: How its content is built: json, yaml, jsonl, csv, text, parquet, safetensors, torch or
            npz.
        write: Writes the valid example, and its neighbours, into a folder.
        read: Reads the file and uses what is in it.
    """

    file: str
    form: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]


# ---- task files ---------------------------------------------------------------------------------

GIVEN = {
    "gpqa": {
        "Question": "q?",
        "Correct Answer": "c",
        **{f"Incorrect Answer {n}": str(n) for n in (1, 2, 3)},
        "Order": "1032",
    },
    "gsm8k": {"question": "Ann has 3 pens. How many?", "answer": "3+2=<<3+2=5>>5\n#### 5"},
    "math500": {"problem": "What is $1+1$?", "answer": "2", "level": "1"},
    "s1k": {"question": "Why?", "thinking_trajectories": "Hm.", "attempt": "Because."},
}


def problem_of(name: str) -> dict[str, str]:
    return GIVEN[name] if name in GIVEN else GENERATED[name].sample("validation", 1, seed=0)[0]


PROBLEMS = {name: problem_of(name) for name in TASKS}


def use_problems(task: Task, path: Path) -> None:
    """What the stages ask of the problems in a file."""
    for problem in task.read(path):
        problem = task.arranged(problem, 0)
        task.key(problem), task.question(problem), task.prompt(problem), task.split_of(problem)
        if task.scored:
            (
                task.score(problem, "<answer>1</answer>", "strict"),
                task.score(problem, r"\boxed{x}", "d1"),
            )
        task.write([problem], path.with_name("written"))


def task_reader(name: str, form: str) -> Reader:
    task, row = get_task(name), problem_of(name)

    def write(folder: Path) -> None:
        if form == "parquet":
            write_table(
                folder / f"{name}.parquet",
                [row],
                pa.schema([(field, pa.string()) for field in row]),
            )
        else:
            task.write([row, row], folder / f"{name}.{form}")

    return Reader(f"{name}.{form}", form, write, lambda path: use_problems(task, path))


RESPONSE = (
    "<reasoning>\n1+2=3\n</reasoning>\n"
    "<answer>\n\\boxed{(1+2)*\\frac{6}{2}}\n```3142243142131324```</answer>\n"
)


def score_all(path: Path) -> None:
    """A model's text by every scorer; whatever it is, it has a score."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    for name, task in TASKS.items():
        for scorer in ("strict", "d1") if task.scored else ():
            score = task.score(PROBLEMS[name], text, scorer)
            assert 0 <= score.value <= 1 and isinstance(score.correct, bool), "a score is a share"


def write_absynth(folder: Path) -> None:
    item = {
        "sentence": "dogs chase cats",
        "linguistic_annotations": {"pos_tags": ["NNS", "VBP", "NNS"]},
        "semantic_roles": {"arg1": {"word": "dogs", "position": 0, "role": "Agent"}},
        "metadata": {"frame": "pursuit"},
    }
    (folder / "corpus.json").write_text(json.dumps({"corpus": [item, item]}))


def use_absynth(path: Path) -> None:
    for rows in read_absynth(path, 0.5, 0):
        write_table(path.with_name("sentences"), rows, sentences.SENTENCES)


# ---- maps and what they are made from -----------------------------------------------------------


def lora(rows: int = 3, rank: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        f"0.{projection}.B": rng.normal(size=(rows, rank)).astype(np.float32)
        for projection in "qkv"
    }


def a_map(projection: str = "q") -> Rrm:
    return Rrm(
        np.array([0.6, 0.8, 0], np.float32),
        np.eye(3, 2, dtype=np.float32),
        0,
        projection,
        "B",
        "moments",
        "outside_raw",
    )


def write_moments(folder: Path) -> None:
    updates = {f"{name}/{variant}": array for name, array in lora().items() for variant in VARIANTS}
    Moments(updates, 3, 1e-8, (0.9, 0.999)).write(folder / "moments.safetensors")


def write_adapter(folder: Path) -> None:
    arrays = {LORA.format(*name.split(".")): array for name, array in lora().items()}
    write_arrays(folder / "adapter_model.safetensors", arrays, {"format": "pt"})


def dump() -> dict[str, dict[str, Any]]:
    """An optimiser's state as EDIT releases it."""
    return {
        LORA.format(*name.split(".")): {
            "exp_avg": torch.from_numpy(array),
            "exp_avg_sq": torch.from_numpy(array**2),
            "step": 3,
            "epsilon": 1e-8,
        }
        for name, array in lora().items()
    }


def write_trainers(folder: Path) -> None:
    state = {
        n: {key: value for key, value in one.items() if key != "epsilon"}
        for n, one in enumerate(dump().values())
    }
    groups = [
        {"params": list(state), "param_names": list(dump()), "eps": 1e-8, "betas": (0.9, 0.999)}
    ]
    torch.save({"state": state, "param_groups": groups}, folder / "optimizer.pt")


def use_footprint(footprint: Any) -> None:
    found = footprint.matrices(footprint.modules(), footprint.variants)
    assert all(isinstance(array, np.ndarray) for array in found.values()), "a matrix is an array"


def use_map(rrm: Rrm) -> None:
    assert (
        rrm.u.ndim == 1
        and rrm.subspace.ndim == 2
        and len(rrm.u) == len(rrm.subspace)
        and rrm.projection in ("q", "k", "v")
    )
    assert abs(float(np.linalg.norm(rrm.u.astype(float))) - 1) < 1e-3 and isinstance(
        rrm.layer, int
    ), "a map has a direction and a layer"


def use_maps(path: Path) -> None:
    for rrm in MapFiles(path).maps.values():
        use_map(replace(rrm, projection="q"))


# ---- results ------------------------------------------------------------------------------------


def card() -> ExitCard:
    return ExitCard(
        "rad",
        {"delta": 0.1, "omega": 2},
        "rad(..)",
        "",
        "risk <= 0.1",
        0.1,
        0.05,
        "ltt",
        "answer_flip",
        32,
        "countdown",
        {"gen_length": 64, "block_length": 32, "steps": 32, "schedule": "uniform"},
        "a",
        "b",
        "c",
        [],
        32.0,
        None,
        "d",
    )


TRACE = {
    "samples": {
        "sample_id": 0,
        "split": "test",
        "prompt": "p",
        "prompt_tokens": 3,
        "output_tokens": 2,
        "text": "t",
        "answer": None,
        "correct": False,
        "score": 0.0,
        "score_d1": 0.0,
        "tokens": [5, 6],
        "nfe": 2,
        "token_forwards": 4,
        "seconds": 0.1,
    },
    "steps": [
        {
            "sample_id": 0,
            "block": 0,
            "step": n + 1,
            "block_step": n + 1,
            "phase": "denoise",
            "committed_position": [n],
            "committed_token": [5 + n],
            "committed_confidence": [0.5],
            "masked": 2 - n,
            "mean_confidence": 0.5,
            "mean_entropy": 0.1,
            "predictive_kl": None,
        }
        for n in range(2)
    ],
    "readouts": [
        {
            "sample_id": 0,
            "step": n + 1,
            "layer": 0,
            "projection": "q",
            "position": list(range(n)),
            "similarity": [0.5] * n,
        }
        for n in range(2)
    ],
}


def write_traces(folder: Path) -> None:
    for name, schema in tables.TABLES.items():
        rows = TRACE[name] if isinstance(TRACE[name], list) else [TRACE[name]]
        write_table(
            folder / name / "part.parquet",
            rows,
            schema,
            {"plan": json.dumps({"gen_length": 2}), "mask_id": "0"},
        )


def trace_reader(name: str) -> Reader:
    return Reader(
        f"{name}/part.parquet",
        "parquet",
        write_traces,
        lambda path: list(check_traces(path.parents[1])),
    )


def write_readout(folder: Path) -> None:
    rows = [
        {
            "sample_id": 0,
            "step": n + 1,
            "block": 0,
            "phase": "denoise",
            "position": list(range(n)),
            "similarity": [0.5] * n,
            "kl": None,
            "tv": None,
            "margin": None,
            "concentration": None,
        }
        for n in range(3)
    ]
    write_table(folder / "q.parquet", rows, tables.READOUT, {"gen_length": "4"})


def write_corpus(folder: Path) -> None:
    row = {
        "sentence_id": 0,
        "split": "train",
        "frame": None,
        "kind": None,
        "words": ["a", "b"],
        "pos": ["NOUN", "VERB"],
        "roles": [None, "Agent"],
    }
    write_table(folder / "sentences.parquet", [row], sentences.SENTENCES)


def use_corpus(path: Path) -> None:
    sentences.read_sentences(
        path, ("<pad>", "<bos>", "<eos>", "<mask>", "a", "b"), ("NOUN", "VERB"), ("Agent",), "train"
    )


def write_released(folder: Path) -> None:
    items = [{"question": "q", "generations": r"\boxed{1+2}", "ground_truth": [[1, 2], 3]}] * 2
    record = {"gen_length": 64, "diffusion_steps": 32, "block_length": 32, "generations": items}
    (folder / "x_0_generations.json").write_text(json.dumps(record))
    (folder / "x_early_exit_steps_device-0.csv").write_text(
        ",Block_1,Block_2\nSample_1,16,3\nSample_2,8,4\nmean,12,3.5\n"
    )


def released_reader(file: str, form: str, dataset: str = "countdown", **change: Any) -> Reader:
    def write(folder: Path) -> None:
        write_released(folder)
        record = json.loads((folder / "x_0_generations.json").read_text())
        record["generations"] = [item | change for item in record["generations"]]
        (folder / "x_0_generations.json").write_text(json.dumps(record))

    return Reader(file, form, write, lambda path: rescore(path.parent, dataset))


def write_settings(folder: Path) -> None:
    blocks = [{"center": 4, "std": 6.0}, {"center": 6, "std": 6.0}]
    (folder / "settings.json").write_text(
        json.dumps({"first_block_length": 32, "num_blocks": 2, "token_schedule": blocks})
    )


EFFICIENCY = SPECS["efficiency"]


def write_efficiency(folder: Path) -> None:
    write_csv(
        folder / "efficiency.csv",
        [
            {
                "dataset": "countdown",
                "seq_len": 64,
                "rule": "rad(delta=0.1)",
                "reduction": None,
                "forwards": 1.5,
            }
        ]
        * 2,
    )


def saved(file: str, content: Callable[[], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(content(), encoding="utf-8") and None


READERS = {
    "config": Reader(
        "study.yaml", "yaml", saved("study.yaml", (ROOT / "config/smoke.yaml").read_text), load_yaml
    ),
    **{
        f"{name} {form}": task_reader(name, form)
        for name in TASKS
        for form in ({"gpqa": "csv", "sudoku": "csv"}.get(name, "jsonl"),)
    },
    "s1k parquet": task_reader("s1k", "parquet"),
    "scorers": Reader("response.txt", "text", saved("response.txt", lambda: RESPONSE), score_all),
    "absynth": Reader("corpus.json", "json", write_absynth, use_absynth),
    "template": Reader(
        "polite.txt", "text", saved("polite.txt", lambda: "Please.\n{question}\n"), read_template
    ),
    "moments": Reader(
        "moments.safetensors",
        "safetensors",
        write_moments,
        lambda path: use_footprint(Moments.read(path)),
    ),
    "map": Reader(
        "q.safetensors",
        "safetensors",
        lambda folder: a_map().write(folder / "q.safetensors"),
        lambda path: use_map(Rrm.read(path)),
    ),
    "maps": Reader(
        "modules.safetensors",
        "safetensors",
        lambda folder: write_maps(folder / "modules.safetensors", [a_map(), a_map("k")]),
        lambda path: [use_map(rrm) for rrm in read_maps(path)],
    ),
    "adapter": Reader(
        "adapter_model.safetensors",
        "safetensors",
        write_adapter,
        lambda path: use_footprint(Adapter(path)),
    ),
    "foreign map": Reader(
        "block_Q.json",
        "json",
        saved("block_Q.json", lambda: json.dumps({"layer": 0, "q_proj": {"u": [1.0, 2.0]}})),
        use_maps,
    ),
    "npz map": Reader(
        "block_Q.npz",
        "npz",
        lambda folder: np.savez(folder / "block_Q.npz", u=np.array([1.0, 2.0]), layer=0),
        use_maps,
    ),
    "name map": Reader(
        "names.json", "json", saved("names.json", lambda: json.dumps(["a", "b"])), read_name_map
    ),
    "released dump": Reader(
        "lora_optim_step3.pt",
        "torch",
        lambda folder: torch.save(dump(), folder / "lora_optim_step3.pt"),
        lambda path: use_footprint(OptimizerDumps([[path]])),
    ),
    "trainer's dump": Reader(
        "optimizer.pt",
        "torch",
        write_trainers,
        lambda path: use_footprint(OptimizerDumps([[path]])),
    ),
    "card": Reader(
        "card.json",
        "json",
        lambda folder: card().write(folder / "card.json"),
        lambda path: ExitCard.read(path).write(path),
    ),
    "result": Reader(
        "manifest.json",
        "json",
        saved("manifest.json", lambda: json.dumps(dict.fromkeys(FACTS, "x"))),
        lambda path: read_json(path, FACTS),
    ),
    **{f"trace {name}": trace_reader(name) for name in tables.TABLES},
    "readout": Reader(
        "q.parquet", "parquet", write_readout, lambda path: list(read_late(path, "tail", 2))
    ),
    "measures": Reader(
        "measures.parquet",
        "parquet",
        lambda folder: measures.write_measures(
            folder / "measures.parquet",
            "masked",
            {(0, 1): [measures.Measure("", None, "nll", "", 1.0, None, 1, 0.1)]},
        ),
        lambda path: measures.read_measures([path]),
    ),
    "corpus": Reader("sentences.parquet", "parquet", write_corpus, use_corpus),
    "vocabulary": Reader(
        "vocabulary.parquet",
        "parquet",
        lambda folder: write_table(
            folder / "vocabulary.parquet",
            [{"word": "a", "pos": None, "count": 1, "surprisal": None}],
            sentences.VOCABULARY,
        ),
        sentences.read_vocabulary,
    ),
    "generations": released_reader("x_0_generations.json", "json"),
    "generations of gsm8k": released_reader(
        "x_0_generations.json", "json", "gsm8k", ground_truth=3
    ),
    "generations of math500": released_reader(
        "x_0_generations.json", "json", "math500", ground_truth="3"
    ),
    "generations of sudoku": released_reader(
        "x_0_generations.json",
        "json",
        "sudoku",
        question="3102200002100320",
        ground_truth="3142243142131324",
    ),
    "steps of released": released_reader("x_early_exit_steps_device-0.csv", "csv"),
    "settings": Reader(
        "settings.json", "json", write_settings, lambda path: read_settings(path, 64, 32)
    ),
    "table": Reader(
        "efficiency.csv", "csv", write_efficiency, lambda path: read_csv(path, EFFICIENCY)
    ),
}
"""By name; `campaign.py` fuzzes them under these names too."""
