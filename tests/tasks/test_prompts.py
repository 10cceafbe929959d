"""What the model is asked.

Reasoning and answer in blocks, the answer in a box, the question once.
"""

import pytest

from tracedlm.tasks import GENERATED, TASKS, get_task
from tracedlm.tasks.task import fill

QUESTION = {"gpqa": "Question", "gsm8k": "question", "math500": "problem", "s1k": "question"}
OPTIONS = {
    "Correct Answer": "a",
    "Incorrect Answer 1": "b",
    "Incorrect Answer 2": "c",
    "Incorrect Answer 3": "d",
}


@pytest.mark.parametrize("name", QUESTION)
def test_a_prompt_asks_for_blocks_and_a_box_and_holds_the_question_once(name):
    text = r"What is $\frac{1}{2}$ of {question}?"
    prompt = get_task(name).prompt({QUESTION[name]: text, **OPTIONS})
    assert prompt.count(text) == 1 and prompt.index(text) > prompt.index("<answer>")
    for tag in ("<reasoning>", "</reasoning>", "<answer>", "</answer>"):
        assert tag in prompt
    assert r"\boxed{" in prompt or name == "s1k"  # s1K's answers are in no box


@pytest.mark.parametrize("name", GENERATED)
def test_the_small_model_is_asked_in_one_line(name):
    task = GENERATED[name]
    problem = task.sample("test", 1, seed=0)[0]
    assert (
        task.prompt(problem) == "Think in <reasoning></reasoning>, then answer in"
        f" <answer></answer>.\n{task.question(problem)}"
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_prompt_written_with_the_problem_is_the_prompt(name):
    assert get_task(name).prompt({"prompt": "Well?"}) == "Well?"


@pytest.mark.parametrize("template", ["no place", "{question} and {question}"])
def test_a_template_names_the_place_of_the_question_once(template):
    with pytest.raises(ValueError, match=r"names \{question\} once, this one [02] times"):
        fill(template, "What?")
