"""Tables of how exits hang on training.

What corrupted labels do to maps and exits, and pseudo-gradients against training's gradients.
"""

from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import Column, Row, Spec, number, shows, text, with_interval
from tracedlm.report.tables.exits import SET
from tracedlm.theory.resampling import clopper_pearson

TEXTS = Spec.texts | {"run", "module"}
NOT_NOISY = "noise.shares is empty: no run with corrupted labels"
NOT_REPLAYED = "pseudo_gradient.samples is 0: no trace was replayed with gradients"
RUNS = {"clean": "clean", "other-seed": "clean, another seed"}
PROJECTIONS = ("q", "k", "v")


def noise_rows(evidence: Evidence) -> list[Row]:
    """Every fine-tuning run against the clean one.

    Its maps, and on each dataset D_t and the exits its map decides.
    """
    rows: list[Row] = []
    for record in evidence.noise:
        run, maps = record["run"], record["maps"]
        where: Row = {
            "run": RUNS.get(run["name"], "corrupted labels"),
            "share": run["share"],
            "seed": run["seed"],
        }
        for name in PROJECTIONS:
            where |= {
                f"cosine_{name}": maps[name]["cosine"],
                f"correlation_{name}": maps[name]["correlation"],
            }
            where |= {
                f"angle_{name}_{place}": angle
                for place, angle in enumerate(maps[name]["angles"], start=1)
            }
        for one in record["sets"]:
            facts: Row = {"dataset": one["dataset"], "seq_len": one["seq_len"], "n": one["n"]}
            facts |= {
                "kl": one["kl"]["mean"],
                "kl_low": one["kl"]["low"],
                "kl_high": one["kl"]["high"],
            }
            facts |= {"forwards": one["forwards"], "full_forwards": one["full_forwards"]}
            for name in ("full", "rad"):
                low, high = clopper_pearson(one[f"solved_{name}"], one["n"])
                facts |= {
                    f"accuracy_{name}": one[f"solved_{name}"] / one["n"],
                    f"low_{name}": low,
                    f"high_{name}": high,
                }
            rows.append(
                {
                    **where,
                    **facts,
                    "reason": (
                        ""
                        if one["kl"]["mean"] is not None
                        else "fewer than two steps have a defined D_t"
                    ),
                }
            )
    return rows or [{"run": None, "share": None, "dataset": None, "reason": NOT_NOISY}]


def convergence_rows(evidence: Evidence) -> list[Row]:
    """When pseudo-gradients settle in the band of fine-tuning's gradients.

    With the rank correlation of that step with each run's exit step.
    """
    rows: list[Row] = []
    for record in evidence.convergence:
        band = record["bands"][record["module"]]
        where: Row = {
            "dataset": record["dataset"],
            "seq_len": record["seq_len"],
            "module": record["module"],
        }
        where |= {"sft_mean": band["mean"], "band_low": band["low"], "band_high": band["high"]}
        where |= {
            "blocks": record["blocks"],
            "converged": record["converged"],
            "median_step": record["median_step"],
        }
        for found in record["correlation"]:
            rows.append(
                {
                    **where,
                    **{
                        key: found[key]
                        for key in ("rule", "label", "rho", "low", "high", "n", "dropped", "reason")
                    },
                }
            )
    return rows or [{"dataset": None, "label": None, "reason": NOT_REPLAYED}]


def _noise_caption(rows: list[Row]) -> str:
    sizes = sorted({str(row["n"]) for row in rows if row.get("n")})
    return (
        "Fine-tuning again with a share of the training problems given another problem's response,"
        " all else the same. Cosine: of each run's map u with the clean run's; angle: the largest"
        " principal angle of their q subspaces; another seed, with clean labels, is the yardstick"
        " for both. D_t, forwards and problems solved are of each run's own model and map, with the"
        " configured rad" + (f"; n = {', '.join(sizes)} problems a set." if sizes else ".")
    )


def _convergence_caption(rows: list[Row]) -> str:
    return (
        "RMS of the gradient, with respect to LoRA-B, of what a forward changed in the predictions"
        " of a block's visible tokens (EDIT App. G), against the mean and one standard deviation of"
        " fine-tuning's gradients. Settled: blocks whose pseudo-gradients stay inside that band to"
        " their last step, and the median of the steps from which they do; being inside at the last"
        " step alone is enough, so that a median there says little. rho: Spearman's rank"
        " correlation of that step with the step at which a run stopped the same block, with a 95 %"
        " bootstrap interval over blocks; blocks that never settle have none."
    )


def _settled(row: Row) -> str:
    return f"{number(row['converged'], 'count')} of {number(row['blocks'], 'count')}"


def _band(row: Row) -> str:
    return (
        f"{number(row['sft_mean'], 'small')} [{number(row['band_low'], 'small')},"
        f" {number(row['band_high'], 'small')}]"
    )


def _angle(row: Row) -> str:
    return number(row["angle_q_1"], "one")


def _cosine(name: str) -> Column:
    return Column(f"cosine {name}", shows(f"cosine_{name}", "three"))


NOISE = Spec(
    name="noise",
    title="Robustness to noisy training",
    caption=_noise_caption,
    build=noise_rows,
    columns=(
        Column("run", text("run"), numeric=False, merge=True),
        Column("corrupted, %", shows("share", "percent"), merge=True),
        *(_cosine(name) for name in PROJECTIONS),
        Column("angle q, deg", _angle),
        *(Column(column.head, column.show, column.numeric) for column in SET),
        Column("D_t, nats", shows("kl", "small")),
        Column("forwards rad", shows("forwards", "one")),
        Column("solved full, %", shows("accuracy_full", "percent")),
        Column("solved rad, %", shows("accuracy_rad", "percent")),
    ),
    shown=lambda row: row["dataset"] is not None,
    texts=TEXTS,
)

PSEUDO_GRADIENTS = Spec(
    name="pseudo_gradients",
    title="Pseudo-gradients and exits",
    caption=_convergence_caption,
    build=convergence_rows,
    columns=(
        *SET,
        Column("fine-tuning RMS", _band, merge=True),
        Column("blocks settled", _settled, merge=True),
        Column("median step", shows("median_step", "one"), merge=True),
        Column("run", text("label"), numeric=False),
        Column("rho", with_interval("rho", "low", "high", "two")),
        Column("n", shows("n", "count")),
    ),
    shown=lambda row: row["dataset"] is not None,
    texts=TEXTS,
)
