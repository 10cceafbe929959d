"""What fine-tuning learns from.

Worked examples as tokens, corrupted where asked, in an order that is a function of the seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracedlm.config import Sft
from tracedlm.models.prompt_tokens import user_turn
from tracedlm.models.training import Encoded, grouped_by_length
from tracedlm.tasks import GeneratedTask, Problem, Task, get_task


@dataclass(frozen=True)
class Examples:
    """Encoded training problems.

    Attributes:
        encoded: Prompt and response tokens of each.
        left_out: Problems whose worked solution does not fit `sft.canvas`.
        cut: Examples cut at `sft.max_length`; they do not end.
        corrupted: Examples that carry another problem's response.
    """

    encoded: list[Encoded]
    left_out: int
    cut: int
    corrupted: int


def read_examples(tokenizer: Any, files: dict[str, Path], settings: Sft, seed: int) -> Examples:
    """Every training problem with its worked solution.

    Or with another's, where labels are corrupted.

    Raises:
        ValueError: No solution fits the canvas, or no prompt leaves room for a response.
    """
    encoded, left_out, cut, corrupted = [], 0, 0, 0
    for name, path in files.items():
        task = get_task(name)
        problems = task.read(path)
        donors = label_donors(len(problems), settings.label_noise, seed)
        corrupted += len(donors)
        for number, problem in enumerate(problems):
            example, whole = _encode(
                tokenizer, task, problem, problems[donors.get(number, number)], settings
            )
            encoded += [] if example is None else [example]
            left_out, cut = left_out + (example is None), cut + (not whole)
    if not encoded:
        limit = (
            f"canvas = {settings.canvas}"
            if settings.max_length is None
            else f"max_length = {settings.max_length}"
        )
        raise ValueError(f"sft.{limit}: no prompt and response of {', '.join(files)} fits")
    return Examples(encoded, left_out, cut, corrupted)


def label_donors(n: int, share: float, seed: int) -> dict[int, int]:
    """Whose response corrupted problems are given: number of a problem -> number of another.

    Responses are exchanged whole: each is a well-formed answer to another problem of the same
    dataset. What a smaller share corrupts, a larger one corrupts in the same way.

    >>> label_donors(4, 0.5, seed=0) == {
    ...     k: v
    ...     for k, v in label_donors(4, 1.0, seed=0).items()
    ...     if k in label_donors(4, 0.5, seed=0)
    ... }
    True
    """
    order = shuffled(n, f"label noise/{seed}")
    return {order[k]: order[(k + 1) % n] for k in range(round(share * n))} if n > 1 else {}


def _encode(
    tokenizer: Any, task: Task, problem: Problem, answered: Problem, settings: Sft
) -> tuple[Encoded | None, bool]:
    """One example and whether it is whole; None where its response fits nowhere."""
    prompt, text = user_turn(tokenizer, task.prompt(problem)), task.solve(answered, settings.canvas)
    if settings.max_length is None:
        response = encode_response(tokenizer, text, settings.canvas)
        return (None if response is None else (prompt, response)), True
    response = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    room = settings.max_length - len(prompt)
    return ((prompt, response[:room]) if room > 0 else None), len(response) <= room


def batches(
    examples: list[Encoded], settings: Sft, pad_id: int, seed: int
) -> tuple[Callable[[int], list[Encoded]], int]:
    """The examples of each step as a function of its number, and the number of steps.

    Every epoch has an order of its own. With `max_length`, batches are made of examples of similar
    length, and shorter responses are padded to the longest of their batch with padding that is
    learnt, as LLaDA does.

    Raises:
        ValueError: With `max_length`, there are fewer examples than one batch takes.
    """
    size = settings.batch_size
    if settings.max_length is not None and len(examples) < size:
        raise ValueError(
            f"sft.batch_size = {size} is more than the {len(examples)} training examples; lower it"
        )
    a_pass = len(examples) / size if settings.max_length is None else len(examples) // size
    steps = settings.steps if settings.epochs is None else max(1, int(settings.epochs * a_pass))
    order: list[int] = []
    for epoch in range(int(steps / a_pass) + 1):
        if settings.max_length is None:
            order += shuffled(len(examples), f"{seed}/{epoch}")
        else:
            lengths = [len(prompt) + len(response) for prompt, response in examples]
            order += [
                index
                for batch in grouped_by_length(lengths, size, seed * 1_000_003 + epoch)
                for index in batch
            ]

    def draw(step: int) -> list[Encoded]:
        chosen = [examples[index] for index in order[step * size : (step + 1) * size]]
        longest = max(len(response) for _, response in chosen)
        return [
            (prompt, response + [pad_id] * (longest - len(response))) for prompt, response in chosen
        ]

    return draw, steps


def shuffled(n: int, seed: str) -> list[int]:
    """0..n-1 in an order that the seed decides."""
    order = list(range(n))
    random.Random(seed).shuffle(order)
    return order


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
