"""What a grammar of word classes lets the best model know.

Surprisal floors and role ceilings, exact, and Zipf's law.

A sentence's class sequence (`symbols`) is one of finitely many, each with a probability; the word
at a place is drawn from its class's own distribution, independently of all else, and belongs to no
other class. So what a context says about a word is what its classes say.
"""

import math

import numpy as np

# its modules load at first use, and every job reads the config, which needs only numpy
import scipy

END = -1
"""Symbol of every place behind the last word: sentences of a table are padded with it."""

HIDDEN = -2


def causal_surprisal(symbols: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Surprisal of each place's class given all classes before it (chain rule).

    No left-to-right model predicts better on average.

    Args:
        symbols: int [sequences, places], the classes, then `END`.
        probability: float [sequences], of each sequence; sums to 1.

    Returns:
        Nats [sequences, places]. The first `END` has one too: when a sentence ends is to be
            predicted. Those behind it have 0.

    >>> causal_surprisal(np.array([[0, 1], [0, END]]), np.array([0.5, 0.5])).round(6).tolist()
    [[0.0, 0.693147], [0.0, 0.693147]]
    """
    before = np.ones(len(symbols))
    surprisal = np.empty(symbols.shape)
    for place in range(symbols.shape[1]):
        here = _mass(symbols[:, : place + 1], probability)
        surprisal[:, place] = np.log(before / here)
        before = here
    return surprisal


def masked_surprisal(
    symbols: np.ndarray, probability: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """Surprisal of each hidden place's class given the visible ones and the sentence's length.

    The bidirectional floor of one mask.

    Args:
        symbols: int [sequences, places], the classes, then `END`.
        probability: float [sequences].
        visible: bool [places].

    Returns:
        Nats [sequences, places]; 0 at visible places and behind the end.
    """
    seen = np.where(visible | (symbols == END), symbols, HIDDEN)
    alike = _mass(seen, probability)
    surprisal = np.zeros(symbols.shape)
    for place in np.flatnonzero(~visible):
        revealed = seen.copy()
        revealed[:, place] = symbols[:, place]
        surprisal[:, place] = np.log(alike / _mass(revealed, probability))
    return surprisal


def expected_masked_surprisal(
    symbols: np.ndarray, probability: np.ndarray, ratios: np.ndarray
) -> np.ndarray:
    """Mean of `masked_surprisal` over masks, for a place that is itself hidden.

    The masks hide each place independently.

    Args:
        symbols: int [sequences, places].
        probability: float [sequences].
        ratios: [n] masking probabilities t in [0, 1]; 0: all other places are visible.

    Returns:
        Nats [n, sequences, places]; 0 behind the end.
    """
    lengths, means = (symbols != END).sum(1), np.zeros((len(ratios), *symbols.shape))
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        words, mass = symbols[alike, :length], probability[alike]
        for mask in range(1, 2**length):
            visible = (mask >> np.arange(length)) & 1 == 0
            hidden, shown = length - visible.sum(), visible.sum()
            surprisal = masked_surprisal(words, mass, visible)
            # The place itself is hidden for certain, so only the others are drawn.
            weight = ratios ** (hidden - 1) * (1 - ratios) ** shown
            means[:, alike, :length] += weight[:, None, None] * surprisal
    return means


def role_ceiling(
    symbols: np.ndarray, roles: np.ndarray, probability: np.ndarray, causal: bool
) -> np.ndarray:
    """Probability of the likeliest role of each word, given the sentence up to it or as a whole.

    No probe does better on average.

    Args:
        symbols: int [sequences, places].
        roles: int, same shape; negative where a word has none.
        probability: float [sequences].
        causal: The context ends with the word itself; else it is the whole sentence.

    Returns:
        [sequences, places] in (0, 1]; NaN where a word has no role, and in sequences that do not
            occur.
    """
    scored, group, mass = _roles_by_context(symbols, roles, probability, causal)
    ceiling = np.full(symbols.shape, np.nan)
    ceiling[scored] = (mass.max(1) / mass.sum(1))[group]
    return ceiling


def f1_ceiling(
    symbols: np.ndarray, roles: np.ndarray, probability: np.ndarray, causal: bool
) -> np.ndarray:
    """Largest F1 of each role that any reader of the sentence can have.

    A reader of the words so far, or of all of them.

    Who says a role in the contexts S has F1 = 2 P(role, S) / (P(S) + P(role)), so that the best S
    takes contexts in the order of the role's probability in them. This is more than the F1 of
    whoever always says the likeliest role: a role that is never the likeliest one still has a best
    S.

    Args:
        symbols: int [sequences, places].
        roles: int, same shape; negative where a word has none.
        probability: float [sequences].
        causal: As in `role_ceiling`.

    Returns:
        [roles] in (0, 1], by the roles' numbers; NaN for one that does not occur.

    >>> f1_ceiling(
    ...     np.array([[0, 1], [0, 2]]),
    ...     np.array([[0, 1], [1, 1]]),
    ...     np.array([0.4, 0.6]),
    ...     causal=True,
    ... ).round(6).tolist()
    [0.571429, 0.888889]
    """
    _, _, mass = _roles_by_context(symbols, roles, probability, causal)
    ceiling = np.full(mass.shape[1], np.nan)
    for role in np.flatnonzero(mass.sum(0)):
        order = np.argsort(-mass[:, role] / mass.sum(1))
        hits, said = mass[order, role].cumsum(), mass[order].sum(1).cumsum()
        ceiling[role] = (2 * hits / (said + hits[-1])).max()
    return ceiling


def _roles_by_context(
    symbols: np.ndarray, roles: np.ndarray, probability: np.ndarray, causal: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words that occur and have a role, bool [sequences, places].

    The context of each such word, int; mass of each role in each context.
    """
    scored = (roles >= 0) & (probability > 0)[:, None]
    sequence, place = np.nonzero(scored)
    after = np.arange(symbols.shape[1]) > place[:, None]
    context = np.where(after & causal, HIDDEN, symbols[sequence])
    group = np.unique(np.column_stack([place, context]), axis=0, return_inverse=True)[1].ravel()
    mass = np.zeros((group.max() + 1, roles.max() + 1))
    np.add.at(mass, (group, roles[scored]), probability[sequence])
    return scored, group, mass


def zipf(types: int, exponent: float) -> np.ndarray:
    """Zipf's law: probabilities of `types` words, proportional to rank ** -exponent.

    Most frequent first.

    >>> zipf(3, 1.0).round(4).tolist()
    [0.5455, 0.2727, 0.1818]
    """
    weight = np.arange(1, types + 1) ** -float(exponent)
    return weight / weight.sum()


def fitted_exponent(counts: np.ndarray) -> float:
    """Maximum-likelihood exponent of Zipf's law, from -1 to 5.

    For the counts of words in the order of their ranks.

    Args:
        counts: [types] by rank; ranks are known, not read off the counts, which would bias the fit
            upwards.

    Returns:
        NaN where fewer than two words occur: one alone is likeliest under an exponent without
            limit.

    >>> round(fitted_exponent(1e6 * zipf(50, 1.05)), 3)
    1.05
    """
    if np.count_nonzero(counts) < 2:
        return math.nan
    log_rank = np.log(np.arange(1, len(counts) + 1))
    mean = (counts * log_rank).sum() / counts.sum()
    found = scipy.optimize.minimize_scalar(
        lambda exponent: exponent * mean + np.log(np.exp(-exponent * log_rank).sum()),
        bounds=(-1, 5),
    )
    return float(found.x)


def expected_types(probability: np.ndarray, draws: float) -> float:
    """Expected number of different words among independent draws.

    >>> float(expected_types(np.array([0.5, 0.5]), 2))
    1.5
    """
    return float((1 - (1 - probability) ** draws).sum())


def _mass(keys: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Probability of all rows that equal a row, [rows]."""
    group = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    return np.bincount(group, weights=probability)[group]
