"""Mistyped targets: the message names what is known and what was probably meant, and nothing is
said of a good one.
"""

import pytest

from tracedlm.config.targets import explain_target

RULES = ["all", "maps", "models", "tables"]
PATTERNS = [
    "results/s/tables/efficiency.csv",
    "results/s/certify/{dataset,countdown|sudoku}/{seq_len,128|256}/q/summary.json",
    "results/s/noise/{run,[a-z]+}.json",
    "sources/{source,sudoku/test\\.csv}",
]


@pytest.mark.parametrize(
    "target",
    [
        "tables",
        "results/s/certify/sudoku/256/q/summary.json",
        "results/s/noise/clean.json",
        "sources/sudoku/test.csv",
    ],
)
def test_a_good_target_needs_no_word(target):
    assert explain_target(target, RULES, PATTERNS, {}) is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tabels", "Did you mean 'tables'?"),
        (
            "qqqqqq",
            (
                "there is no rule or file 'qqqqqq'. Rules that can be a target: all, maps, models,"
                " tables."
            ),
        ),
        ("results/s/tables/efficency.csv", "Did you mean 'results/s/tables/efficiency.csv'?"),
        (
            "results/s/certfy/sudoku/128/q/summary.json",
            "Did you mean 'results/s/certify/sudoku/128/q/summary.json'?",
        ),
        ("results/s/certify/sudoku/512/q/summary.json", "unknown seq_len '512'; known: 128, 256."),
        ("results/s/noise/CLEAN.json", "run 'CLEAN' does not match [a-z]+"),
    ],
)
def test_a_mistake_is_named(target, message):
    assert message in (explain_target(target, RULES, PATTERNS, {}) or "")


def test_every_wrong_value_of_a_path_is_named():
    found = explain_target("results/s/certify/sudoko/64/q/summary.json", RULES, PATTERNS, {})
    assert (
        found
        and "dataset 'sudoko'; known: countdown, sudoku. Did you mean 'sudoku'?; " in found
        and "unknown seq_len '64'; known: 128, 256." in found
    )


def test_a_regular_expressions_characters_in_a_target_are_text():
    assert explain_target("results/s/tables/(", RULES, PATTERNS, {})


def test_a_target_that_a_config_leaves_empty_names_the_setting():
    found = explain_target("maps", RULES, PATTERNS, {"maps": "noise.shares"})
    assert found == "maps: this config asks for nothing of it; set noise.shares"
