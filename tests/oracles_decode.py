"""Lookup-table denoisers and naive twins of decoding.

One sample at a time, plain lists, no code shared with the package.

`decode` runs the package's engine on them. The twins of the exit rules are in oracles_rules.py.
"""

import math
import random
import zlib

import torch

import oracles
from tracedlm.decode.engine import Engine
from tracedlm.decode.rules import make_rule

VOCABULARY, MASK, PAD = 9, 8, 7


def once(table):
    """A table is made once for each text."""

    def look(model, text, *more):
        key = (table.__name__, tuple(text), *more)
        if key not in model.known:
            model.known[key] = table(model, text, *more)
        return model.known[key]

    return look


class Lookup:
    """Logits and readings that are a function of a row's own tokens, whatever its padding and its
    batch.

    It is its own observer: `latest` holds what it reads of each of its `modules` in the last call,
    numbers or lists of them.
    """

    modules = ((0, "q"),)

    def __init__(self, mask_logit=-math.inf):
        self.mask_logit, self.forwards, self.rows, self.latest, self.known = (
            mask_logit,
            0,
            0,
            {},
            {},
        )

    def __call__(self, tokens, attention, positions):
        self.forwards, self.rows = self.forwards + 1, self.rows + len(tokens)
        logits, readings = (
            torch.zeros(*positions.shape, VOCABULARY),
            {module: [] for module in self.modules},
        )
        for row, (line, real) in enumerate(zip(tokens.tolist(), attention.tolist(), strict=True)):
            padding = real.count(0)
            assert real == [0] * padding + [1] * (len(line) - padding)
            logits[row] = torch.tensor(self.logits(line[padding:]))[positions[row] - padding]
            for module, values in readings.items():
                read = torch.tensor(self.reading(line[padding:], module))
                values.append(torch.cat([torch.full((padding, *read.shape[1:]), torch.nan), read]))
        self.latest = {module: torch.stack(values) for module, values in readings.items()}
        return logits

    @once
    def logits(self, text):
        rng = random.Random(_seed(text, "logits"))
        return [
            [self.mask_logit if token == MASK else 4 * rng.random() for token in range(VOCABULARY)]
            for _ in text
        ]

    def reading(self, text, module):
        return self.similarity(text)

    @once
    def similarity(self, text):
        """Calmer the fewer masks there are, so that a stability rule fires at some steps and not at
        others.
        """
        rng, still, masks = (
            random.Random(_seed(text, "similarity")),
            random.Random(len(text)),
            text.count(MASK),
        )
        return [0.5 * still.random() + masks / len(text) * rng.random() for _ in text]


class Settling(Lookup):
    """A model with a favourite token at each position, surer of it the fewer masks there are, and
    no two prompts or steps alike.

    All numbers are multiples of 2^-16 below 2^8: the package's float32 and the twins' float64 hold
    the same ones.
    """

    def __init__(
        self, mask_logit=-64.0, modules=((0, "q"),), components=None, scale=1.0, gaps=(0.0, 9.0)
    ):
        super().__init__(mask_logit)
        self.modules, self.components, self.scale, self.gaps = modules, components, scale, gaps

    @once
    def logits(self, text):
        still, noise, masked = (
            _draws((text[0], len(text)), "favourites"),
            _draws(text, "logits"),
            text.count(MASK) / len(text),
        )
        sureness, doubt, (low, high) = 0.7 + 0.6 * still(1), 12 * masked * noise(1) ** 2, self.gaps
        favourite = still(len(text), MASK).argmax(1, keepdim=True)
        gap = sureness * (low + (high - low) * still(len(text), 1))
        table = still(len(text), MASK) + doubt * noise(len(text), MASK)
        return [[*row, self.mask_logit] for row in _exact(table.scatter_add(1, favourite, gap))]

    @once
    def reading(self, text, module):
        still, noise, masked = (
            _draws((text[0], len(text)), module),
            _draws(text, module),
            text.count(MASK) / len(text),
        )
        agitation = (0.1 + masked) * (0.2 + 0.6 * still(1)) * noise(1) ** 2
        shape = (len(text), self.components) if self.components else (len(text),)
        return _exact(self.scale * (still(*shape) - 0.5 + agitation * (2 * noise(*shape) - 1)))


def _exact(values):
    return ((values * 2**16).round() / 2**16).tolist()


def _draws(text, purpose):
    """Uniform draws in [0, 1), float64."""
    generator = torch.Generator().manual_seed(_seed(text, purpose))
    return lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)


def _seed(text, purpose):
    return zlib.crc32(repr((purpose, text)).encode())


def confidences(logits):
    """(token, probability) of the most likely token at each position, in double precision."""
    found = []
    for row in torch.tensor(logits).tolist():
        top = max(row)
        total = math.fsum(math.exp(value - top) for value in row)
        found.append((row.index(top), 1 / total))
    return found


def transfer_counts(masks, steps):
    """LLaDA's get_num_transfer_tokens: an even split, the remainder to the first steps."""
    return [masks // steps + (step < masks % steps) for step in range(steps)]


def commit(canvas, found, first, last, count):
    """The `count` most confident masked positions of first..last-1; ties to the earlier.

    Returns them.
    """
    masked = [at for at in range(first, last) if canvas[at] == MASK]
    chosen = sorted(masked, key=lambda at: (-found[at][1], at))[:count]
    for at in chosen:
        canvas[at] = found[at][0]
    return chosen


def llada(model, prompt, gen_length, block_length, steps):
    """LLaDA's generate(), semi-autoregressive, low-confidence remasking, temperature 0.

    Tokens of the response.

    Tokens to the right of the block wait; a mask left of its end can be chosen, also one that an
    earlier block has left because the model predicted it. Published for blocks of one length; where
    lengths are given, each block has a share of the steps in proportion to its own.
    """
    lengths = (
        block_length
        if isinstance(block_length, tuple)
        else (block_length,) * (gen_length // block_length)
    )
    text, first = [*prompt] + [MASK] * gen_length, len(prompt)
    for length in lengths:
        for count in transfer_counts(length, steps * length // gen_length):
            commit(text, confidences(model.logits(text)), len(prompt), first + length, count)
        first += length
    return text[len(prompt) :]


def rad(model, prompt, gen_length, block_length, counts, delta, omega):
    """TRACE Algorithm 1 on one sample: (tokens, forwards per block).

    Steps without commits are left out.
    """
    text, stopped_at = [*prompt] + [MASK] * gen_length, []
    for block in range(gen_length // block_length):
        first, previous, run, used = len(prompt) + block * block_length, None, 0, 0
        for count in [count for count in counts if count]:
            used += 1
            found = confidences(model.logits(text))
            now = (
                torch.tensor(model.similarity(text)).tolist()[len(prompt) :],
                [token != MASK for token in text[len(prompt) :]],
            )
            if previous is not None:
                kl = oracles.step_statistics([previous[0], now[0]], [previous[1], now[1]])[1]["kl"]
                run = run + 1 if kl is not None and kl < delta else 0
            previous = now
            if run >= omega:
                commit(text, found, first, first + block_length, block_length)
                break
            commit(text, found, first, first + block_length, count)
        stopped_at.append(used)
    return text[len(prompt) :], tuple(stopped_at)


def prompts_of(n, seed=0):
    """Prompts of unequal length."""
    rng = random.Random(seed)
    return [[rng.randrange(7) for _ in range(rng.randint(1, 6))] for _ in range(n)]


def decode(
    prompts,
    plan,
    rule="full",
    batch_size=4,
    model=None,
    record=None,
    observed=True,
    sampling=None,
    **settings,
):
    """Finished samples by index; `sampling`: temperature, guidance and seed of the engine."""
    model = model or Lookup()
    engine = Engine(
        model,
        prompts,
        plan,
        lambda slots: make_rule(rule, plan, slots, **settings),
        mask_id=MASK,
        pad_id=PAD,
        batch_size=batch_size,
        observer=model if observed else None,
        record=record,
        **(sampling or {}),
    )
    done = {one.sample: one for one in engine.run()}
    assert sorted(done) == list(range(len(prompts)))
    return done
