"""Exit cards: what is chosen, against a twin that decodes one prompt at a time.

And what holds a card to its word.
"""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import tracedlm
from conftest import write_adapter, write_checkpoint
from tracedlm.__main__ import main
from tracedlm.config import Decode, Exits, Risk
from tracedlm.decode.settings import settings_of
from tracedlm.models.denoiser import load_denoiser
from tracedlm.records.card import ExitCard, adapter_digest, map_digest
from tracedlm.records.rrm import Rrm
from tracedlm.resources import checkpoint_files
from tracedlm.stages.exits import decoding as benches
from tracedlm.stages.exits.decoding import Setup
from tracedlm.stages.exits.risk import _control, control_exits
from tracedlm.tasks import get_task

SHAPE = {"gen_length": 16, "block_length": 8, "steps": 8}
RISK = Risk(
    rules={
        "truncate": {"forwards_share": (1.0, 0.75, 0.25)},
        "threshold": {"confidence": (1.0, 0.008)},
        "rad": {"delta": (1e-12, 1e-4, 10.0), "omega": (3, 2, 1)},
    },
    epsilon=0.5,
    eta=0.35,
)


def answer_of(text):
    """A stand-in for a task's answer."""
    return text[:2]


@pytest.fixture(scope="module", autouse=True)
def random_models_give_answers():
    row = benches.sample_row

    def answering(*arguments, **named):
        found = row(*arguments, **named)
        return {**found, "answer": answer_of(found["text"]), "correct": len(found["text"]) % 3 > 0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benches, "sample_row", answering)
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    checkpoint = write_checkpoint(folder / "model", hidden=32, layers=2, masks=False)
    adapter, task = write_adapter(checkpoint, folder / "adapter"), get_task("sudoku")
    data = {split: folder / f"{split}.txt" for split in ("validation", "test")}
    for n, (split, file) in enumerate(data.items()):
        task.write(task.sample(split, 6 - n, n), file)
    u = np.random.default_rng(0).normal(size=32)
    rrm = Rrm(
        (u / np.linalg.norm(u)).astype(np.float32),
        np.eye(32, 2, dtype=np.float32),
        1,
        "q",
        "B",
        "moments",
        "raw",
    )
    rrm.write(folder / "q.safetensors")
    return SimpleNamespace(
        checkpoint=checkpoint,
        adapter=adapter,
        data=data,
        rrm=rrm,
        map=folder / "q.safetensors",
        task=task,
        denoiser=load_denoiser(checkpoint, adapter, device="cpu", merge=True),
    )


def cards(inputs, folder, risk):
    out = {name: folder / f"sudoku-16-{name}.json" for name in risk.rules}
    model = {"path": str(inputs.checkpoint), "device": "cpu", "dtype": "float32"}
    how = Decode(block_length=8, batch_size=4), Exits(rules=("full", "rad"))
    maps = {"q": inputs.map, "moments": folder / "none"}
    control_exits(
        Setup(model, inputs.adapter, maps, "projection", "sudoku", inputs.data, 16, *how),
        risk,
        1,
        out,
    )
    return out


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    return cards(inputs, tmp_path_factory.mktemp("risk"), RISK)


def outcomes(inputs, split, rule, settings):
    """(answer, right, forwards) of each problem, decoded alone."""
    rows = []
    for problem in inputs.task.read(inputs.data[split]):
        rrm = inputs.rrm if rule == "rad" else None
        one = tracedlm.generate(
            inputs.denoiser, [inputs.task.prompt(problem)], **SHAPE, exit=rule, rrm=rrm, **settings
        )
        rows.append((answer_of(one.text[0]), len(one.text[0]) % 3 > 0, int(one.nfe[0])))
    return rows


def losses(rows, full, kind):
    if kind == "answer_flip":
        return [row[0] != other[0] for row, other in zip(rows, full, strict=True)]
    return [other[1] and not row[1] for row, other in zip(rows, full, strict=True)]


def p_value(flags, epsilon):
    n, k = len(flags), sum(flags)
    return math.fsum(math.comb(n, i) * epsilon**i * (1 - epsilon) ** (n - i) for i in range(k + 1))


SETTINGS = {
    "truncate": [{"forwards": 8.0}, {"forwards": 6.0}, {"forwards": 2.0}],
    "threshold": [{"confidence": 1.0}, {"confidence": 0.008}],
    "rad": [{"delta": 1e-12, "omega": 3}, {"delta": 1e-4, "omega": 2}, {"delta": 10.0, "omega": 1}],
}


@pytest.mark.parametrize("kind", ["answer_flip", "lost_answer"])
def test_cards_say_what_a_twin_finds(inputs, made, tmp_path, kind):
    files = (
        made
        if kind == "answer_flip"
        else cards(inputs, tmp_path, RISK.model_copy(update={"loss": kind}))
    )
    full = {split: outcomes(inputs, split, "full", {}) for split in inputs.data}
    lengths, chosen_by_rule = set(), {}
    for rule, candidates in SETTINGS.items():
        card, tried = ExitCard.read(files[rule]), []
        for settings in candidates:
            rows = outcomes(inputs, "validation", rule, settings)
            flags = losses(rows, full["validation"], kind)
            tried.append(
                (settings, sum(flags) / 6, p_value(flags, 0.5), np.mean([row[2] for row in rows]))
            )
            if tried[-1][2] > 0.35:
                break
        lengths.add(len(tried) == len(candidates))
        assert [one["risk"] for one in card.tried] == [one[1] for one in tried]
        assert [one["p_value"] for one in card.tried] == pytest.approx([one[2] for one in tried])
        assert [one["forwards"] for one in card.tried] == pytest.approx([one[3] for one in tried])
        valid = [one for one in tried if one[2] <= 0.35]
        assert [one["valid"] for one in card.tried] == [one[2] <= 0.35 for one in tried]
        if not valid:
            assert card.settings is None and card.test is None and "p = " in card.reason
            continue
        chosen = chosen_by_rule[rule] = min(valid, key=lambda one: one[3])[0]
        assert (
            card.settings == settings_of(rule, **{**Exits().settings(rule), **chosen}).model_dump()
        )
        rows = outcomes(inputs, "test", rule, chosen)
        flags = losses(rows, full["test"], kind)
        assert (card.test["n"], card.test["losses"], card.test["risk"]) == (
            5,
            sum(flags),
            sum(flags) / 5,
        )
        assert (
            card.test["forwards"] == pytest.approx(np.mean([row[2] for row in rows]))
            and card.test["full_forwards"] == 8
        )
        assert (card.epsilon, card.eta, card.method, card.loss, card.n) == (
            0.5,
            0.35,
            "ltt",
            kind,
            6,
        )
    assert chosen_by_rule and (kind != "answer_flip" or lengths == {True, False})


def test_a_card_names_what_it_was_made_with(inputs, made):
    card = ExitCard.read(made["rad"])
    assert card.adapter == adapter_digest(inputs.adapter) and card.map == map_digest(inputs.rrm)
    assert card.decoding == {
        **SHAPE,
        "schedule": "uniform",
        "reuse": "none",
        "temperature": 0.0,
        "guidance": 0.0,
        "activation": "projection",
    }
    assert card.dataset == "sudoku" and card.guarantee == "P(risk > 0.5) <= 0.35" and card.code
    assert {ExitCard.read(path).model for path in made.values()} == {
        card.model
    } and checkpoint_files(inputs.checkpoint)
    assert (
        ExitCard.read(made["threshold"]).map == ""
        and "activation" not in ExitCard.read(made["threshold"]).decoding
    )


def chosen(made):
    return [ExitCard.read(path) for path in made.values() if ExitCard.read(path).settings]


def test_generating_by_a_card_is_generating_with_its_settings(inputs, made):
    prompts = [inputs.task.prompt(problem) for problem in inputs.task.read(inputs.data["test"])]
    assert chosen(made)
    for card in chosen(made):
        rrm = inputs.rrm if card.rule == "rad" else None
        by_card = tracedlm.generate(inputs.denoiser, prompts, exit=card, rrm=rrm, **card.decoding)
        by_file = tracedlm.generate(
            inputs.denoiser, prompts, exit=made[card.rule], rrm=rrm, **card.decoding
        )
        by_name = tracedlm.generate(
            inputs.denoiser, prompts, exit=str(made[card.rule]), rrm=rrm, **card.decoding
        )
        plain = tracedlm.generate(
            inputs.denoiser, prompts, exit=card.rule, rrm=rrm, **SHAPE, **card.settings
        )
        for one in (by_card, by_file, by_name):
            assert (
                np.array_equal(one.tokens, plain.tokens) and one.nfe.tolist() == plain.nfe.tolist()
            )


def any_card(made, **changes):
    return replace(chosen(made)[0], **changes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"gen_length": 32, "steps": 16},
            "made for gen_length 16, steps 8, got gen_length 32, steps 16",
        ),
        ({"steps": 4}, "made for steps 8, got steps 4"),
        ({"temperature": 0.5}, "made for temperature 0.0, got temperature 0.5"),
        ({"schedule": "gaussian"}, "its guarantee does not carry over"),
        ({"forwards": 3}, "the settings of truncate come from the exit card; leave out forwards"),
    ],
)
def test_a_card_is_refused_where_it_does_not_hold(inputs, made, changed, message):
    card = any_card(made, rule="truncate", settings={"forwards": 4.0})
    with pytest.raises(ValueError, match=message):
        tracedlm.generate(inputs.denoiser, ["1"], exit=card, **{**card.decoding, **changed})


def test_a_card_is_refused_with_another_map(inputs, made):
    card = any_card(
        made, rule="rad", settings={"delta": 1e-4, "omega": 2}, map=map_digest(inputs.rrm)
    )
    other = replace(inputs.rrm, u=-inputs.rrm.u)
    with pytest.raises(ValueError, match="made with another map"):
        tracedlm.generate(inputs.denoiser, ["1"], exit=card, rrm=other, **card.decoding)
    with pytest.raises(ValueError, match="reads one map"):
        tracedlm.generate(inputs.denoiser, ["1"], exit=card, **card.decoding)


@pytest.mark.parametrize(
    ("prompts", "how", "message"),
    [
        ("1 2", {}, r"prompts are a list, got the string '1 2'; write \[prompt\]"),
        (
            ["1"],
            {"rrm": "q.safetensors"},
            r"rrm is a map, got 'q\.safetensors'; of a file: rrm=build_rrm\(path\)",
        ),
        (["1"], {"reuse": "all"}, "unknown reuse 'all'; known: none, block, prefix"),
    ],
)
def test_what_looks_like_an_argument_and_is_none_is_refused(inputs, prompts, how, message):
    with pytest.raises(ValueError, match=message):
        tracedlm.generate(inputs.denoiser, prompts, **SHAPE, **how)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gaps", "--set gaps: expected KEY=VALUE, for example delta=1e-6"),
        ("gaps=[2,1]", "gaps.2: required"),
        ("gaps=wide", r"gaps: Input should be a valid tuple (got 'wide')"),
        ("gen_length=64", "gen_length has an option of its own, --gen-length"),
        ("gaps=[900,900,900]", None),
    ],
)
def test_the_command_takes_every_kind_of_setting(inputs, capsys, setting, message):
    arguments = [
        "generate",
        "--model",
        str(inputs.checkpoint),
        "--gen-length",
        "32",
        "--exit",
        "prophet",
        "1 2",
        "--set",
        setting,
    ]
    assert main(arguments) == (0 if message is None else 2)
    assert message is None or message in capsys.readouterr().err


def test_too_few_samples_make_a_card_that_allows_no_exit(inputs, tmp_path):
    risk = Risk(rules={"truncate": {"forwards_share": (1.0, 0.5)}}, epsilon=0.1, eta=0.05)
    file = cards(inputs, tmp_path, risk)["truncate"]
    card = ExitCard.read(file)
    assert (
        card.settings is None and card.label is None and card.test is None and len(card.tried) == 1
    )
    assert (
        card.reason
        == "6 samples cannot show a risk below 0.1: 29 are needed, without a single loss"
    )
    with pytest.raises(ValueError, match=r"allows no exit \(6 samples cannot show"):
        tracedlm.generate(inputs.denoiser, ["1"], exit=file, **card.decoding)


def test_the_command_decodes_as_the_card_says(inputs, made, capsys):
    card = chosen(made)[0]
    arguments = [
        "generate",
        "--exit",
        str(made[card.rule]),
        "--model",
        str(inputs.checkpoint),
        "--adapter",
        str(inputs.adapter),
        "1 2",
    ]
    assert main([*arguments, "--rrm", str(inputs.map)]) == 0
    printed = json.loads(capsys.readouterr().out)
    denoiser = load_denoiser(inputs.checkpoint, inputs.adapter, device="cpu")
    expected = tracedlm.generate(
        denoiser, ["1 2"], exit=card.rule, rrm=inputs.rrm, **SHAPE, **card.settings
    )
    assert (printed["text"], printed["nfe"]) == (expected.text[0], int(expected.nfe[0]))
    assert (
        main([*arguments, "--gen-length", "32", "--steps", "16"]) == 2
        and "got gen_length 32" in capsys.readouterr().err
    )
    assert (
        main([*arguments[:5], "1 2"]) == 2
        and "made with another adapter" in capsys.readouterr().err
    )


def test_a_file_that_is_no_card_is_refused(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({"rule": "rad"}))
    with pytest.raises(ValueError, match="lacks settings"):
        ExitCard.read(tmp_path / "card.json")
    with pytest.raises(ValueError, match="not found"):
        ExitCard.read(tmp_path / "none.json")


class LossTable:
    """A bench whose settings, numbered, lose on the first so many of sixty samples and cost so many
    forwards.
    """

    def __init__(self, lost, forwards):
        self.lost, self.forwards, self.ran = lost, forwards, []

    def run(self, name, settings):
        self.ran.append(settings["n"])
        return settings["n"]

    def rows(self, n):
        return [
            {"answer": str(sample < self.lost[n]), "correct": True, "nfe": self.forwards[n]}
            for sample in range(60)
        ]


FULL = [{"answer": "False", "correct": True, "nfe": 64}] * 60


def test_nothing_is_run_after_the_first_setting_that_fails():
    bench = LossTable([0, 1, 20, 0], [60, 40, 20, 10])
    control, forwards = _control(bench, "rad", [{"n": n} for n in range(4)], FULL, Risk())
    assert bench.ran == [0, 1, 2] and forwards == [60, 40, 20] and control.index == 1


def test_of_valid_settings_the_cheapest_is_taken():
    control, _ = _control(
        LossTable([0, 0, 1], [60, 20, 30]), "rad", [{"n": n} for n in range(3)], FULL, Risk()
    )
    assert control.valid.all() and control.index == 1


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"rad": {"delta": [1e-6, 1e-5], "omega": [3]}}, "equally many values"),
        ({"rad": {}}, "equally many values"),
        ({"rad": {"dleta": [1e-6]}}, "dleta"),
        ({"truncate": {"forwards_share": [-0.5]}}, "greater than or equal to 1"),
        (
            {"truncate": {"forwards_share": ["half"]}},
            r"risk\.rules.*valid number, unable to parse string as a number \(got 'half'\)",
        ),
        ({"radd": {"delta": [1e-6]}}, "Did you mean 'rad'"),
    ],
)
def test_a_grid_that_cannot_be_is_one_clear_line(rules, message):
    from tracedlm.config import load_study

    with pytest.raises(ValueError, match=message):
        load_study(
            {
                "study": "s",
                "datasets": ["sudoku"],
                "seq_lens": [64],
                "catalogue": {"sudoku": {"test": "t.csv"}},
                "risk": {"rules": rules},
            }
        )
