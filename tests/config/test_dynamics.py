import pytest

from tracedlm.config import Dynamics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 50}, "does not divide into 3 heads of an even width; use a multiple of 6"),
        ({"mask_ratios": (0.5, 0.0)}, "at ratio 0 nothing is predicted"),
        ({"types": 20}, "fewer than two words; use at least"),
        ({"frames": {"moton": 1.0}}, "Did you mean 'motion'"),
    ],
)
def test_unusable_settings_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message):
        Dynamics(**changes)


def test_the_smallest_lexicon_that_the_message_names_is_accepted():
    with pytest.raises(ValueError, match="at least") as refused:
        Dynamics(types=20)
    least = int(str(refused.value).split("at least ")[1].split()[0])
    assert Dynamics(types=least).types == least


@pytest.mark.parametrize("per_job", [1, 5, 1000])
def test_jobs_hold_every_checkpoint_of_every_seed_once(per_job):
    made = Dynamics(checkpoints_per_job=per_job, seeds=2)
    jobs = made.jobs(seed=7)
    assert sorted(one for job in jobs for one in job) == [
        (seed, step) for seed in (7, 8) for step in made.checkpoints()
    ]
    assert max(map(len, jobs)) <= per_job


def test_what_is_only_reported_reruns_no_measure_and_what_is_only_measured_no_training():
    made = Dynamics()
    assert (
        not {"patience", "tolerance"} & set(made.measuring())
        and "evaluation" not in made.training()
    )
    assert (
        "learning_rate" not in made.corpus()
        and Dynamics(**made.measuring()).measuring() == made.measuring()
    )
