"""Prompt templates: three further wordings a task, ours, each with its place.

A mistake is one clear message.
"""

import pytest

from tracedlm.resources import resource
from tracedlm.tasks import TASKS, get_task
from tracedlm.tasks.task import fill
from tracedlm.tasks.templates import read_template, template_files, template_label

SCORED = [name for name, task in TASKS.items() if task.scored]
NAMES = ("question_first", "brief", "rules")


@pytest.mark.parametrize("name", SCORED)
def test_every_scored_task_ships_three_wordings_that_differ(name):
    files = template_files(name, ("default", *NAMES))
    texts = [read_template(path) for path in files.values()]
    assert tuple(files) == NAMES and len({get_task(name).template(), *texts}) == 4
    for text in texts:
        assert "<answer>" in text and "</answer>" in text and "<reasoning>" in text
        assert fill(text, r"What is {question}?").count(r"What is {question}?") == 1
        assert (
            name in ("countdown", "sudoku")
            or r"\boxed{" in text
            or text.startswith("{question}\nThink in")
        )
    assert read_template(files["question_first"]).startswith("{question}")
    assert sorted(path.stem for path in resource("prompts", name).iterdir()) == sorted(NAMES)


def test_a_template_of_ones_own_is_named_by_its_file(tmp_path):
    (tmp_path / "polite.txt").write_text("Please: {question}\n")
    path = str(tmp_path / "polite.txt")
    assert list(template_files("gsm8k", (path, "brief"))) == [path, "brief"]
    assert (template_label(path), template_label("brief")) == ("polite", "brief")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"How many?",
            r"mine\.txt: a prompt template names \{question\} once, this one 0 times: 'How many\?'",
        ),
        (
            b"{question} {question}",
            r"mine\.txt: a prompt template names \{question\} once, this one 2 times",
        ),
        (b"\xff{question}", r"mine\.txt: .*utf-8"),
    ],
)
def test_a_file_without_the_place_of_the_question_is_named(content, message, tmp_path):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        template_files("gsm8k", (str(tmp_path / "mine.txt"),))


@pytest.mark.parametrize("name", ["breif", "none.txt"])
def test_an_unknown_template_lists_what_there_is(name):
    with pytest.raises(
        ValueError,
        match=(
            rf"'{name}' is no prompt template of gsm8k; known: default, brief, question_first,"
            r" rules, or the path"
        ),
    ):
        template_files("gsm8k", (name,))
