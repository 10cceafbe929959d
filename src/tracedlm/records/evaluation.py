"""Answers under several prompt templates and seeds.

`evaluation/<dataset>/<seq_len>.parquet`, one row for each of them.
"""

import pyarrow as pa

from tracedlm.records.parquet import column

EVALUATION = pa.schema(
    [
        column("template", pa.string(), "wording of the prompt"),
        column(
            "seed",
            pa.int64(),
            "seed of the draws; of no consequence at temperature 0 but for `random`",
        ),
        column(
            "rule",
            pa.string(),
            "exit rule; a baseline at the mean forwards of another rule is named after both, e.g."
            " truncate@rad",
        ),
        column("label", pa.string(), "exit rule with its settings"),
        column("sample_id", pa.int32(), "index in the test split"),
        column(
            "facets",
            pa.map_(pa.string(), pa.string()),
            "what kind of problem it is, e.g. Subdomain: Genetics",
        ),
        # Worked examples are the same before every problem.
        column("prompt", pa.string(), "user turn, without worked examples before it"),
        column(
            "prompt_tokens",
            pa.int32(),
            "tokens of the prompt with the chat template and all worked examples",
        ),
        column("output_tokens", pa.int32(), "tokens of the response before its end token"),
        column("text", pa.string(), "decoded response"),
        column("answer", pa.string(), "extracted answer; null where there is none"),
        column("correct", pa.bool_(), "the whole problem is solved (strict scorer)"),
        column(
            "score_d1",
            pa.float64(),
            "share of the problem that is right by the published scorer, 0 to 1",
        ),
        column("nfe", pa.int32(), "forwards this sample took part in"),
    ]
)
