"""A folder is replaced whole.

The old one until the new one is complete, and no leftovers, of files neither.
"""

import os
import signal
import subprocess
import sys

import pytest

from tracedlm.records.atomic import replacing_folder, write_text


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "adapter"
    for number in (1, 2):
        with replacing_folder(target) as new:
            (new / f"weights-{number}").write_text(str(number))
            assert not target.exists() or names(target) == ["weights-1"]
    assert names(tmp_path) == ["adapter", "adapter/weights-2"]


def test_a_failure_keeps_the_old_folder(tmp_path):
    target = tmp_path / "adapter"
    target.mkdir()
    (target / "weights").touch()
    with pytest.raises(KeyError), replacing_folder(target) as new:
        (new / "half").touch()
        raise KeyError
    assert names(tmp_path) == ["adapter", "adapter/weights"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    for left in (".adapter.new.part", ".adapter.old.part"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half").touch()
    with replacing_folder(tmp_path / "adapter") as new:
        (new / "weights").touch()
    assert names(tmp_path) == ["adapter", "adapter/weights"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path):
    dying = """
import os, signal, sys
from tracedlm.records.atomic import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", dying, tmp_path / "moments"])
    assert killed.returncode == -signal.SIGKILL and len(names(tmp_path)) == 1
    living = f".moments.{os.getppid()}.part"
    (tmp_path / living).touch()
    write_text(tmp_path / "moments", "whole")
    assert names(tmp_path) == [living, "moments"]
