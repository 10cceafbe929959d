"""What a synthetic study knows of its maps.

How alike they are, what each module's shows, those of runs on single tasks.
"""

from tracedlm.records.manifest import write_manifest
from tracedlm.records.parquet import write_table
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE

VARIANTS = ("outside_raw", "outside_corrected", "inside_raw", "inside_corrected")
MAPS = [
    *(
        {"projection": p, "matrix": m, "reduction": r, "variant": VARIANTS[0]}
        for p, m in ("qA", "qB", "kB", "vB")
        for r in ("row_energy", "row_mean")
    ),
    *(
        {"projection": p, "matrix": "B", "reduction": "row_energy", "variant": variant}
        for p in "qkv"
        for variant in VARIANTS[1:]
    ),
]
"""Maps that the ablations compare."""


def write_maps(root, datasets, length) -> None:
    """Maps whose cosine is 1 - distance in the list / 100; that of LoRA-A lives in another space.

    D_t is 1e-6 times the place.
    """
    n, facts = len(MAPS), [{"layer": 1, "source": "moments", "basis": "svd", **one} for one in MAPS]
    pairs = {
        (i, j): 1 - abs(i - j) / 100
        for i in range(n)
        for j in range(n)
        if (MAPS[i]["matrix"] == MAPS[j]["matrix"])
    }
    alike = [[pairs.get((i, j)) for j in range(n)] for i in range(n)]
    angle = [[None if value is None else 90 * (1 - value) for value in row] for row in alike]
    write_manifest(
        root / "rrm/similarity.json",
        "rrm.maps",
        maps=facts,
        cosine=alike,
        correlation=alike,
        angle=angle,
        chance=0.94,
    )
    for dataset in datasets:
        results = [
            {
                **one,
                "mean": 1e-6 * (i + 1),
                "sd": 1e-6,
                "low": 1e-7,
                "high": 1e-5,
                "n": 100,
                "undefined": 5,
                **ablation_share(i),
            }
            for i, one in enumerate(facts)
        ]
        results[0] |= {
            "mean": None,
            "sd": None,
            "low": None,
            "high": None,
            "n": 0,
            "undefined": 105,
        }
        write_manifest(
            root / f"ablation/{dataset}/{length}.json",
            "rrm.module_ablation",
            maps=results,
            samples=8,
        )


def ablation_share(certified: int) -> dict:
    return {
        "certified": certified % 9,
        "samples": 8,
        "share": certified % 9 / 8,
        "share_low": 0.0,
        "share_high": 1.0,
    }


TASK_RUNS = ["study", "countdown-0", "countdown-1", "sudoku-0", "sudoku-1"]


def write_task_maps(root) -> None:
    """Maps of runs on single tasks, each a tenth further from the one before.

    Updates of LoRA-B a hundred times those of LoRA-A.
    """
    facts = [
        {"layer": 1, "projection": p, "matrix": "B", "variant": VARIANTS[0]}
        for _ in TASK_RUNS
        for p in "qkv"
    ]
    place = [run for run in range(len(TASK_RUNS)) for _ in "qkv"]
    alike = [[1 - abs(i - j) / 10 for j in place] for i in place]
    angle = [[90 * (1 - value) for value in row] for row in alike]
    known = {
        "runs": TASK_RUNS,
        "maps": facts,
        "cosine": alike,
        "correlation": alike,
        "angle": angle,
        "chance": 0.94,
    }
    write_manifest(root / "task_maps/similarity.json", "rrm.maps", **known)
    cells = [
        {
            "run": run,
            "module": f"1.q.{matrix}",
            "row": i,
            "column": j,
            "magnitude": unit * (i + j + 1),
            "scaled": 255 * (i + j + 1) / 5,
        }
        for run in ("study", "countdown-0", "sudoku-0")
        for matrix, unit in (("B", 1e-1), ("A", 1e-3))
        for i in range(2)
        for j in range(4)
    ]
    for folder, runs in {"rrm": ["study"], "task_maps": ["countdown-0", "sudoku-0"]}.items():
        write_table(
            root / f"{folder}/update_magnitude.parquet",
            [cell for cell in cells if cell["run"] in runs],
            UPDATE_MAGNITUDE,
        )
