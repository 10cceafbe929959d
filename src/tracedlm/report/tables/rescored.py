"""Rule `rescore`'s tables.

EDIT's released outputs recomputed beside its Tables 1 and 2, and what its schedules save without
any exit.
"""

from pathlib import Path
from typing import Any

from tracedlm.records.metrics import read_json
from tracedlm.report.layout import Column, Row, Spec, shows, text, with_interval
from tracedlm.report.tables import published
from tracedlm.report.write import write_table

FIELDS = (
    "dataset",
    "seq_len",
    "n",
    "accuracy",
    "low",
    "high",
    "strict",
    "strict_n",
    "only_d1",
    "only_strict",
    "full_steps",
    "steps",
    "reduction",
)
SET = (
    Column("dataset", text("dataset"), numeric=False, merge=True),
    Column("tokens", shows("seq_len", "count"), merge=True),
)


def make_rescored_tables(scores: Path, folder: Path) -> None:
    """Write `rescored` and `schedule_alone` as .csv and .tex."""
    record = read_json(scores, ("sets", "schedules"))
    write_table(RESCORED, rescored_rows(record), folder)
    write_table(SCHEDULE_ALONE, schedule_rows(record), folder)


def rescored_rows(record: Any) -> list[Row]:
    """Accuracy and steps as recomputed and as printed.

    `mark` names what differs in the digit that is printed.
    """
    rows = []
    for one in record["sets"]:
        place = (one["dataset"], one["seq_len"])
        accuracy = published.at_length(published.EDIT_ACCURACY["EDIT"], *place)
        steps = published.at_length(published.EDIT_STEPS, *place)
        reduction = published.at_length(published.EDIT_REDUCTION, *place)
        compared = {"accuracy": (100 * one["accuracy"], accuracy), "steps": (one["steps"], steps)}
        differing = [
            name
            for name, (ours, theirs) in compared.items()
            if None not in (ours, theirs) and round(ours, 1) != theirs
        ]
        missing = [
            name for name, (ours, theirs) in compared.items() if ours is None or theirs is None
        ]
        rows.append(
            {
                **{field: one[field] for field in FIELDS},
                "published_accuracy": None if accuracy is None else accuracy / 100,
                "published_steps": steps,
                "published_reduction": None if reduction is None else reduction / 100,
                "mark": ", ".join(differing) or None,
                "reason": (
                    f"{' and '.join(missing)}: not released or not printed" if missing else ""
                ),
            }
        )
    return rows


def schedule_rows(record: Any) -> list[Row]:
    """Forwards of EDIT's schedules without no-op steps and without its exit rule.

    Beside EDIT's own, recomputed where it is released.
    """
    released = {(one["dataset"], one["seq_len"]): one["steps"] for one in record["sets"]}
    rows = []
    for one in record["schedules"]:
        printed = published.at_length(published.EDIT_STEPS, one["dataset"], one["seq_len"])
        steps = released.get((one["dataset"], one["seq_len"]))
        edit = printed if steps is None else steps
        saved = None if edit is None else one["full_steps"] - edit
        share = (one["full_steps"] - one["skip_noop_steps"]) / saved if saved else None
        source = "printed" if steps is None and edit is not None else "recomputed"
        facts = {
            field: one[field] for field in ("dataset", "seq_len", "full_steps", "skip_noop_steps")
        }
        reason = "" if saved else "EDIT saves nothing known here"
        rows.append({**facts, "steps": edit, "source": source, "share": share, "reason": reason})
    return rows


def _rescored_caption(rows: list[Row]) -> str:
    return (
        "EDIT's released LLaDA-8B outputs, marked again. Accuracy (percent) by the published scorer"
        " d1 with 95 % interval, by the strict one, and as EDIT's Table 1 prints it; steps summed"
        " over blocks and reduction, recomputed and as Table 2 prints them. differs: what is not"
        " the printed number to its printed digit."
    )


def _schedule_caption(rows: list[Row]) -> str:
    more = sum(isinstance(row["share"], float) and row["share"] > 0.5 for row in rows)
    return (
        "Forwards of EDIT's released schedules when steps that commit nothing are skipped, with no"
        " exit rule at all (skip), beside EDIT's steps, recomputed from its outputs where they are"
        " released. Share: of what EDIT saves against the full schedule, what skipping alone saves"
        f" without changing any output; above 50 % in {more} of {len(rows)} settings, above 100 %"
        " where it is the cheaper one."
    )


RESCORED = Spec(
    "rescored",
    "Released outputs, recomputed",
    _rescored_caption,
    rescored_rows,
    (
        *SET,
        Column("n", shows("n", "count")),
        Column("accuracy d1", with_interval("accuracy", "low", "high", "percent")),
        Column("accuracy strict", shows("strict", "percent")),
        Column("accuracy printed", shows("published_accuracy", "percent")),
        Column("steps", shows("steps", "two")),
        Column("steps printed", shows("published_steps", "one")),
        Column("saved %", shows("reduction", "percent")),
        Column("saved, printed", shows("published_reduction", "percent")),
        Column("differs", text("mark"), numeric=False),
    ),
)

SCHEDULE_ALONE = Spec(
    "schedule_alone",
    "What the schedule saves alone",
    _schedule_caption,
    schedule_rows,
    (
        *SET,
        Column("full", shows("full_steps", "count")),
        Column("skip", shows("skip_noop_steps", "count")),
        Column("EDIT", shows("steps", "one")),
        Column("EDIT's steps", text("source"), numeric=False),
        Column("share %", shows("share", "percent")),
    ),
)
