"""What is read of a module's activation: the functions behind `decode.settings.ReadingKind`."""

from collections.abc import Callable

import torch

from tracedlm.decode.settings import ReadingKind
from tracedlm.theory.rad import column_similarities, cosine_similarity, subspace_similarity


def _coordinates(f: torch.Tensor, u: torch.Tensor, U: torch.Tensor) -> torch.Tensor:
    projected = torch.stack([(f.float() * U[:, j]).sum(-1) for j in range(U.shape[1])], dim=-1)
    return torch.cat([cosine_similarity(f, u)[..., None], projected], dim=-1)


READINGS: dict[ReadingKind, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cosine": lambda f, u, U: cosine_similarity(f, u),
    "subspace": lambda f, u, U: subspace_similarity(f, U),
    "subspace_norm": lambda f, u, U: subspace_similarity(f, U, cosine=False),
    "coordinates": _coordinates,
    "columns": lambda f, u, U: column_similarities(f, U),
}
"""(activation [..., d], u [d], U [d, k]) -> reading [...] or [..., n]; float32 or better."""
