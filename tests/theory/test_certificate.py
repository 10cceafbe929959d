import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from trace_generators import GENERATORS, gaussian
from tracedlm.theory import certificate
from tracedlm.theory.certificate import (
    BOUNDS,
    certificates,
    feasible,
    first_certified,
    grid,
    required_margin,
)
from tracedlm.theory.movement import movements
from tracedlm.theory.rad import alignment, sharpen

LADDER = ("pinsker", "measured", "tv", "observed")


@st.composite
def traces(draw):
    """Similarities on a binary grid, so that ties are exact; movements from none to violent.

    Any visibility.
    """
    steps, positions = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    base = draw(st.lists(st.integers(-1024, 1024), min_size=positions, max_size=positions))
    scale = draw(st.sampled_from([0, 2**-20, 2**-10, 2**-5, 1]))
    moves = draw(
        st.lists(st.integers(-1024, 1024), min_size=steps * positions, max_size=steps * positions)
    )
    hidden = draw(
        st.lists(st.integers(0, 5), min_size=steps * positions, max_size=steps * positions)
    )
    similarity = np.array(base) / 1024 + scale * np.array(moves).reshape(steps, positions) / 1024
    return similarity, np.array(hidden).reshape(steps, positions) > 0


settings_of_a_certificate = {
    "delta": st.sampled_from([1e-9, 3e-6, 1e-4, 1e-2, 0.1]),
    "omega": st.integers(1, 4),
    "tau": st.sampled_from([0.1, 1.0]),
}


@settings(max_examples=150)
@given(trace=traces(), **settings_of_a_certificate)
def test_all_five_rules_against_50_digits(trace, delta, omega, tau):
    similarity, visible = trace
    flags = certificates(similarity, visible, delta, omega, tau)
    for t in range(len(similarity)):
        for name, slack in oracles.certificate_slack(
            similarity, visible, t, delta, omega, tau
        ).items():
            if slack is None or abs(slack) > 1e-13:  # on the border itself rounding decides
                assert getattr(flags, name)[t] == (slack is not None and slack > 0), (name, t)


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_how_far_the_rad_moved_is_its_definition(tau):
    """The numbers behind the verdicts.

    Also where the argmax moved, and where C is smaller than that of a shorter window.
    """
    rng = np.random.default_rng(0)
    similarity, visible = rng.uniform(-1, 1, (5, 6, 5)), rng.random((5, 6, 5)) > 0.15
    (moved,) = movements(similarity, visible, (1, 2, 3), (tau,))
    for (omega, found), n, t in itertools.product(moved.items(), range(5), range(6)):
        numbers = [getattr(found, name)[n, t] for name in ("margin", "kl", "drift", "tv")]
        common = oracles.window_support(visible[n], t, omega)
        if common is None or len(common) < 2:
            assert np.isnan(numbers).all() and not found.still[n, t]
            continue
        p = [oracles.softmax(similarity[n, r], common, tau) for r in range(t - omega, t + 1)]
        kl = [oracles.kl(later, earlier) for earlier, later in itertools.pairwise(p)]
        tv = max(oracles.total_variation(p[-1], earlier) for earlier in p[:-1])
        expected = [oracles.margin(p[-1]), max(kl), sum((one / 2).sqrt() for one in kl), tv]
        np.testing.assert_allclose(numbers, [float(one) for one in expected], rtol=1e-9)
        assert found.still[n, t] == (len({max(one, key=one.get) for one in p}) == 1)


@given(trace=traces(), **settings_of_a_certificate)
def test_each_bound_implies_the_next_sample_by_sample(trace, delta, omega, tau):
    flags = certificates(*trace, delta, omega, tau)
    for tighter, looser in itertools.pairwise(LADDER):
        assert not (getattr(flags, tighter) & ~getattr(flags, looser)).any(), (tighter, looser)


def test_the_ladder_is_strict():
    """Each bound certifies more than the one before.

    The nesting test is not about four equal things.
    """
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-1, 1, (400, 1, 3)) + 0.5 * rng.uniform(-1, 1, (400, 4, 3))
    flags = certificates(similarity, np.ones(similarity.shape, dtype=bool), 1e-2, 2)
    counts = [int(getattr(flags, name).sum()) for name in LADDER]
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3], counts


@given(trace=traces(), **settings_of_a_certificate)
def test_certified_means_the_argmax_did_not_flip(trace, delta, omega, tau):
    similarity, visible = trace
    flags = certificates(similarity, visible, delta, omega, tau)
    for t in np.flatnonzero(flags.pinsker | flags.measured | flags.tv):
        common = oracles.window_support(visible, t, omega)
        tops = [oracles.maximisers(similarity[r], common) for r in range(t - omega, t + 1)]
        slack = oracles.certificate_slack(similarity, visible, t, delta, omega, tau)["tv"]
        assert abs(slack) < 1e-13 or all(top == tops[-1] and len(top) == 1 for top in tops)


def test_error_1_growing_support():
    """method.md section 5, error 1.

    The paper's rule certifies a step whose argmax the window's start could not see.
    """
    visible = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=bool)
    similarity = np.log([[0.5, 0.5, 1.0], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    flags = certificates(similarity, visible, delta=1e-6, omega=2)
    assert flags.paper.tolist() == [False, False, True]
    assert not visible[0, similarity[2].argmax()]
    assert not (flags.pinsker | flags.measured | flags.tv).any()


def test_on_a_constant_support_the_papers_rule_is_pinsker():
    rng = np.random.default_rng(1)
    similarity = rng.uniform(-1, 1, (200, 1, 4)) + 0.05 * rng.uniform(-1, 1, (200, 5, 4))
    flags = certificates(similarity, np.ones(similarity.shape, dtype=bool), 1e-3, 2)
    assert flags.paper.any()
    assert (flags.paper == flags.pinsker).all()


def test_tv_is_measured_from_the_stop_not_step_by_step():
    """A steady drift of 0.1 a step against half a margin of 0.16: one step is safe, two are not."""
    similarity = np.log([[0.86, 0.14], [0.76, 0.24], [0.66, 0.34]])
    visible = np.ones((3, 2), dtype=bool)
    assert certificates(similarity, visible, 1.0, 1).tv[2]
    two = certificates(similarity, visible, 1.0, 2)
    assert not two.tv[2]
    assert two.observed[2]


def test_a_tie_certifies_nothing():
    flags = certificates(np.zeros((3, 2)), np.ones((3, 2), dtype=bool), 1e-6, 1)
    assert not (flags.paper | flags.pinsker | flags.measured | flags.tv).any()
    assert flags.observed.tolist() == [False, True, True]


def test_both_ends_of_the_thresholds():
    """A winner of everything that never moves is certified at a threshold of 0, and not where the
    radius is half of its margin of 1.
    """
    still = np.tile([1000.0, 0.0], (3, 1)), np.ones((3, 2), dtype=bool)
    nothing, too_much = certificates(*still, 0.0, 1), certificates(*still, 0.5, 1)
    assert all(getattr(nothing, name).tolist() == [False, True, True] for name in BOUNDS)
    # Of whole numbers, ~ would be another.
    assert all(getattr(nothing, name).dtype == bool for name in BOUNDS)
    assert not (too_much.paper | too_much.pinsker).any() and too_much.measured.any()


def test_no_history_no_tokens_no_certificate():
    similarity, visible = np.tile(np.log([1.0, 30.0, 2.0]), (4, 1)), np.ones((4, 3), dtype=bool)
    for name in BOUNDS:
        assert getattr(certificates(similarity, visible, 1e-2, 3), name).tolist() == [
            False,
            False,
            False,
            True,
        ]
        assert not getattr(certificates(similarity, visible, 1e-2, 4), name).any()
        assert not getattr(certificates(similarity, visible, 1e-2, 9), name).any()
    visible[1:, :2] = False
    assert not any(
        getattr(certificates(similarity, visible, 1e-2, 1), name).any() for name in BOUNDS
    )


def test_an_undefined_similarity_is_not_certified():
    similarity = np.tile(np.log([1.0, 3.0]), (4, 1))
    similarity[1, 0] = np.nan
    flags = certificates(similarity, np.ones((4, 2), dtype=bool), 1e-2, 1)
    assert all(getattr(flags, name).tolist() == [False, False, False, True] for name in BOUNDS)


@settings(max_examples=30)
@given(traces(), st.booleans())
def test_the_grid_is_the_loop(trace, windowed):
    similarity, visible = trace
    window = (
        np.arange(len(similarity)) % 2 == 0 if windowed else np.ones(len(similarity), dtype=bool)
    )
    assert_grid_is_the_loop(
        similarity, visible, [1.0, 0.3], [1e-6, 1e-2, 0.5], [1, 3], window if windowed else None
    )


def assert_grid_is_the_loop(similarity, visible, taus, deltas, omegas, window):
    result = grid(similarity, visible, taus, deltas, omegas, window)
    for (i, tau), (j, delta), (k, omega) in itertools.product(
        *map(enumerate, (taus, deltas, omegas))
    ):
        flags = certificates(similarity, visible, delta, omega, tau)
        for name in BOUNDS:
            held = getattr(flags, name) if window is None else getattr(flags, name) & window
            assert (result[name][i, j, k] == held.any(axis=-1)).all(), (name, tau, delta, omega)


def test_each_sample_is_certified_within_its_own_window_only():
    """A winner that changes at every step but the fourth.

    Only there can a sample be certified, whatever the others' windows are.
    """
    similarity = 10 * np.eye(4)[[0, 1, 2, 2, 3, 0]]
    window = np.array([[True] * 6, np.arange(6) == 3, np.arange(6) != 3, [False] * 6])
    result = grid(
        np.stack([similarity] * 4), np.ones((4, 6, 4), dtype=bool), [1.0], [1e-3], [1], window
    )
    assert all(found[0, 0, 0].tolist() == [True, True, False, False] for found in result.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", GENERATORS, ids=lambda make: make.__name__)
def test_hard_traces(make, monkeypatch):
    """Every rule against 50 digits, the ladder, the grid in chunks of any size, and what the
    certificate says.
    """
    batch = [make(seed) for seed in range(3)]
    similarity, visible = (np.stack(arrays) for arrays in zip(*batch, strict=True))
    for omega, delta in ((1, 1e-6), (3, 1e-4)):
        flags = certificates(similarity, visible, delta, omega)
        for tighter, looser in itertools.pairwise(LADDER):
            assert not (getattr(flags, tighter) & ~getattr(flags, looser)).any(), (tighter, looser)
        for t in range(12):
            for name, slack in oracles.certificate_slack(
                similarity[0], visible[0], t, delta, omega
            ).items():
                if slack is None or abs(slack) > 1e-13:
                    assert getattr(flags, name)[0, t] == (slack is not None and slack > 0), (
                        name,
                        t,
                    )
    late = np.zeros((3, 12), dtype=bool)
    late[:, 6:] = True
    for cells in (1, 100, 2**17):
        monkeypatch.setattr(certificate, "CELLS", cells)
        assert_grid_is_the_loop(similarity, visible, [1.0, 0.1], [1e-8, 1e-4], [2, 1, 4], late)


def test_hard_traces_are_not_all_refused():
    """Each rule has something to certify among the generators that can be certified, and nothing in
    the others.
    """
    held = {
        make.__name__: {
            name: bool(getattr(certificates(*make(0), 1e-5, 2, 0.5), name).any()) for name in BOUNDS
        }
        for make in GENERATORS
    }
    assert all(held["frozen"].values()) and all(held["gaussian"].values())
    assert not any(held["one_token"].values())
    assert held["constant"] == {**dict.fromkeys(BOUNDS, False), "observed": True}  # a tie for ever
    assert all(held["newcomer"].values())  # on C, which newcomers are not in, nothing moves


@pytest.mark.parametrize("gamma", [1.25, 1.5, 2.0, 3.0])
def test_sharpened_probabilities_are_certified_as_the_temperature_they_equal(gamma):
    """Where only P is stored: its logarithm is a similarity, and its power a temperature."""
    similarity, visible = gaussian(0, noise=1e-2)
    sharp = np.log(sharpen(alignment(similarity, visible), gamma))
    ours, theirs = (
        grid(s, visible, [tau], [1e-4, 1e-3], [1, 2])
        for s, tau in ((similarity, 1 / gamma), (sharp, 1.0))
    )
    assert all((ours[name] == theirs[name]).all() for name in BOUNDS) and ours["tv"].any()


def test_100_000_positions_in_bounded_memory():
    """One long sample is taken a few steps at a time.

    Its certificates are those of a loop over steps in plain NumPy.
    """
    similarity, visible = gaussian(0, steps=24, positions=100_000, noise=1e-5)
    similarity[:, 7] = 14.0  # a clear winner, with nine tenths of the probability
    tracemalloc.start()
    found = grid(similarity, visible, [1.0], [1e-8, 1e-4], [1, 2])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 12 * 100_000 * 8  # arrays of the 8 steps taken at once and the 2 before them
    p = np.exp(similarity - similarity.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    margin = np.sort(p, axis=1)[:, -1] - np.sort(p, axis=1)[:, -2]
    kl = np.array([np.nan] + [math.fsum(p[t] * np.log(p[t] / p[t - 1])) for t in range(1, 24)])
    for k, omega in enumerate((1, 2)):
        for j, delta in enumerate((1e-8, 1e-4)):
            stable = [all(kl[t - i] <= delta for i in range(omega)) for t in range(omega, 24)]
            wide = [margin[t] / 2 > omega * math.sqrt(delta / 2) for t in range(omega, 24)]
            assert found["pinsker"][0, j, k] == any(map(all, zip(stable, wide, strict=True)))
    assert found["pinsker"][0, 1].all()


def test_the_grid_has_one_entry_per_sample():
    rng = np.random.default_rng(2)
    similarity = rng.uniform(-1, 1, (3, 7, 6, 4))
    result = grid(
        similarity, np.ones(similarity.shape, dtype=bool), [1.0, 0.5], [1e-2, 1.0], [1, 2, 3]
    )
    assert all(result[name].shape == (2, 2, 3, 3, 7) for name in BOUNDS)
    assert (result["pinsker"][:, 0] <= result["measured"][:, 0]).all()
    nobody = grid(similarity[:0], np.ones((0, 7, 6, 4), dtype=bool), [1.0], [1e-2], [1])
    assert nobody["tv"].shape == (1, 1, 1, 0, 7)


def test_first_certified():
    flags = np.array([[False, True, True], [True, False, True], [False, False, False]])
    assert first_certified(flags).tolist() == [1, 0, -1]
    assert first_certified(flags, np.array([False, False, True])).tolist() == [2, 2, -1]
    assert first_certified(flags.reshape(3, 1, 3)).tolist() == [[1], [0], [-1]]


def test_error_5_impossible_settings():
    assert required_margin(0.05, 6) / 2 == pytest.approx(0.95, abs=0.005)
    assert not feasible(0.05, 6)
    assert required_margin(3e-6, 3) == pytest.approx(7.3e-3, abs=1e-4)
    assert feasible(3e-6, 3)
    assert not feasible(0.5, 1)  # Pinsker's radius is exactly half the largest margin there is


@given(traces(), st.sampled_from([(0.05, 6), (0.5, 1), (0.2, 2)]))
def test_an_infeasible_setting_certifies_nothing(trace, pair):
    flags = certificates(*trace, *pair, 0.1)
    assert not (flags.paper | flags.pinsker).any()


@pytest.mark.parametrize(
    ("tau", "delta", "omega", "message"),
    [
        (1.0, 1e-6, 0, "at least one step"),
        (1.0, -1.0, 1, ">= 0"),
        (1.0, math.nan, 1, ">= 0"),
        (0.0, 1e-6, 1, "temperature"),
    ],
)
def test_certificate_errors(tau, delta, omega, message):
    arguments = (np.zeros((3, 2)), np.ones((3, 2), dtype=bool))
    with pytest.raises(ValueError, match=message):
        certificates(*arguments, delta, omega, tau)
    with pytest.raises(ValueError, match=message):
        grid(*arguments, [tau], [delta], [omega])
