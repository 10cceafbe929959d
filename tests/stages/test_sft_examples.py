"""What fine-tuning learns from: lengths, batches, epochs and corrupted labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tracedlm.config import Sft
from tracedlm.stages.sft.examples import batches, label_donors, read_examples
from tracedlm.tasks import get_task


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("data"), {}
    for name in ("countdown", "sudoku"):
        task, found[name] = get_task(name), folder / f"{name}.txt"
        task.write(task.sample("train", 8, 0), found[name])
    return found


@given(st.integers(2, 60), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_corrupted_problems_get_anothers_response_and_a_larger_share_corrupts_more_of_the_same(
    n, one, other, seed
):
    few, many = (label_donors(n, share, seed) for share in sorted((one, other)))
    assert len(few) == round(min(one, other) * n)
    assert all(donor != number and 0 <= donor < n for number, donor in many.items())
    assert few.items() <= many.items()
    assert len(set(many.values())) == len(many), "no response is given twice"


def test_a_corrupted_example_keeps_its_prompt_and_has_a_whole_response_of_its_own_dataset(
    tokenizer, files
):
    clean, noisy = (
        read_examples(tokenizer, files, Sft(canvas=256, label_noise=share), seed=0)
        for share in (0, 0.5)
    )
    assert (clean.corrupted, noisy.corrupted, len(noisy.encoded)) == (0, 8, 16)
    assert [prompt for prompt, _ in clean.encoded] == [prompt for prompt, _ in noisy.encoded]
    changed = [n for n in range(16) if clean.encoded[n][1] != noisy.encoded[n][1]]
    assert len(changed) == 8 and sum(n < 8 for n in changed) == 4
    for n in changed:
        of_its_dataset = clean.encoded[:8] if n < 8 else clean.encoded[8:]
        assert noisy.encoded[n][1] in [response for _, response in of_its_dataset]
    assert read_examples(tokenizer, files, Sft(canvas=256, label_noise=0.5), seed=0) == noisy
    assert read_examples(tokenizer, files, Sft(canvas=256, label_noise=0.5), seed=1) != noisy


def test_without_a_longest_length_responses_fill_the_canvas_or_are_left_out(tokenizer, files):
    examples = read_examples(tokenizer, files, Sft(canvas=160), seed=0)
    assert {len(response) for _, response in examples.encoded} == {160}
    assert examples.left_out + len(examples.encoded) == 16 and examples.cut == 0
    with pytest.raises(
        ValueError, match=r"sft\.canvas = 8: no prompt and response of countdown, sudoku fits"
    ):
        read_examples(tokenizer, files, Sft(canvas=8), seed=0)


def test_with_a_longest_length_responses_keep_theirs_and_what_is_longer_is_cut(tokenizer, files):
    free = read_examples(tokenizer, files, Sft(max_length=4096), seed=0)
    assert free.cut == free.left_out == 0
    assert all(
        response.count(tokenizer.eos_token_id) == 1 and response[-1] == tokenizer.eos_token_id
        for _, response in free.encoded
    )
    sizes = sorted(len(prompt) + len(response) for prompt, response in free.encoded)
    longest = sizes[8]
    cut = read_examples(tokenizer, files, Sft(max_length=longest), seed=0)
    assert cut.cut == sum(size > longest for size in sizes) > 0
    for (prompt, response), (_, whole) in zip(cut.encoded, free.encoded, strict=True):
        assert response == whole[: longest - len(prompt)]


EXAMPLES = [([0] * (1 + n % 3), [n] * (5 + 7 * n % 11)) for n in range(20)]


def drawn(examples=EXAMPLES, seed=0, **settings):
    draw, steps = batches(examples, Sft(batch_size=4, **settings), -1, seed)
    return [draw(step) for step in range(steps)]


@pytest.mark.parametrize("settings", [{"epochs": 2}, {"epochs": 2, "max_length": 99}])
def test_two_epochs_show_every_example_twice_each_time_in_another_order(settings):
    shown = [response[0] for batch in drawn(**settings) for _, response in batch]
    assert (
        len(shown) == 40
        and sorted(shown[:20]) == sorted(shown[20:]) == list(range(20))
        and shown[:20] != shown[20:]
    )
    assert shown == [response[0] for batch in drawn(**settings) for _, response in batch]
    assert shown != [response[0] for batch in drawn(seed=1, **settings) for _, response in batch]


def test_steps_count_where_epochs_are_not_set():
    assert len(drawn(steps=13)) == len(drawn(steps=13, max_length=99)) == 13
    assert len(drawn(epochs=0.5)) == 2


def test_batches_of_similar_lengths_are_padded_to_their_longest_with_padding_that_is_learnt():
    grouped, mixed = (drawn(epochs=1, max_length=length) for length in (99, None))
    spread = [
        [len([token for token in response if token >= 0]) for _, response in batch]
        for batch in grouped
    ]
    for batch, own in zip(grouped, spread, strict=True):
        assert {len(response) for _, response in batch} == {max(own)}
        assert all(
            set(response[length:]) <= {-1} for (_, response), length in zip(batch, own, strict=True)
        )
    padding = [
        sum(token < 0 for batch in some for _, response in batch for token in response)
        for some in (grouped, mixed)
    ]
    assert padding[0] < padding[1]


def test_a_batch_larger_than_the_data_is_refused_where_lengths_are_grouped():
    assert len(drawn(EXAMPLES[:3], epochs=4)) == 3
    with pytest.raises(
        ValueError, match=r"sft\.batch_size = 4 is more than the 3 training examples"
    ):
        drawn(EXAMPLES[:3], max_length=99)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamw_bnb_8bit"}, "adamw_bnb_8bit keeps its moments in 8 bits"),
        (
            {"batch_size": 6, "processes": 4},
            (
                "batch_size = 6 does not divide into 4 processes of 1 examples a forward; use a"
                " multiple of 4"
            ),
        ),
        ({"batch_size": 8, "processes": 2, "micro_batch": 3}, "use a multiple of 6"),
        ({"fp32_moments": False}, "fp32_moments: false needs precision: bfloat16"),
        ({"shard": True}, "shard: true divides the weights among processes; set processes > 1"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Sft(**settings)
