"""Names of the tasks, apart from the tasks themselves.

Reading a config then loads nothing else.
"""

GENERATED = ("algebra", "countdown", "sudoku", "wordmath")
"""Problems are drawn; a test file is optional."""

TRAINING_ONLY = ("s1k",)
"""For fine-tuning: nothing scores them."""

TASK_NAMES = tuple(sorted((*GENERATED, *TRAINING_ONLY, "gpqa", "gsm8k", "math500")))

GRADED = ("algebra", "wordmath")
"""Generated tasks whose difficulty is a setting."""
