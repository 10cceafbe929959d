import pytest

from tracedlm.stages.data import make_data
from tracedlm.tasks import get_task

SIZES = {"train": 8, "validation": 4, "test": 3}


def splits(tmp_path, dataset="sudoku", test_file="resources/data/sudoku_test.csv", sizes=SIZES, seed=0):
    out = {split: tmp_path / f"{split}.txt" for split in SIZES}
    make_data(dataset, str(test_file), sizes, seed, out, tmp_path / "manifest.json")
    return {split: get_task(dataset).read(path) for split, path in out.items()}


@pytest.mark.parametrize(("dataset", "file"), [("sudoku", "sudoku_test.csv"), ("countdown", "countdown_test.jsonl")])
def test_splits_have_their_sizes_and_share_no_problem(tmp_path, dataset, file):
    found = splits(tmp_path, dataset, f"resources/data/{file}")
    assert {split: len(problems) for split, problems in found.items()} == SIZES
    keys = [get_task(dataset).key(problem) for problems in found.values() for problem in problems]
    assert len(keys) == len(set(keys)) and (tmp_path / "manifest.json").exists()


def test_a_test_file_that_holds_a_training_problem_is_refused(tmp_path):
    task = get_task("sudoku")
    task.write(task.sample("train", 8, 0), tmp_path / "mine.csv")
    with pytest.raises(
        ValueError, match=r"mine\.csv: \d+ test problems are also in the train split, for example \d{16}; add their digests"
    ):
        splits(tmp_path, test_file=tmp_path / "mine.csv")
    assert not (tmp_path / "manifest.json").exists()


def test_a_missing_or_short_test_file_names_its_key(tmp_path):
    with pytest.raises(ValueError, match=r"catalogue\.sudoku\.test: none\.csv does not exist; .*Puzzle, Solution"):
        splits(tmp_path, test_file="none.csv")
    with pytest.raises(ValueError, match=r"has 256 problems, catalogue\.sudoku\.test_samples asks for 300"):
        splits(tmp_path, sizes={**SIZES, "test": 300})


@pytest.mark.shared
def test_the_papers_files_can_be_configured_as_test_files(tmp_path, shared):
    assert len(splits(tmp_path, test_file=shared / "data/4x4_test_sudoku.csv")["test"]) == 3
    assert len(splits(tmp_path, "countdown", shared / "data/countdown_cd3_test.jsonl")["test"]) == 3
