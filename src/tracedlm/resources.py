"""Where the files shipped with the project are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def resource(*parts: str) -> Path:
    """Path of a file under `resources/` of the checkout this package is installed from (editable install)."""
    return ROOT.joinpath("resources", *parts)
