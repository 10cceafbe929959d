import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.theory import moments


def adam(gradients, beta1, beta2):
    """TRACE Eq. 1 from zero, as AdamW keeps it."""
    m = v = 0.0
    for g in gradients:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return m, v


def test_a_steady_gradient_gives_an_update_of_one_once_corrected():
    m, v = adam([0.02] * 5, 0.9, 0.999)
    assert moments.update(np.array(m), np.array(v), step=5, betas=(0.9, 0.999)) == pytest.approx(
        1, rel=1e-5
    )
    assert moments.update(np.array(m), np.array(v)) == pytest.approx(
        (1 - 0.9**5) / np.sqrt(1 - 0.999**5), rel=1e-4
    )


def test_where_eps_stands_matters():
    """method.md section 1.

    With |g| ~ 1e-6 the papers' placement and AdamW's differ by two orders of magnitude.
    """
    rng = np.random.default_rng(0)
    gradients = 1e-6 * rng.normal(size=(2000, 2000))
    m, v = adam(gradients, 0.9, 0.999)
    inside = np.abs(moments.update(m, v, placement="inside")).mean()
    outside = np.abs(moments.update(m, v, placement="outside")).mean()
    assert inside == pytest.approx(0.0018, abs=0.0002)
    assert outside / inside > 50


def test_update_errors():
    one = np.ones(1)
    with pytest.raises(ValueError, match="beside"):
        moments.update(one, one, placement="beside")
    for wrong in ({"step": 3}, {"betas": (0.9, 0.999)}, {"step": 0, "betas": (0.9, 0.999)}):
        with pytest.raises(ValueError, match="bias correction"):
            moments.update(one, one, **wrong)


@given(st.integers(0, 1000), st.integers(1, 5000), st.sampled_from([1e-8, 1e-3, 10.0]))
def test_the_four_variants_at_once_are_those_of_the_equation(seed, step, eps):
    """Gradients from far below eps to far above it, where the two placements and the correction all
    matter.
    """
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-12, 2, (4, 3))
    m, v, betas = size * rng.normal(size=(4, 3)), size**2, (0.9, 0.999)
    for variant, found in moments.updates(m, v, eps, step, betas):
        placement, correction = variant.split("_")
        corrected = {"step": step, "betas": betas} if correction == "corrected" else {}
        np.testing.assert_allclose(
            found, moments.update(m, v, eps, placement, **corrected), rtol=1e-10
        )


@given(st.integers(0, 1000))
def test_reductions(seed):
    u = np.random.default_rng(seed).normal(size=(6, 3))
    np.testing.assert_allclose(moments.row_energy(u), np.linalg.norm(u, axis=1))
    np.testing.assert_allclose(moments.column_energy(u), np.linalg.norm(u, axis=0))
    np.testing.assert_allclose(moments.row_mean(u), [sum(abs(x) for x in row) / 3 for row in u])
    assert np.linalg.norm(moments.unit(moments.row_energy(u))) == pytest.approx(1)
    np.testing.assert_allclose(moments.unit(1e-200 * u[:, 0]), moments.unit(u[:, 0]))


@pytest.mark.parametrize("reduce", [moments.row_energy, moments.row_mean, moments.column_energy])
def test_a_stack_of_updates_is_reduced_one_by_one(reduce):
    stack = np.random.default_rng(0).normal(size=(5, 4, 3))
    np.testing.assert_allclose(reduce(stack), [reduce(one) for one in stack])


@pytest.mark.parametrize("vector", [[0.0, 0.0], [1.0, np.nan], [np.inf, 1.0]])
def test_a_map_without_a_direction_is_an_error(vector):
    with pytest.raises(ValueError, match="direction"):
        moments.unit(np.array(vector))


def test_running_mean_is_the_mean_and_keeps_no_reference():
    stream = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    mean = moments.RunningMean()
    for x in stream:
        mean.add(x)
    assert mean.count == 50
    assert mean.value.dtype == np.float64
    np.testing.assert_allclose(mean.value, stream.astype(float).mean(axis=0), rtol=1e-14)
    buffer = np.ones(2)
    kept = moments.RunningMean()
    kept.add(buffer)
    buffer[:] = 7
    assert kept.value.tolist() == [1, 1]


def test_a_resumed_mean_has_the_same_bits():
    stream = np.random.default_rng(1).normal(size=(40, 5)) * 10.0 ** np.arange(40)[:, None]
    whole = moments.RunningMean()
    first = moments.RunningMean()
    for x in stream:
        whole.add(x)
    for x in stream[:17]:
        first.add(x)
    second = moments.RunningMean(first.total.copy(), first.count)
    for x in stream[17:]:
        second.add(x)
    assert (whole.value == second.value).all()


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="undefined"):
        _ = moments.RunningMean().value
    with pytest.raises(ValueError, match="go together"):
        moments.RunningMean(None, 3)
    with pytest.raises(ValueError, match="go together"):
        moments.RunningMean(np.zeros(2), 0)


@pytest.mark.parametrize(
    ("modules", "bytes_per_entry", "size", "percent", "digits"),
    [
        (1, 2, 8_192, 0.000095, 6),
        (16, 2, 131_072, 0.00153, 5),
        (96, 4, 1_572_864, 0.018, 3),
        (128, 4, 2_097_152, 0.024, 3),
    ],
)
def test_the_worked_examples_of_trace_appendix_e(modules, bytes_per_entry, size, percent, digits):
    assert moments.storage_bytes(modules, 4096, bytes_per_entry) == size
    assert round(moments.storage_overhead(size, 8 * 2**30), digits) == percent


def test_squared_deltas_accumulate_along_the_path_and_not_between_its_ends():
    """Out and back is movement: 3^2 + 3^2 and not 0.

    The first snapshot is where the path starts.
    """
    deltas = moments.SquaredDeltas()
    for weights in ([[1.0, 5.0]], [[4.0, 5.0]], [[1.0, 7.0]]):
        deltas.add(np.array(weights, np.float32))
    assert deltas.value.tolist() == [[18.0, 4.0]] and deltas.value.dtype == np.float64


def test_one_snapshot_has_not_moved():
    deltas = moments.SquaredDeltas()
    deltas.add(np.ones(2))
    with pytest.raises(ValueError, match="two snapshots"):
        _ = deltas.value
