"""A set of prompts and a model, loaded once, on which any exit rule can be run.

What the rules that compare exits share.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracedlm.config import Decode, Exits
from tracedlm.decode.plan import Plan
from tracedlm.decode.settings import SETTINGS, ReadingKind, settings_of
from tracedlm.decode.slot import Decoded
from tracedlm.decode.step import Step
from tracedlm.generation import decode_stream, encode, response_text
from tracedlm.models.denoiser import load_denoiser
from tracedlm.progress import counted
from tracedlm.records.rrm import Rrm
from tracedlm.stages.rrm.maps import build_rrms
from tracedlm.stages.trace.collect import sample_row
from tracedlm.tasks import get_task
from tracedlm.theory.schedule import total_steps


@dataclass(frozen=True)
class Setup:
    """What is decoded, and with what.

    Attributes:
        model: Arguments of `load_denoiser`: path, precision, device.
        adapter: LoRA adapter.
        maps: `q`, the map that rules read, and `moments`, from which `rank_softmax` reads every
            module.
        activation: Activation compared with the map.
        dataset: Task name.
        data: File of each split that is used.
        seq_len: Canvas length, tokens.
        decode: How to decode.
        exits: Rules that will be run, and their settings.
    """

    model: dict[str, Any]
    adapter: Path
    maps: dict[str, Path]
    activation: str
    dataset: str
    data: dict[str, Path]
    seq_len: int
    decode: Decode
    exits: Exits

    @classmethod
    def of_job(cls, job: Any, **data: str) -> "Setup":
        """That of a Snakemake job; `data`: its file of each split."""
        given, files, where = job.params, job.input, job.wildcards
        maps = {name: Path(files[name]) for name in ("q", "moments")}
        splits = {split: Path(file) for split, file in data.items()}
        how = Decode(**given.decode), Exits(**given.exits)
        return cls(
            given.model,
            Path(files.adapter),
            maps,
            given.activation,
            where.dataset,
            splits,
            int(where.seq_len),
            *how,
        )

    def of_set(self, **changes: Any) -> "Setup":
        """With the settings that hold for this dataset and length.

        `changes` replace keys of `exits`.
        """
        return replace(
            self, exits=self.exits.for_set(self.dataset, self.seq_len).model_copy(update=changes)
        )


class Bench:
    """One split of one dataset at one canvas length, ready to decode.

    Attributes:
        plan: The full decoding that rules cut short.
        prompts, problems: In the order of the split, or of its head.
    """

    def __init__(self, setup: Setup, split: str, samples: int | None = None) -> None:
        self.setup, self.activation = setup, setup.activation
        # The released rule reads LoRA's own output, which a merged model no longer has; one model
        # for all rules keeps flips comparable.
        ranks = any(SETTINGS[name].reading == "columns" for name in setup.exits.rules)
        self.denoiser = load_denoiser(
            **setup.model,
            adapter=setup.adapter,
            merge=setup.activation == "projection" and not ranks,
        )
        self.task, decode = get_task(setup.dataset), setup.decode
        self.how: dict[str, Any] = {"batch_size": decode.batch_size, "reuse": decode.reuse}
        self.take(split, samples)
        steps = total_steps(setup.seq_len, decode.tokens_per_step)
        self.plan = Plan(
            setup.seq_len, setup.exits.block_length or decode.block_length, steps, decode.schedule
        )
        self.rrm = Rrm.read(setup.maps["q"])
        self.columns = (
            build_rrms(setup.maps["moments"], matrix="B", basis="columns") if ranks else []
        )

    def take(self, split: str, samples: int | None = None) -> None:
        """Turn to a split, or to the head of it."""
        self.split, self.problems = split, self.task.read(self.setup.data[split])[:samples]
        self.prompts = encode(
            self.denoiser, [self.task.prompt(problem) for problem in self.problems]
        )

    def observed(self, reading: ReadingKind | None) -> dict[str, Any]:
        """What a rule with this reading is given to observe: map or maps, and activation.

        Without one, what `rad` would read.
        """
        if reading == "columns":
            return {"rrm": self.columns, "activation": "lora_delta"}
        return {"rrm": self.rrm, "activation": self.activation}

    def run(
        self, name: str, settings: dict[str, Any], record: Callable[[Step], None] | None = None
    ) -> list[Decoded]:
        """Decode every prompt with a rule; samples in order.

        A recorder also sees what is read where the rule reads nothing.
        """
        checked = settings_of(name, **settings)
        observed = self.observed(checked.reading) if checked.reading or record else {}
        stream = decode_stream(
            self.denoiser,
            self.prompts,
            self.plan,
            name,
            **self.how,
            **observed,
            record=record,
            **settings,
        )
        title = f"{self.task.name} {self.plan.gen_length} {checked.label(name)}"
        return sorted(
            counted(stream, title, "sample", len(self.prompts)), key=lambda one: one.sample
        )

    def rows(self, done: list[Decoded]) -> list[dict[str, Any]]:
        """A row of the table `samples` for each sample."""
        return [
            sample_row(
                self.denoiser,
                self.task,
                problem=self.problems[one.sample],
                prompt=self.prompts[one.sample],
                one=one,
                split=self.split,
            )
            for one in done
        ]

    def answers(self, done: list[Decoded]) -> list[str | None]:
        """The extracted answer of each sample."""
        return [
            self.task.score(self.problems[one.sample], response_text(self.denoiser, one)).answer
            for one in done
        ]
