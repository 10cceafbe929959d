"""Rule `figures`: each figure as PDF and PNG, with the numbers it shows as .csv.

Files are the same byte for byte over two runs.
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from tracedlm.records import trace
from tracedlm.records.atomic import replacing
from tracedlm.records.metrics import GRADIENTS, read_json
from tracedlm.records.parquet import read_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.report.contents import pseudo_gradient_figures
from tracedlm.report.evidence import Evidence
from tracedlm.report.figures.cost import draw_gradients, draw_pareto, gradient_rows, pareto_rows
from tracedlm.report.figures.maps import (
    draw_magnitudes,
    draw_maps,
    draw_task_similarity,
    magnitude_rows,
    task_similarity_rows,
)
from tracedlm.report.figures.pseudo_gradients import draw_pseudo_gradients, pseudo_gradient_rows
from tracedlm.report.figures.steps import (
    draw_similarity,
    draw_stability,
    draw_temperature,
    similarity_rows,
    stability_rows,
)
from tracedlm.report.figures.style import STYLE
from tracedlm.report.layout import Row
from tracedlm.report.tables.maps import similarity_rows as map_similarity_rows
from tracedlm.report.tables.profiles import curve_rows
from tracedlm.report.write import write_csv


def make_figures(
    evidence: Evidence,
    readouts: dict[str, Path],
    gradients: Path | None,
    pseudo_gradients: dict[str, Path],
    magnitudes: list[Path],
    task_maps: Path | None,
    out: dict[str, Path],
) -> None:
    """Draw all figures.

    One that the study has nothing for is blank but for the reason, the one row of its csv.

    Args:
        evidence: The study's metrics.
        readouts: Test readout of each dataset, at the study's shortest canvas.
        gradients: `sft/gradients.parquet`; None where nothing was fine-tuned.
        pseudo_gradients: Pseudo-gradients of each dataset at that canvas; empty where none were
            made.
        magnitudes: Update magnitudes of the study's run and of those on single tasks.
        task_maps: How alike the tasks' maps are; None where no task was fine-tuned on by itself.
        out: Path of each figure's PNG; .pdf and .csv go beside it.
    """
    tables = {
        dataset: read_table(path, trace.READOUT, "a readout") for dataset, path in readouts.items()
    }
    log = read_table(gradients, GRADIENTS, "the gradient log").to_pylist() if gradients else []
    grids = [read_table(path, UPDATE_MAGNITUDE, "update magnitudes") for path in magnitudes]
    tasks = (
        read_json(task_maps, ("runs", "maps", "cosine", "correlation", "angle", "chance"))
        if task_maps
        else None
    )
    drawn: dict[str, tuple[list[Row], Callable[[list[Row]], Figure]]] = {
        "stability": (stability_rows(tables), draw_stability),
        "similarity": (similarity_rows(tables), draw_similarity),
        "temperature": (curve_rows(evidence), draw_temperature),
        "pareto": (pareto_rows(evidence), draw_pareto),
        "gradients": (gradient_rows(log), draw_gradients),
        "maps": (map_similarity_rows(evidence), draw_maps),
        "map_similarity": (task_similarity_rows(tasks), draw_task_similarity),
        "update_magnitude": (magnitude_rows(grids), draw_magnitudes),
    }
    settled = {record["dataset"]: record for record in evidence.convergence}
    for dataset, name in pseudo_gradient_figures(pseudo_gradients, len(settled)).items():
        table = read_table(pseudo_gradients[dataset], PSEUDO_GRADIENTS, "pseudo-gradients")
        drawn[name] = (pseudo_gradient_rows(table, settled[dataset]), draw_pseudo_gradients)
    with matplotlib.rc_context(STYLE):
        for name, (rows, draw) in drawn.items():
            write_csv(out[name].with_suffix(".csv"), rows)
            save(_blank(rows) if is_blank(rows) else draw(rows), out[name])


def is_blank(rows: list[Row]) -> bool:
    """Whether there is nothing to draw but the reason why."""
    return all(row.keys() == {"reason"} for row in rows)


def _blank(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(6.4, 0.6))
    figure.text(0.5, 0.5, str(rows[0]["reason"]), ha="center", va="center")
    return figure


def save(figure: Figure, png: Path) -> None:
    """Save without dates or versions, which would differ between runs of the same study."""
    for path, metadata in (
        (png, {"Software": None}),
        (png.with_suffix(".pdf"), {"CreationDate": None, "Creator": None, "Producer": None}),
    ):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
