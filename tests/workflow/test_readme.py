"""The picture in the README is the workflow's own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_shows_the_current_rule_graph():
    snakemake = Path(sys.executable).with_name("snakemake")
    run = subprocess.run(
        [snakemake, "--rulegraph", "mermaid-js"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    graph = [
        line for line in run.stdout.splitlines() if line and not line.startswith(("---", "title"))
    ]
    shown = (ROOT / "README.md").read_text().split("```mermaid\n")[1].split("\n```")[0].splitlines()
    assert sorted(shown) == sorted(graph), (
        "paste the output of `snakemake --rulegraph mermaid-js` into README.md"
    )
