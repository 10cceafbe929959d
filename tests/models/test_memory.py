"""Freed tensors are not given back to the system: making them again touches no new page."""

import subprocess
import sys

import pytest

from tracedlm.models.memory import keep_freed_memory

COUNT = """
import resource, torch
from tracedlm.models.memory import keep_freed_memory
assert {keep} is False or keep_freed_memory()
touched = []
for _ in range(5):
    tensors = [torch.ones(2**20) for _ in range(8)]
    del tensors
    touched.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(touched[-1] - touched[1])
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="no glibc")
def test_tensors_made_again_touch_no_new_page():
    given_back, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", COUNT.format(keep=keep)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for keep in (False, True)
    )
    assert kept < given_back / 4, (kept, given_back)
