import json

import pytest

from tracedlm.config import Dataset
from tracedlm.stages.data.problems import make_data
from tracedlm.tasks import GENERATED, get_task

SIZES = {"train_samples": 8, "validation_samples": 4, "test_samples": 3}
SHIPPED = {
    "sudoku": "resources/data/sudoku_test.csv",
    "countdown": "resources/data/countdown_test.jsonl",
}


def splits(tmp_path, dataset="sudoku", seed=0, **entry):
    out = {split: tmp_path / f"{split}.txt" for split in ("train", "validation", "test")}
    make_data(dataset, Dataset(**{**SIZES, **entry}), seed, out, tmp_path / "manifest.json")
    return {split: get_task(dataset).read(path) for split, path in out.items()}


def questions(count, first=0):
    return [
        {"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"}
        for n in range(first, first + count)
    ]


def written(path, problems):
    path.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    return str(path)


@pytest.mark.parametrize("dataset", GENERATED)
def test_splits_have_their_sizes_and_share_no_problem(tmp_path, dataset):
    found = splits(tmp_path, dataset, test=SHIPPED.get(dataset))
    assert {split: len(problems) for split, problems in found.items()} == {
        "train": 8,
        "validation": 4,
        "test": 3,
    }
    keys = [get_task(dataset).key(problem) for problems in found.values() for problem in problems]
    assert len(keys) == len(set(keys)) and (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("dataset", SHIPPED)
def test_without_a_test_file_the_shipped_problems_are_drawn_again(tmp_path, dataset):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert (
        splits(tmp_path / "a", dataset)["test"]
        == splits(tmp_path / "b", dataset, test=SHIPPED[dataset])["test"]
    )


def test_difficulty_decides_what_is_drawn(tmp_path):
    steps = {
        level: [
            p["answer"].count("<<") for p in splits(tmp_path, "wordmath", difficulty=level)["train"]
        ]
        for level in (1, 3)
    }
    assert set(steps[1]) <= {1, 2} and set(steps[3]) <= {3, 4}


def test_a_fifth_of_a_training_file_is_validation_and_its_test_problems_are_left_out(tmp_path):
    test = written(tmp_path / "test.jsonl", questions(40))
    # 20 overlap, 5 are there twice.
    train = written(tmp_path / "train.jsonl", [*questions(200, first=20), *questions(5, first=100)])
    found = splits(
        tmp_path,
        "gsm8k",
        test=test,
        train=train,
        train_samples=100,
        validation_samples=20,
        test_samples=10,
    )
    tests = {problem["question"] for problem in questions(40)}
    chosen = {
        split: {problem["question"] for problem in problems} for split, problems in found.items()
    }
    assert [problem["question"] for problem in found["test"]] == [
        problem["question"] for problem in questions(10)
    ]
    assert (
        not (chosen["train"] | chosen["validation"]) & tests
        and not chosen["train"] & chosen["validation"]
    )
    assert len(chosen["train"]) == 100 and len(chosen["validation"]) == 20
    assert {get_task("gsm8k").split_of(problem) for problem in found["validation"]} == {
        "validation"
    }
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["left_out"] == {"train": 20, "validation": 20}
    again = splits(
        tmp_path,
        "gsm8k",
        test=test,
        train=train,
        train_samples=100,
        validation_samples=20,
        test_samples=10,
        seed=1,
    )
    assert again["test"] == found["test"] and again["train"] != found["train"]
    assert {get_task("gsm8k").split_of(problem) for problem in again["train"]} == {"train"}


def test_a_task_for_training_has_no_test_problems(tmp_path):
    rows = [
        {"question": f"Why {n}?", "thinking_trajectories": ["So."], "attempt": "Because."}
        for n in range(60)
    ]
    found = splits(tmp_path, "s1k", train=written(tmp_path / "s1k.jsonl", rows))
    assert found["test"] == [] and len(found["train"]) == 8


def test_what_the_seed_decides_and_the_prompt_are_written_with_the_problem(tmp_path):
    header = (
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer"
        " 3,Subdomain\n"
    )
    (tmp_path / "main.csv").write_text(
        header + "".join(f"Why {n}?,a,b,c,d,Genetics\n" for n in range(3))
    )
    (tmp_path / "extended.csv").write_text(
        header + "".join(f"Why {n}?,a,b,c,d,Genetics\n" for n in range(60))
    )
    (tmp_path / "mine.txt").write_text("Choose.\n{question}\n")
    files = {"test": str(tmp_path / "main.csv"), "train": str(tmp_path / "extended.csv")}
    orders = []
    for seed in range(8):
        found = splits(
            tmp_path, "gpqa", seed=seed, **files, prompt_template=str(tmp_path / "mine.txt")
        )
        problem = found["test"][0]
        assert (
            problem["prompt"] == f"Choose.\n{get_task('gpqa').question(problem)}"
            and problem["Subdomain"] == "Genetics"
        )
        orders.append(problem["Order"])
    assert len(set(orders)) > 1
    assert splits(tmp_path, "gpqa", **files)["test"][0]["prompt"].startswith(
        "You know the natural sciences"
    )


def test_a_test_file_that_holds_a_training_problem_is_refused(tmp_path):
    task = GENERATED["sudoku"]
    task.write(task.sample("train", 8, 0), tmp_path / "mine.csv")
    with pytest.raises(
        ValueError,
        match=(
            r"mine\.csv: \d+ test problems are also in the train split, for example \d{16}; add"
            r" their digests"
        ),
    ):
        splits(tmp_path, test=str(tmp_path / "mine.csv"))
    assert not (tmp_path / "manifest.json").exists()


def test_a_missing_or_short_file_names_its_key(tmp_path):
    with pytest.raises(
        ValueError, match=r"catalogue\.sudoku\.test: none\.csv does not exist; .*Puzzle, Solution"
    ):
        splits(tmp_path, test="none.csv")
    with pytest.raises(
        ValueError, match=r"has 256 problems, catalogue\.sudoku\.test_samples asks for 300"
    ):
        splits(tmp_path, test=SHIPPED["sudoku"], test_samples=300)
    with pytest.raises(
        ValueError,
        match=(
            r"catalogue\.gsm8k\.test: null, but problems of gsm8k cannot be drawn; .*sources\.csv"
        ),
    ):
        splits(tmp_path, "gsm8k")
    test = written(tmp_path / "test.jsonl", questions(3))
    with pytest.raises(
        ValueError,
        match=r"catalogue\.gsm8k\.train: null; the train problems of gsm8k come from a file",
    ):
        splits(tmp_path, "gsm8k", test=test)
    with pytest.raises(
        ValueError,
        match=(
            r"test\.jsonl has 0 problems for train \(3 of its 3 are test .*train_samples asks for 8"
        ),
    ):
        splits(tmp_path, "gsm8k", test=test, train=test)
    with pytest.raises(
        ValueError, match=r"catalogue\.gsm8k\.prompt_template: none\.txt does not exist"
    ):
        splits(
            tmp_path,
            "gsm8k",
            test=test,
            train=written(tmp_path / "train.jsonl", questions(60, first=3)),
            prompt_template="none.txt",
        )


def test_a_prompt_template_without_its_place_is_named(tmp_path):
    (tmp_path / "mine.txt").write_text("Solve it.")
    with pytest.raises(
        ValueError,
        match=(
            r"mine\.txt: a prompt template names \{question\} once, this one 0 times: 'Solve it\.'"
        ),
    ):
        splits(tmp_path, prompt_template=str(tmp_path / "mine.txt"))


@pytest.mark.shared
def test_the_papers_files_can_be_configured(tmp_path, shared):
    assert len(splits(tmp_path, test=str(shared / "data/4x4_test_sudoku.csv"))["test"]) == 3
    assert (
        len(
            splits(tmp_path, "countdown", test=str(shared / "data/countdown_cd3_test.jsonl"))[
                "test"
            ]
        )
        == 3
    )
    files = {
        "test": str(shared / "data/gsm8k/test.jsonl"),
        "train": str(shared / "data/gsm8k/train.jsonl"),
    }
    assert len(splits(tmp_path, "gsm8k", **files)["validation"]) == 4
    with pytest.raises(
        ValueError,
        match=r"test\.jsonl has 0 problems for train \(1319 of its 1319 are test problems\)",
    ):
        # Held out, whatever the config calls them.
        splits(tmp_path, "gsm8k", test=files["train"], train=files["test"])
