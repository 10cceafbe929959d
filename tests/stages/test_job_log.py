import pytest

from tracedlm.stages.job_log import logged


def test_a_users_mistake_is_one_line_and_a_bug_is_a_traceback(tmp_path, capfd):
    with pytest.raises(SystemExit), logged(str(tmp_path / "logs/job.log")):
        print("working")
        raise ValueError("sft.canvas: too short")
    assert (tmp_path / "logs/job.log").read_text() == "working\nerror: sft.canvas: too short\n"
    with pytest.raises(KeyError), logged(str(tmp_path / "logs/job.log")):
        raise KeyError("bug")
