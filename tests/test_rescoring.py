"""`rescore` on files written by hand, on EDIT's own, and as a command."""

import json

import pytest

import tracedlm
from tracedlm.__main__ import main
from tracedlm.rescoring import skip_noop_steps
from tracedlm.theory.resampling import clopper_pearson

BLOCKS = [{"center": 4.0, "std": 5.0}, {"center": 4.0, "std": 4.0}]


def write_setup(folder, devices, steps=None, name="gsm8k_model", of="128_64", **setup):
    """A folder of one set-up.

    For each device, items (question, response, gold), and forwards by sample and block.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for device, items in devices.items() if isinstance(devices, dict) else enumerate(devices):
        record = {
            "gen_length": 128,
            "diffusion_steps": 64,
            "block_length": 64,
            "metrics": {},
            **setup,
        }
        record["generations"] = [
            dict(zip(("question", "generations", "ground_truth"), item, strict=True))
            for item in items
        ]
        (folder / f"{name}_{of}_{device}_generations.json").write_text(json.dumps(record))
        if steps is not None:
            rows = [
                f"Sample_{n},{a}.0,{b}.0,{(a + b) / 2}"
                for n, (a, b) in enumerate(steps[device], start=1)
            ]
            table = "\n".join([",Block_1,Block_2,Sample_Avg", *rows, "Global_Avg,0,0,0"])
            (folder / f"{name}_early_exit_steps_device-{device}.csv").write_text(table)
    return folder


# Right; wrong; by strict only (thousands); without gold; by d1 only (the first box counts).
ITEMS = [
    [("a", r"\boxed{18}", 18.0), ("b", r"\boxed{17}", 18.0), ("c", r"\boxed{1,000}", 1000.0)],
    [("d", r"\boxed{5}", None), ("e", r"\boxed{72} \boxed{inches}", 72.0)],
]
STEPS = [[(20, 30), (10, 32), (20, 22)], [(30, 32), (20, 24)]]


@pytest.fixture
def folder(tmp_path):
    return write_setup(tmp_path / "seq128", ITEMS, STEPS)


def test_accuracy_and_steps_by_hand(folder):
    found = tracedlm.rescore(folder, "gsm8k")
    # As published: without a gold, wrong.
    assert (found.n, found.ungraded, found.accuracy, found.solved) == (
        5,
        1,
        2 / 5,
        2 / 5,
    )
    assert (found.low, found.high) == clopper_pearson(2, 5)
    assert found.mean_steps == (50 + 42 + 42 + 62 + 44) / 5 and found.reduction == 1 - 48 / 64
    assert [(block.block, block.mean, block.quantiles) for block in found.blocks] == [
        (1, 20, (10, 20, 20, 20, 30)),
        (2, 28, (22, 24, 30, 32, 32)),
    ]
    strict = tracedlm.rescore(folder, "gsm8k", scorer="strict")
    assert (strict.n, strict.ungraded, strict.accuracy) == (4, 1, 2 / 4)


def test_agreement_and_what_d1_gets_wrong(folder):
    found = tracedlm.rescore(folder, "gsm8k")
    counts = found.agreement
    assert (
        counts.both_right,
        counts.only_d1,
        counts.only_strict,
        counts.both_wrong,
        counts.share,
    ) == (1, 1, 1, 1, 0.5)
    thousand, inches = found.disagreements
    assert (thousand.sample, thousand.solved_by, thousand.d1_answer, thousand.strict_answer) == (
        2,
        "strict",
        "1",
        "1,000",
    )
    assert (
        inches.sample,
        inches.solved_by,
        inches.d1_answer,
        inches.strict_answer,
        inches.gold,
    ) == (4, "d1", "72", "inches", "72.0")


def test_without_steps_there_are_no_numbers_of_them(tmp_path):
    found = tracedlm.rescore(write_setup(tmp_path / "d1", ITEMS), "gsm8k")
    assert (found.mean_steps, found.reduction, found.blocks, found.skip_noop_steps) == (
        None,
        None,
        (),
        None,
    )
    assert found.full_steps == 64 and found.accuracy == 2 / 5


def test_sudoku_pools_cells_and_bootstraps_puzzles(tmp_path):
    puzzle, gold = "3102200002100320", "3142243142131324"
    half = "".join("1" if digit == "0" else digit for digit in puzzle)
    right = sum(a == b for a, b, clue in zip(half, gold, puzzle, strict=True) if clue == "0") / 8
    items = [
        [
            (f"Solve the following Sudoku puzzle: {puzzle}\n", f"<answer>{answer}</answer>", gold)
            for answer in (gold, half)
        ]
    ]
    found = tracedlm.rescore(write_setup(tmp_path / "sudoku", items, name="sudoku_model"), "sudoku")
    assert found.accuracy == pytest.approx((1 + right) / 2) and found.solved == 0.5
    assert found.low == pytest.approx(right) and found.high == 1
    assert tracedlm.rescore(tmp_path / "sudoku", "sudoku", "strict").accuracy == 0.5


def test_countdown_and_math_read_the_released_golds(tmp_path):
    countdown = write_setup(
        tmp_path / "countdown",
        [[("Numbers: [3, 5]\nTarget: 8", r"\boxed{3 + 5}", [[3, 5], 8])]],
        name="countdown_model",
    )
    math = write_setup(
        tmp_path / "math", [[("What is half?", r"\boxed{0.5}", r"\frac{1}{2}")]], name="math_model"
    )
    assert tracedlm.rescore(countdown, "countdown").accuracy == 1
    assert (
        tracedlm.rescore(math, "math500").accuracy
        == tracedlm.rescore(math, "math500", "strict").accuracy
        == 1
    )


def test_the_schedule_alone_has_the_blocks_of_the_settings(tmp_path):
    path = tmp_path / "EDIT.json"
    path.write_text(
        json.dumps({"first_block_length": 64, "num_blocks": 2, "token_schedule": BLOCKS})
    )
    # 22 of the first block's 32 steps commit something; at 256 tokens the second block is the other
    # 192, over 96 steps.
    assert skip_noop_steps(path, 128, 64) == 22 + 25 and skip_noop_steps(path, 256, 128) == 22 + 73


def broken(tmp_path, what):
    if what == "columns":
        folder = write_setup(tmp_path, ITEMS, STEPS)
        next(folder.glob("*device-1.csv")).write_text(",Block_1\nSample_1,2.5\nSample_2,3\n")
    elif what == "rows":
        write_setup(tmp_path, ITEMS, [STEPS[0][:2], STEPS[1]])
    elif what == "devices":
        next(write_setup(tmp_path, ITEMS, STEPS).glob("*device-1.csv")).unlink()
    elif what == "set-ups":
        write_setup(tmp_path, ITEMS[:1], gen_length=256)
        (tmp_path / "gsm8k_model_128_64_1_generations.json").write_text(
            json.dumps({**SETUP, "generations": []})
        )
    elif what == "json":
        (tmp_path / "x_0_generations.json").write_text("{")
    elif what == "keys":
        (tmp_path / "x_0_generations.json").write_text(json.dumps({"generations": []}))
    elif what == "item":
        (tmp_path / "x_0_generations.json").write_text(
            json.dumps({**SETUP, "generations": [{"question": "q"}]})
        )
    elif what == "gold":
        write_setup(tmp_path, [[("q", "text", "many")]])
    elif what == "golds":
        write_setup(tmp_path, [[("q", "text", None)]])


SETUP = {"gen_length": 128, "diffusion_steps": 64, "block_length": 64}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("columns", r"device-1\.csv, row Sample_1: expected whole numbers of forwards"),
        ("rows", r"device-0\.csv: steps of 2 samples, but that device has 3 generations"),
        ("devices", r"generations of devices \[0, 1\], but steps of devices \[0\]"),
        ("set-ups", r"generations of 2 set-ups \(gen_length, diffusion_steps, block_length"),
        ("json", r"x_0_generations\.json: not readable as JSON"),
        ("keys", r"x_0_generations\.json: lacks gen_length, diffusion_steps, block_length"),
        (
            "item",
            (
                r"x_0_generations\.json, generation 1: expected the fields question, generations,"
                r" ground_truth"
            ),
        ),
        ("gold", r"generation 1 is not one of gsm8k: "),
        ("golds", r"no sample can be scored: 1 samples, none with a gold answer"),
    ],
)
def test_a_folder_that_cannot_be_is_one_clear_error(tmp_path, what, message):
    broken(tmp_path, what)
    with pytest.raises(ValueError, match=message):
        tracedlm.rescore(tmp_path, "gsm8k", "strict" if what == "golds" else "d1")


RIGHT = [("q", r"\boxed{18}", 18.0)]
WRONG = [("q", r"\boxed{17}", 18.0)]


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"name": "gsm8k_tuned"}, "gsm8k_model_128_64, gsm8k_tuned_128_64"),
        ({"name": "gsm8k_model_0.6"}, "gsm8k_model_0.6_128_64, gsm8k_model_128_64"),
        ({"of": "256_128", "gen_length": 256}, "gsm8k_model_128_64, gsm8k_model_256_128"),
    ],
)
def test_models_temperatures_and_canvases_in_one_folder_are_not_pooled(tmp_path, other, names):
    write_setup(tmp_path, [RIGHT, RIGHT])
    write_setup(tmp_path, [WRONG], **other)
    with pytest.raises(
        ValueError, match=rf"generations of 2 set-ups, {names}; say which one \(setup="
    ):
        tracedlm.rescore(tmp_path, "gsm8k")
    chosen = tracedlm.rescore(tmp_path, "gsm8k", setup="gsm8k_model_128_64")
    assert (chosen.n, chosen.accuracy) == (2, 1)
    with pytest.raises(ValueError, match=rf"no set-up 'gsm8k'; there are {names}"):
        tracedlm.rescore(tmp_path, "gsm8k", setup="gsm8k")


def test_each_set_up_has_its_own_steps(tmp_path):
    write_setup(tmp_path, [RIGHT], [[(1, 2)]], name="gsm8k_model")
    write_setup(tmp_path, [WRONG], [[(3, 4)]], name="gsm8k_model-s1")
    steps = {
        model: tracedlm.rescore(tmp_path, "gsm8k", setup=f"gsm8k_{model}_128_64").mean_steps
        for model in ("model", "model-s1")
    }
    assert steps == {"model": 3, "model-s1": 7}


def test_other_data_sets_in_the_folder_are_passed_over(tmp_path):
    write_setup(tmp_path, [[("q", r"\boxed{18}", "18")]], name="math500_model")
    write_setup(tmp_path, [WRONG], name="gsm8k_model")
    assert tracedlm.rescore(tmp_path, "math500").accuracy == 1
    assert tracedlm.rescore(tmp_path, "gsm8k").accuracy == 0
    with pytest.raises(
        ValueError, match="no generations of countdown; there are of gsm8k, math500"
    ):
        tracedlm.rescore(tmp_path, "countdown")


def test_a_missing_device_is_named_and_a_part_is_marked_only_where_it_is_asked_for(tmp_path):
    write_setup(tmp_path, {0: RIGHT, 1: RIGHT, 4: WRONG})
    with pytest.raises(ValueError, match=r"the generations of device 2, 3 are missing of 0 to 4"):
        tracedlm.rescore(tmp_path, "gsm8k")
    assert tracedlm.rescore(tmp_path, "gsm8k", partial=True).n == 3


def test_a_wrong_argument_is_one_clear_error(folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"no file named \*_generations\.json; there are in .*seq128"
    ):
        tracedlm.rescore(folder.parent, "gsm8k")
    with pytest.raises(
        ValueError,
        match="dataset 'gpqa' cannot be rescored; known: countdown, gsm8k, math500, sudoku",
    ):
        tracedlm.rescore(folder, "gpqa")
    with pytest.raises(ValueError, match="unknown scorer 'd2'"):
        tracedlm.rescore(folder, "gsm8k", "d2")
    (tmp_path / "s.json").write_text(
        json.dumps({"first_block_length": 48, "num_blocks": 2, "token_schedule": BLOCKS})
    )
    with pytest.raises(
        ValueError,
        match=r"s\.json: 2 settings for 2 blocks, the first of 48 tokens; the canvas has 128",
    ):
        tracedlm.rescore(folder, "gsm8k", settings=tmp_path / "s.json")


def test_the_command_prints_what_the_function_returns(folder, capsys):
    assert main(["rescore", str(folder), "--dataset", "gsm8k", "--show", "1"]) == 0
    text = capsys.readouterr().out
    for part in (
        "5 samples; 1 have no gold answer",
        "40.00 % [5.3, 85.3]",
        "48.00 of 64",
        "25.0 % fewer",
        "quantiles 22 24 30 32 32",
    ):
        assert part in text
    assert (
        "agree on 50.00 %" in text
        and text.count("solved by strict only") == 1
        and "inches" not in text
    )
    assert main(["rescore", str(folder), "--dataset", "gsm8k", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["accuracy"] == 0.4 and record["blocks"][0]["mean"] == 20
    assert main(["rescore", str(folder), "--dataset", "gsmk"]) == 2
    assert capsys.readouterr().err.startswith("error: dataset 'gsmk'")


RECOMPUTED = {  # method.md section 7: accuracy and steps, summed over blocks
    "countdown": ((28.91, 31.64, 27.73), (43.08, 40.60, 133.27)),
    "gsm8k": ((67.32, 77.56, 76.19), (42.78, 103.47, 225.76)),
}


@pytest.mark.shared
@pytest.mark.parametrize("dataset", RECOMPUTED)
def test_edits_released_outputs_give_the_recomputed_numbers_to_the_published_digit(dataset, shared):
    folder = shared / "data/edit_outputs" / dataset
    found = [tracedlm.rescore(folder / f"seq{length}", dataset) for length in (128, 256, 512)]
    assert [round(100 * one.accuracy, 2) for one in found] == list(RECOMPUTED[dataset][0])
    assert [round(one.mean_steps, 2) for one in found] == list(RECOMPUTED[dataset][1])
    assert {one.n for one in found} == {256 if dataset == "countdown" else 1319}
    assert all(one.agreement.share > 0.99 for one in found)
    # Two gold answers of GSM8K are negative, which d1's reader does not see.
    assert {one.ungraded for one in found} == {0 if dataset == "countdown" else 2}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "forwards"), [("math_seq512", 162), ("gsm8k_seq256", 97), ("gsm8k_seq512", 197)]
)
def test_edits_schedules_alone_cost_what_was_measured(name, forwards, shared):
    length = int(name.split("seq")[1])
    assert (
        skip_noop_steps(shared / f"data/edit_configs/EDIT_{name}.json", length, length // 2)
        == forwards
    )
