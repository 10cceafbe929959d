"""Worked examples as tokens: what pretraining and fine-tuning learn from."""

import random
from typing import Any

from tracedlm.models.prompt_tokens import user_turn
from tracedlm.tasks import GeneratedTask, Problem, Task


def encode_response(tokenizer: Any, text: str, canvas: int) -> list[int] | None:
    """Tokens of a response with its end-of-turn token, padded to the canvas.

    None where it does not fit.
    """
    tokens = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return (
        tokens + [tokenizer.pad_token_id] * (canvas - len(tokens))
        if len(tokens) <= canvas
        else None
    )


def encode_example(
    tokenizer: Any, task: Task, problem: Problem, canvas: int
) -> tuple[list[int], list[int]] | None:
    """Prompt and padded response of one problem with its worked solution.

    None where the solution does not fit.
    """
    response = encode_response(tokenizer, task.solve(problem, canvas), canvas)
    return None if response is None else (user_turn(tokenizer, task.prompt(problem)), response)


def draw_examples(
    tokenizer: Any,
    tasks: list[GeneratedTask],
    weights: list[float],
    n: int,
    canvas: int,
    rng: random.Random,
) -> list[tuple[list[int], list[int]]]:
    """`n` fresh examples of the training split, tasks in proportion to their weights on average."""
    examples: list[tuple[list[int], list[int]]] = []
    while len(examples) < n:
        (task,) = rng.choices(tasks, weights)
        problem = task.draw(rng)
        if task.split_of(problem) == "train" and (
            example := encode_example(tokenizer, task, problem, canvas)
        ):
            examples.append(example)
    return examples
