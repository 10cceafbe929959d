"""Of any file every reader makes something that can be used, or one ValueError that names it.

No other exception, no hang, no bomb.
"""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.bounds import refusal
from fuzz.mutation import mutate
from fuzz.readers import READERS

CORPUS = Path(__file__).parent / "corpus"
TAKEN = {"one-block", "gradient", "layer-nan", "layer-infinite"}
"""What should have been taken from the beginning.

A layer that is no number is one that is not said.
"""

FEW = settings(
    max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
EVERY = pytest.mark.parametrize("name", READERS)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Folder and content of each reader's example."""
    made = {}
    for name, reader in READERS.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-").replace("'", ""))
        (folder / reader.file).parent.mkdir(exist_ok=True)
        reader.write(folder)
        made[name] = folder, (folder / reader.file).read_bytes()
    return made


@EVERY
def test_the_example_is_taken(examples, name):
    folder, content = examples[name]
    assert refusal(READERS[name], folder, content) is None


@EVERY
def test_wrong_files_are_taken_or_refused_by_name(examples, name):
    folder, content = examples[name]
    taken, refused = [], []

    @FEW
    @given(st.randoms(use_true_random=False))
    def each(rng):
        answer = refusal(READERS[name], folder, mutate(READERS[name].form, content, rng))
        (taken if answer is None else refused).append(answer)

    each()
    assert refused or name in ("template", "scorers"), "not one of the wrong files was noticed"


@EVERY
def test_nothing_and_files_of_every_other_kind_are_refused(examples, name):
    folder, _ = examples[name]
    others = {
        READERS[other].form: content
        for other, (_, content) in examples.items()
        if READERS[other].form != READERS[name].form
    }
    for content in (b"", b"\0" * 100, *others.values()):
        answer = refusal(READERS[name], folder, content)
        assert answer is None or "\n  " not in answer or name == "config", "the refusal is one line"


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"scorers"}))  # which are given text
def test_a_folder_or_nothing_in_place_of_the_file_is_refused_by_name_or_does_without(
    examples, name, tmp_path
):
    reader, (folder, _) = READERS[name], examples[name]
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / reader.file
    path.unlink()
    refusal(reader, tmp_path / "copy")
    path.mkdir(exist_ok=True)
    refusal(reader, tmp_path / "copy")


@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_what_once_broke_a_reader_is_refused(examples, path):
    said = refusal(READERS[path.parent.name], examples[path.parent.name][0], path.read_bytes())
    assert (said is None) == (path.name in TAKEN)
