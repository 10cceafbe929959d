import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracedlm.theory.prediction import clustered_mean, equal_mass_bands


def test_tokens_of_one_sentence_count_as_one_draw():
    """Copies of a sentence's value add nothing; independent tokens have the textbook error."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    alone, error = clustered_mean(values, np.arange(50))
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    assert clustered_mean(np.repeat(values, 4), np.repeat(np.arange(50), 4)) == pytest.approx(
        (alone, error)
    )


def test_the_error_is_that_of_repeated_corpora():
    rng = np.random.default_rng(1)
    means, errors = [], []
    for _ in range(400):
        lengths = rng.integers(1, 6, size=60)
        values = np.repeat(rng.normal(size=60), lengths) + 0.5 * rng.normal(size=lengths.sum())
        mean, error = clustered_mean(values, np.repeat(np.arange(60), lengths))
        means.append(mean)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.12)


def test_bands_hold_the_same_mass_of_tokens_in_the_order_of_frequency():
    counts = (1000 / np.arange(1, 301)).astype(int)
    band = equal_mass_bands(counts, 3)
    assert (np.diff(band) >= 0).all()
    assert np.bincount(band, weights=counts) / counts.sum() == pytest.approx(1 / 3, abs=0.1)
    assert equal_mass_bands(np.zeros(2, dtype=int), 2).tolist() == [0, 0]


@example([1], 3)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_bands_do_not_depend_on_the_unit_and_two_are_as_equal_as_a_cut_can_make_them(counts, bands):
    band = equal_mass_bands(np.array(counts), bands)
    assert (
        band.min() >= 0
        and band.max() < bands
        and band.tolist() == equal_mass_bands(3 * np.array(counts), bands).tolist()
    )
    ordered, half = sorted(counts, reverse=True), sum(counts) / 2
    apart = [abs(sum(ordered[:cut]) - half) for cut in range(len(counts) + 1)]
    first = sum(np.array(counts)[equal_mass_bands(np.array(counts), 2) == 0])
    assert abs(first - half) == min(apart)


def test_words_of_equal_count_keep_their_order():
    band = equal_mass_bands(np.tile([1, 2], 30), 8)
    assert (np.diff(band[::2]) >= 0).all() and (np.diff(band[1::2]) >= 0).all()
