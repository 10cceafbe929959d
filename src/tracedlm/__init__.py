"""tracedlm: certified early exits for diffusion language models.

Importing it costs nothing; names load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracedlm.certification import certify
    from tracedlm.generation import generate
    from tracedlm.models.denoiser import load_denoiser
    from tracedlm.models.moment_recorder import MomentRecorder
    from tracedlm.rescoring import rescore
    from tracedlm.stages.rrm.maps import build_rrm, build_rrms
    from tracedlm.theory.risk import control_risk

_HOME = {
    "load_denoiser": "tracedlm.models.denoiser",
    "generate": "tracedlm.generation",
    "certify": "tracedlm.certification",
    "build_rrm": "tracedlm.stages.rrm.maps",
    "rescore": "tracedlm.rescoring",
    "build_rrms": "tracedlm.stages.rrm.maps",
    "MomentRecorder": "tracedlm.models.moment_recorder",
    "control_risk": "tracedlm.theory.risk",
}

__all__ = [
    "MomentRecorder",
    "build_rrm",
    "build_rrms",
    "certify",
    "control_risk",
    "generate",
    "load_denoiser",
    "rescore",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module 'tracedlm' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
