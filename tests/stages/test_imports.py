"""Analysis jobs start in a fraction of a second: they import neither torch nor transformers."""

import importlib.util
import subprocess
import sys

import pytest

from tracedlm.records.manifest import PACKAGE

ANALYSIS = [
    "stages.data",
    "stages.download",
    "stages.rescore",
    "rescoring",
    "tasks",
    "stages.map_source",
    "stages.rrm",
    "stages.update_magnitude",
    "stages.task_maps",
    "stages.readout",
    "stages.certify",
    "stages.convergence",
    "stages.explorer",
    "stages.select",
    "stages.job_log",
    "config",
    "config_docs",
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
