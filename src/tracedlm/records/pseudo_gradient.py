"""Pseudo-gradients of decoding, step by step (`pseudo_gradients/<dataset>/<seq_len>.parquet`)."""

import pyarrow as pa

from tracedlm.records.parquet import column

PSEUDO_GRADIENTS = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("block", pa.int32(), "block, from 0"),
        column(
            "block_step",
            pa.int32(),
            "forward t within the block, from 1, that is compared with forward t + 1",
        ),
        column("module", pa.string(), "layer.projection.matrix, as in the gradient log"),
        column(
            "visible",
            pa.int32(),
            "tokens of the block visible at forward t + 1: the predictions compared",
        ),
        column("kl", pa.float64(), "sum over them of KL(p_t || p_t+1), nats"),
        column(
            "rms",
            pa.float64(),
            "root mean square of that sum's gradient with respect to the module",
        ),
    ]
)
