"""Naive twins of the exit rules.

One sample, plain lists, from the definitions of method.md section 2; no code shared with the
package.

A rule is called after every forward with all forwards so far (`history`, the last one last) and the
tokens the schedule commits next (`quota`). It answers which positions to commit and whether to
stop. `outcome` decodes one sample with one of them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import oracles
from oracles_decode import MASK, Settling, commit, confidences, transfer_counts


@dataclass
class Forward:
    """One forward of one sample: response positions only, before anything is committed."""

    canvas: list
    logits: list
    readings: dict
    block: int
    first: int
    last: int

    def __post_init__(self):
        self.found = confidences(self.logits)

    def masked(self, everywhere=False):
        """Masked positions of the block and of those before it, or of the whole canvas."""
        return [
            at
            for at, token in enumerate(self.canvas)
            if token == MASK and (everywhere or at < self.last)
        ]

    def surest(self):
        """Masked positions up to the block's end, most confident first, ties to the earlier."""
        return sorted(self.masked(), key=lambda at: (-self.found[at][1], at))

    def margin(self, at):
        """Gap of the two largest logits."""
        best, second, *_ = sorted(self.logits[at], reverse=True)
        return best - second


def decode(model, prompt, lengths, counts, rule, canvas=False, own=False, polish=lambda block: 0):
    """(tokens, forwards per block). Steps without commits are left out.

    A rule of scope `canvas` fills everything when it stops. A rule that commits on its own (`own`)
    has a block until it is full, but never for more forwards than the block has tokens: a model may
    predict the mask.
    """
    text, history, used, first = [MASK] * sum(lengths), [], [], 0
    for block, length in enumerate(lengths):
        last, steps, forwards, stop = (
            first + length,
            [count for count in counts[block] if count],
            0,
            False,
        )

        def look(first=first, last=last, block=block):
            whole, begin = [*prompt, *text], len(prompt)
            readings = {module: model.reading(whole, module)[begin:] for module in model.modules}
            history.append(
                Forward(list(text), model.logits(whole)[begin:], readings, block, first, last)
            )
            return history[-1]

        while not stop and (
            (MASK in text[first:last] and forwards < length) if own else forwards < len(steps)
        ):
            now = look()
            quota = steps[forwards] if forwards < len(steps) else 1
            forwards += 1
            positions, stop = rule(history, quota)
            if stop and not polish(block):
                positions = now.masked(everywhere=canvas)
            for at in positions:
                text[at] = now.found[at][0]
        masks = text[:last].count(MASK)
        left = min(polish(block), masks, len(steps) - forwards) if stop else 0
        for count in transfer_counts(masks, left) if left else ():
            forwards += 1
            commit(text, look().found, 0, last, count)
        used.append(forwards)
        first = last
        if stop and canvas:
            return text, (*used, *[0] * (len(lengths) - block - 1))
    return text, tuple(used)


def scheduled(history, quota):
    """The most confident masks up to the block's end."""
    return history[-1].surest()[:quota]


def here(history):
    """The forwards of the block."""
    return [forward for forward in history if forward.block == history[-1].block]


def softmax(values, tau=1.0):
    top = max(values)
    weights = [math.exp((value - top) / tau) for value in values]
    return [weight / math.fsum(weights) for weight in weights]


def divergence(p, q):
    return math.fsum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x)


def entropy_of(p):
    return -math.fsum(x * math.log(x) for x in p if x)


def skip_noop():
    return lambda history, quota: (scheduled(history, quota), False)


def threshold(confidence):
    """Every masked token of the block with at least this probability.

    The most confident one if there is none.
    """

    def rule(history, quota):
        now = history[-1]
        return [at for at in now.masked() if now.found[at][1] >= confidence] or now.surest()[
            :1
        ], False

    return rule


def factor(factor):
    """The n most confident for the largest n with (n + 1) (1 - confidence of the n-th) < factor.

    At least one.
    """

    def rule(history, quota):
        now, order = history[-1], history[-1].surest()
        allowed = [
            n
            for n in range(1, len(order) + 1)
            if (n + 1) * (1 - now.found[order[n - 1]][1]) < factor
        ]
        return order[: max(allowed, default=1)], False

    return rule


def entropy_bound(gamma):
    """The k of lowest entropy for the largest k with sum - max <= gamma."""

    def rule(history, quota):
        now = history[-1]
        h = {at: entropy_of(softmax(now.logits[at])) for at in now.masked()}
        order = sorted(h, key=lambda at: (h[at], at))
        sums = [
            math.fsum(h[at] for at in order[:k]) - max(h[at] for at in order[:k])
            for k in range(1, len(order) + 1)
        ]
        return order[: sum(value <= gamma for value in sums)], False

    return rule


def klass(kl, history, confidence):
    """Every mask whose last `history` divergences are below `kl` and whose probability is above
    `confidence`; else the schedule's.
    """
    bound, span = kl, history

    def ready(forwards, at):
        pairs = list(pairwise(softmax(forward.logits[at]) for forward in forwards))[-span:]
        calm = len(pairs) == span and all(divergence(now, before) < bound for before, now in pairs)
        return calm and forwards[-1].found[at][1] > confidence

    def rule(history, quota):
        chosen = [at for at in history[-1].masked() if ready(here(history), at)]
        return chosen or scheduled(history, quota), False

    return rule


def prophet(steps, gaps=(7.5, 5.0, 2.5), answer_start=None):
    """Mean logit gap of the answer, or of all masks where it is not known, against a value for each
    third of the steps.
    """

    def rule(history, quota):
        now, done = history[-1], len(history) - 1
        answer = (
            now.masked(everywhere=True)
            if answer_start is None
            else range(answer_start, len(now.canvas))
        )
        gap = math.fsum(map(now.margin, answer)) / len(answer)
        return (
            scheduled(history, quota),
            gap >= gaps[0 if 3 * done < steps else 1 if 3 * done < 2 * steps else 2],
        )

    return rule


def sched(steps, high=7.5, low=2.5, shape="cosine", rate=4.0):
    """Mean logit margin of all masks against a threshold that falls from high towards low."""

    def rule(history, quota):
        now, progress = history[-1], (len(history) - 1) / (steps - 1)
        fall = {
            "linear": 1 - progress,
            "cosine": math.cos(math.pi * progress / 2) ** 2,
            "exponential": math.exp(-rate * progress),
        }[shape]
        masks = now.masked(everywhere=True)
        return (
            scheduled(history, quota),
            math.fsum(map(now.margin, masks)) / len(masks) >= low * (1 - fall) + high * fall,
        )

    return rule


def stable_confident(steps=1, entropy=0.005, polish=0):
    """The block's text with its masks filled was the same `steps` forwards ago and since, and the
    masks' mean entropy is small.
    """
    bound = entropy

    def text(forward):
        return [
            forward.found[at][0] if at in forward.masked() else forward.canvas[at]
            for at in range(forward.first, forward.last)
        ]

    def rule(history, quota):
        forwards, now = here(history), history[-1]
        same = len(forwards) > steps and all(
            text(forward) == text(now) for forward in forwards[-1 - steps :]
        )
        return scheduled(history, quota), same and mean_entropy(now) < bound

    return rule


def mean_entropy(forward):
    return math.fsum(entropy_of(softmax(forward.logits[at])) for at in forward.masked()) / len(
        forward.masked()
    )


def moved(before, now, earlier, later, tau):
    """KL(now || before) of the RAD on the tokens both forwards could see.

    None where those are fewer than two.
    """
    seen = [
        at for at in range(len(now.canvas)) if now.canvas[at] != MASK and before.canvas[at] != MASK
    ]
    return (
        divergence(
            softmax([later[at] for at in seen], tau), softmax([earlier[at] for at in seen], tau)
        )
        if len(seen) > 1
        else None
    )


def rad(
    delta=0.05, omega=6, later_delta=None, later_omega=None, tau=1.0, polish=0, similarity=None
):
    """The matched-support KL was below delta for omega consecutive steps of the block."""
    similarity = similarity or (lambda history: next(iter(history[-1].readings.values())))
    seen = []

    def rule(history, quota):
        seen.append(similarity(history))
        later = history[-1].block > 0
        bound, span = (later and later_delta) or delta, (later and later_omega) or omega
        forwards = here(history)
        values = seen[-len(forwards) :]
        latest = range(max(1, len(forwards) - span), len(forwards))
        moves = [moved(forwards[t - 1], forwards[t], values[t - 1], values[t], tau) for t in latest]
        return scheduled(history, quota), len(moves) == span and all(
            move is not None and move < bound for move in moves
        )

    return rule


def token_freeze(token_delta=1e-4, token_omega=3, token_tau=1.0, **settings):
    """`rad` in which a token keeps its cosine once the KL of its components was at most token_delta
    for token_omega steps of a block.
    """
    frozen = {}

    def components(forward, at):
        ((_, *projected),) = (values[at] for values in forward.readings.values())
        return softmax([abs(value) for value in projected], token_tau)

    def stable(before, now, at):
        return (
            MASK not in (before.canvas[at], now.canvas[at])
            and divergence(components(now, at), components(before, at)) <= token_delta
        )

    def similarity(history):
        now = [
            frozen.get(at, values[0])
            for at, values in enumerate(next(iter(history[-1].readings.values())))
        ]
        pairs = list(pairwise(here(history)))[-token_omega:]
        for at, value in enumerate(now):
            if len(pairs) == token_omega and all(
                stable(before, later, at) for before, later in pairs
            ):
                frozen.setdefault(at, value)
        return now

    return rad(similarity=similarity, **settings)


def rank_softmax(blocks, tau=0.1, smoothing=1e-8):
    """Enough of the latest KLs(previous || current) of softmaxes over rank columns, mean over the
    block's visible tokens and modules.

    A block's first KL is infinite, and the released code looks only once it has `stability_span` of
    them.
    """

    def column_kl(before, now, module, at):
        q, p = (
            [x + smoothing for x in softmax(forward.readings[module][at], tau)]
            for forward in (before, now)
        )
        return divergence(q, p)

    def mean(before, now):
        visible = [at for at in range(now.first, now.last) if now.canvas[at] != MASK]
        kls = [column_kl(before, now, module, at) for module in now.readings for at in visible]
        return math.fsum(kls) / len(kls) if kls else math.inf

    def rule(history, quota):
        own, forwards = released(blocks, history[-1].block), here(history)
        kls = [math.inf, *(mean(before, now) for before, now in pairwise(forwards))][
            -own["stability_span"] :
        ]
        enough = sum(value < own["threshold"] for value in kls) >= own["required_stable"]
        return scheduled(history, quota), len(kls) == own["stability_span"] and enough

    return rule


def released(blocks, block):
    """Settings of a block; the last given also serve later ones."""
    return {
        "center": 4.0,
        "std": 5.0,
        "threshold": 0.05,
        "stability_span": 6,
        "required_stable": 6,
        "polish_steps": 2,
    } | dict(blocks[min(block, len(blocks) - 1)])


def gaussian(tokens, steps, center, std):
    """EDIT's schedule; rounded weights, so that steps symmetric about the centre tie as they do on
    paper.
    """
    weights = [
        round(math.exp(-(((step / steps - 1 / center) * std) ** 2) / 2), 12)
        for step in range(steps)
    ]
    return oracles.largest_remainder(tokens, weights)


def schedule(kind, lengths, steps):
    """Tokens to commit in each step of each block."""
    shares = [steps * length // sum(lengths) for length in lengths]
    spread = (
        transfer_counts
        if kind == "uniform"
        else lambda length, share: gaussian(length, share, 4.0, 5.0)
    )
    return [spread(length, share) for length, share in zip(lengths, shares, strict=True)]


RULES = {
    function.__name__: function
    for function in (
        skip_noop,
        threshold,
        factor,
        entropy_bound,
        klass,
        stable_confident,
        rad,
        token_freeze,
        rank_softmax,
    )
} | {"subspace": rad, "subspace_norm": rad}
OF_THE_CANVAS = {"prophet": prophet, "sched": sched}
COMMIT_THEMSELVES = {"threshold", "factor", "entropy_bound", "klass"}


def outcome(name, model, prompt, lengths, budget, kind="uniform", /, **settings):
    """(tokens, forwards per block) of one sample with a rule."""
    counts, polish = schedule(kind, lengths, budget), settings.get("polish", 0)
    if name == "rank_softmax":
        own = [released(settings["blocks"], block) for block in range(len(lengths))]
        counts = [
            gaussian(length, budget * length // sum(lengths), one["center"], one["std"])
            for length, one in zip(lengths, own, strict=True)
        ]
        return decode(
            model,
            prompt,
            lengths,
            counts,
            rank_softmax(**settings),
            polish=lambda block: own[block]["polish_steps"],
        )
    rule = (
        OF_THE_CANVAS[name](budget, **settings)
        if name in OF_THE_CANVAS
        else RULES[name](**settings)
    )
    return decode(
        model,
        prompt,
        lengths,
        counts,
        rule,
        name in OF_THE_CANVAS,
        name in COMMIT_THEMSELVES,
        polish=lambda block: polish,
    )


def model_for(name, mask_logit=-64.0, **other):
    """A model that gives the readings a rule needs."""
    more = {
        "rank_softmax": {"modules": ((0, "q"), (0, "v"), (3, "k")), "components": 5, "scale": 0.5},
        "token_freeze": {"components": 4},
        "subspace_norm": {"scale": 4.0},
        "stable_confident": {"gaps": (3.0, 13.0)},
        "prophet": {"gaps": (2.0, 9.0)},
        "sched": {"gaps": (4.0, 8.0)},
    }
    return Settling(mask_logit, **(more.get(name, {}) | other))
