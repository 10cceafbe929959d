import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory import subspaces


@given(st.integers(0, 1000), st.integers(1, 3))
def test_subspace_is_orthonormal_leading_and_of_fixed_sign(seed, k):
    u = np.random.default_rng(seed).normal(size=(7, 4))
    basis = subspaces.subspace(u, k)
    np.testing.assert_allclose(basis.T @ basis, np.eye(k), atol=1e-12)
    captured = np.linalg.norm(basis.T @ u, axis=1)
    np.testing.assert_allclose(captured, np.linalg.svd(u, compute_uv=False)[:k])
    np.testing.assert_allclose(subspaces.subspace(-u, k), basis, atol=1e-12)
    assert (basis[np.abs(basis).argmax(axis=0), range(k)] > 0).all()


@pytest.mark.parametrize("k", [0, 2, 5])
def test_an_arbitrary_subspace_is_an_error(k):
    with pytest.raises(ValueError, match="rank 1"):
        subspaces.subspace(np.outer([1.0, 2.0, 3.0], [1.0, -1.0]), k)


def test_principal_angles():
    a = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    np.testing.assert_allclose(subspaces.principal_angles(a, a[:, ::-1]), 0, atol=1e-7)
    turned = np.array([[np.cos(0.3)], [np.sin(0.3)], [0.0]])
    assert subspaces.principal_angles(np.eye(3)[:, :1], turned) == pytest.approx(0.3)


def canonical_cosines(x, y):
    """Cosines and variates of CCA by its textbook eigenproblem.

    Maximise a'X'Yb with |Xa| = |Yb| = 1.
    """
    cross = x.T @ y
    values, weights = scipy.linalg.eigh(cross @ np.linalg.inv(y.T @ y) @ cross.T, x.T @ x)
    return np.sqrt(values[::-1]), x @ weights[:, ::-1]


@given(st.integers(0, 1000), st.integers(1, 3))
def test_cca_is_the_textbook_eigenproblem(seed, k):
    rng = np.random.default_rng(seed)
    update, tokens = rng.normal(size=(12, 3)), rng.normal(size=(5, 12))
    basis = subspaces.cca_subspace(update, tokens, k, energy=1.0)
    cosines, variates = canonical_cosines(update, tokens.T)
    np.testing.assert_allclose(basis.T @ basis, np.eye(k), atol=1e-10)
    np.testing.assert_allclose(np.abs((basis * variates[:, :k]).sum(0)), 1, rtol=1e-6)
    within = np.linalg.qr(tokens.T)[0]
    np.testing.assert_allclose(np.linalg.norm(within.T @ basis, axis=0), cosines[:k], rtol=1e-6)


def test_cca_and_svd_agree_where_the_activations_lie_in_what_training_moved_most():
    rng = np.random.default_rng(0)
    update = rng.normal(size=(16, 4)) * [8.0, 4.0, 0.5, 0.1]
    leading = subspaces.subspace(update, 2)
    tokens = rng.normal(size=(30, 2)) @ leading.T
    np.testing.assert_allclose(
        subspaces.principal_angles(leading, subspaces.cca_subspace(update, tokens, 2)), 0, atol=1e-7
    )
    everything = (
        subspaces.subspace(update, 4),
        subspaces.cca_subspace(update, rng.normal(size=(9, 16)), 4),
    )
    np.testing.assert_allclose(subspaces.principal_angles(*everything), 0, atol=1e-7)


def test_cca_does_not_depend_on_the_basis_of_lora_and_svd_does():
    rng = np.random.default_rng(1)
    update, tokens, mixing = (
        rng.normal(size=(16, 3)),
        rng.normal(size=(6, 16)),
        rng.normal(size=(3, 3)),
    )
    first, second = (subspaces.cca_subspace(u, tokens, 2) for u in (update, update @ mixing))
    np.testing.assert_allclose(first, second, atol=1e-8)
    assert (
        subspaces.principal_angles(
            subspaces.subspace(update, 2), subspaces.subspace(update @ mixing, 2)
        ).max()
        > 0.1
    )


def test_cca_leaves_out_the_directions_that_activations_hardly_use():
    """One strong direction and noise in the others: noise alone must not count as use."""
    rng = np.random.default_rng(2)
    update, strong = np.eye(16)[:, :2], np.eye(16)[1]
    tokens = rng.normal(size=(200, 1)) * 10 * strong + 0.01 * rng.normal(size=(200, 16))
    assert abs(subspaces.cca_subspace(update, tokens, 1)[1, 0]) == pytest.approx(1, abs=1e-3)
    with pytest.raises(
        ValueError,
        match=(
            r"2 directions .* and 16 of the activations share some of 16 whatever the data; lower"
            r" energy"
        ),
    ):
        subspaces.cca_subspace(update, tokens, 1, energy=1.0)


def test_cca_keeps_no_more_directions_than_hold_the_energy():
    """Two directions hold 100/101 and 1/101 of it.

    The second, which the update shares wholly, counts from 0.991 on.
    """
    tokens = np.diag([10.0, 1.0, 0.0, 0.0])[:2]
    update = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        subspaces.cca_subspace(update, tokens, 1, 0.98).ravel(), [half, 0, half, 0], atol=1e-12
    )
    np.testing.assert_allclose(
        subspaces.cca_subspace(update, tokens, 1, 0.991).ravel(), [0, 1, 0, 0], atol=1e-12
    )


@pytest.mark.parametrize(
    ("tokens", "k", "message"),
    [
        (np.ones((3, 5)), 1, r"\(3, 5\) do not belong to a mean update of 6 .*expected \[n, 6\]"),
        (np.eye(6)[:3], 3, "1 <= k <= 2"),
    ],
)
def test_cca_of_what_does_not_fit_is_an_error(tokens, k, message):
    with pytest.raises(ValueError, match=message):
        subspaces.cca_subspace(np.eye(6)[:, :2], tokens, k)


def test_rank_counts_directions_and_not_columns():
    assert subspaces.rank_of(np.zeros((3, 2))) == 0
    assert subspaces.rank_of(np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]])) == 1


@given(st.integers(0, 100), st.integers(1, 4))
def test_captured_energy_is_largest_for_the_updates_own_subspace(seed, k):
    rng = np.random.default_rng(seed)
    u, other = rng.normal(size=(7, 4)), np.linalg.qr(rng.normal(size=(7, k)))[0]
    singular = np.linalg.svd(u, compute_uv=False) ** 2
    own = subspaces.captured_energy(u, subspaces.subspace(u, k))
    assert (
        own == pytest.approx(singular[:k].sum() / singular.sum())
        and 0 <= subspaces.captured_energy(u, other) <= own + 1e-12
    )
