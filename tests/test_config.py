"""The typed config: mistakes are named with their key and the nearest known one, and its
documentation is current.
"""

import copy
from pathlib import Path

import pytest
import yaml

from tracedlm.config import Study, load_study, load_yaml
from tracedlm.config.docs import markdown
from tracedlm.theory.schedule import total_steps

ROOT = Path(__file__).resolve().parents[1]
# Which is laid over another one.
FILES = sorted(set((ROOT / "config").glob("*.yaml")) - {ROOT / "config/edit.yaml"})


@pytest.fixture
def raw():
    return copy.deepcopy(yaml.safe_load((ROOT / "config/smoke.yaml").read_text()))


def place(raw, path, value):
    """The config with one key set, sections made where they are missing."""
    *sections, key = path.split(".")
    inner = raw
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    return raw


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_config_is_valid(path):
    study = load_yaml(path)
    assert set(study.datasets) <= set(study.catalogue)


def test_a_config_is_merged_into_another_mapping_by_mapping(tmp_path):
    (tmp_path / "mine.yaml").write_text("seq_lens: [64]\ncatalogue:\n  sudoku: {test_samples: 3}\n")
    default, mine = load_yaml(FILES[0]), load_yaml(FILES[0], tmp_path / "mine.yaml")
    sudoku = default.catalogue["sudoku"].model_copy(update={"test_samples": 3})
    assert mine == default.model_copy(
        update={"seq_lens": (64,), "catalogue": {**default.catalogue, "sudoku": sudoku}}
    )


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("datsets", "datasets"),
        ("certfy", "certify"),
        ("sft.learning_rat", "learning_rate"),
        ("certify.delta", "deltas"),
        ("catalogue.countdown.test_sample", "test_samples"),
        ("catalogue.sudoku.tset", "test"),
        ("exits.rad.omga", "omega"),
        ("resources.thread", "threads"),
    ],
)
def test_an_unknown_key_names_the_nearest_at_every_level(raw, key, nearest):
    with pytest.raises(ValueError) as error:
        load_study(place(raw, key, 1))
    lines = str(error.value).splitlines()
    assert lines[0] == "config:" and len(lines) == 2
    assert lines[1].startswith(f"  {key}: unknown key. Did you mean {nearest!r}?")


def test_an_unknown_key_like_no_other_lists_what_is_known(raw):
    with pytest.raises(
        ValueError,
        match=(
            r"decode\.zzz: unknown key\. Known keys here: batch_size, block_length, reuse,"
            r" schedule, tokens_per_step"
        ),
    ):
        load_study(place(raw, "decode.zzz", 1))


def test_unknown_datasets_name_the_known_ones(raw):
    with pytest.raises(
        ValueError,
        match=(
            r"datasets: 'sudko' is not in the catalogue; known: countdown, sudoku\. Did you mean"
            r" 'sudoku'"
        ),
    ):
        load_study({**raw, "datasets": ["sudko"]})
    with pytest.raises(
        ValueError,
        match=r"catalogue: unknown dataset 'gsm9k'; known: algebra, .*\. Did you mean 'gsm8k'",
    ):
        load_study(place(raw, "catalogue.gsm9k", {"test": "x"}))


def test_a_dataset_for_training_only_is_evaluated_nowhere(raw):
    raw = place(raw, "catalogue.s1k", {"train": "s1k.parquet"})
    with pytest.raises(
        ValueError,
        match=r"datasets: s1k is for fine-tuning only, nothing scores it; name it in sft\.datasets",
    ):
        load_study({**raw, "datasets": ["s1k"]})
    assert load_study(place(raw, "sft.datasets", ["s1k"])).sft.datasets == ("s1k",)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "seq_lens",
            [100],
            r"seq_lens: 100 is not divisible into blocks of decode\.block_length = 32",
        ),
        ("seq_lens", [], r"seq_lens: .*at least 1"),
        (
            "decode.tokens_per_step",
            5,
            (
                r"seq_lens: 64 tokens at decode\.tokens_per_step = 5\.0 give 13 steps, which do not"
                r" divide over 2"
            ),
        ),
        (
            "exits.block_length",
            48,
            (
                r"exits\.block_length, for countdown at 64 tokens: gen_length 64 is not divisible"
                r" into blocks of block_length 48"
            ),
        ),
        (
            "exits.by_set",
            {"sudoku": {64: {"block_length": [60, 60]}}},
            (
                r"exits\.block_length, for sudoku at 64 tokens: block lengths \(60, 60\) must be"
                r" positive and sum to gen_length 64"
            ),
        ),
        (
            "exits.rules",
            ["full", "random"],
            r"exits: random is run at the mean forwards of other rules: add one of them",
        ),
        ("exits.rules", ["rad"], r"exits: full is the baseline"),
        (
            "flip_audit.rules",
            ["rad", "truncate"],
            r"flip_audit\.rules: truncate is given the mean forwards of another rule",
        ),
        (
            "exits.sweeps",
            {"rad": [{"delt": 1}]},
            r"exits: exit rule 'rad': delt: unknown setting \(got 1\)\. Settings: polish, delta",
        ),
        ("exits.tune", {"rad": {"delt": [1]}}, r"exits: exit rule 'rad': delt: unknown setting"),
        ("exits.rules", ["full", "rda"], r"exits\.rules\.1: .*'rad'.*got 'rda'"),
        ("trace.refine_policy", "none", r"certify\.window: refine needs refine steps"),
        (
            "catalogue.sudoku.difficulty",
            2,
            r"catalogue\.sudoku\.difficulty: sudoku has none; algebra and wordmath have",
        ),
        (
            "catalogue.algebra",
            {"difficulty": 4},
            r"catalogue\.algebra\.difficulty: .*less than or equal to 3.*got 4",
        ),
        ("sft.dropout", 2, r"sft\.dropout: .*less than or equal to 1.*got 2"),
        ("sft.steps", "many", r"sft\.steps: .*integer.*got 'many'"),
        ("study", "a/b", r"study: .*got 'a/b'"),
        ("readouts", ["p"], r"readouts\.0: .*got 'p'"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_key(raw, key, value, message):
    with pytest.raises(ValueError, match=message):
        load_study(place(raw, key, value))


FOREIGN = {
    "model.adapter": "anothers/adapter",
    "rrm.source": "anothers/maps",
    "pseudo_gradient.samples": 0,
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "rrm.source",
            "moments",
            (
                r"rrm\.source: with model\.adapter nothing is fine-tuned, .*name where the map"
                r" comes from"
            ),
        ),
        (
            "pseudo_gradient.samples",
            4,
            r"pseudo_gradient\.samples: with model\.adapter there are no gradients .*set it to 0",
        ),
        ("noise.shares", [0.5], r"noise\.shares: with model\.adapter .*leave it empty"),
    ],
)
def test_what_needs_fine_tuning_is_named_where_anothers_adapter_takes_its_place(
    raw, key, value, message
):
    for known, given in FOREIGN.items():
        place(raw, known, given)
    assert load_study(raw).model.adapter == "anothers/adapter"
    with pytest.raises(ValueError, match=message):
        load_study(place(raw, key, value))


def test_tasks_to_compare_are_in_the_catalogue(raw):
    with pytest.raises(
        ValueError,
        match=r"ablation\.tasks: 'gsm8k' is not in the catalogue; known: countdown, sudoku",
    ):
        load_study(place(raw, "ablation.tasks", ["gsm8k"]))


def test_a_missing_key_is_named(raw):
    del raw["datasets"]
    with pytest.raises(ValueError, match="datasets: Field required"):
        load_study(raw)


def test_all_problems_are_reported_at_once(raw):
    with pytest.raises(ValueError) as error:
        load_study(place(place(raw, "sft.stepz", 1), "decode.batch_sise", 1))
    assert len(str(error.value).splitlines()) == 3


def test_yaml_reads_1e_4_as_text_and_the_config_as_a_number(raw):
    assert yaml.safe_load("x: 1e-4") == {"x": "1e-4"}
    place(raw, "sft.learning_rate", "1e-4")
    place(raw, "certify.deltas", ["1e-8", "3e-6"])
    study = load_study(raw)
    assert study.sft.learning_rate == 1e-4 and study.certify.deltas == (1e-8, 3e-6)


def test_a_study_is_frozen(raw):
    with pytest.raises(ValueError, match="frozen"):
        load_study(raw).seed = 1


def test_the_papers_steps_are_half_the_tokens(raw):
    per_step = load_study({**raw, "decode": {}}).decode.tokens_per_step
    assert [total_steps(length, per_step) for length in (128, 256, 512)] == [64, 128, 256]


def test_the_documentation_is_current():
    page = (ROOT / "config/README.md").read_text()
    assert page == markdown(), (
        "config/README.md is stale: python -m tracedlm.config.docs > config/README.md"
    )


def test_the_documentation_names_every_key():
    page = markdown()
    keys = [
        key
        for name, field in Study.model_fields.items()
        for key in _keys(f"{name}.", field.annotation)
    ]
    assert len(keys) > 50
    for key in keys:
        assert f"`{key}`" in page, key


def _keys(prefix, annotation):
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [
            key
            for name, field in annotation.model_fields.items()
            for key in _keys(f"{prefix}{name}.", field.annotation)
        ]
    return [] if prefix == "catalogue." else [prefix.rstrip(".")]
