"""The published file formats: what is written is read back, and a bad row is named."""

import pytest

from tracedlm.tasks import TASKS, get_task


@pytest.mark.parametrize("name", TASKS)
def test_problems_survive_writing_and_reading(name, tmp_path):
    task = get_task(name)
    problems = task.sample("validation", 12, seed=0)
    task.write(problems, tmp_path / "file")
    assert task.read(tmp_path / "file") == problems


GOOD_LINE = '{"input": "3,5,7", "output": "8"}\n'


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"input": "3,5,7"}', "output"),
        ('{"output": "3"}', "input"),
        ('{"input": "3,x,7", "output": "8"}', "'x'"),
        ('{"input": "", "output": "8"}', "input"),
        ("not json", "not json"),
        ("[1, 2]", r"\[1, 2\]"),
        ('{"input": "3,5,7", "output": "-8"}', "target"),
    ],
)
def test_a_bad_countdown_row_is_named_with_file_and_row(line, named, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(GOOD_LINE + line + "\n")
    with pytest.raises(ValueError, match=rf"bad\.jsonl, row 2: .*{named}"):
        get_task("countdown").read(path)


GOOD_ROW = "3102200002100320,3142243142131324\n"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("310220000210032,3142243142131324", "Puzzle '310220000210032'"),
        ("31022000021003205,3142243142131324", "Puzzle"),
        ("3102200002100320,3142243142131342", "Solution '3142243142131342'"),
        ("3102200002100320", "Solution ''"),
        ("٣102200002100320,3142243142131324", "Puzzle"),
    ],
)
def test_a_bad_sudoku_row_is_named_with_file_row_and_field(row, named, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("Puzzle,Solution\n" + GOOD_ROW + row + "\n")
    with pytest.raises(ValueError, match=rf"bad\.csv, row 3: .*{named}"):
        get_task("sudoku").read(path)


def test_a_sudoku_file_without_a_column_says_which(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("Puzzle\n3102200002100320\n")
    with pytest.raises(ValueError, match=r"bad\.csv: column 'Solution' is missing"):
        get_task("sudoku").read(path)
