"""Tables of wall time, which differ from run to run.

What forwards saved are worth in seconds, and where a step's time goes.
"""

from tracedlm.report.evidence import PHASES, Evidence
from tracedlm.report.layout import Column, Row, Spec, shows, text
from tracedlm.report.tables.equal_cost import matched
from tracedlm.report.tables.exits import SET, first_of_rule, sizes

SHARES = {f"{phase}_share": phase for phase in PHASES}


def latency_rows(evidence: Evidence) -> list[Row]:
    """Wall time per sample of every run against full decoding.

    And against `truncate` with as many forwards, which shows what watching costs.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        full = one.run("full")
        whole = float(full.seconds.mean()) if full else None
        for run in one.runs:
            seconds, truncate = float(run.seconds.mean()), matched(run, one, "truncate")
            fewer, sooner = 1 - run.forwards / one.steps, 1 - seconds / whole if whole else None
            as_many = float(truncate.seconds.mean()) if truncate else None
            row: Row = {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "rule": run.rule,
                "run": run.place,
                "label": run.label,
                "n": run.n,
            }
            row |= {"seconds": seconds, "speed_up": whole / seconds if whole and seconds else None}
            row |= {"output_tokens": float(run.output_tokens.mean())}
            row |= {
                "tokens_per_second": float(run.output_tokens.mean()) / seconds if seconds else None
            }
            row |= {"forwards": run.forwards, "forwards_saved": fewer, "time_saved": sooner}
            row |= {
                "kept": sooner / fewer if sooner is not None and fewer > 0 else None,
                "truncate_seconds": as_many,
            }
            row |= {"over_truncate": seconds / as_many - 1 if as_many else None}
            rows.append(
                {
                    **row,
                    "reason": "" if truncate else "no other run of truncate with as many forwards",
                }
            )
    return rows


def step_rows(evidence: Evidence) -> list[Row]:
    """Shares of a decoding step's time by phase, where decoding was profiled."""
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len}
        if one.profile is None:
            rows.append(
                {
                    **where,
                    **dict.fromkeys(("label", "seconds", *SHARES)),
                    "reason": "decoding was not profiled",
                }
            )
            continue
        total = sum(one.profile[phase] for phase in PHASES)
        rows.append(
            {
                **where,
                "label": one.profile["label"],
                "seconds": total,
                **{share: one.profile[of] / total for share, of in SHARES.items()},
                "reason": "",
            }
        )
    return rows


def _latency_caption(rows: list[Row]) -> str:
    return (
        "Seconds per sample, a share of each batch's wall time, all rules in one process, each at"
        " its first setting. Tokens per second count what was written, without prompt and padding."
        " Saved: against full decoding, in percent; kept: the share of the forwards saved that"
        " became time saved. Over truncate: time beyond that of evenly spread forwards, as many of"
        " them, percent: what watching costs, and what a batch waits for its slowest sample."
        " skip_noop has full decoding's time where no forward can be skipped: it is the same run."
        f" Time differs from run to run, unlike every other table but the next. n = {sizes(rows)} a"
        " set."
    )


def _step_caption(rows: list[Row]) -> str:
    return (
        "Where the time of a batch's decoding step goes, percent, timed in one run a"
        f" set{_timed(rows)}: the model's forward, logits and softmax, the exit rule with what it"
        " observes, writing tokens, and the host. A rule that needs no map observes less."
    )


def _timed(rows: list[Row]) -> str:
    labels = dict.fromkeys(str(row["label"]) for row in rows if row["label"])
    return f", {', '.join(labels)}" if labels else ""


LATENCY = Spec(
    "latency",
    "Latency",
    _latency_caption,
    latency_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("seconds", shows("seconds", "two")),
        Column("speed-up", shows("speed_up", "two")),
        Column("tokens/s", shows("tokens_per_second", "one")),
        Column("forwards saved %", shows("forwards_saved", "percent")),
        Column("time saved %", shows("time_saved", "percent")),
        Column("kept", shows("kept", "two")),
        Column("over truncate %", shows("over_truncate", "points")),
    ),
    shown=first_of_rule,
)

STEP_TIME = Spec(
    "step_time",
    "Time of a step",
    _step_caption,
    step_rows,
    (
        *SET,
        *(
            Column(f"{phase.replace('_', ' ')} %", shows(share, "percent"))
            for share, phase in SHARES.items()
        ),
    ),
    shown=lambda row: row["seconds"] is not None,
)
