"""Slow and obvious twins of `tracedlm.theory`, line by line from the papers, in 50-digit decimal
arithmetic.

They take nested lists (anything indexable) and share no code with the package. Undefined is None.
"""

from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 50


def softmax(row, support, tau=1.0):
    """TRACE Eq. 6 on the positions of `support`: {position: probability}."""
    weights = {s: (Decimal(float(row[s])) / Decimal(tau)).exp() for s in support}
    total = sum(weights.values())
    return {s: weight / total for s, weight in weights.items()}


def entropy(p):
    return -sum((x * x.ln() for x in p.values() if x > 0), Decimal(0))


def kl(p, q):
    if any(p[s] > 0 == q[s] for s in p):
        return Decimal("Infinity")
    return sum((p[s] * (p[s] / q[s]).ln() for s in p if p[s] > 0), Decimal(0))


def smoothed(p, amount):
    """TRACE section 3.1: add to every entry, renormalise."""
    total = sum(x + Decimal(amount) for x in p.values())
    return {s: (x + Decimal(amount)) / total for s, x in p.items()}


def total_variation(p, q):
    return sum((abs(p[s] - q[s]) for s in p), Decimal(0)) / 2


def margin(p):
    ranked = sorted(p.values(), reverse=True)
    return ranked[0] - ranked[1]


def seen(visible, t):
    return {s for s in range(len(visible[t])) if visible[t][s]}


def step_statistics(similarity, visible, tau=1.0):
    """One dict per step, or None where |I_t| < 2; concentration None where |S_t| < 2."""
    steps = []
    for t in range(len(similarity)):
        now = seen(visible, t)
        step = {
            "kl": None,
            "tv": None,
            "margin": None,
            "concentration": None,
            "support": 0,
            "visible_count": len(now),
        }
        if len(now) >= 2:
            step["concentration"] = (
                1 - entropy(softmax(similarity[t], now, tau)) / Decimal(len(now)).ln()
            )
        if t > 0:
            matched = now & seen(visible, t - 1)
            step["support"] = len(matched)
            if len(matched) >= 2:
                p, q = (
                    softmax(similarity[t], matched, tau),
                    softmax(similarity[t - 1], matched, tau),
                )
                step.update(kl=kl(p, q), tv=total_variation(p, q), margin=margin(p))
        steps.append(step)
    return steps


def window_support(visible, t, omega):
    """C, the positions seen at every step t - omega .. t; None without that much history."""
    return (
        set.intersection(*(seen(visible, r) for r in range(t - omega, t + 1)))
        if t >= omega
        else None
    )


def maximisers(row, support):
    """All positions of the largest similarity."""
    top = max(float(row[s]) for s in support)
    return {s for s in support if float(row[s]) == top}


def certificate_slack(similarity, visible, t, delta, omega, tau=1.0):
    """How far each rule of method.md section 5 is from its border at step t.

    Certified where positive; None: undefined.

    `observed` is +1 or -1. A rule with several conditions has the slack of the tightest.
    """
    slack = dict.fromkeys(("paper", "pinsker", "measured", "tv", "observed"))
    delta, radius = Decimal(delta), omega * (Decimal(delta) / 2).sqrt()
    steps = step_statistics(similarity, visible, tau)
    if t >= omega:
        own = [steps[r]["kl"] for r in range(t - omega + 1, t + 1)]
        if None not in own:
            slack["paper"] = min(delta - max(own), steps[t]["margin"] / 2 - radius)
    common = window_support(visible, t, omega)
    if common is None or len(common) < 2:
        return slack
    p = {r: softmax(similarity[r], common, tau) for r in range(t - omega, t + 1)}
    divergences = [kl(p[r], p[r - 1]) for r in range(t - omega + 1, t + 1)]
    half = margin(p[t]) / 2
    slack["pinsker"] = min(delta - max(divergences), half - radius)
    slack["measured"] = half - sum((max(d, Decimal(0)) / 2).sqrt() for d in divergences)
    slack["tv"] = min(half - total_variation(p[t], p[t - k]) for k in range(1, omega + 1))
    firsts = {min(maximisers(similarity[r], common)) for r in range(t - omega, t + 1)}
    slack["observed"] = Decimal(1 if len(firsts) == 1 else -1)
    return slack


def cosine(activation, u):
    dot = sum(Decimal(float(a)) * Decimal(float(b)) for a, b in zip(activation, u, strict=True))
    norm = sum(Decimal(float(a)) ** 2 for a in activation) * sum(Decimal(float(b)) ** 2 for b in u)
    return dot / norm.sqrt()


def geometric_tail(alpha, steps, tv_last):
    """Sum of the next `steps` movements if each is alpha times the one before."""
    return float(sum(Fraction(alpha) ** j for j in range(1, steps + 1)) * Fraction(tv_last))


def largest_remainder(tokens, weights):
    """Hamilton's method with exact fractions; ties to the earlier seat."""
    total = sum(Fraction(float(w)) for w in weights)
    shares = [tokens * Fraction(float(w)) / total for w in weights]
    counts = [int(share) for share in shares]
    for _ in range(tokens - sum(counts)):
        behind = max(range(len(shares)), key=lambda i: (shares[i] - counts[i], -i))
        counts[behind] += 1
    return counts


def ranks(values):
    """Average ranks, 1-based."""
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


def spearman(x, y):
    a, b = ranks(x), ranks(y)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((i - mean_a) * (j - mean_b) for i, j in zip(a, b, strict=True))
    return (
        covariance / (sum((i - mean_a) ** 2 for i in a) * sum((j - mean_b) ** 2 for j in b)) ** 0.5
    )
