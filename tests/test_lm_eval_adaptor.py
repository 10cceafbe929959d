"""lm-evaluation-harness with `--model tracedlm`: its own command on a local task, offline.

Needs the extra `lm-eval`.
"""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tracedlm import generate
from tracedlm.__main__ import main
from tracedlm.models.denoiser import load_denoiser
from tracedlm.records.rrm import Rrm
from tracedlm.tasks import GENERATED

ROOT = Path(__file__).resolve().parents[1]
needs_harness = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed (extra `lm-eval`)"
)

TASK = """\
task: local_sudoku
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{gold}}}}"
generation_kwargs: {{until: ["</answer>", "e"], max_gen_toks: 30, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="the harness is there")
def test_without_the_harness_the_command_says_what_to_install(capsys):
    assert main(["lm-eval", "--model", "tracedlm"]) == 2
    assert (
        capsys.readouterr().err
        == "error: lm-evaluation-harness is not installed: pip install -c constraints.txt -e"
        " '.[lm-eval]'\n"
    )


@needs_harness
def test_the_entry_point_is_the_model():
    """For releases of the harness that look for it.

    The pinned one does not, hence `python -m tracedlm lm-eval`.
    """
    from tracedlm.lm_eval_adaptor import TracedLm

    (value,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "lm_eval.models"
    ].values()
    assert importlib.metadata.EntryPoint("tracedlm", value, "lm_eval.models").load() is TracedLm


@pytest.fixture(scope="module")
def local_task(tmp_path_factory):
    """Three problems; the first one's gold answer is what the model will say, so that the score is
    a third.
    """
    folder = tmp_path_factory.mktemp("task")
    return folder, [
        GENERATED["sudoku"].prompt(problem) for problem in GENERATED["sudoku"].sample("test", 3, 0)
    ]


@needs_harness
def test_the_harness_own_command_scores_what_generate_writes(checkpoint, local_task, tmp_path):
    folder, questions = local_task
    u = np.ones(32, dtype=np.float32) / np.sqrt(32).astype(np.float32)
    rrm = Rrm(u, np.eye(32, 2, dtype=np.float32), 1, "q", "B", "moments", "raw")
    rrm.write(folder / "q.safetensors")
    # max_gen_toks 30 is a canvas of two blocks of 16.
    how = {
        "gen_length": 32,
        "block_length": 16,
        "steps": 16,
        "rrm": rrm,
        "exit": "rad",
        "delta": 0.05,
        "omega": 2,
    }
    written = generate(load_denoiser(checkpoint, device="cpu"), questions, **how)
    assert (written.nfe < 16).all()
    texts = [
        min((text.split(stop)[0] for stop in ("</answer>", "e")), key=len) for text in written.text
    ]
    golds = [texts[0], "none", "none"]
    rows = [
        {"question": question, "gold": gold}
        for question, gold in zip(questions, golds, strict=True)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "local_sudoku.yaml").write_text(TASK.format(data=folder / "problems.jsonl"))
    rule = "rule=rad,block_length=16,delta=0.05,omega=2"
    arguments = f"path={checkpoint},{rule},rrm={folder / 'q.safetensors'}"
    command = [
        sys.executable,
        "-m",
        "tracedlm",
        "lm-eval",
        "--model",
        "tracedlm",
        "--model_args",
        arguments,
        "--tasks",
        "local_sudoku",
    ]
    command += [
        "--include_path",
        str(folder),
        "--apply_chat_template",
        "--output_path",
        str(tmp_path),
        "--log_samples",
        "--device",
        "cpu",
    ]
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(command, capture_output=True, text=True, env=offline)
    assert run.returncode == 0, run.stderr
    (results,) = tmp_path.rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["local_sudoku"][
        "exact_match,none"
    ] == pytest.approx(1 / 3)
    (samples,) = tmp_path.rglob("samples_*.jsonl")
    logged = sorted(
        (json.loads(line) for line in samples.read_text().splitlines()),
        key=lambda row: row["doc_id"],
    )
    assert [row["resps"][0][0] for row in logged] == texts


def requests(*asked):
    from lm_eval.api.instance import Instance

    return [Instance("generate_until", {}, (context, settings), 0) for context, settings in asked]


@needs_harness
def test_requests_of_different_canvases_come_back_in_order(checkpoint):
    from tracedlm.lm_eval_adaptor import TracedLm

    model = TracedLm(str(checkpoint), block_length=16, device="cpu", batch_size=2)
    asked = [("Sudoku", {"max_gen_toks": tokens, "until": []}) for tokens in (16, 32, 16, 17)]
    together, alone = (
        model.generate_until(requests(*asked)),
        [model.generate_until(requests(one))[0] for one in asked],
    )
    assert together == alone and together[0] == together[2] and together[1] == together[3]


@needs_harness
@pytest.mark.parametrize("method", ["loglikelihood", "loglikelihood_rolling"])
def test_a_likelihood_is_refused_with_the_reason(checkpoint, method):
    from tracedlm.lm_eval_adaptor import TracedLm

    with pytest.raises(
        NotImplementedError,
        match="generate_until only: a diffusion language model has no left-to-right likelihood",
    ):
        getattr(TracedLm(str(checkpoint), device="cpu"), method)([])


@needs_harness
def test_what_cannot_be_done_is_one_clear_error(checkpoint):
    from tracedlm.lm_eval_adaptor import TracedLm

    with pytest.raises(
        ValueError, match=r"exit rule 'rad' reads a map: add rrm=PATH to --model_args"
    ):
        TracedLm(str(checkpoint), rule="rad")
    with pytest.raises(ValueError, match=r"exit rule 'prophet': pretrained.*Settings: "):
        TracedLm(str(checkpoint), rule="prophet", pretrained="gpt2")
    with pytest.raises(
        ValueError,
        match=(
            r"generation_kwargs, --gen_kwargs: top_p would have no effect on tracedlm; take it out"
        ),
    ):
        TracedLm(str(checkpoint), device="cpu").generate_until(
            requests(("Sudoku", {"do_sample": True, "temperature": 1.0, "top_p": 0.9}))
        )


@needs_harness
@pytest.mark.parametrize(
    ("wish", "argument", "value"),
    [
        ({"gen_length": 64}, "gen_length", 64),
        ({"steps": 8}, "steps", 8),
        ({"block_length": 8}, "block_length", 8),
        ({"cfg_scale": 1.5}, "guidance", 1.5),
        ({"do_sample": True}, "temperature", 1.0),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.9}, "temperature", 0.0),
    ],
)
def test_generation_kwargs_have_their_effect(checkpoint, wish, argument, value):
    from lm_eval.models.utils import normalize_gen_kwargs

    from tracedlm.lm_eval_adaptor import TracedLm

    wish = {"max_gen_toks": 32, "until": [], **wish}
    assert (
        TracedLm(str(checkpoint), device="cpu")._decoding(wish, normalize_gen_kwargs(dict(wish)))[
            argument
        ]
        == value
    )
    with pytest.raises(ValueError, match="num_beams would have no effect"):
        TracedLm(str(checkpoint), device="cpu")._decoding(
            {**wish, "num_beams": 4}, normalize_gen_kwargs(dict(wish))
        )
