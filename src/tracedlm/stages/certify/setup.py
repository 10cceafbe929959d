"""What a set is certified at: the config's settings, and what validation chose and promises."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.config import Certify
from tracedlm.records.metrics import read_json

Columns = dict[str, np.ndarray]
"""Per sample, in the order of sample_id: one value or one array of values."""


@dataclass(frozen=True)
class Setup:
    """What a set is certified at.

    Attributes:
        settings: The config's section.
        tau: Readout temperature.
        delta: Selected KL threshold, nats.
        omega: Selected window length, steps.
        calibration: What validation lets that pair promise on this set (`PacCalibration`, undefined
            values as null).
        calibrated: The study's one calibration: its temperature and its power, where there is one.
    """

    settings: Certify
    tau: float
    delta: float
    omega: int
    calibration: dict[str, Any]
    calibrated: tuple[float | None, float | None]

    @property
    def taus(self) -> list[float]:
        """Every temperature that is certified at; a power gamma is the temperature tau / gamma."""
        one, settings = self.calibrated, self.settings
        powers = [*settings.gammas, settings.calibrated_gamma, *([one[1]] if one[1] else [])]
        taus = [self.tau, *settings.taus, settings.calibrated_tau, *([one[0]] if one[0] else [])]
        return list(dict.fromkeys([*taus, *(self.tau / gamma for gamma in powers)]))

    @property
    def deltas(self) -> list[float]:
        """Every KL threshold."""
        return list(
            dict.fromkeys(
                [
                    *self.settings.deltas,
                    self.settings.strict_delta,
                    self.settings.fixed_delta,
                    self.delta,
                ]
            )
        )

    @property
    def omegas(self) -> list[int]:
        """Every window length."""
        return list(
            dict.fromkeys(
                [
                    *self.settings.omegas,
                    self.settings.strict_omega,
                    self.settings.fixed_omega,
                    self.omega,
                ]
            )
        )

    def held(
        self, columns: Columns, bound: str, tau: float, delta: float, omega: int
    ) -> np.ndarray:
        """Which samples a rule certifies: bool [n]."""
        return columns[f"held_{bound}"][
            :, self.taus.index(tau), self.deltas.index(delta), self.omegas.index(omega)
        ]


def read_setup(
    selection_file: Path, dataset: str, seq_len: int, settings: Certify, tau: float
) -> Setup:
    """What `select` decided, for one set.

    Raises:
        ValueError: The file is missing or unreadable, or of a study without this set.
    """
    chosen = read_json(selection_file, ("delta", "omega", "tau", "gamma", "sets"))
    calibrations = {(one["dataset"], one["seq_len"]): one["calibration"] for one in chosen["sets"]}
    if (dataset, seq_len) not in calibrations:
        known = ", ".join(f"{name} at {length}" for name, length in calibrations)
        raise ValueError(
            f"{selection_file}: nothing for {dataset} at {seq_len} tokens, only {known}; name the"
            " config of this study"
        )
    return Setup(
        settings,
        tau,
        chosen["delta"],
        chosen["omega"],
        calibrations[dataset, seq_len],
        (chosen["tau"], chosen["gamma"]),
    )
