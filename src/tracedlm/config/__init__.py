"""Every knob of a study, typed, with its unit and default.

An unknown key is an error that names the nearest known one.

The Snakefile validates the merged YAML once with `load_study`; rules hand sections of it to the
stages as params.
"""

from tracedlm.config.analysis import (
    Ablation,
    Certify,
    PseudoGradient,
    ReadoutSettings,
    Rescore,
    Rrm,
)
from tracedlm.config.decoding import Decode, Exits, FlipAudit, Risk, Trace
from tracedlm.config.dynamics import Dynamics
from tracedlm.config.evaluation import Evaluation
from tracedlm.config.study import Study, load_study, load_yaml
from tracedlm.config.training import Card, Dataset, Model, Noise, Pretrain, Sft

__all__ = [
    "Ablation",
    "Card",
    "Certify",
    "Dataset",
    "Decode",
    "Dynamics",
    "Evaluation",
    "Exits",
    "FlipAudit",
    "Model",
    "Noise",
    "Pretrain",
    "PseudoGradient",
    "ReadoutSettings",
    "Rescore",
    "Risk",
    "Rrm",
    "Sft",
    "Study",
    "Trace",
    "load_study",
    "load_yaml",
]
