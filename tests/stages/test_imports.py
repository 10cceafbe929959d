"""Analysis jobs start in a fraction of a second: they import neither torch nor transformers."""

import importlib.util
import subprocess
import sys

import pytest

from tracedlm.records.manifest import PACKAGE

ANALYSIS = [
    "stages.data.problems",
    "stages.data.download",
    "stages.data.rescore",
    "rescoring",
    "tasks",
    "corpora",
    "stages.rrm.source",
    "stages.rrm.maps",
    "stages.rrm.task_maps",
    "stages.trace.readout",
    "stages.trace.convergence",
    "stages.certify.certify",
    "stages.certify.select",
    "stages.explorer",
    "stages.job",
    "config",
    "config.docs",
    "certification",
    "report",
]
RECORDS = [f"records.{path.stem}" for path in sorted((PACKAGE / "records").glob("[a-z]*.py"))]


@pytest.mark.parametrize("modules", [ANALYSIS, RECORDS], ids=["stages", "records"])
def test_analysis_loads_no_torch(modules):
    names = [
        f"tracedlm.{name}"
        for name in modules
        if name != "report" or importlib.util.find_spec("tracedlm.report")
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    print(name, *(heavy for heavy in ('torch', 'transformers') if heavy in sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == names
