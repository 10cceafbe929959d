"""Choosing a setting with a guarantee, from losses on held-out samples.

Source: method.md section 5, risk-controlled exit.

Nothing is assumed of the model, the exit rule or a certificate: only that held-out samples and
later ones are drawn alike, that the settings and their order were fixed before the losses were
seen, and that losses lie in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special

Method = Literal["ltt", "crc"]


@dataclass(frozen=True)
class RiskControl:
    """What held-out losses say about settings, from the least to the most aggressive.

    Attributes:
        index: Column of the cheapest valid setting; None where none is valid.
        valid: bool [settings]: the guarantee holds for all of these together (`ltt`), so that any
            of them may be chosen.
        risk: [settings] mean loss on the n samples, in [0, 1].
        p_values: [settings] p-value of "the risk exceeds epsilon", before fixed-sequence testing;
            NaN with `crc`, which tests nothing.
        n: Samples.
        epsilon, eta, method: As asked.
        guarantee: What is promised of the chosen setting, in words.
        reason: Why there is none; "" otherwise.
    """

    index: int | None
    valid: np.ndarray
    risk: np.ndarray
    p_values: np.ndarray
    n: int
    epsilon: float
    eta: float
    method: Method
    guarantee: str
    reason: str


class Choice(int):
    """Column of the chosen setting: an integer that carries what it rests on, its `evidence`."""

    evidence: RiskControl

    def __new__(cls, column: int, evidence: RiskControl) -> "Choice":
        """A column and the test that allowed it."""
        self = super().__new__(cls, column)
        self.evidence = evidence
        return self


def control_risk(
    losses: np.ndarray,
    epsilon: float,
    eta: float,
    method: Method = "ltt",
    cost: Sequence[float] | np.ndarray | None = None,
) -> Choice | None:
    """The cheapest setting whose risk is controlled at epsilon (method.md section 5).

    `ltt`, Learn-then-Test (Angelopoulos et al. 2021) with fixed-sequence testing: P(risk of the
    choice > epsilon) <= eta over draws of the samples, whatever the shape of the risk. `crc`,
    conformal risk control (Angelopoulos et al. 2022): the expected loss of the choice on a new
    sample, averaged over draws of the samples too, is <= epsilon: an expectation, not a high
    probability, and eta is not read. The promise is one choice's own: to pick the best of k rules'
    choices, ask each for eta / k.

    Args:
        losses: [samples, settings] in [0, 1]; settings from the least to the most aggressive, in an
            order fixed beforehand.
        epsilon: Risk allowed, in (0, 1).
        eta: Probability with which it may be exceeded, in (0, 1).
        method: `ltt` or `crc`.
        cost: [settings], e.g. mean forwards, which may be measured on the same samples; of valid
            settings the one of least cost is taken, the less aggressive one in a tie. None: a
            setting is cheaper the later it stands.

    Returns:
        Column of `losses`, with the p-values it rests on (`.evidence`); None where no setting is
            valid: decode in full.
        `assess` says why.

    Raises:
        ValueError: A loss is outside [0, 1] or undefined, shapes do not fit, or epsilon, eta or the
            method is out of range.

    >>> safe, risky = np.zeros(60), np.arange(60) < 30
    >>> choice = control_risk(np.stack([safe, risky], axis=1), epsilon=0.1, eta=0.05)
    >>> choice, round(float(choice.evidence.p_values[0]), 9) == round(0.9**60, 9)
    (0, True)
    """
    found = assess(losses, epsilon, eta, method, cost)
    return None if found.index is None else Choice(found.index, found)


def assess(
    losses: np.ndarray,
    epsilon: float,
    eta: float,
    method: Method = "ltt",
    cost: Sequence[float] | np.ndarray | None = None,
) -> RiskControl:
    """What `control_risk` decides and why, also where it decides for nothing.

    Args and Raises as there.

    >>> assess(np.zeros((5, 1)), 0.1, 0.05).reason
    '5 samples cannot show a risk below 0.1: 29 are needed, without a single loss'
    """
    losses = _losses(losses)
    n, settings = losses.shape
    for name, value in (("epsilon", epsilon), ("eta", eta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is a probability in (0, 1), got {value}")
    if method not in ("ltt", "crc"):
        raise ValueError(f"unknown method {method!r} of risk control; known: ltt, crc")
    price = -np.arange(settings) if cost is None else np.asarray(cost, dtype=float)
    if price.shape != (settings,) or np.isnan(price).any():
        raise ValueError(
            f"cost needs one number for each of {settings} settings, got {price.tolist()}"
        )
    p = p_values(losses, epsilon) if method == "ltt" else np.full(settings, math.nan)
    valid = fixed_sequence(p, eta) if method == "ltt" else conformal_bound(losses) <= epsilon
    index = min(np.flatnonzero(valid), key=lambda j: (price[j], j), default=None)
    return RiskControl(
        index=None if index is None else int(index),
        valid=valid,
        risk=losses.mean(axis=0),
        p_values=p,
        n=n,
        epsilon=epsilon,
        eta=eta,
        method=method,
        guarantee=(
            f"P(risk > {epsilon:g}) <= {eta:g}" if method == "ltt" else f"E[risk] <= {epsilon:g}"
        ),
        reason="" if index is not None else _reason(losses[:, 0], p[0], epsilon, eta, method),
    )


def p_values(losses: np.ndarray, epsilon: float) -> np.ndarray:
    """P-value of "the risk exceeds epsilon" of each setting.

    Valid for every n, whatever the distribution of the losses.

    Exact binomial where all losses are 0 or 1, which is meant to be a property of the loss, not
    luck; else Hoeffding-Bentkus (Bates et al. 2021): the smaller of exp(-n h(risk, epsilon)), h the
    binary relative entropy, and e P(Bin(n, epsilon) <= ceil(n risk)).

    Args:
        losses: [..., samples, settings] in [0, 1].
        epsilon: In (0, 1).

    Returns:
        [..., settings] in [0, 1].

    >>> (
    ...     p_values(np.array([[0.0], [1.0]]), 0.5).tolist(),
    ...     round(float(p_values(np.zeros((3, 1)), 0.5)[0]), 12),
    ... )
    ([0.75], 0.125)
    """
    n, total = losses.shape[-2], losses.sum(axis=-2, dtype=float)
    binomial = scipy.special.bdtr(np.ceil(total), n, epsilon)
    if ((losses == 0) | (losses == 1)).all():
        return binomial
    risk = np.minimum(total / n, epsilon)
    divergence = scipy.special.rel_entr(risk, epsilon) + scipy.special.rel_entr(
        1 - risk, 1 - epsilon
    )
    return np.minimum(np.minimum(np.exp(-n * divergence), math.e * binomial), 1)


def fixed_sequence(p: np.ndarray, eta: float) -> np.ndarray:
    """Which hypotheses are rejected when they are tested in order at level eta until one is not.

    No error with probability 1 - eta.

    Args:
        p: [..., settings] p-values in the order of testing, which is fixed beforehand.
        eta: In (0, 1).

    Returns:
        bool [..., settings].

    >>> fixed_sequence(np.array([0.01, 0.04, 0.2, 0.001]), 0.05).tolist()
    [True, True, False, False]
    """
    return np.logical_and.accumulate(p <= eta, axis=-1)


def conformal_bound(losses: np.ndarray) -> np.ndarray:
    """(n risk + 1) / (n + 1) of each setting.

    Conformal risk control allows those at which it is at most epsilon.

    Its theorem asks that each sample's loss never falls as settings grow more aggressive. Where one
    does, its largest so far is taken: the bound can only grow, and what it promises of that larger
    loss holds for the loss itself.

    Args:
        losses: [..., samples, settings] in [0, 1].

    Returns:
        [..., settings] in (0, 1].

    >>> conformal_bound(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
    [0.25, 0.5, 0.75]
    """
    n = losses.shape[-2]
    return (np.maximum.accumulate(losses, axis=-1).sum(axis=-2, dtype=float) + 1) / (n + 1)


def smallest_sample(epsilon: float, eta: float, method: Method = "ltt") -> int:
    """Fewest samples with which a setting can be valid at all, if none of them has a loss.

    n >= log(eta) / log(1 - epsilon) for `ltt`, n >= 1 / epsilon - 1 for `crc`.

    >>> smallest_sample(0.1, 0.05), smallest_sample(0.1, 0.05, "crc")
    (29, 9)
    """
    needed = math.log(eta) / math.log1p(-epsilon) if method == "ltt" else 1 / epsilon - 1
    return math.ceil(needed - 1e-9)


def _reason(first: np.ndarray, p: float, epsilon: float, eta: float, method: Method) -> str:
    needed = smallest_sample(epsilon, eta, method)
    if len(first) < needed:
        return (
            f"{len(first)} samples cannot show a risk below {epsilon:g}: {needed} are needed,"
            " without a single loss"
        )
    shown = f"p = {p:.2g} > {eta:g}" if method == "ltt" else f"its bound exceeds {epsilon:g}"
    return (
        f"the least aggressive setting has a mean loss of {first.mean():.3g} in {len(first)}"
        f" samples: {shown}"
    )


def _losses(losses: np.ndarray) -> np.ndarray:
    losses = np.asarray(losses)
    if losses.ndim != 2 or not losses.size:
        raise ValueError(
            f"losses are [samples, settings] with at least one of each, got shape {losses.shape}"
        )
    outside = ~((losses >= 0) & (losses <= 1))
    if outside.any():
        raise ValueError(
            f"a loss lies in [0, 1], got {losses[outside][0]}; rescale losses, and decide what an"
            " undefined one is worth"
        )
    return losses
