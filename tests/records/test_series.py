import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracedlm.records.series import Series, to_series

POSITIONS = 5
step_rows = st.tuples(
    st.booleans(),
    st.dictionaries(st.integers(0, POSITIONS - 1), st.floats(-1, 1, width=32), max_size=POSITIONS),
)
tables = st.dictionaries(
    st.integers(0, 30), st.lists(step_rows, min_size=1, max_size=4), min_size=1, max_size=4
)


def as_rows(samples):
    return [
        {
            "sample_id": sample,
            "step": step,
            "block": -1 if refine else step // 2,
            "phase": "refine" if refine else "denoise",
            "position": list(seen),
            "similarity": list(seen.values()),
        }
        for sample, steps in samples.items()
        for step, (refine, seen) in enumerate(steps, start=1)
    ]


def as_table(rows):
    types = [
        pa.int32(),
        pa.int32(),
        pa.int32(),
        pa.string(),
        pa.list_(pa.int16()),
        pa.list_(pa.float32()),
    ]
    names = ["sample_id", "step", "block", "phase", "position", "similarity"]
    return pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))


@given(tables, st.randoms())
def test_dense_arrays_hold_each_row_where_it_belongs(samples, random):
    rows = as_rows(samples)
    random.shuffle(rows)
    cut = random.randint(0, len(rows))
    # Two chunks, as two row groups are read.
    table = pa.concat_tables([as_table(rows[:cut]), as_table(rows[cut:])])
    series = to_series(table, POSITIONS)
    assert series.sample_id.tolist() == sorted(samples)
    steps = max(len(found) for found in samples.values())
    for n, sample in enumerate(sorted(samples)):
        for t in range(steps):
            there = t < len(samples[sample])
            refine, seen = samples[sample][t] if there else (False, {})
            assert series.recorded[n, t] == there and series.refine[n, t] == refine
            assert series.block[n, t] == (-1 if refine or not there else (t + 1) // 2)
            for position in range(POSITIONS):
                assert series.visible[n, t, position] == (position in seen)
                assert series.similarity[n, t, position] == seen.get(position, 0.0)


def test_no_rows_are_no_samples():
    series = to_series(as_table([]), POSITIONS)
    assert series.similarity.shape == (0, 0, POSITIONS)


def series_of(visible, refine, recorded=None):
    visible, refine = np.asarray(visible, bool), np.asarray(refine, bool)
    recorded = np.ones(refine.shape, bool) if recorded is None else np.asarray(recorded, bool)
    return Series(
        np.arange(len(visible)),
        np.zeros(visible.shape),
        visible,
        refine,
        np.zeros(refine.shape, int),
        recorded,
    )


@given(
    st.lists(
        st.lists(
            st.tuples(st.booleans(), st.lists(st.booleans(), min_size=4, max_size=4)),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_common_support_is_what_every_chosen_step_sees(samples):
    visible = np.array([[seen for _, seen in steps] for steps in samples])
    chosen = np.array([[is_chosen for is_chosen, _ in steps] for steps in samples])
    result = series_of(visible, np.zeros(chosen.shape)).on_common_support(chosen)
    for n in range(len(samples)):
        common = [all(visible[n, t, p] for t in range(3) if chosen[n, t]) for p in range(4)]
        for t in range(3):
            for p in range(4):
                assert result[n, t, p] == (
                    visible[n, t, p] and common[p] if chosen[n, t] else visible[n, t, p]
                )


@pytest.mark.parametrize(
    ("window", "length", "expected"),
    [
        ("refine", 2, [[0, 0, 0, 1, 1], [0, 0, 1, 0, 0]]),
        ("refine", 9, [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]),
        ("tail", 1, [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]),
        ("tail", 9, [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]),
    ],
)
def test_the_late_window_is_the_last_steps_of_its_phase(window, length, expected):
    """Two samples; the second is shorter and padded."""
    refine = [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]
    recorded = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    series = series_of(np.ones((2, 5, 3)), refine, recorded)
    assert series.late(window, length).astype(int).tolist() == expected
