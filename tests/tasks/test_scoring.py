"""Countdown and Sudoku.

The published scorer as method.md section 8 describes it, and the strict one.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.tasks import get_task
from tracedlm.tasks.sudoku import solutions

COUNTDOWN, PROBLEM = get_task("countdown"), {"input": "30,100,93", "output": "23"}
RIGHT = "93-(100-30)"
SUDOKU, PUZZLE = get_task("sudoku"), {"Puzzle": "3102200002100320", "Solution": "3142243142131324"}
GRID = PUZZLE["Solution"]


def countdown(text, scorer="d1"):
    return COUNTDOWN.score(PROBLEM, text, scorer).correct


def sudoku(text, scorer="d1"):
    return SUDOKU.score(PUZZLE, text, scorer)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (rf"\boxed{{1+1}} no, \boxed{{{RIGHT}}}", True),  # the last box
        (rf"\boxed{{{RIGHT}}} no, \boxed{{1+1}}", False),
        (rf"\boxed{{{RIGHT}}}<answer>1+1</answer>", True),  # a box goes before <answer>
        # A box that is never closed does not count.
        (
            rf"\boxed{{{RIGHT} <answer>{RIGHT}</answer>",
            True,
        ),
        (f"<answer> {RIGHT} </answer>", True),
        (RIGHT, True),  # else the whole text
        (rf"\boxed{{{RIGHT} = 23}}", True),  # of expr = number, expr
        (r"\boxed{30 \times 100 \div 93}", False),
        (r"\boxed{93-100+30}", True),
        (r"\boxed{93-(100-30)+0}", False),  # an integer too many
        (r"\boxed{93-70}", False),  # not the given integers
        (r"\boxed{93-100-30}", False),  # not the target
        (rf"so {RIGHT} = 23 but {RIGHT}", True),  # of the text around expr = number, nothing
        (rf"\boxed{{1 + 1 = 3, {RIGHT} = 23}}", False),  # the first expr = number
        # A box and a space go before all others, up to the dollar sign.
        (
            rf"$\boxed {RIGHT}$, \boxed{{1}}",
            True,
        ),
        (rf"\boxed{{}}<answer>{RIGHT}</answer>", False),  # an empty box is an answer
        (r"\boxed{93//1-100+30}", False),  # a number that is not given
        (r"\boxed{+93-(100-30.)}", True),  # Python's arithmetic
        (r"\boxed{93-(100-30)**1}", False),
    ],
)
def test_countdown_d1(text, right):
    assert countdown(text) is right


@given(st.text(alphabet="379+-*/(). ", max_size=14))
def test_countdown_d1_computes_as_python_does(expression):
    """The published scorer evaluates what it finds.

    Here its value is read from the syntax tree, powers apart.
    """
    try:
        value = eval(expression.strip()) if "**" not in expression else None
    except (SyntaxError, TypeError, ZeroDivisionError):
        value = None
    for target in (0, 3, 7, 10, 12, 16, 21):
        digits = "".join(c if c.isdigit() else " " for c in expression).split()
        problem = {"input": ",".join(digits), "output": str(target)}
        if digits and "**" not in expression:
            right = isinstance(value, int | float) and abs(value - target) < 1e-5
            assert COUNTDOWN.score(problem, rf"\boxed{{{expression}}}", "d1").correct is right


def test_countdown_reads_latex_operators():
    problem = {"input": "6,4,3", "output": "8"}
    assert COUNTDOWN.score(problem, r"\boxed{6 \times 4 \div 3}", "d1").correct
    assert COUNTDOWN.score(problem, r"\boxed{6 \cdot 4 / 3}", "d1").correct


def test_countdown_strict_wants_the_answer_where_it_belongs():
    assert not countdown(RIGHT, "strict")
    assert countdown(f"<answer>{RIGHT}</answer>", "strict")
    assert countdown(rf"\boxed{{{RIGHT}}}", "strict")


@pytest.mark.parametrize(
    "text",
    [
        f"<answer>\n```\n{GRID[:8]} {GRID[8:]}\n```\nis it</answer>",  # digits in a fenced block
        f"<answer>{GRID}</answer> 1111111111111111",
        f"<answer>{GRID}<|eot_id|>1111",
        f"<answer>{GRID}<|endoftext|>1111",
        f"<answer></answer>{GRID}<|eot_id|>1111",  # the text after an empty block
        f"<answer> </answer> {GRID}",
        f"it is {GRID} </answer>",  # sixteen digits right before </answer>
        f"the grid is {GRID}, I think",  # any free-standing sixteen digits
        # white space is removed
        f"<answer>{GRID[:4]}\n{GRID[4:8]}\n{GRID[8:12]}\n{GRID[12:]}</answer>",
        f"<answer>{GRID}1234</answer>",  # cut to sixteen characters
        f"<answer>none</answer>\n```\n{GRID}\n```",  # a fence anywhere after <answer> goes first
        f"<answer>```python\n1```{GRID}```</answer>",  # a fence with anything but digits is none
        f"99{GRID}  </answer>",  # the last sixteen digits before </answer>
    ],
)
def test_sudoku_d1_finds_the_answer_in_five_places(text):
    assert sudoku(text).correct and sudoku(text).answer == GRID


def test_sudoku_d1_pads_a_short_answer_and_scores_it_by_position():
    score = sudoku(f"<answer>{GRID[:8]}</answer>")
    blanks = [cell for cell in range(16) if PUZZLE["Puzzle"][cell] == "0"]
    assert score.answer == GRID[:8] + "0" * 8
    assert score.value == sum(cell < 8 for cell in blanks) / len(blanks)
    assert sudoku(f"<answer>{GRID[:8]}</answer>", "strict").value == 0


def test_sudoku_d1_shifted_by_one_is_scored_by_position():
    score = sudoku(f"<answer>x{GRID}</answer>")
    assert score.answer == "x" + GRID[:15] and score.value < 1


def test_sudoku_d1_knows_the_printed_solution_only_and_strict_every_valid_one():
    puzzle = next(p for p in ("0000000000000000", "1234341200000000") if len(solutions(p)) > 1)
    first, second = solutions(puzzle)[:2]
    problem = {"Puzzle": puzzle, "Solution": first}
    assert SUDOKU.score(problem, f"<answer>{second}</answer>").correct
    assert not SUDOKU.score(problem, f"<answer>{second}</answer>", "d1").correct


def test_sudoku_strict_refuses_a_grid_that_changes_a_clue():
    changed = "4" + GRID[1:]
    assert not sudoku(f"<answer>{changed}</answer>", "strict").correct
    assert sudoku(f"<answer>{changed}</answer>", "d1").value == 1.0  # only blanks are compared
