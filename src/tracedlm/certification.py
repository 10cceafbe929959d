"""`certify`: every statistic and certificate of one sample, from its similarities alone.

No torch.
"""

from dataclasses import dataclass

import numpy as np

from tracedlm.theory.certificate import certificates, first_certified
from tracedlm.theory.stability import late_window as late_steps
from tracedlm.theory.stability import lscr, step_statistics


@dataclass(frozen=True)
class Certification:
    """What can be said of one sample; arrays are [steps], NaN where undefined.

    Attributes:
        kl: KL to the previous step on the matched support, nats.
        tv: Total variation to it, in [0, 1].
        margin: Top-2 probability margin on the matched support.
        concentration: Alignment concentration AC on the visible set.
        paper: Certified by the papers' rule, which is unsound when the visible set grows inside the
            window.
        pinsker: Certified by the same inequality on the window's common support; sound.
        measured: Certified with the measured KLs; tighter.
        tv_bound: Certified by exact total variation; tightest.
        observed: The argmax did not move: the fact the others bound.
        lscr: Late-step change ratio (TV) over the late window on its common support; NaN where
            undefined.
        certified_at: First step of the late window, on its common support, certified by `pinsker`,
            from 1; None where there is none.
    """

    kl: np.ndarray
    tv: np.ndarray
    margin: np.ndarray
    concentration: np.ndarray
    paper: np.ndarray
    pinsker: np.ndarray
    measured: np.ndarray
    tv_bound: np.ndarray
    observed: np.ndarray
    lscr: float
    certified_at: int | None


def certify(
    similarity: np.ndarray,
    visible: np.ndarray,
    tau: float = 1.0,
    delta: float = 3e-6,
    omega: int = 3,
    late_window: int = 24,
) -> Certification:
    """Certificates of one sample (method.md section 5; TRACE sections 3 and 4).

    Args:
        similarity: [steps, positions] cosine of activation and map; values at invisible positions
            are not read.
        visible: bool [steps, positions]: unmasked before that step's forward.
        tau: Readout temperature > 0.
        delta: KL threshold, nats.
        omega: Window length, steps.
        late_window: Last steps that `lscr` and `certified_at` look at.

    Raises:
        ValueError: Shapes differ, or a setting is out of range.
    """
    similarity, visible = np.asarray(similarity), np.asarray(visible, dtype=bool)
    if similarity.ndim != 2 or similarity.shape != visible.shape:
        raise ValueError(
            f"similarity {similarity.shape} and visible {visible.shape} must both be [steps,"
            " positions]"
        )
    if late_window < 1:
        raise ValueError(f"late_window must be at least 1, got {late_window}")
    statistics = step_statistics(similarity, visible, tau)
    flags = certificates(similarity, visible, delta, omega, tau)
    start, common = late_steps(visible, late_window)
    late = np.arange(len(visible)) >= start
    # The two scalars compare late steps on what all of them see; the arrays describe each step as
    # it was.
    shared = np.where(late[:, None], common, visible)
    first = int(first_certified(certificates(similarity, shared, delta, omega, tau).pinsker, late))
    ratio = float(lscr(np.where(late, step_statistics(similarity, shared, tau).tv, np.nan)))
    return Certification(
        statistics.kl,
        statistics.tv,
        margin=statistics.margin,
        concentration=statistics.concentration,
        paper=flags.paper,
        pinsker=flags.pinsker,
        measured=flags.measured,
        tv_bound=flags.tv,
        observed=flags.observed,
        lscr=ratio,
        certified_at=None if first < 0 else first + 1,
    )
