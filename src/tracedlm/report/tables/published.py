"""Numbers printed in the papers, all for LLaDA-8B, by this project's dataset names.

EDIT: 128, 256 and 512 tokens; TRACE: 128.
"""

SOURCE = "LLaDA-8B, published"
LENGTHS = (128, 256, 512)

EDIT_ACCURACY = {
    "LLaDA, no SFT": {
        "countdown": (19.9, 19.5, 16.4),
        "sudoku": (10.4, 6.4, 6.3),
        "math500": (27.6, 32.4, 36.0),
        "gsm8k": (68.1, 75.8, 79.5),
        "gpqa": (21.9, 27.9, 25.7),
    },
    "LLaDA, SFT": {
        "countdown": (19.5, 20.7, 20.3),
        "sudoku": (11.4, 8.2, 5.0),
        "math500": (26.2, 30.4, 35.4),
        "gsm8k": (69.8, 77.0, 81.2),
        "gpqa": (23.0, 20.5, 26.3),
    },
    "EDIT": {
        "countdown": (28.9, 31.6, 27.7),
        "sudoku": (16.1, 11.3, 7.6),
        "math500": (27.4, 32.8, 36.6),
        "gsm8k": (67.3, 77.6, 76.2),
        "gpqa": (25.5, 27.7, 26.1),
    },
}
"""EDIT Table 1, percent."""

EDIT_REDUCTION = {
    "countdown": (36.9, 68.3, 47.9),
    "sudoku": (40.2, 41.5, 36.2),
    "math500": (40.5, 36.0, 23.0),
    "gsm8k": (33.1, 19.2, 11.8),
    "gpqa": (37.0, 36.5, 24.2),
}
"""EDIT Table 2, percent fewer steps; TRACE Tables 1 and 3 print the same, rounded."""

EDIT_STEPS = {
    "countdown": (40.4, 40.6, 133.3),
    "sudoku": (38.3, 74.9, 163.3),
    "math500": (38.1, 81.9, 197.2),
    "gsm8k": (42.8, 103.5, 225.8),
    "gpqa": (40.3, 81.3, 194.1),
}
"""EDIT Table 2, steps summed over blocks, of 64, 128 and 256.

Its released outputs for Countdown at 128 tokens give 43.1.
"""

TRACE_IMPACT = {"countdown": 2.3, "sudoku": 1.5, "math500": 0.0, "gsm8k": 0.0}
"""TRACE Tables 1 and 3, accuracy impact: percent in print, taken as points.

One value for all lengths.
"""

EDIT_SETTINGS = {
    ("first", "delta"): dict.fromkeys(EDIT_STEPS, (0.05, 0.05, 0.05)),
    ("first", "omega"): dict.fromkeys(EDIT_STEPS, (6, 6, 6)),
    ("later", "delta"): {
        "countdown": (0.05, 0.55, 0.45),
        "sudoku": (0.1, 0.45, 0.05),
        "math500": (0.1, 0.05, 0.025),
        "gsm8k": (0.05, 0.025, 0.025),
        "gpqa": (0.05, 0.05, 0.05),
    },
    ("later", "omega"): {
        "countdown": (6, 12, 12),
        "sudoku": (6, 12, 6),
        "math500": (6, 6, 6),
        "gsm8k": (6, 6, 6),
        "gpqa": (6, 6, 8),
    },
}
"""EDIT Table 3, by block and parameter.

They belong to the KL of `rank_softmax`, not to that of `rad` (method.md section 2).
"""

EDIT_MODULES = {
    "q, LoRA-A": (0.142, 0.168),
    "q, LoRA-B": (0.089, 0.103),
    "k, LoRA-B": (0.124, 0.139),
    "v, LoRA-B": (0.117, 0.128),
}
"""EDIT Table 4, 100 validation examples of GSM8K.

Mean KL with row-wise energy and with row-wise mean.
"""

TRACE_COVERAGE = {
    "gsm8k": (0.069, -0.160, 0.295, 0.6250, 0.1406),
    "math500": (-0.149, -0.384, 0.103, 0.5938, 0.0625),
    "sudoku": (-0.184, -0.423, 0.065, 0.2344, 0.0156),
    "countdown": (0.136, -0.121, 0.363, 0.7500, 0.0625),
}
"""TRACE Table 2, 128 tokens, n = 64: rho, its interval, strict coverage, calibrated coverage."""

TRACE_ABLATION = {
    "gsm8k": {"q": 0.984, "k": 0.234, "v": 0.219, "qkv_mean": 0.969, "qkv_max": 0.984},
    "math500": {"q": 0.984, "k": 1.000, "v": 0.000, "qkv_mean": 0.984, "qkv_max": 0.813},
    "sudoku": {"q": 0.375, "k": 0.094, "v": 0.125, "qkv_mean": 0.375, "qkv_max": 0.344},
    "countdown": {"q": 0.312, "k": 0.016, "v": 0.953, "qkv_mean": 0.250, "qkv_max": 0.922},
}
"""TRACE Table 4, 128 tokens: coverage at (3e-6, 3)."""

TRACE_MEANS = {
    "concentration": {"countdown": 1.8e-5, "math500": 1.8e-5, "sudoku": 1.35e-5},
    "lscr_tv": {"gsm8k": 2.39, "math500": 2.52, "sudoku": 2.08, "countdown": 2.56},
}
"""TRACE section 4.4, 128 tokens: means, where it prints one."""

TRACE_STORAGE = (
    ("one q map", 1, 2, 0.000095),
    ("q k v o, 4 blocks", 16, 2, 0.00153),
    ("q k v, 32 blocks", 96, 4, 0.018),
    ("q k v o, 32 blocks", 128, 4, 0.024),
)
"""TRACE App. E's examples for width 4096 and a model of 8 GiB.

Maps, how many, bytes per entry, percent of the model.
"""


def at_length(
    printed: dict[str, tuple[float, float, float]], dataset: str, seq_len: int
) -> float | None:
    """The value printed for a dataset at a canvas length; None where there is none."""
    return (
        printed[dataset][LENGTHS.index(seq_len)]
        if dataset in printed and seq_len in LENGTHS
        else None
    )
