"""Names of the tasks, apart from the tasks themselves so that reading a config loads nothing else."""

TASK_NAMES = ("countdown", "sudoku")
