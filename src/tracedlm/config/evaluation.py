"""Section about exit rules under several wordings of the prompt."""

from pydantic import Field, field_validator, model_validator

from tracedlm.config.section import ExitRuleName, Positive, Section
from tracedlm.tasks.templates import template_label

MATCHED = ("truncate", "random")
"""Baselines that are run at the mean forwards of other rules."""


class Evaluation(Section):
    """Exit rules under several prompt templates and seeds, beside baselines that cost as much."""

    templates: tuple[str, ...] = Field(
        default=(),
        description=(
            "Wordings of the prompt: `default` (what rule `data` writes), a name in"
            " resources/prompts/<dataset>, or a text file with `{question}` in it. Empty: not run"
        ),
    )
    rules: tuple[ExitRuleName, ...] = Field(
        default=("full", "rad", "truncate", "random"),
        description=(
            "Exit rules, with the settings of `exits`; `truncate` and `random` are run at the mean"
            " forwards of each other rule that stops early, as `truncate@rad`"
        ),
    )
    samples: int | None = Field(
        default=None, ge=1, description="Problems from the head of the test split; null: all of it"
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        description="Of drawing tokens; at 0 nothing is drawn, and a seed changes nothing",
    )
    seeds: Positive = Field(
        default=1,
        description=(
            "Seeds of the draws, counted from `seed`; more than one needs `temperature` > 0"
        ),
    )
    shots: int = Field(
        default=0,
        ge=0,
        description=(
            "Worked problems of the training split that come before each question, as earlier"
            " turns; `seed` decides which"
        ),
    )
    checkpoint_every: Positive = Field(
        default=64,
        description="Problems decoded between two points from which a killed run goes on",
    )

    @field_validator("templates")
    @classmethod
    def _told_apart(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        labels = [template_label(name) for name in templates]
        if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
            raise ValueError(f"two templates are called {twice[0]!r}; drop or rename one")
        return templates

    @model_validator(mode="after")
    def _consistent(self) -> "Evaluation":
        if self.seeds > 1 and not self.temperature:
            raise ValueError(
                f"seeds = {self.seeds} at temperature 0 would give the same numbers {self.seeds}"
                " times; set temperature or seeds: 1"
            )
        if set(MATCHED) & set(self.rules) and not set(self.rules) - {*MATCHED, "full", "skip_noop"}:
            raise ValueError(
                "truncate and random are run at the mean forwards of other rules: add one of them"
                " to rules, for example rad"
            )
        return self
