"""Traces that stress certificates: (similarity, visible), [steps, positions] each.

Invisible similarities are NaN: nobody may read them.
"""

import numpy as np


def gaussian(seed, steps=12, positions=16, noise=1e-3, spread=0.3):
    """Cosines that wobble about their own level by Gaussian noise, all visible.

    What late windows look like.
    """
    rng = np.random.default_rng(seed)
    level = spread * rng.standard_normal(positions)
    return np.clip(level + noise * rng.standard_normal((steps, positions)), -1, 1), np.ones(
        (steps, positions), dtype=bool
    )


def growing(seed, steps=12, positions=16, noise=1e-3):
    """The same while tokens are unmasked in random order, the first step seeing none."""
    similarity, _ = gaussian(seed, steps, positions, noise)
    order = np.random.default_rng(seed + 1).permutation(positions)
    visible = order < (np.arange(steps) * positions // steps)[:, None]
    return np.where(visible, similarity, np.nan), visible


def remasked(seed, steps=12, positions=16, noise=1e-3):
    """The same with other tokens hidden at each step: supports shrink as often as they grow."""
    similarity, _ = gaussian(seed, steps, positions, noise)
    visible = np.random.default_rng(seed + 2).random((steps, positions)) > 0.2
    return np.where(visible, similarity, np.nan), visible


def tied(seed, steps=12, positions=16):
    """Similarities on three levels: the top is often shared, and moves are exactly nothing."""
    levels = np.random.default_rng(seed).integers(0, 3, (steps, positions)) / 4
    return np.repeat(levels[::3], 3, axis=0)[:steps], np.ones((steps, positions), dtype=bool)


def one_token(seed, steps=12, positions=16):
    """One visible token, another from half way on."""
    similarity, visible = gaussian(seed, steps, positions)
    visible = np.zeros_like(visible)
    visible[: steps // 2, 3], visible[steps // 2 :, 5] = True, True
    return np.where(visible, similarity, np.nan), visible


def constant(seed, steps=12, positions=16):
    """The uniform distribution, for ever."""
    return np.full((steps, positions), 0.25), np.ones((steps, positions), dtype=bool)


def frozen(seed, steps=12, positions=16):
    """A clear winner that never moves."""
    return np.tile(np.eye(positions)[0], (steps, 1)), np.ones((steps, positions), dtype=bool)


def zeros(seed, steps=12, positions=16):
    """Exact zeros of probability that come and go: similarities of -inf."""
    similarity, visible = gaussian(seed, steps, positions)
    gone = np.random.default_rng(seed + 3).random((steps, positions)) < 0.1
    gone[: steps // 3] = gone[0]
    gone[:, 0] = False
    return np.where(gone, -np.inf, similarity), visible


def newcomer(seed, steps=12, positions=16):
    """Every step unmasks a token that outweighs all before it.

    method.md section 5, error 1, without end.
    """
    similarity = np.tile(np.linspace(-1, 1, positions), (steps, 1))
    visible = np.arange(positions) < 3 + np.arange(steps)[:, None]
    return np.where(visible, similarity, np.nan), visible


GENERATORS = (gaussian, growing, remasked, tied, one_token, constant, frozen, zeros, newcomer)
