"""Word problems with worked solutions in GSM8K's form, drawn from a small grammar of stories.

They are not GSM8K.

JSON lines with `question` and `answer`; each calculation is marked `<<12+30=42>>`, the gold stands
after `####`.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from tracedlm.tasks.gsm8k import check_number_answer, gold_number, mark_number
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer, text_key
from tracedlm.tasks.worked import STEP, check_difficulty, reasoning, response, step

NAMES = ("Ann", "Ben", "Eva", "Lea", "Sam", "Tom")
THINGS = ("apples", "books", "cards", "coins", "cups", "pens")
LARGEST = 200
STEPS = {1: (1, 2), 2: (2, 3), 3: (3, 4)}
"""Fewest and most calculations of a problem, by difficulty."""

MARK = re.compile("<<([^<>]*)>>")


@dataclass
class Story:
    """A story while it is told.

    What is said, what is calculated, and how many things there are by now.
    """

    rng: random.Random
    who: str
    other: str
    thing: str
    value: int = 0
    sentences: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    unit: str = ""

    def say(self, sentence: str) -> None:
        """Add a sentence."""
        self.sentences.append(sentence)

    def calculate(self, a: int, operator: str, b: int) -> None:
        """Add a calculation, whose result becomes the value."""
        text, self.value = step(a, operator, b)
        self.steps.append(text)


def _has(story: Story) -> None:
    story.value = story.rng.randint(5, 60)
    story.say(f"{story.who} has {story.value} {story.thing}.")


def _bags(story: Story) -> None:
    bags, each = story.rng.randint(2, 9), story.rng.randint(3, 20)
    story.say(f"{story.who} has {bags} bags with {each} {story.thing} each.")
    story.calculate(bags, "*", each)


def _gets(story: Story) -> None:
    more = story.rng.randint(2, 60)
    story.say(f"{story.other} gives {story.who} {more} more.")
    story.calculate(story.value, "+", more)


def _sells(story: Story) -> None:
    sold = story.rng.randint(1, story.value - 1)
    story.say(f"{story.who} sells {sold}.")
    story.calculate(story.value, "-", sold)


def _grows(story: Story) -> None:
    times = story.rng.randint(2, 5)
    story.say(f"A week later {story.who} has {times} times as many.")
    story.calculate(story.value, "*", times)


def _now(story: Story) -> None:
    story.say(f"How many {story.thing} does {story.who} have now?")


def _shares(story: Story) -> None:
    boxes = story.rng.choice(
        [number for number in range(2, 13) if story.value % number == 0] or [1]
    )
    story.say(
        f"{story.who} puts them into {boxes} boxes, as many in each. How many {story.thing} are in"
        " a box?"
    )
    story.calculate(story.value, "/", boxes)


def _price(story: Story) -> None:
    price = story.rng.randint(2, 6)
    story.say(
        f"{story.who} sells all of them for {price} dollars each. How many dollars does {story.who}"
        " get?"
    )
    story.calculate(story.value, "*", price)
    story.unit = "dollars"


def _together(story: Story) -> None:
    others = story.rng.randint(2, 60)
    story.say(
        f"{story.other} has {others} {story.thing}. How many {story.thing} do they have together?"
    )
    story.calculate(story.value, "+", others)


def _more_than(story: Story) -> None:
    own, more = story.value, story.rng.randint(2, 40)
    story.say(
        f"{story.other} has {more} more {story.thing} than {story.who}. How many {story.thing} do"
        " they have together?"
    )
    story.calculate(own, "+", more)
    story.calculate(own, "+", story.value)


def _times_as_many(story: Story) -> None:
    own, times = story.value, story.rng.randint(2, 5)
    story.say(
        f"{story.other} has {times} times as many {story.thing} as {story.who}. How many"
        f" {story.thing} do they have together?"
    )
    story.calculate(own, "*", times)
    story.calculate(own, "+", story.value)


Part = Callable[[Story], None]
BEGINNINGS: tuple[Part, ...] = (_has, _bags)
EVENTS: tuple[Part, ...] = (_gets, _sells, _grows)
ENDINGS: tuple[Part, ...] = (_now, _now, _shares, _price, _together, _more_than, _times_as_many)


@final
@dataclass(frozen=True)
class WordMath(GeneratedTask):
    """Stories of one to four calculations with whole numbers, none above 200.

    Attributes:
        difficulty: 1 to 3: one or two calculations, two or three, three or four.
    """

    difficulty: int = 2

    name = "wordmath"
    fields = ("question", "answer")

    def __post_init__(self) -> None:
        check_difficulty(self.name, self.difficulty)

    def draw(self, rng: random.Random) -> Problem:
        fewest, most = STEPS[self.difficulty]
        while True:
            who, other = rng.sample(NAMES, 2)
            story = Story(rng, who, other, rng.choice(THINGS))
            parts = (
                rng.choice(BEGINNINGS),
                *(rng.choice(EVENTS) for _ in range(rng.randint(0, most - 1))),
                rng.choice(ENDINGS),
            )
            if _told(story, parts) and fewest <= len(story.steps) <= most:
                marked = [
                    f"That makes {text.partition('=')[0]}=<<{text}>>{text.partition('=')[2]}."
                    for text in story.steps
                ]
                return {
                    "question": " ".join(story.sentences),
                    "answer": "\n".join((*marked, f"#### {story.value}")),
                }

    def check(self, problem: Problem) -> None:
        check_number_answer(problem)
        for mark in MARK.findall(problem["answer"]):
            if not STEP.fullmatch(mark):
                raise ValueError(
                    f"field 'answer': {mark!r} is not a calculation with two whole numbers, such as"
                    " 12+30=42"
                )

    def key(self, problem: Problem) -> str:
        """The story with its names numbered and its things unnamed.

        Who has what does not matter.
        """
        people = list(
            dict.fromkeys(
                word for word in re.findall("[A-Za-z]+", problem["question"]) if word in NAMES
            )
        )
        alike = {
            **{name: f"person{number}" for number, name in enumerate(people)},
            **dict.fromkeys(THINGS, "things"),
        }
        return text_key(
            re.sub("[A-Za-z]+", lambda word: alike.get(word[0], word[0]), problem["question"])
        )

    def question(self, problem: Problem) -> str:
        return problem["question"]

    def solve(self, problem: Problem, length: int) -> str:
        return response(
            reasoning(MARK.findall(problem["answer"]), length), rf"\boxed{{{gold_number(problem)}}}"
        )

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        return mark_number(problem, text, scorer)


def _told(story: Story, parts: tuple[Part, ...]) -> bool:
    """Tell a story part by part; False as soon as there is too little or too much of something."""
    for part in parts:
        if story.sentences and not 2 <= story.value <= LARGEST:
            return False
        part(story)
    return story.value <= LARGEST and not any("/1=" in text for text in story.steps)
