"""The published file formats.

What is written is read back, and a bad row is named with its file, its row and its field.
"""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracedlm.tasks import GENERATED, TASKS, get_task

GPQA = {
    "Question": "Which of these is a noble gas, and\nwhich is not?",
    "Correct Answer": "neon",
    "Incorrect Answer 1": "iron, 56",
    "Incorrect Answer 2": "zinc",
    "Incorrect Answer 3": 'gold "Au"',
    "Subdomain": "Inorganic Chemistry",
}
PROBLEMS = {
    "gpqa": GPQA,
    "gsm8k": {
        "question": "Ann has 3 pens\u2028and buys 2. How many?",
        "answer": "3+2=<<3+2=5>>5\n#### 5",
    },
    "math500": {"problem": "What is $1+1$?", "answer": "2", "subject": "Prealgebra", "level": "1"},
    "s1k": {"question": "Why?", "thinking_trajectories": "Hm.", "attempt": "Because."},
    **{name: task.sample("validation", 1, seed=0)[0] for name, task in GENERATED.items()},
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("prompt", [{}, {"prompt": "How, when\nand where?"}])
def test_problems_survive_writing_and_reading(name, prompt, tmp_path):
    task, problem = get_task(name), {**PROBLEMS[name], **prompt}
    task.write([problem, problem], tmp_path / "file")
    assert task.read(tmp_path / "file") == [problem, problem]


@pytest.mark.parametrize("name", ["gpqa", "gsm8k", "math500", "s1k"])
def test_the_suffix_says_the_form(name, tmp_path):
    """Columns that a task does not know, numbers and nulls among them, do no harm."""
    problem = PROBLEMS[name]
    row = {**problem, "Record ID": 7, "cot": None}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    for form in ("jsonl", "parquet", "csv"):
        assert get_task(name).read(tmp_path / f"a.{form}") == [problem]


BAD = [
    ("countdown", {"output": ...}, "field 'output' is missing; expected the fields input, output"),
    ("countdown", {"input": ...}, "field 'input' is missing"),
    ("countdown", {"input": "3,x,7"}, "fields 'input' and 'output': '3,x,7' and"),
    ("countdown", {"input": ""}, "fields 'input' and 'output': '' and"),
    ("countdown", {"output": "-8"}, "field 'output': the target -8 is negative"),
    ("sudoku", {"Puzzle": "310220000210032"}, "field 'Puzzle': '310220000210032' is not 16 digits"),
    ("sudoku", {"Puzzle": "٣102200002100320"}, "field 'Puzzle'"),
    (
        "sudoku",
        {"Solution": "3142243142131342"},
        "field 'Solution': '3142243142131342' does not solve",
    ),
    ("gsm8k", {"answer": "5"}, "field 'answer': '5' does not end in '#### <number>'"),
    ("gsm8k", {"answer": "#### five"}, "field 'answer': '#### five'"),
    ("gsm8k", {"question": " "}, "field 'question' is empty"),
    (
        "wordmath",
        {"answer": "<<2.5+3=5.5>> #### 5"},
        r"field 'answer': '2\.5\+3=5\.5' is not a calculation",
    ),
    ("math500", {"answer": ""}, "field 'answer' is empty"),
    ("math500", {"answer": ...}, "field 'answer' is missing"),
    ("algebra", {"answer": "1000"}, "field 'solution' boxes '.*', field 'answer' is '1000'"),
    ("gpqa", {"Incorrect Answer 2": ""}, "field 'Incorrect Answer 2' is empty"),
    ("gpqa", {"Order": "0122"}, "field 'Order': '0122'"),
    ("s1k", {"attempt": "\n"}, "field 'attempt' is empty"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD)
def test_a_bad_row_is_named_with_file_row_and_field(name, change, message, tmp_path):
    task, problem = get_task(name), PROBLEMS[name]
    wrong = {field: value for field, value in {**problem, **change}.items() if value is not ...}
    if task.form == "csv":
        task.write(
            [{"Order": "0123", **problem}, wrong] if "Order" in wrong else [problem, wrong],
            tmp_path / "bad.csv",
        )
    else:
        (tmp_path / "bad.jsonl").write_text(json.dumps(problem) + "\n" + json.dumps(wrong) + "\n")
    row = 3 if task.form == "csv" else 2
    with pytest.raises(ValueError, match=rf"bad\.\w+, row {row}: {message}"):
        task.read(next(tmp_path.iterdir()))


def test_a_bad_row_of_a_parquet_file_is_named_too(tmp_path):
    rows = [PROBLEMS["gsm8k"], {**PROBLEMS["gsm8k"], "answer": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bad.parquet")
    with pytest.raises(
        ValueError,
        match=(
            r"bad\.parquet, row 2: field 'answer' is missing; expected the fields question, answer"
        ),
    ):
        get_task("gsm8k").read(tmp_path / "bad.parquet")


def test_columns_that_only_later_rows_have_are_written(tmp_path):
    bare = {field: value for field, value in GPQA.items() if field != "Subdomain"}
    get_task("gpqa").write([bare, GPQA], tmp_path / "some.csv")
    assert get_task("gpqa").read(tmp_path / "some.csv") == [bare, GPQA]


def test_what_kind_of_problem_it_is_is_kept():
    gpqa = get_task("gpqa").parse({**GPQA, "High-level domain": "Chemistry"})
    assert [gpqa[facet] for facet in get_task("gpqa").facets] == [
        "Chemistry",
        "Inorganic Chemistry",
    ]
    math = get_task("math500").parse({**PROBLEMS["math500"], "level": 1})
    assert [math[facet] for facet in get_task("math500").facets] == ["Prealgebra", "1"]


def test_a_csv_row_that_ends_early_lacks_a_field(tmp_path):
    (tmp_path / "bad.csv").write_text("Puzzle,Solution\n3102200002100320\n")
    with pytest.raises(ValueError, match=r"bad\.csv, row 2: field 'Solution' is missing"):
        get_task("sudoku").read(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"not json\n", "a.jsonl, row 1: 'not json.n' is not JSON"),
        ("a.jsonl", b"[1, 2]\n", r"a.jsonl, row 1: '\[1, 2\].n' is not a JSON object"),
        ("a.jsonl", b"\xff\xfe\n", "a.jsonl: not UTF-8 text"),
        ("a.parquet", b"PAR1", "a.parquet: not a readable Parquet file"),
    ],
)
def test_a_file_of_another_form_is_one_clear_error(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        get_task("gsm8k").read(tmp_path / name)
    with pytest.raises(ValueError, match="none: not found"):
        get_task("gsm8k").read(tmp_path / "none")


def test_traces_of_s1k_are_joined_and_its_answer_may_be_the_solution():
    problem = get_task("s1k").parse(
        {"question": "Why?", "thinking_trajectories": ["First.", "Then."], "solution": "So."}
    )
    assert problem == {
        "question": "Why?",
        "thinking_trajectories": "First.\nThen.",
        "attempt": "So.",
    }
    assert (
        get_task("s1k").solve(problem, 128)
        == "<reasoning>\nFirst.\nThen.\n</reasoning>\n<answer>\nSo.\n</answer>"
    )
    with pytest.raises(ValueError, match="s1k is for fine-tuning"):
        get_task("s1k").score(problem, "So.")


def test_maths_own_files_box_the_answer_in_the_solution():
    problem = get_task("math500").parse(
        {"problem": "Halve $1$.", "solution": r"It is $\boxed{\frac{1}{2}}$.", "level": "Level 1"}
    )
    assert problem["answer"] == r"\frac{1}{2}"
    assert get_task("math500").score(problem, get_task("math500").solve(problem, 128)).correct
    for box, answer in (
        (r"$\fbox{7}$", "7"),
        (r"$\boxed 7$.", "7"),
        (r"$\boxed{6}$ so $\boxed{7}$", "7"),
    ):
        assert (
            get_task("math500").parse({"problem": "p", "solution": f"It is {box}"})["answer"]
            == answer
        )
    with pytest.raises(ValueError, match="field 'answer' is missing"):
        get_task("math500").parse({"problem": "p", "solution": "It is 7."})
    with pytest.raises(ValueError, match="no field 'solution'"):
        get_task("math500").solve(PROBLEMS["math500"], 128)


@pytest.mark.shared
def test_the_published_files_are_read_whole(shared):
    counts = {"gsm8k": ("gsm8k/test.jsonl", 1319), "math500": ("math500.jsonl", 500)}
    for name, (file, count) in counts.items():
        task = get_task(name)
        problems = task.read(shared / "data" / file)
        assert len(problems) == len({task.key(problem) for problem in problems}) == count
    for problem in get_task("gsm8k").read(shared / "data/gsm8k/train.jsonl")[:300]:
        text = get_task("gsm8k").solve(problem, 256)
        assert "<<" not in text and get_task("gsm8k").score(problem, text).correct
