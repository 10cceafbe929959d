"""4x4 Sudoku with eight blanks.

File format of the papers' test set: CSV with `Puzzle` and `Solution`, 16 digits each, 0 for a
blank. A quarter of the papers' puzzles have more than one solution, so that no solver can be
expected to match more than 87 % of the printed ones: `strict` accepts every valid completion as
solved, `d1` compares with the printed solution only.
"""

import random
import re
from functools import cache
from typing import final

from tracedlm.tasks.extract import END_TOKENS, answer_block
from tracedlm.tasks.task import GeneratedTask, Problem, Score, Scorer

BLANKS = 8
DIGITS = "1234"


ROWS = [range(4 * row, 4 * row + 4) for row in range(4)]
COLUMNS = [range(column, 16, 4) for column in range(4)]
BOXES = [[corner, corner + 1, corner + 4, corner + 5] for corner in (0, 2, 8, 10)]
UNITS = (*ROWS, *COLUMNS, *BOXES)


def _peers(cell: int) -> set[int]:
    """Cells that share a row, a column or a box with this one."""
    peers: set[int] = set()
    for unit in UNITS:
        if cell in unit:
            peers.update(unit)
    return peers - {cell}


PEERS = [_peers(cell) for cell in range(16)]
CHECKED = {"row": ROWS, "col": COLUMNS, "box": BOXES}


@final
class Sudoku(GeneratedTask):
    """A uniformly drawn full grid with eight uniformly drawn blanks.

    As in the papers' 500 test puzzles.
    """

    name = "sudoku"
    fields = ("Puzzle", "Solution")
    form = "csv"

    def check(self, problem: Problem) -> None:
        puzzle, solution = problem["Puzzle"], problem["Solution"]
        if not re.fullmatch("[0-4]{16}", puzzle):
            raise ValueError(f"field 'Puzzle': {puzzle!r} is not 16 digits of 0-4")
        if solution not in solutions(puzzle):
            raise ValueError(f"field 'Solution': {solution!r} does not solve {puzzle!r}")

    def draw(self, rng: random.Random) -> Problem:
        solution = rng.choice(all_grids())
        blanks = set(rng.sample(range(16), BLANKS))
        puzzle = "".join("0" if cell in blanks else digit for cell, digit in enumerate(solution))
        return {"Puzzle": puzzle, "Solution": solution}

    def key(self, problem: Problem) -> str:
        return problem["Puzzle"]

    def question(self, problem: Problem) -> str:
        return f"Sudoku 4x4: {problem['Puzzle']}."

    def solve(self, problem: Problem, length: int) -> str:
        """Fill in rounds, each in reading order.

        Every cell that the grid before the round leaves one candidate.

        A line says the cell, the digits its row, column and box hold, and the digit left. Where no
        cell has one candidate, guess at the first with the fewest. From 256 tokens on, rows,
        columns and boxes are written out as a check.
        """
        grid, solution = list(problem["Puzzle"]), problem["Solution"]
        lines: list[str] = []
        while blanks := [cell for cell in range(16) if grid[cell] == "0"]:
            candidates = {cell: len(_candidates(grid, cell)) for cell in blanks}
            certain = [cell for cell in blanks if candidates[cell] == 1]
            if not certain:
                certain = [min(blanks, key=candidates.__getitem__)]
            for cell in certain:
                place = f"r{cell // 4 + 1}c{cell % 4 + 1}"
                lines.append(f"{place}:{_seen(grid, cell)}>{solution[cell]}\n")
            for cell in certain:
                grid[cell] = solution[cell]
        if length >= 256:
            for name, units in CHECKED.items():
                digits = ["".join(solution[cell] for cell in unit) for unit in units]
                lines.append(f"{name}{','.join(digits)}\n")
        return f"<reasoning>\n{''.join(lines)}</reasoning>\n<answer>\n{solution}\n</answer>"

    def mark(self, problem: Problem, text: str, scorer: Scorer) -> Score:
        puzzle, solution = problem["Puzzle"], problem["Solution"]
        answer = _d1_answer(text) if scorer == "d1" else _strict_answer(text)
        if answer is None:
            return Score(None, 0.0, False)
        golds = [solution] if scorer == "d1" else solutions(puzzle)
        blank_cells = [cell for cell in range(16) if puzzle[cell] == "0"]
        # A puzzle may have several solutions: the nearest one counts.
        right = 0
        for gold in golds:
            right = max(right, sum(answer[cell] == gold[cell] for cell in blank_cells))
        clues_kept = all(clue in ("0", digit) for clue, digit in zip(puzzle, answer, strict=True))
        blanks = puzzle.count("0")
        return Score(answer, right / blanks, right == blanks and (clues_kept or scorer == "d1"))


def _candidates(grid: list[str], cell: int) -> str:
    used = {grid[peer] for peer in PEERS[cell]}
    return "".join(digit for digit in DIGITS if digit not in used)


def _seen(grid: list[str], cell: int) -> str:
    """The digits a cell may not be."""
    return "".join(digit for digit in DIGITS if digit not in _candidates(grid, cell))


def solutions(puzzle: str) -> list[str]:
    """Every valid completion of a puzzle, in lexicographic order.

    >>> solutions("3102200002100320")
    ['3142243142131324']
    """
    clues = {cell: clue for cell, clue in enumerate(puzzle) if clue != "0"}
    found = []
    for grid in all_grids():
        if all(grid[cell] == clue for cell, clue in clues.items()):
            found.append(grid)
    return found


@cache
def all_grids() -> tuple[str, ...]:
    """The 288 valid 4x4 grids, in lexicographic order."""
    grids = [""]
    # Cell by cell, every digit that no earlier peer holds: the grids stay in order.
    for cell in range(16):
        earlier = [peer for peer in PEERS[cell] if peer < cell]
        longer = []
        for grid in grids:
            used = {grid[peer] for peer in earlier}
            longer += [grid + digit for digit in DIGITS if digit not in used]
        grids = longer
    return tuple(grids)


def _strict_answer(text: str) -> str | None:
    """Sixteen digits 1-4, white space allowed, in the first `<answer>` block."""
    block = answer_block(text, ("</answer>", *END_TOKENS))
    digits = "".join((block or "").split())
    return digits if re.fullmatch("[1-4]{16}", digits) else None


def _d1_answer(text: str) -> str | None:
    """The published extraction.

    The first of five places that holds anything, padded with 0 or cut to 16 characters.
    """
    free = re.search(r"\b(\d{16})\b", text)
    places = (
        _fenced(text),
        answer_block(text, ("</answer>", *END_TOKENS)),
        _after_answer(text),
        _before_answer(text),
        free and free[1],
    )
    found = "".join(next((place for place in places if place and not place.isspace()), "").split())
    return found.ljust(16, "0")[:16] if found else None


def _fenced(text: str) -> str | None:
    """Digits and white space, and nothing else, between two fences somewhere after `<answer>`."""
    at = text.find("<answer>")
    while at >= 0 and (at := text.find("```", at)) >= 0:
        digits = re.compile(r"[\d\s]*").match(text, at + 3)
        if digits and digits[0] and text.startswith("```", digits.end()):
            return digits[0]
        at += 1
    return None


def _after_answer(text: str) -> str | None:
    """What follows the first `</answer>`, up to an end token."""
    after = text.partition("</answer>")[2]
    return min((after.split(end, 1)[0] for end in END_TOKENS), key=len)


def _before_answer(text: str) -> str | None:
    """The sixteen digits right before the first `</answer>` that follows sixteen digits."""
    *before, _ = text.split("</answer>")
    lasts = (part.rstrip()[-16:] for part in before)
    return next((last for last in lasts if re.fullmatch(r"\d{16}", last)), None)
