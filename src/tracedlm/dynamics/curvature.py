"""Curvature of the loss on fixed batches.

Extremes, trace and negative part of the Hessian's spectrum, by products with vectors only.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from tracedlm.dynamics.batches import Batch
from tracedlm.dynamics.gradients import chosen_parameters, loss_of
from tracedlm.dynamics.outputs import share_seconds
from tracedlm.dynamics.undisturbed import twice_differentiable
from tracedlm.records.measures import Measure
from tracedlm.theory.curvature import (
    alignment,
    lanczos,
    mean_and_error,
    negative_mass,
    negative_share,
    quadrature,
)

KRYLOV = 20
"""Basis in which ARPACK looks for both ends of the spectrum at once.

Outliers, as networks have, are found in the first 21 products.
"""

TOLERANCE = 1e-2
"""Residual of an extreme eigenvector, relative to its eigenvalue.

The eigenvalue's own error is of the order of this squared.
"""


@dataclass(frozen=True)
class Budget:
    """Hessian-vector products that one batch may cost.

    Their sum is the cap that is reported beside the number used.

    Attributes:
        restarts: Of ARPACK, >= 1, for lambda_max and lambda_min: 20 products, and 18 more each. An
            end that they do not reach is undefined.
        probes: Random sign vectors of the trace.
        continued: Probes, >= 1, whose Lanczos run goes on, for the spectrum's negative part.
        steps: Products of such a run, the trace's included.
    """

    restarts: int = 1
    probes: int = 8
    continued: int = 2
    steps: int = 10

    @property
    def products(self) -> int:
        """Largest number of Lanczos runs.

        Extremes with two more to begin and to tell them apart, trace, continued runs, and one with
        the gradient.
        """
        return (
            KRYLOV
            + self.restarts * (KRYLOV - 2)
            + 2
            + self.probes
            + self.continued * (self.steps - 1)
            + 1
        )


class Hessian:
    """Products of vectors with the Hessian of the loss on some batches.

    The graph of the gradient is kept between them.

    To be used inside `twice_differentiable`.

    Attributes:
        loss: Mean loss, nats.
        gradient: float64 [n], by the chosen parameters.
        used: Products taken so far.
    """

    def __init__(self, model: Any, batches: Iterable[Batch], scope: str) -> None:
        """Forward and backward once.

        Raises:
            ValueError: As in `chosen_parameters`.
        """
        self.parameters = list(chosen_parameters(model, scope).values())
        self.parts: list[Sequence[torch.Tensor]] = []
        self.loss, self.used = 0.0, 0
        for batch in batches:
            loss = loss_of(model, batch)
            self.loss += float(loss.detach())
            # A parameter that the loss does not depend on has a gradient of zeros, not none.
            self.parts.append(
                torch.autograd.grad(
                    loss,
                    self.parameters,
                    create_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
            )
        self.gradient = sum((_flat(part) for part in self.parts), np.zeros(self.size))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters)

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """H v, float64 [n].

        Raises:
            ValueError: The model has an operation without a second derivative.
        """
        self.used += 1
        pieces = torch.as_tensor(np.asarray(vector).ravel()).split(
            [parameter.numel() for parameter in self.parameters]
        )
        along = [
            piece.to(parameter).view_as(parameter)
            for piece, parameter in zip(pieces, self.parameters, strict=True)
        ]
        total = np.zeros(self.size)
        for part in self.parts:
            live = [
                (gradient, piece)
                for gradient, piece in zip(part, along, strict=True)
                if gradient.requires_grad
            ]
            gradients, directions = zip(*live, strict=True)
            try:
                image = torch.autograd.grad(
                    gradients,
                    self.parameters,
                    directions,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
            except RuntimeError as error:
                if "not implemented" not in str(error):
                    raise
                raise ValueError(
                    f"no second derivative: {error}; load the model with"
                    " attn_implementation='eager'"
                ) from error
            total += _flat(image)
        return total


def curvature_measures(
    model: Any,
    batches: Mapping[str, Iterable[Batch]],
    scope: str = "all",
    budget: Budget | None = None,
    seed: int = 0,
) -> list[Measure]:
    """Curvature of the loss on each of some fixed sets of batches.

    Args:
        model: A model of transformers, in float32; it is left as it was.
        batches: Name -> batches; disjoint sentences of train and validation.
        scope: `all` parameters or those of `lora`.
        budget: Cap of Hessian-vector products for each name; None takes the default.
        seed: Of the start vector and of the random signs, the same at every checkpoint.

    Returns:
        module = scope, label = name, n = products: lambda_max, lambda_min, trace with its error,
            negative_share and negative_mass with
        theirs, gradient_curvature g'Hg / g'g, gradient_alignment cos(g, Hg), loss, gradient_norm;
            products and products_cap. Errors are
        those of the random signs; what a Lanczos run of few steps cannot tell apart close to zero
            is not in them.

    Raises:
        ValueError: As in `chosen_parameters`, or the model has no second derivative.
    """
    budget = budget or Budget()
    measures = []
    for name, part in batches.items():
        with twice_differentiable(model):
            # Time and products of an estimate are what it adds to those of the ones before.
            started, spent = time.process_time(), 0
            hessian = Hessian(model, part, scope)
            for estimate in (_along_gradient, _trace_and_density, _extremes):
                rows = estimate(hessian, budget, seed)
                n, seconds = hessian.used - spent, time.process_time() - started
                measures += share_seconds([_measure(scope, name, row, n) for row in rows], seconds)
                started, spent = time.process_time(), hessian.used
        for metric, value in (("products", hessian.used), ("products_cap", budget.products)):
            measures.append(_measure(scope, name, _Row(metric, float(value)), hessian.used))
    return measures


class _Row(NamedTuple):
    metric: str
    value: float | None
    stderr: float | None = None
    reason: str = ""


def _measure(scope: str, name: str, row: _Row, n: int) -> Measure:
    """A row as a measure of the batches `name`, of `n` products; its time is shared out later."""
    return Measure(
        module=scope,
        layer=None,
        metric=row.metric,
        label=name,
        value=row.value,
        stderr=row.stderr,
        n=n,
        seconds=0.0,
        reason=row.reason,
    )


def _along_gradient(hessian: Hessian, _: Budget, __: int) -> list[_Row]:
    curvature, cosine = alignment(hessian.gradient, hessian(hessian.gradient))
    return [
        _Row("loss", hessian.loss),
        _Row("gradient_norm", float(np.linalg.norm(hessian.gradient))),
        _defined("gradient_curvature", curvature, "the gradient is zero"),
        _defined("gradient_alignment", cosine, "the gradient or its image is zero"),
    ]


def _trace_and_density(hessian: Hessian, budget: Budget, seed: int) -> list[_Row]:
    rng = np.random.default_rng(seed)
    traces, shares, masses = [], [], []
    for probe in range(budget.probes):
        signs = rng.choice([-1.0, 1.0], size=hessian.size)
        alpha, beta = lanczos(hessian, signs, budget.steps if probe < budget.continued else 1)
        # The first Rayleigh quotient is Hutchinson's estimate.
        traces.append(alpha[0] * hessian.size)
        if probe < budget.continued:
            shares.append(negative_share(*quadrature(alpha, beta)))
            masses.append(negative_mass(*quadrature(alpha, beta)))
    rows = [_Row("trace", *mean_and_error(traces)), _Row("negative_share", *mean_and_error(shares))]
    if np.isnan(masses).any():
        return [*rows, _Row("negative_mass", None, reason="the Hessian is zero")]
    return [*rows, _Row("negative_mass", *mean_and_error(masses))]


def _extremes(hessian: Hessian, budget: Budget, seed: int) -> list[_Row]:
    start = np.random.default_rng(seed).standard_normal(hessian.size)
    shape = (hessian.size, hessian.size)
    operator: Any = LinearOperator(shape, matvec=hessian, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    basis = min(KRYLOV, hessian.size)
    try:
        eigenvalues, _ = eigsh(
            operator,
            2,
            which="BE",
            v0=start,
            ncv=basis,
            maxiter=budget.restarts,
            tol=TOLERANCE,  # pyright: ignore[reportArgumentType]
        )
    except ArpackNoConvergence as error:
        eigenvalues = error.eigenvalues
    reason = f"not converged after {budget.restarts} restarts of ARPACK; raise Budget.restarts"
    if len(eigenvalues) == 1:
        # Which end it is: between the two lies every Rayleigh quotient, such as the start's.
        end = eigenvalues[0]
        is_largest = end >= start @ hessian(start) / (start @ start)
        eigenvalues = [None, end] if is_largest else [end, None]
    smallest, largest = eigenvalues if len(eigenvalues) else (None, None)
    ends = (("lambda_max", largest), ("lambda_min", smallest))
    return [
        _Row(name, None, reason=reason) if end is None else _Row(name, float(end))
        for name, end in ends
    ]


def _defined(metric: str, value: float, reason: str) -> _Row:
    return _Row(metric, None, reason=reason) if math.isnan(value) else _Row(metric, value)


def _flat(tensors: Iterable[torch.Tensor]) -> np.ndarray:
    return torch.cat([tensor.detach().flatten().double().cpu() for tensor in tensors]).numpy()
