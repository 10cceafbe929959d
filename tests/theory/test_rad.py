import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from tracedlm.theory.rad import (
    aggregate,
    alignment,
    column_similarities,
    cosine_similarity,
    log_alignment,
    restrict,
    sharpen,
    subspace_similarity,
)

rows = st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=2, max_size=8).filter(
    lambda row: any(seen for _, seen in row)
)


def arrays(row):
    return np.array([s for s, _ in row]), np.array([seen for _, seen in row])


@given(rows, st.sampled_from([0.1, 0.5, 1.0, 2.0]))
def test_alignment_is_equation_6(row, tau):
    similarity, visible = arrays(row)
    p = alignment(similarity, visible, tau)
    exact = oracles.softmax(similarity, np.flatnonzero(visible), tau)
    np.testing.assert_allclose(p, [float(exact.get(s, 0)) for s in range(len(p))], rtol=1e-13)


@given(rows, st.sampled_from([0.5, 1.5, 2.0, 3.0]), st.sampled_from([0.5, 1.0]))
def test_power_calibration_is_a_temperature(row, gamma, tau):
    similarity, visible = arrays(row)
    np.testing.assert_allclose(
        sharpen(alignment(similarity, visible, tau), gamma),
        alignment(similarity, visible, tau / gamma),
        rtol=1e-12,
    )


@given(rows, rows)
def test_restriction_is_the_softmax_of_the_support(row, other):
    similarity, visible = arrays(row)
    support = visible & np.resize(arrays(other)[1], visible.shape)
    np.testing.assert_allclose(
        restrict(alignment(similarity, visible), support),
        alignment(similarity, support),
        rtol=1e-12,
    )


@given(st.sampled_from([1e-30, 1e-3, 7.0, 1e20]))
def test_the_rad_does_not_see_the_scale_of_the_map(scale):
    rng = np.random.default_rng(0)
    f, u, visible = rng.normal(size=(5, 16)), rng.normal(size=16), np.array([True] * 4 + [False])
    expected = alignment(cosine_similarity(f, u), visible)
    np.testing.assert_allclose(
        alignment(cosine_similarity(f, u * scale), visible), expected, rtol=1e-13
    )
    np.testing.assert_allclose(
        alignment(cosine_similarity(f * scale, u), visible), expected, rtol=1e-13
    )


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=8))
def test_cosine_is_equation_5(pairs):
    f, u = np.array(pairs, dtype=float).T
    if not f.any() or not u.any():
        assert np.isnan(cosine_similarity(f, u))
    else:
        assert cosine_similarity(f, u) == pytest.approx(float(oracles.cosine(f, u)), abs=1e-14)


def test_every_row_of_a_batch_is_scaled_by_itself():
    """Rows a thousand orders of magnitude apart: none is measured by the largest of another."""
    similarity, visible = (
        np.array([[1.0, 0.0], [-1e4, -1e4 + 1], [1e4, 1e4]]),
        np.ones((3, 2), dtype=bool),
    )
    e = np.e / (1 + np.e)
    np.testing.assert_allclose(
        alignment(similarity, visible), [[e, 1 - e], [1 - e, e], [0.5, 0.5]], rtol=1e-11
    )
    np.testing.assert_allclose(
        np.exp(log_alignment(similarity, visible)), alignment(similarity, visible), rtol=1e-15
    )
    p = np.array([[1.0] + [0.0] * 99, [0.01] * 100])
    np.testing.assert_allclose(sharpen(p, 400.0), p, rtol=1e-12)
    np.testing.assert_allclose(
        restrict(p, np.arange(100) < 50), [p[0], [0.02] * 50 + [0.0] * 50], rtol=1e-12
    )
    f = np.array([[1e-30, 1e-30], [1e30, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(
        cosine_similarity(f, np.array([1.0, 0.0], dtype=np.float32)), [0.5**0.5, 1.0], rtol=1e-6
    )


def test_half_precision_is_widened_before_the_sum():
    f = np.full(4096, 100, dtype=np.float16)  # its squared norm, 4e7, is inf in float16
    assert cosine_similarity(f, f) == pytest.approx(1)
    assert cosine_similarity(f, f).dtype == np.float32


def test_a_tiny_activation_still_has_a_direction():
    assert cosine_similarity(
        np.full(2, 1e-30, dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)
    ) == pytest.approx(0.5**0.5)


def test_a_row_without_visible_tokens_has_no_distribution():
    p = alignment(np.zeros((2, 2)), np.array([[False, False], [True, False]]))
    np.testing.assert_array_equal(p, [[np.nan, np.nan], [1, 0]])
    assert np.isnan(restrict(np.array([0.5, 0.5, 0.0]), np.array([False, False, True]))).all()
    assert np.isnan(sharpen(np.zeros(2), 2)).all()


def test_invisible_similarities_are_not_read_and_visible_nan_is_not_hidden():
    visible = np.array([True, True, False])
    p = alignment(np.array([0.0, 0.0, np.nan]), visible)
    np.testing.assert_allclose(p, [0.5, 0.5, 0], rtol=1e-14, atol=0)
    assert np.isnan(alignment(np.array([0.0, np.nan, 0.0]), visible)).all()


def test_probabilities_are_float64_and_cast_before_the_softmax():
    similarity = np.array([0.3, 0.1], dtype=np.float32)
    p = alignment(similarity, np.ones(2, dtype=bool), 0.1)
    assert p.dtype == np.float64
    assert abs(p[0] - float(oracles.softmax(similarity, [0, 1], 0.1)[0])) < 1e-15


def test_a_cold_softmax_neither_overflows_nor_loses_its_logarithm():
    logs = log_alignment(np.array([1.0, -1.0]), np.ones(2, dtype=bool), tau=1e-3)
    np.testing.assert_allclose(logs, [0, -2000])


def test_subspace_of_one_map_is_the_absolute_cosine():
    rng = np.random.default_rng(1)
    f, u = rng.normal(size=(6, 8)), np.linalg.qr(rng.normal(size=(8, 3)))[0]
    np.testing.assert_allclose(
        subspace_similarity(f, u[:, :1]), np.abs(cosine_similarity(f, u[:, 0])), rtol=1e-12
    )
    np.testing.assert_allclose(
        subspace_similarity(f, u, cosine=False), np.linalg.norm(f @ u, axis=-1), rtol=1e-12
    )
    np.testing.assert_allclose(
        subspace_similarity(f, u),
        np.linalg.norm(f @ u, axis=-1) / np.linalg.norm(f, axis=-1),
        rtol=1e-12,
    )
    np.testing.assert_allclose(subspace_similarity(f, np.eye(8)), 1, rtol=1e-12)


def test_columns_are_compared_one_by_one_whatever_their_length():
    rng = np.random.default_rng(3)
    f, columns = rng.normal(size=(4, 6, 8)), rng.normal(size=(8, 3)) * [1e-20, 1.0, 1e20]
    one_by_one = [cosine_similarity(f, columns[:, j]) for j in range(3)]
    np.testing.assert_allclose(
        column_similarities(f, columns), np.stack(one_by_one, axis=-1), atol=1e-15
    )


def test_aggregates_are_token_by_token_over_projections():
    q, k, v = np.random.default_rng(2).normal(size=(3, 4, 5)).astype(np.float32)
    stacked = np.stack([q, k, v])
    np.testing.assert_allclose(
        aggregate(stacked, "mean"), (q.astype(float) + k + v) / 3, rtol=1e-15
    )
    np.testing.assert_array_equal(aggregate(stacked, "max"), np.maximum(q, np.maximum(k, v)))


@pytest.mark.parametrize("tau", [0, -1, float("nan")])
def test_a_temperature_is_positive(tau):
    with pytest.raises(ValueError, match="positive"):
        alignment(np.zeros(2), np.ones(2, dtype=bool), tau)
    with pytest.raises(ValueError, match="positive"):
        sharpen(np.ones(2) / 2, tau)


def test_unknown_aggregate():
    with pytest.raises(ValueError, match="median"):
        aggregate(np.zeros((3, 2)), "median")
