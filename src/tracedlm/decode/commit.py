"""Which tokens a forward predicts, how sure it is of them, and which are committed."""

import torch


def most_confident(
    log_confidence: torch.Tensor, eligible: torch.Tensor, quota: torch.Tensor
) -> torch.Tensor:
    """The `quota` most confident eligible positions of each row; ties go to the earlier position.

    Args:
        log_confidence: [rows, positions].
        eligible: bool [rows, positions].
        quota: int [rows].

    Returns:
        bool [rows, positions].
    """
    return eligible & (rank(log_confidence, eligible) < quota[:, None])


def rank(score: torch.Tensor, eligible: torch.Tensor) -> torch.Tensor:
    """Rank of each position by falling score, from 0, eligible positions first.

    Ties go to the earlier position.
    """
    order = (
        score.masked_fill(~eligible, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    )
    return torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )


def predict(
    logits: torch.Tensor, temperature: float, generators: list[torch.Generator]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The token of each position and its log-probability.

    Args:
        logits: [rows, positions, vocabulary] float32.
        temperature: 0 takes the most likely token; above 0 one is drawn by LLaDA's Gumbel-max in
            double precision.
        generators: One per row, so that a row's draws do not depend on its batch; not read at
            temperature 0.

    Returns:
        Tokens int64 [rows, positions], and their log-probabilities float64 at temperature 1.
    """
    # float64 before the softmax: saturated float32 confidences tie, and ties would order the
    # commits.
    log_total = logits.double().logsumexp(-1)
    if not temperature:
        best, token = logits.max(-1)
        return token, best.double() - log_total
    shape, kind = logits.shape[1:], {"dtype": torch.float64, "device": logits.device}
    uniform = torch.stack(
        [torch.rand(shape, generator=generator, **kind) for generator in generators]
    )
    # argmax of exp(logit) / (-log u)^T, LLaDA's form, in logarithms.
    token = (logits.double() - temperature * torch.log(-torch.log(uniform))).argmax(-1)
    return token, logits.gather(-1, token[..., None])[..., 0].double() - log_total
