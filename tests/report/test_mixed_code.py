"""Results of different versions of the code never share a table.

Reading them together is refused, whichever stage they are of.
"""

import json
import shutil

import pytest

from tracedlm.report.evidence import read_evidence


def read(root):
    return read_evidence(
        root, ["countdown", "sudoku"], [128], ["q"], ["full"], 0, tuned=True, pseudo_gradients=True
    )


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("certify/sudoku/128/q/summary.json", "trace_code"),
        ("ablation/sudoku/128.json", "code"),
        ("exits/sudoku/128/tuned.json", "code"),
        ("pseudo_gradients/sudoku/128.json", "code"),
    ],
)
def test_results_of_two_versions_are_refused(study, tmp_path, path, key):
    copy = shutil.copytree(study, tmp_path / "copy")
    assert read(copy).sets
    record = json.loads((copy / path).read_text())
    (copy / path).write_text(json.dumps({**record, key: "another"}))
    with pytest.raises(
        ValueError, match=r"2 versions of the code \(.*another.*\); run snakemake again"
    ):
        read(copy)
