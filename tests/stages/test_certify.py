"""Selection and certificates from readouts written by hand, where the answer is known."""

import itertools
import json
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from trace_generators import GENERATORS
from tracedlm.config import Certify
from tracedlm.records import trace as tables
from tracedlm.records.metrics import GRID, SAMPLES, TEMPERATURE
from tracedlm.records.parquet import read_table, table_writer, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.records.series import read_late
from tracedlm.stages.certify.certify import certify_set
from tracedlm.stages.certify.select import Validation, select
from tracedlm.stages.certify.setup import read_setup
from tracedlm.stages.certify.stops import (
    block_exits,
    entropy_bounds,
    forward_certificates,
    late_stops,
)
from tracedlm.theory.certificate import BOUNDS, certificates

LENGTH = 8
SETTINGS = Certify(
    late_window=6,
    deltas=(1e-8, 1e-6, 1e-5),
    omegas=(1, 2, 3),
    taus=(1.0, 0.5),
    gammas=(2.0,),
    temperatures=(1.0, 0.5),
    beta=0.5,
)
META = {"gen_length": str(LENGTH)}


def rows_of(sample, similarity, visible=None, denoise=1, blocks=1):
    """Readout rows of one sample: `denoise` steps in equal blocks, the others refine.

    An invisible position is left out.
    """
    rows = []
    for t, values in enumerate(similarity):
        seen = list(range(len(values))) if visible is None else np.flatnonzero(visible[t]).tolist()
        facts = {
            "sample_id": sample,
            "step": t + 1,
            "phase": "denoise" if t < denoise else "refine",
        }
        facts |= {
            "block": t * blocks // denoise if t < denoise else -1,
            "position": seen,
            "similarity": [values[p] for p in seen],
        }
        rows.append({**facts, **dict.fromkeys(("kl", "tv", "margin", "concentration"))})
    return rows


def wobbling(wobble, steps=7):
    """Two tokens.

    Without wobble nothing ever moves; a wobble of 3e-3 is a KL of about 5e-7 a step.
    """
    return [[1.0, -1.0 + wobble * (t % 2)] for t in range(steps)]


def written(path, samples, meta=META):
    """A readout with one row group a sample, in the order given."""
    with table_writer(path, tables.READOUT, meta) as writer:
        for rows in samples:
            writer.write(rows)
    return path


def readout_of(path, wobbles, meta=META):
    return written(path, [rows_of(n, wobbling(wobble)) for n, wobble in enumerate(wobbles)], meta)


def samples_of(path, scores):
    empty = dict.fromkeys(tables.SAMPLES.names)
    rows = [
        {**empty, "sample_id": n, "score": score, "correct": score == 1}
        for n, score in enumerate(scores)
    ]
    write_table(path, rows[::-1], tables.SAMPLES)
    return path


def selection_of(folder, chosen, **pac):
    calibration = {"alpha": None, "reason": "no sample stops"} | pac
    one = {"dataset": "sudoku", "seq_len": 8, "calibration": calibration}
    (folder / "selection.json").write_text(
        json.dumps(
            {"delta": chosen[0], "omega": chosen[1], "tau": 0.5, "gamma": 2.0, "sets": [one]}
        )
    )
    return folder / "selection.json"


def certified(folder, readout, scores, chosen=(1e-6, 2), settings=SETTINGS, **pac):
    """Samples, grid and summary of one readout."""
    maps = [folder / "q.safetensors"]
    Rrm(
        np.eye(4, dtype=np.float32)[0],
        np.eye(4, dtype=np.float32)[:, :1],
        0,
        "q",
        "B",
        "moments",
        "outside_raw",
    ).write(maps[0])
    out = {
        "samples": folder / "samples.parquet",
        "grid": folder / "grid.parquet",
        "summary": folder / "summary.json",
    }
    setup = read_setup(selection_of(folder, chosen, **pac), "sudoku", 8, settings, 1.0)
    certify_set(
        {"q": readout}, [samples_of(folder / "s.parquet", scores)], maps, setup, 0, {"q": out}
    )
    return (
        read_table(out["samples"], SAMPLES, "s").to_pylist(),
        read_table(out["grid"], GRID, "g").to_pylist(),
        json.loads(out["summary"].read_text()),
    )


def selected(folder, settings=SETTINGS, **readouts):
    out = {"selection": folder / "selection.json", "temperature": folder / "temperature.parquet"}
    select([Validation(name, 8, path) for name, path in readouts.items()], settings, 1.0, out)
    return (
        json.loads(out["selection"].read_text()),
        read_table(out["temperature"], TEMPERATURE, "t").to_pylist(),
    )


def test_the_pair_of_largest_coverage_is_selected_ties_to_small_delta_and_long_window(tmp_path):
    one, two = (
        readout_of(tmp_path / "a.parquet", [0.0, 3e-3]),
        readout_of(tmp_path / "b.parquet", [3e-3, 3e-3]),
    )
    chosen, _ = selected(tmp_path, one=one, two=two)
    assert (chosen["delta"], chosen["omega"], chosen["coverage"]) == (1e-6, 3, 1.0)
    np.testing.assert_allclose(chosen["grid"], [[0.25] * 3, [1.0] * 3, [1.0] * 3])
    # At tau = 1/2 the KL is 4 times as large in the exponent's slope and far smaller in the light
    # token: 1 keeps everything, ties to it.
    assert chosen["tau"] == 1.0 and chosen["tau_coverage"][0] == 1.0
    # The power 2 is the temperature 1/2.
    assert chosen["gamma_coverage"] == [chosen["tau_coverage"][1]]


def test_validation_says_what_may_be_promised_and_why_not(tmp_path):
    """Two samples that never move contract with 0 and promise.

    One that starts to move after a standstill has no contraction.
    """
    still = readout_of(tmp_path / "a.parquet", [0.0, 0.0])
    one_pair = SETTINGS.model_copy(update={"deltas": (1e-8,), "omegas": (3,)})
    chosen, _ = selected(tmp_path, one_pair, still=still)
    (pac,) = [one["calibration"] for one in chosen["sets"]]
    assert (pac["alpha"], pac["n"], pac["holds"], pac["failure"], pac["reason"]) == (
        0.0,
        2,
        True,
        0.5 + 1 / 3,
        "",
    )
    # The same pair, but two samples chose it among nine.
    chosen, _ = selected(tmp_path, still=still)
    (pac,) = [one["calibration"] for one in chosen["sets"]]
    assert (
        pac["reason"] == "2 stops are too few for beta = 0.5 and a pair chosen on them among 9"
        and not pac["holds"]
    )
    late = [[1.0, -1.0]] * 4 + [[1.0, -0.9]] * 3
    chosen, _ = selected(
        tmp_path,
        late=written(tmp_path / "b.parquet", [rows_of(0, late), rows_of(1, wobbling(0.0))]),
    )
    (pac,) = [one["calibration"] for one in chosen["sets"]]
    assert (
        pac["alpha"] is None
        and not pac["holds"]
        and "alpha_hat = inf is not below 1" in pac["reason"]
    )


def test_temperature_curves_are_of_the_equations(tmp_path):
    chosen, rows = selected(tmp_path, one=readout_of(tmp_path / "a.parquet", [0.0, 3e-3]))
    assert len(rows) == 2 * 2 * 7
    first, second = (
        next(row for row in rows if row["statistic"] == "kl" and row["step"] == step)
        for step in (1, 2)
    )
    assert (first["median"], first["n"], first["undefined"], first["phase"]) == (
        None,
        0,
        2,
        "denoise",
    )
    assert (
        second["n"] == 2
        and second["phase"] == "refine"
        and second["lower_quartile"] < second["median"] < second["upper_quartile"]
    )
    margins = {
        row["tau"]: row["median"]
        for row in rows
        if row["statistic"] == "margin" and row["step"] == 3
    }
    assert margins == pytest.approx({tau: np.tanh(1 / tau) for tau in (1.0, 0.5)}, rel=1e-3)
    windows = {one["tau"]: one for one in chosen["sets"][0]["temperature"]}
    assert (
        windows[1.0]["late_steps"] == 12
        and windows[1.0]["stopped"] == 2
        and windows[1.0]["coverage"] == 1.0
    )


def test_certificates_of_a_readout_whose_answer_is_known(tmp_path):
    samples, grid, summary = certified(
        tmp_path, readout_of(tmp_path / "r.parquet", [0.0, 3e-3, 3.0]), [1.0, 0.5, 0.0]
    )
    assert [row["certified_pinsker"] for row in samples] == [True, True, False]
    assert [row["certified_observed"] for row in samples] == [True, True, False]
    # Step 2 is the first late one; two KLs end at step 3.
    assert [row["certified_at"] for row in samples] == [
        3,
        3,
        None,
    ]
    assert [(row["sample_id"], row["score"], row["correct"]) for row in samples] == [
        (0, 1.0, True),
        (1, 0.5, False),
        (2, 0.0, False),
    ]
    assert samples[0]["lscr_tv"] is None and samples[1]["lscr_tv"] == pytest.approx(1)
    assert samples[0]["margin"] == pytest.approx(np.tanh(1))
    counts = {
        (
            row["bound"],
            row["calibration"],
            row["tau"],
            row["gamma"],
            row["delta"],
            row["omega"],
        ): row["certified"]
        for row in grid
    }
    assert len(counts) == len(grid) == 5 * 3 * 3 * 3 and {row["n"] for row in grid} == {3}
    assert [counts["pinsker", "tau", 1.0, None, delta, 1] for delta in SETTINGS.deltas] == [1, 2, 2]
    for bound, delta, omega in itertools.product(BOUNDS, SETTINGS.deltas, SETTINGS.omegas):
        assert (
            counts[bound, "tau", 0.5, None, delta, omega]
            == counts[bound, "gamma", 1.0, 2.0, delta, omega]
        )
    dual = {(one["pair"], one["variant"]): one for one in summary["dual"]}
    assert dual["selected", "strict"]["coverage"]["pinsker"]["share"] == pytest.approx(2 / 3)
    assert (dual["TRACE Table 2", "strict"]["delta"], dual["TRACE Table 2", "strict"]["omega"]) == (
        1e-8,
        1,
    )
    assert dual["TRACE Table 2", "strict"]["coverage"]["pinsker"]["certified"] == 1
    assert (dual["TRACE Table 4", "gamma"]["delta"], dual["TRACE Table 4", "gamma"]["gamma"]) == (
        3e-6,
        1.5,
    )
    assert (
        summary["profile"]["lscr_tv"]["undefined"] == 1 and summary["profile"]["lscr_tv"]["reason"]
    )
    assert (
        summary["map_norms"] == {"q": 1.0}
        and summary["n"] == 3
        and str(tmp_path / "r.parquet") in summary["inputs"]
    )


def test_the_digest_is_the_mean_and_median_over_steps(tmp_path):
    samples, _, summary = certified(
        tmp_path, readout_of(tmp_path / "r.parquet", [0.0, 3e-3]), [1.0, 0.0]
    )
    p = np.exp(np.array([[1.0, -1.0], [1.0, np.float32(-0.997)]]))
    p /= p.sum(axis=1, keepdims=True)
    entropies = -(p * np.log(p)).sum(axis=1)
    moves = [(p[i] * np.log(p[i] / p[1 - i])).sum() for i in (0, 1)]
    assert (samples[0]["kl_mean"], samples[0]["kl_undefined"], samples[0]["steps"]) == (0.0, 1, 7)
    assert (
        samples[1]["kl_mean"] == pytest.approx(np.mean(moves), rel=1e-6, abs=0)
        and samples[1]["visible_median"] == 2
    )
    assert samples[1]["entropy_mean"] == pytest.approx((4 * entropies[0] + 3 * entropies[1]) / 7)
    assert samples[1]["entropy_median"] == pytest.approx(entropies[0])
    assert summary["digest"]["visible"] == {
        "mean": 2.0,
        "median": 2.0,
        "max": 2.0,
        "n": 2,
        "undefined": 0,
        "reason": "",
    }


def test_an_infeasible_pair_certifies_nothing_and_says_so(tmp_path):
    _, _, summary = certified(
        tmp_path, readout_of(tmp_path / "r.parquet", [0.0, 0.0]), [1.0, 0.0], chosen=(0.05, 6)
    )
    assert summary["feasible"] is False
    dual = next(
        one for one in summary["dual"] if (one["pair"], one["variant"]) == ("selected", "strict")
    )
    assert not dual["feasible"]
    assert dual["coverage"]["pinsker"]["certified"] == dual["coverage"]["paper"]["certified"] == 0


def test_a_correlation_that_is_undefined_is_null_with_a_reason(tmp_path):
    _, _, summary = certified(
        tmp_path, readout_of(tmp_path / "r.parquet", [0.0, 0.0, 0.0]), [1.0, 1.0, 1.0]
    )
    assert summary["spearman"]["rho"] is None and summary["spearman"]["reason"]


def test_samples_of_another_trace_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"r\.parquet hold different samples"):
        certified(tmp_path, readout_of(tmp_path / "r.parquet", [0.0, 0.0, 0.0]), [1.0, 1.0])


def test_a_readout_that_does_not_say_its_length_is_refused(tmp_path):
    path = readout_of(tmp_path / "r.parquet", [0.0], meta={})
    with pytest.raises(ValueError, match=r"r\.parquet: does not say its canvas length"):
        selected(tmp_path, one=path)


def hard(folder, seeds=(0, 1)):
    """A readout of every generated trace: 6 denoising steps in 2 blocks, 6 refine steps.

    Row groups of one sample, in descending order.
    """
    made = [
        (n, *make(seed, positions=LENGTH))
        for n, (make, seed) in enumerate(itertools.product(GENERATORS, seeds))
    ]
    return written(
        folder / "hard.parquet", [rows_of(n, *one, denoise=6, blocks=2) for n, *one in made[::-1]]
    ), len(made)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("window", ["refine", "tail"])
def test_hard_traces_are_certified_as_one_by_one(tmp_path, window):
    path, n = hard(tmp_path)
    settings = SETTINGS.model_copy(update={"window": window, "late_window": 5})
    samples, _, summary = certified(
        tmp_path, path, [0.5] * n, chosen=(1e-5, 2), settings=settings, alpha=0.5
    )
    assert [row["sample_id"] for row in samples] == list(range(n))
    for series, visible, late in read_late(path, window, 5):
        row = samples[series.sample_id[0]]
        flags = certificates(series.similarity, visible, 1e-5, 2)
        for bound in BOUNDS:
            assert row[f"certified_{bound}"] == (getattr(flags, bound) & late).any()
        held = np.flatnonzero(flags.pinsker[0] & late[0])
        assert row["certified_at"] == (held[0] + 1 if held.size else None)
    # Those that see one token.
    assert summary["window"]["undefined"] >= 2 and summary["window"]["reason"]
    for name in ("entropy", "concentration"):
        assert (
            summary["observables"][name]["broken"]
            == summary["observables"][name]["later_broken"]
            == 0
        )
    assert all(
        found["share"] is None or found["share"] >= 0 for found in summary["forward"].values()
    )
    json.dumps(summary, allow_nan=False)


def test_forward_certificates_hold_in_what_follows(tmp_path):
    """A late window whose movement halves each step.

    Certified stops keep their argmax, and no observable breaks its bound.
    """
    settled = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        level, move = rng.uniform(-1, 1, LENGTH), 0.1 * rng.uniform(-1, 1, LENGTH)
        similarity = level + move * 0.5 ** np.arange(12)[:, None]
        (batch,) = read_late(
            written(tmp_path / "r.parquet", [rows_of(0, similarity)]), "refine", 11
        )
        stops = late_stops(*batch, 1.0, 1e-5, 2)
        flags, bounds = forward_certificates(stops, 1e-5, 2), entropy_bounds(stops, 1.0, 1e-5, 2)
        assert (
            stops.step[0] >= 3
            and stops.alpha[0] < 0.6
            and stops.alpha[0] <= stops.dobrushin[0] + 1e-9
        )
        later = similarity[stops.step[0] :].argmax(axis=1)
        if flags["forward"][0]:
            settled += 1
            assert (later == later[0]).all()
        assert flags["forward"][0] or not flags["forward_trace"][0]  # Eq. 12 asks for more
        assert (
            stops.entropy_moved[0] <= bounds["window"][0]
            and stops.entropy_later[0] <= bounds["forward"][0]
        )
    assert settled > 10


def test_no_contraction_no_forward_certificate(tmp_path):
    growing = [[1.0, -1.0 + 1e-4 * 2.0**t] for t in range(7)]
    _, _, summary = certified(
        tmp_path,
        written(tmp_path / "r.parquet", [rows_of(0, growing), rows_of(1, wobbling(0.0))]),
        [1.0, 0.0],
    )
    found = summary["forward"]["forward"]
    assert (found["certified"], found["n"], found["excluded"]) == (
        1,
        1,
        {"no stop": 0, "no contraction": 1},
    )
    _, _, summary = certified(
        tmp_path, written(tmp_path / "r.parquet", [rows_of(0, growing)]), [1.0]
    )
    found = summary["forward"]["forward"]
    assert (found["share"], found["n"], found["reason"]) == (
        None,
        0,
        "not certifiable: 1 with no contraction",
    )
    assert summary["exits"]["share"] is None and summary["exits"]["reason"].startswith(
        "not certifiable"
    )


def test_exits_are_replayed_block_by_block_and_held_against_the_corollary(tmp_path):
    """Algorithm 1 by hand: the counter starts anew in each block, whose first step has no KL.

    At most one exit a block.
    """
    quiet, loud = [1.0, -1.0], [1.0, 0.5]
    # Exits in blocks 0 and 2, not in 1.
    blocks = [
        quiet,
        quiet,
        quiet,
        quiet,
        loud,
        quiet,
        loud,
        quiet,
        loud,
        loud,
        loud,
        loud,
    ]
    readout = written(
        tmp_path / "r.parquet", [rows_of(0, [*blocks, quiet, quiet, quiet], denoise=12, blocks=3)]
    )
    (batch,) = read_late(readout, "refine", 3)
    margins = [(np.exp(1) - np.exp(b)) / (np.exp(1) + np.exp(b)) for b in (-1.0, 0.5)]
    assert block_exits(batch[0], 1.0, 1e-6, 2) == [pytest.approx(margins)]
    assert block_exits(batch[0], 1.0, 1e-6, 4) == [[]]  # a block of 4 steps has 3 KLs
    for alpha, share in ((0.5, 1.0), (0.997, 0.5), (0.9999, 0.0)):
        samples, _, summary = certified(tmp_path, readout, [1.0], chosen=(1e-6, 2), alpha=alpha)
        assert summary["exits"]["exits"] == samples[0]["exits"] == 2
        assert summary["exits"]["share"] == share and samples[0]["exits_certified"] == 2 * share


def test_memory_is_that_of_a_row_group(tmp_path):
    """Row groups of one sample: the peak does not grow with their number."""
    rng = np.random.default_rng(0)
    peaks = []
    for n in (20, 100):
        similarity = rng.uniform(-1, 1, (40, LENGTH * 8))
        path = written(
            tmp_path / f"{n}.parquet",
            [rows_of(s, similarity, denoise=30) for s in range(n)],
            {"gen_length": str(LENGTH * 8)},
        )
        assert pq.ParquetFile(path).num_row_groups == n
        tracemalloc.start()
        for _ in read_late(path, "refine", 10):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
