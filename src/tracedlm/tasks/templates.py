"""Wordings in which a problem may be asked.

Text files with `{question}` in them, shipped or the user's own.
"""

from collections.abc import Sequence
from pathlib import Path

from tracedlm.resources import located, resource
from tracedlm.tasks.task import fill

DEFAULT = "default"
"""The prompt that rule `data` wrote with the problem.

The task's own template, or the one that its catalogue entry names.
"""


def template_label(name: str) -> str:
    """Name of a template in tables: that of a file without its folder and suffix.

    >>> template_label("brief"), template_label("mine/polite.txt")
    ('brief', 'polite')
    """
    return Path(name).stem if name.endswith(".txt") else name


def template_files(task: str, names: Sequence[str]) -> dict[str, Path]:
    """File of each template but the default one, which is no file here.

    Args:
        task: Task name.
        names: A name stands for `resources/prompts/<task>/<name>.txt`; what ends in `.txt` is a
            path, relative to the repository.

    Raises:
        ValueError: There is no such template, or a file does not say once where the question goes;
            the message names it.
    """
    files = {name: _file(task, name) for name in names if name != DEFAULT}
    for path in files.values():
        read_template(path)
    return files


def read_template(path: Path) -> str:
    """Text of a template.

    Raises:
        ValueError: The file is no UTF-8 text, or does not say once where the question goes.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
        fill(text, "")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return text


def _file(task: str, name: str) -> Path:
    path = located(name) if name.endswith(".txt") else resource("prompts", task, f"{name}.txt")
    if not path.is_file():
        shipped = sorted(file.stem for file in resource("prompts", task).glob("*.txt"))
        raise ValueError(
            f"evaluation.templates: {name!r} is no prompt template of {task}; known:"
            f" {', '.join((DEFAULT, *shipped))}, or the path of a .txt file with {{question}} in it"
        )
    return path
