"""The online monitor (torch) and the offline analysis (NumPy) call the same functions.

Same numbers.
"""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from tracedlm.theory import (
    certificate,
    contraction,
    divergence,
    moments,
    movement,
    pseudo_gradient,
    rad,
    stability,
    subspaces,
)

RNG = np.random.default_rng(0)
SIMILARITY = RNG.uniform(-1, 1, (3, 6, 5))
VISIBLE = RNG.random((3, 6, 5)) > 0.25
VISIBLE[0, 2] = False  # a step that sees nothing
VISIBLE[1, 3] = [True, False, False, False, False]  # and one that sees one token
P, Q = (rad.alignment(s, np.ones((6, 5), dtype=bool)) for s in SIMILARITY[:2])
SPARSE = np.where(P < 0.15, 0.0, P)
LOW_RANK = RNG.normal(size=(6, 4))

CASES = {
    "entropy": lambda a: divergence.entropy(a(SPARSE)),
    "kl": lambda a: divergence.kl(a(P), a(SPARSE)),
    "kl smoothed": lambda a: divergence.kl(a(P), a(SPARSE), smoothing=1e-12, support=a(VISIBLE[0])),
    "kl smoothed everywhere": lambda a: divergence.kl(a(P), a(SPARSE), smoothing=1e-12),
    "kl along another axis": lambda a: divergence.kl(a(P), a(Q), axis=0),
    "kl_from_log": lambda a: divergence.kl_from_log(a(np.log(P)), a(np.log(Q))),
    "total_variation": lambda a: divergence.total_variation(a(P), a(Q)),
    "total_variation of float32": lambda a: divergence.total_variation(
        a(P.astype(np.float32)), a(Q.astype(np.float32))
    ),
    "top_two_margin": lambda a: divergence.top_two_margin(a(SPARSE)),
    "top_two_margin on a support": lambda a: divergence.top_two_margin(
        a(P), axis=-1, support=a(VISIBLE[0])
    ),
    "cosine_similarity": lambda a: rad.cosine_similarity(a(SIMILARITY), a(SIMILARITY[0, 0])),
    "subspace_similarity": lambda a: rad.subspace_similarity(
        a(SIMILARITY), a(SIMILARITY[0, :2].T), cosine=False
    ),
    "subspace cosine": lambda a: rad.subspace_similarity(a(SIMILARITY), a(SIMILARITY[0, :2].T)),
    "alignment": lambda a: rad.alignment(a(SIMILARITY), a(VISIBLE), 0.1),
    "alignment of float32": lambda a: rad.alignment(
        a(SIMILARITY.astype(np.float32)), a(VISIBLE), 0.1
    ),
    "log_alignment": lambda a: rad.log_alignment(a(SIMILARITY), a(VISIBLE)),
    "restrict": lambda a: rad.restrict(a(P), a(VISIBLE[0])),
    "sharpen": lambda a: rad.sharpen(a(SPARSE), 1.5),
    "restrict of float32": lambda a: rad.restrict(a(P.astype(np.float32)), a(VISIBLE[0])),
    "sharpen of float32": lambda a: rad.sharpen(a(SPARSE.astype(np.float32)), 1.5),
    "aggregate of float32": lambda a: rad.aggregate(a(SIMILARITY.astype(np.float32)), "mean"),
    "aggregate mean": lambda a: rad.aggregate(a(SIMILARITY), "mean"),
    "aggregate max": lambda a: rad.aggregate(a(SIMILARITY), "max"),
    "step_statistics": lambda a: stability.step_statistics(a(SIMILARITY), a(VISIBLE), 0.5),
    "step_statistics smoothed": lambda a: stability.step_statistics(
        a(SIMILARITY), a(VISIBLE), smoothing=1e-12
    ),
    "concentration": lambda a: stability.concentration(
        a(np.log(P)), a(np.ones((6, 5), dtype=bool))
    ),
    "change_ratios": lambda a: stability.change_ratios(a(SPARSE)),
    "lscr": lambda a: stability.lscr(a(SPARSE)),
    "late_window": lambda a: stability.late_window(a(VISIBLE), 2, a(np.arange(6) > 2))[1],
    "certificates": lambda a: certificate.certificates(a(SIMILARITY), a(VISIBLE), 0.1, 2, 2.0),
    "grid": lambda a: certificate.grid(
        a(SIMILARITY), a(VISIBLE), [2.0, 0.5], [1e-3, 0.1], [1, 2], a(VISIBLE[..., 0])
    ),
    "grid of all steps": lambda a: certificate.grid(a(SIMILARITY), a(VISIBLE), [1.0], [0.1], [2]),
    "movements": lambda a: [
        vars(moved)
        for moved in next(movement.movements(a(SIMILARITY), a(VISIBLE), [2, 3], [0.5])).values()
    ][1],
    "contraction_rate": lambda a: contraction.contraction_rate(a(SPARSE)),
    "contraction_rate of one step": lambda a: contraction.contraction_rate(a(SPARSE[:, :1])),
    "dobrushin": lambda a: contraction.dobrushin(a(P[:5])),
    "dobrushin_estimate": lambda a: contraction.dobrushin_estimate(a(np.stack([P, Q]))),
    "first_certified": lambda a: certificate.first_certified(
        a(VISIBLE[..., 0]), a(VISIBLE[..., 1])
    ),
    "update inside": lambda a: moments.update(a(LOW_RANK), a(LOW_RANK**2), placement="inside"),
    "update corrected": lambda a: moments.update(
        a(LOW_RANK), a(LOW_RANK**2), step=3, betas=(0.9, 0.999)
    ),
    "updates": lambda a: dict(moments.updates(a(LOW_RANK), a(LOW_RANK**2), 1e-3, 3, (0.9, 0.999))),
    "weight_gradient": lambda a: pseudo_gradient.weight_gradient(
        a(SIMILARITY), a(SIMILARITY[..., :2])
    ),
    "root_mean_square": lambda a: pseudo_gradient.root_mean_square(a(SIMILARITY)),
    "row_energy": lambda a: moments.row_energy(a(LOW_RANK)),
    "row_mean": lambda a: moments.row_mean(a(LOW_RANK)),
    "column_energy": lambda a: moments.column_energy(a(LOW_RANK)),
    "unit": lambda a: moments.unit(a(LOW_RANK[0])),
    "subspace": lambda a: subspaces.subspace(a(LOW_RANK), 3),
}


def leaves(result):
    if dataclasses.is_dataclass(result):
        return list(dataclasses.asdict(result).values())
    return list(result.values()) if isinstance(result, dict) else [result]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CASES)
def test_torch_and_numpy_agree(name):
    torch = pytest.importorskip("torch")
    ours, theirs = leaves(CASES[name](np.array)), leaves(CASES[name](torch.tensor))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert isinstance(other, torch.Tensor)
        assert str(other.dtype) == f"torch.{mine.dtype}"
        np.testing.assert_allclose(other.numpy(), mine, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_new_arrays_are_made_where_the_old_ones_are(name):
    """As on a graphics card.

    The default device is not that of the arrays, and what mixes the two is an error.
    """
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        found = leaves(CASES[name](lambda array: torch.tensor(array, device="cpu")))
    assert {one.device.type for one in found} == {"cpu"}


def test_a_running_mean_of_tensors_stays_in_float32_and_on_its_device():
    torch = pytest.importorskip("torch")
    mean = moments.RunningMean()
    for value in (1.0, 2.0, 4.5):
        mean.add(torch.full((3,), value, dtype=torch.bfloat16))
    assert mean.value.dtype == torch.float32
    assert mean.value.tolist() == [2.5, 2.5, 2.5]


def test_autocast_does_not_round_the_similarity():
    torch = pytest.importorskip("torch")
    f, u = (
        torch.tensor(SIMILARITY, dtype=torch.float32),
        torch.tensor(SIMILARITY[0, 0], dtype=torch.float32),
    )
    basis = u[:, None] / u.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(
            rad.cosine_similarity(f, u).numpy(),
            rad.cosine_similarity(SIMILARITY, SIMILARITY[0, 0]),
            atol=1e-6,
        )
        assert (
            rad.subspace_similarity(f, basis) - rad.cosine_similarity(f, u).abs()
        ).abs().max() < 1e-6


def test_the_equations_do_not_import_torch():
    modules = [
        "calibration",
        "certificate",
        "divergence",
        "map_comparison",
        "moments",
        "rad",
        "resampling",
        "schedule",
        "stability",
    ]
    modules += ["contraction", "movement", "observables", "pseudo_gradient", "subspaces"]
    modules += ["curvature", "dimension", "prediction", "probing"]
    code = (
        "import sys;"
        + ";".join(f"import tracedlm.theory.{m}" for m in modules)
        + ";sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, env={"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )
