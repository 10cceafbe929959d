"""Choosing thresholds on held-out data.

Margin quantiles that keep their promise, and the (delta, Omega) of a grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracedlm.theory.contraction import required_forward_margin


@dataclass(frozen=True)
class PacCalibration:
    """What held-out samples let (delta, Omega) promise.

    At a new sample's stop the argmax is the one that continuing would give.

    alpha: largest contraction rate of the n_alpha samples that have one, in [0, inf]; NaN where
    none has. quantile: margin that a new stop reaches with probability >= 1 - beta; NaN where n
    stops are too few. paper_quantile: the papers' quantile, which a new stop reaches with
    probability beta; NaN without stops. required: margin that (delta, Omega) and alpha ask for; NaN
    where alpha is no contraction. largest_delta: largest delta that would hold at this Omega, nats;
    NaN where none can. holds: required < quantile: the promise is made. paper_holds: required <=
    paper_quantile, as printed. failure: probability that the promise fails, at most: beta + 1 /
    (n_alpha + 1). n, n_alpha, excluded: stops; samples with a contraction rate; samples without a
    stop. reason: why nothing is promised; "" where something is.
    """

    alpha: float
    quantile: float
    paper_quantile: float
    required: float
    largest_delta: float
    holds: bool
    paper_holds: bool
    failure: float
    n: int
    n_alpha: int
    excluded: int
    reason: str


def pac_calibration(
    margins: np.ndarray, alphas: np.ndarray, delta: float, omega: int, beta: float, pairs: int = 1
) -> PacCalibration:
    """Calibrate the no-flip promise on held-out samples.

    Corrects TRACE Cor. B.2 and Eq. 20, EDIT Cor. 6 and Eq. 24.

    Samples must be exchangeable with the new one. The quantile costs beta: that of margins at a
    pair chosen elsewhere is taken at beta, at one that these very samples chose among several, at
    beta / pairs (union bound). A maximum over n_alpha samples is exceeded by a new one with
    probability 1 / (n_alpha + 1).

    Args:
        margins: [n] top-2 margin at each sample's stop; NaN where it never stopped.
        alphas: [n] contraction rate of each sample (`contraction.contraction_rate`); NaN where
            undefined.
        delta: KL threshold, nats.
        omega: Window length, steps.
        beta: In (0, 1).
        pairs: Pairs (delta, Omega) that these samples chose among; 1 where others did.

    Raises:
        ValueError: beta is out of range.

    >>> pac = pac_calibration(
    ...     np.array([0.4, 0.1, 0.3, 0.2]), np.array([0.5, 0.2, 0.1, 0.5]), 2e-6, 3, 0.4
    ... )
    >>> pac.quantile, pac.alpha, round(pac.required, 9), pac.holds, pac.failure
    (0.2, 0.5, 0.01, True, 0.6000000000000001)
    """
    stopped, known = margins[~np.isnan(margins)], alphas[~np.isnan(alphas)]
    quantile, paper = beta_quantile(stopped, beta / pairs), paper_quantile(stopped, beta)
    among = f" and a pair chosen on them among {pairs}" if pairs > 1 else ""
    alpha = float(known.max()) if known.size else math.nan
    contracts = alpha < 1
    required = required_forward_margin(delta, omega, alpha) if contracts else math.nan
    largest = 2 * (quantile / 2 / (omega + 1 / (1 - alpha))) ** 2 if contracts else math.nan
    reasons = {
        "no sample has a contraction rate": not known.size,
        f"no contraction: alpha_hat = {alpha:.3g} is not below 1": known.size > 0 and not contracts,
        "no sample stops": not stopped.size,
        f"{stopped.size} stops are too few for beta = {beta:g}{among}": (
            stopped.size > 0 and math.isnan(quantile)
        ),
        f"the margin asked for, {required:.3g}, is not below the quantile {quantile:.3g}": (
            required >= quantile
        ),
    }
    return PacCalibration(
        alpha,
        quantile,
        paper,
        required,
        largest,
        holds=required < quantile,
        paper_holds=required <= paper,
        failure=beta + 1 / (known.size + 1),
        n=stopped.size,
        n_alpha=known.size,
        excluded=margins.size - stopped.size,
        reason="; ".join(reason for reason, applies in reasons.items() if applies),
    )


def beta_quantile(margins: Sequence[float] | np.ndarray, beta: float) -> float:
    """Margin that a new sample reaches with probability at least 1 - beta.

    Corrects TRACE Cor. B.2, EDIT Cor. 6.

    The floor(beta (n + 1))-th smallest of n exchangeable calibration margins (method.md section 5,
    error 4).

    Args:
        margins: [n] top-2 margins at the stop, in [0, 1].
        beta: Allowed failure probability in (0, 1).

    Returns:
        In [0, 1]; NaN where beta (n + 1) < 1: too few samples to promise anything.

    Raises:
        ValueError: beta is outside (0, 1) or a margin is NaN (dropping undefined ones would bias
            the promise).

    >>> beta_quantile([0.4, 0.1, 0.3, 0.2], 0.4), beta_quantile([0.4, 0.1], 0.1)
    (0.2, nan)
    """
    ordered = np.sort(_margins(margins, beta))
    # 0.29 * 100 is 28.999999999999996 in binary.
    rank = min(math.floor(beta * (len(ordered) + 1) + 1e-9), len(ordered))
    return float(ordered[rank - 1]) if rank else math.nan


def paper_quantile(margins: Sequence[float] | np.ndarray, beta: float) -> float:
    """The papers' (1 - beta)-quantile of the margin (EDIT Cor. 6, as printed).

    Only a fraction beta of samples reaches it.

    For comparison with `beta_quantile`. Args and Raises as there; NaN without samples.

    >>> round(paper_quantile([0.0, 0.1, 0.2, 0.3, 0.4], 0.25), 12)
    0.3
    """
    values = _margins(margins, beta)
    return float(np.quantile(values, 1 - beta)) if len(values) else math.nan


def select_pair(
    coverage: np.ndarray, deltas: Sequence[float], omegas: Sequence[int]
) -> tuple[int, int]:
    """Indices of (delta*, Omega*).

    Largest coverage, then smaller delta, then larger Omega (TRACE App. G; method.md section 6).

    Args:
        coverage: [deltas, omegas] fraction of validation samples certified; NaN entries are not
            chosen.
        deltas: KL thresholds in nats.
        omegas: Window lengths in steps.

    Returns:
        (i, j), the pair being (deltas[i], omegas[j]).

    Raises:
        ValueError: The shape does not fit, or no coverage is defined.

    >>> select_pair(np.array([[0.5, 0.9], [0.9, 0.9]]), [1e-6, 3e-6], [1, 2])
    (0, 1)
    """
    if coverage.shape != (len(deltas), len(omegas)):
        raise ValueError(
            f"coverage is {coverage.shape}, but there are {len(deltas)} deltas and {len(omegas)}"
            " omegas"
        )
    candidates = [
        (i, j)
        for i in range(len(deltas))
        for j in range(len(omegas))
        if not math.isnan(coverage[i, j])
    ]
    if not candidates:
        raise ValueError("no pair can be selected: no coverage is defined")
    return min(candidates, key=lambda pair: (-coverage[pair], deltas[pair[0]], -omegas[pair[1]]))


def _margins(margins: Sequence[float] | np.ndarray, beta: float) -> np.ndarray:
    values = np.asarray(margins, dtype=float)
    if not 0 < beta < 1:
        raise ValueError(f"a failure probability is in (0, 1), got beta={beta}")
    if np.isnan(values).any():
        raise ValueError(
            "a calibration margin is NaN: decide what an undefined margin means before calibrating"
        )
    return values


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 10
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (ECE).

    Bins are weighted by their counts.

    Args:
        confidence: [n] probabilities in [0, 1].
        correct: bool [n].
        bins: Number of bins.

    Returns:
        In [0, 1], 0 for a perfectly calibrated predictor; NaN without predictions.

    >>> round(
    ...     expected_calibration_error(
    ...         np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
    ...     ),
    ...     12,
    ... )
    0.1
    """
    if not len(confidence):
        return math.nan
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=confidence - correct)
    return float(np.abs(gap).sum() / len(confidence))
