"""A short name means one matrix, or is refused.

Names in an order that is not the optimiser's are refused.
"""

import pytest

from tracedlm.records.lora_names import modules_of, short_name
from tracedlm.records.parameter_names import check_order

LANGUAGE = "model.language_model.layers.1.self_attn.{}_proj.lora_{}.default.weight"


@pytest.mark.parametrize(
    "other",
    [
        "model.vision_tower.encoder.layers.1.self_attn.q_proj.lora_B.default.weight",
        "model.audio_tower.layers.1.self_attn.q_proj.lora_B.default.weight",
        "model.language_model.layers.1.self_attn.q_proj.lora_B.second.weight",
    ],
)
def test_two_matrices_of_one_short_name_are_refused_with_both_names(other):
    name = LANGUAGE.format("q", "B")
    assert modules_of([name, "model.norm.weight"], "a file") == {"1.q.B": name}
    with pytest.raises(ValueError, match=rf"^a file: {name} and {other} are both matrix 1\.q\.B; "):
        modules_of([name, other], "a file")


def test_the_bias_of_lora_is_no_matrix():
    assert short_name("layers.1.self_attn.q_proj.lora_B.default.bias") is None


def named(*modules):
    return dict(enumerate(LANGUAGE.format(projection, matrix) for projection, matrix in modules))


SHAPES = {0: (2, 8), 1: (8, 2), 2: (2, 8), 3: (8, 2)}


def test_the_models_order_and_any_other_that_somebody_wrote_down_is_believed():
    check_order(named("qA", "qB", "kA", "kB"), [[0, 1, 2, 3]], SHAPES, "names")
    check_order(named("vA", "vB", "kA", "kB"), [[0, 1, 2, 3]], SHAPES, "names")


def test_sorted_names_are_refused():
    with pytest.raises(
        ValueError, match=r"^names: the names are sorted, .*k_proj.*; pass names=FILE"
    ):
        check_order(named("kA", "kB", "qA", "qB"), [[0, 1, 2, 3]], SHAPES, "names")


def test_names_in_the_models_order_are_refused_where_the_optimiser_has_groups():
    """LoRA+ numbers all A before all B."""
    shapes = {0: (2, 8), 1: (2, 8), 2: (8, 2), 3: (8, 2)}
    with pytest.raises(
        ValueError,
        match=r"parameters 0 and 1, named 1\.q\.A and 1\.q\.B, have shapes \(2, 8\) and \(2, 8\)",
    ):
        check_order(named("qA", "qB", "kA", "kB"), [[0, 1], [2, 3]], shapes, "names")
