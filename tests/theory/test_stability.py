import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from tracedlm.theory.divergence import entropy
from tracedlm.theory.rad import alignment
from tracedlm.theory.stability import change_ratios, late_window, lscr, step_statistics

FIELDS = ("kl", "tv", "margin", "concentration")


def random_trace(seed, steps=6, positions=5, movement=1.0, hidden=0.3):
    """A trace whose similarities move by about `movement` per step.

    Visibility is arbitrary, not only growing.
    """
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-1, 1, positions) + movement * rng.uniform(-1, 1, (steps, positions))
    return similarity, rng.random((steps, positions)) >= hidden


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 1e-2, 1e-4, 1e-5]), st.sampled_from([0.1, 1.0]))
def test_every_statistic_against_50_digits(seed, movement, tau):
    similarity, visible = random_trace(seed, movement=movement)
    stats = step_statistics(similarity, visible, tau)
    for t, exact in enumerate(oracles.step_statistics(similarity, visible, tau)):
        for name in FIELDS:
            expected = np.nan if exact[name] is None else float(exact[name])
            np.testing.assert_allclose(
                getattr(stats, name)[t],
                expected,
                rtol=1e-8,
                atol=1e-15 if name != "kl" else 1e-22,
                err_msg=name,
            )
        assert (stats.support[t], stats.visible_count[t]) == (
            exact["support"],
            exact["visible_count"],
        )


@pytest.mark.parametrize("scale", [3e-4, 3e-5, 1e-5])
def test_late_step_kl_needs_float64(scale):
    """method.md section 3: at 1e-9..1e-6 nats our digits are right, and float32 has none."""
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-0.2, 0.2, (1, 128)) + scale * rng.uniform(-1, 1, (12, 128))
    visible = np.ones(similarity.shape, dtype=bool)
    exact = np.array([float(s["kl"]) for s in oracles.step_statistics(similarity, visible)[1:]])
    assert 1e-11 < exact.min() < exact.max() < 1e-6
    np.testing.assert_allclose(step_statistics(similarity, visible).kl[1:], exact, rtol=1e-6)
    p = np.exp(similarity.astype(np.float32))
    p /= p.sum(axis=-1, keepdims=True)
    single = np.sum(p[1:] * np.log(p[1:] / p[:-1]), axis=-1)
    assert np.abs(single / exact - 1).max() > (1 if scale < 1e-4 else 0.01)


def test_a_cold_rad_is_defined_where_its_probabilities_underflow():
    """exp(-2000) is 0 in float64, but no token of a RAD is impossible.

    The KL is (1 - (-1)) / tau nats and not infinite.
    """
    stats = step_statistics(
        np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones((2, 2), dtype=bool), tau=1e-3
    )
    numbers = [stats.kl[1], stats.tv[1], stats.margin[1], *stats.concentration]
    assert numbers == pytest.approx([2000, 1, 1, 1, 1], rel=1e-14)


@given(st.integers(0, 2**32), st.sampled_from([1.0, 1e-3, 1e-9, 0.0]))
def test_kl_is_never_negative_and_pinsker_holds(seed, movement):
    similarity, visible = random_trace(seed, movement=movement)
    stats = step_statistics(similarity, visible, tau=0.1)
    assert not (stats.kl < 0).any()
    assert not (stats.tv > np.sqrt(stats.kl / 2) + 1e-15).any()
    assert (np.isnan(stats.kl) == (stats.support < 2)).all()


def test_the_statistics_live_on_their_supports():
    visible = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=bool)
    similarity = np.log([[1.0, 1, 99], [1, 3, 4], [1, 1, 1], [2, 1, 1]])
    stats = step_statistics(similarity, visible)
    np.testing.assert_allclose(stats.margin, [np.nan, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(stats.tv, [np.nan, 0.25, np.nan, np.nan])
    assert stats.support.tolist() == [0, 2, 1, 1]
    assert stats.visible_count.tolist() == [2, 3, 1, 3]
    second, last = entropy(np.array([1 / 8, 3 / 8, 1 / 2])), entropy(np.array([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(
        stats.concentration, [0, 1 - second / np.log(3), np.nan, 1 - last / np.log(3)], atol=1e-15
    )


def test_leading_axes_are_batches():
    similarity, visible = map(
        np.stack, zip(*(random_trace(seed) for seed in range(4)), strict=True)
    )
    batch = step_statistics(similarity.reshape(2, 2, 6, 5), visible.reshape(2, 2, 6, 5))
    for i in range(4):
        single = step_statistics(similarity[i], visible[i])
        for name in ("support", "visible_count"):
            np.testing.assert_array_equal(
                getattr(batch, name)[i // 2, i % 2], getattr(single, name)
            )
        for name in FIELDS:
            found, expected = getattr(batch, name)[i // 2, i % 2], getattr(single, name)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15, err_msg=name)


def test_smoothing_reproduces_the_paper_and_moves_nothing_that_is_well_above_it():
    similarity, visible = random_trace(3, movement=0.5, hidden=0.0)
    plain, smooth = (
        step_statistics(similarity, visible),
        step_statistics(similarity, visible, smoothing=1e-12),
    )
    np.testing.assert_allclose(smooth.kl, plain.kl, rtol=1e-9)
    strong = step_statistics(similarity, visible, smoothing=0.1).kl[1]
    p, q = (oracles.smoothed(oracles.softmax(similarity[t], range(5)), 0.1) for t in (1, 0))
    assert strong == pytest.approx(float(oracles.kl(p, q)), rel=1e-12)


def test_smoothing_adds_to_every_entry_of_the_matched_support_only():
    """TRACE section 3.1 smooths P~t, and what a step cannot see is no entry of it."""
    visible = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 1, 1]], dtype=bool)
    similarity, _ = random_trace(4, steps=2)
    p, q = (oracles.smoothed(oracles.softmax(similarity[t], (1, 2, 4)), 0.1) for t in (1, 0))
    assert step_statistics(similarity, visible, smoothing=0.1).kl[1] == pytest.approx(
        float(oracles.kl(p, q)), rel=1e-12
    )


def test_the_statistics_are_made_where_the_similarities_are():
    """With another default device, a tensor made without asking for theirs could not be joined to
    them.
    """
    torch = pytest.importorskip("torch")
    similarity, visible = (torch.tensor(side) for side in random_trace(0))
    with torch.device("meta"):
        stats = step_statistics(similarity, visible)
    assert {getattr(stats, name).device.type for name in (*FIELDS, "support", "visible_count")} == {
        "cpu"
    }


def test_one_step_has_no_divergence():
    stats = step_statistics(np.zeros((1, 3)), np.ones((1, 3), dtype=bool))
    assert np.isnan([stats.kl[0], stats.tv[0], stats.margin[0]]).all()
    assert stats.concentration[0] == pytest.approx(0, abs=1e-15)


def test_concentration_of_a_nearly_uniform_rad():
    """TRACE section 4.4 reports AC ~ 1e-5: 1 - H / log n has few digits left there."""
    similarity = 1e-6 * np.random.default_rng(0).normal(size=(1, 64))
    exact = oracles.step_statistics(similarity, np.ones((1, 64)))[0]["concentration"]
    found = step_statistics(similarity, np.ones((1, 64), dtype=bool)).concentration[0]
    # It is 1e-13: the usual margin of 1e-12 would let 0 pass.
    assert found == pytest.approx(float(exact), rel=1e-8, abs=0)


def test_change_ratios_have_no_number_where_nothing_moved():
    np.testing.assert_array_equal(
        change_ratios(np.array([0.0, 0.5, 0.25, 0.0, 0.0])), [np.nan, 0.5, 0.0, np.nan]
    )
    assert np.isnan(lscr(np.zeros(24)))
    assert np.isnan(lscr(np.array([np.nan, 0.5])))
    assert np.isnan(lscr(np.array([0.5])))
    np.testing.assert_array_equal(lscr(np.array([[0.5, 0.25, 0.5], [0.0, 0.0, 1.0]])), [2, np.nan])


@given(st.floats(0.05, 0.95), st.floats(0.01, 1.0))
def test_lscr_recovers_a_contraction(alpha, first):
    assert lscr(first * alpha ** np.arange(8)) == pytest.approx(alpha)


def test_late_window_of_a_run_without_refine_steps():
    visible = np.tri(6, 4, -1).astype(bool)
    start, support = late_window(visible, 3)
    assert start == 3
    assert support.tolist() == [True, True, True, False]
    assert late_window(visible, 24)[0] == 0
    assert late_window(visible, 1)[0] == 5


def test_late_window_is_the_refine_phase_where_there_is_one():
    visible = np.ones((2, 8, 3), dtype=bool)
    visible[1, 6, 0] = False
    refine = np.arange(8) >= 4
    assert late_window(visible, 24, refine)[0] == 4
    start, support = late_window(visible, 2, refine)
    assert start == 6
    assert support.tolist() == [[True, True, True], [False, True, True]]
    assert late_window(visible, 3, np.zeros(8, dtype=bool))[0] == 5


def test_late_window_errors():
    with pytest.raises(ValueError, match="at least one step"):
        late_window(np.ones((3, 2), dtype=bool), 0)
    with pytest.raises(ValueError, match="refine"):
        late_window(np.ones((3, 2), dtype=bool), 2, np.array([True, True, False]))


def test_margin_matches_the_rad_on_a_constant_support():
    similarity, visible = random_trace(5, hidden=0.0)
    p = np.sort(alignment(similarity, visible), axis=-1)
    np.testing.assert_allclose(
        step_statistics(similarity, visible).margin[1:], (p[:, -1] - p[:, -2])[1:], rtol=1e-12
    )
