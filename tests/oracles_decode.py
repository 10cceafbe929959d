"""A lookup-table denoiser and naive twins of decoding: one sample at a time, plain lists, no code shared with the package.

`decode` runs the package's engine on them.
"""

import math
import random
import zlib

import torch

import oracles
from tracedlm.decode.engine import Engine
from tracedlm.decode.rules import make_rule

VOCABULARY, MASK, PAD = 9, 8, 7


class Lookup:
    """Logits and similarities that are a function of a row's own tokens, whatever its padding and its batch.

    It is its own observer: `latest` holds the similarities of the last call.
    """

    def __init__(self, mask_logit=-math.inf):
        self.mask_logit, self.forwards, self.rows, self.latest = mask_logit, 0, 0, {}

    def __call__(self, tokens, attention, positions):
        self.forwards, self.rows = self.forwards + 1, self.rows + len(tokens)
        similarity = torch.zeros(tokens.shape)
        logits = torch.zeros(*positions.shape, VOCABULARY)
        for row, (line, real) in enumerate(zip(tokens.tolist(), attention.tolist(), strict=True)):
            text = [token for token, is_real in zip(line, real, strict=True) if is_real]
            padding = len(line) - len(text)
            table = self.logits(text)
            similarity[row, padding:] = torch.tensor(self.similarity(text))
            logits[row] = torch.tensor([table[at - padding] for at in positions[row].tolist()])
        self.latest = {(0, "q"): similarity}
        return logits

    def logits(self, text):
        rng = _rng(text, "logits")
        return [[self.mask_logit if token == MASK else 4 * rng.random() for token in range(VOCABULARY)] for _ in text]

    def similarity(self, text):
        """Calmer the fewer masks there are, so that a stability rule fires at some steps and not at others."""
        rng, still, masks = _rng(text, "similarity"), random.Random(len(text)), text.count(MASK)
        return [0.5 * still.random() + masks / len(text) * rng.random() for _ in text]


def _rng(text, purpose):
    return random.Random(zlib.crc32(repr((purpose, text)).encode()))


def confidences(logits):
    """(token, probability) of the most likely token at each position, softmax in double precision."""
    found = []
    for row in logits:
        row = [float(torch.tensor(value)) for value in row]
        top = max(row)
        total = math.fsum(math.exp(value - top) for value in row)
        found.append((row.index(top), 1 / total))
    return found


def transfer_counts(masks, steps):
    """LLaDA's get_num_transfer_tokens: an even split, the remainder to the first steps."""
    return [masks // steps + (step < masks % steps) for step in range(steps)]


def commit(canvas, found, first, last, count):
    """The `count` most confident masked positions of first..last-1; ties to the earlier. Returns them."""
    masked = [at for at in range(first, last) if canvas[at] == MASK]
    chosen = sorted(masked, key=lambda at: (-found[at][1], at))[:count]
    for at in chosen:
        canvas[at] = found[at][0]
    return chosen


def llada(model, prompt, gen_length, block_length, steps):
    """LLaDA's generate(), semi-autoregressive, low-confidence remasking, temperature 0: tokens of the response."""
    text = [*prompt] + [MASK] * gen_length
    blocks = gen_length // block_length
    for block in range(blocks):
        first = len(prompt) + block * block_length
        for count in transfer_counts(block_length, steps // blocks):
            commit(text, confidences(model.logits(text)), first, first + block_length, count)
    return text[len(prompt) :]


def rad(model, prompt, gen_length, block_length, counts, delta, omega):
    """TRACE Algorithm 1 on one sample: (tokens, forwards per block). Steps without commits are left out."""
    text, stopped_at = [*prompt] + [MASK] * gen_length, []
    for block in range(gen_length // block_length):
        first, previous, run, used = len(prompt) + block * block_length, None, 0, 0
        for count in [count for count in counts if count]:
            used += 1
            found = confidences(model.logits(text))
            now = torch.tensor(model.similarity(text)).tolist()[len(prompt) :], [token != MASK for token in text[len(prompt) :]]
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


def decode(prompts, plan, rule="full", batch_size=4, model=None, record=None, observed=True, **settings):
    """Finished samples by index."""
    model = model or Lookup()
    observer = model if observed else None
    engine = Engine(
        model,
        prompts,
        plan,
        lambda slots: make_rule(rule, plan, slots, **settings),
        mask_id=MASK,
        pad_id=PAD,
        batch_size=batch_size,
        observer=observer,
        record=record,
    )
    done = {one.sample: one for one in engine.run()}
    assert sorted(done) == list(range(len(prompts)))
    return done
