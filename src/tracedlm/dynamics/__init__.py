"""What can be measured of a language model while it learns.

Any model of transformers, causal or masked; nothing changes the model.

Two adapters say how a model reads tokens and which it predicts; the rest knows no difference:

    batches = causal_batches(input_ids, attention_mask, size=256) batches =
    masked_batches(input_ids, attention_mask, mask_id, seed=0, ratio=0.5, size=256)    # ratio=None:
    t ~ U(1e-3, 1), weights 1/t

Arrays are [n, length], one row a sentence, the same in all of them, padded on the right: input_ids
int64, attention_mask 1 = real. `labels` are `Labels(ids, names)`: ids int [n, length] of each
*token*, -1 = not scored; names a tuple. Estimators return lists of `records.measures.Measure`; what
is undefined is None with a reason.

    # float32 [layers + 1, n, length, d]; 0 = embeddings
    states = hidden_states(model, batches)
    # mean over views: a masked model at several mask ratios
    states = hidden_states(model, batches, other_batches, ...)
    probe_measures(states, {"pos": Labels(...), "role": Labels(...)}, word, seeds=(0, 1, 2))
        module "linear.pos.sentence" = classifier.task.split: linear mlp | majority position word,
        by task, by sentence | word metric accuracy (label ""), f1 (label = a class); control,
        selectivity (split sentence; label "") layer None for majority, position and word, which see
        no model
    dimension_measures(states, attention_mask, seed=0)
        module sentence | token | flat; metric two_nn participation_ratio components_90, each with
        _low and _high (95 % bootstrap)
    curvature_measures(model, {"train": batch, "validation": batch}, scope="all", budget=Budget(),
    seed=0)
        module = scope (all | lora), label = key of the batch; metric lambda_max lambda_min trace
        negative_share negative_mass (of eigenvalues, below -1 % of the largest; of their absolute
        sum) gradient_curvature (g'Hg/g'g) gradient_alignment (cos(g, Hg)) loss gradient_norm
        products products_cap
    output_measures(model, batches, {"pos": Labels(...), ...}, floor=None, module="")
        label "" or "pos:noun"; metric nll accuracy entropy ece, and excess_nll where a floor (nats,
        a number or [n, length]) is given; module: yours to say which mask ratio the batches have
        ("ratio 0.5")
    # {"model.layers.0.mlp.up_proj": [k], ...} of the mean loss
    gradients = loss_gradients(model, batches)
    # module = group of parameters ("" = all), layer its block;
    gradient_measures(gradients, previous=None, label="train")
                                                                 # metric gradient_norm,
                                                                 gradient_cosine (to previous)
    frequency_bands(word, attention_mask, names=("frequent", "middle", "rare")) -> Labels
    first_learnt(steps, values, stderrs, threshold) -> FirstLearnt(step, low, high, reason)       #
    theory.probing

The same for a causal and a masked model of transformers:

>>> import numpy as np
>>> from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel
>>> size = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
# or from_pretrained
>>> gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2))
>>> bert = BertForMaskedLM(BertConfig(**size, intermediate_size=8, is_decoder=False))
>>> ids = np.random.default_rng(0).integers(5, 49, size=(12, 6))
>>> for model, batches in (
...     (gpt2, causal_batches(ids, ids > 0)),
...     (bert, masked_batches(ids, ids > 0, mask_id=49, seed=0, ratio=0.5)),
... ):
...     labels = {"parity": Labels(ids % 2, ("even", "odd"))}
...     found = output_measures(model, batches, labels) + curvature_measures(
...         model, {"train": batches}, budget=Budget(probes=2)
...     )
...     probes = probe_measures(hidden_states(model, batches), labels, ids, classifiers=("linear",))
...     print(
...         len(found),
...         sorted({one.metric for one in found})[-3:],
...         sorted({str(one.layer) for one in probes}),
...     )
23 ['products', 'products_cap', 'trace'] ['0', '1', 'None']
23 ['products', 'products_cap', 'trace'] ['0', '1', 'None']
"""

from tracedlm.dynamics.batches import Batch, Labels, causal_batches, masked_batches
from tracedlm.dynamics.curvature import Budget, curvature_measures
from tracedlm.dynamics.dimension import dimension_measures
from tracedlm.dynamics.gradients import gradient_measures, loss_gradients
from tracedlm.dynamics.hidden import hidden_states
from tracedlm.dynamics.outputs import frequency_bands, output_measures
from tracedlm.dynamics.probes import probe_measures
from tracedlm.theory.probing import FirstLearnt, first_learnt

__all__ = [
    "Batch",
    "Budget",
    "FirstLearnt",
    "Labels",
    "causal_batches",
    "curvature_measures",
    "dimension_measures",
    "first_learnt",
    "frequency_bands",
    "gradient_measures",
    "hidden_states",
    "loss_gradients",
    "masked_batches",
    "output_measures",
    "probe_measures",
]
