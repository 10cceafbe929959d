"""The three descriptions of the environment agree.

Ranges (pyproject.toml), pins (constraints.txt), conda (environment.yml).

`python tests/test_environment.py` writes environment.yml anew from the other two.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][0-9A-Za-z.]*)")
# Tools that only check the sources are no part of an environment that reproduces results.
LEFT_OUT_OF_CONDA = {"dev"}
HEADER = """\
# Generated from pyproject.toml and constraints.txt: edit those, then run `python
# tests/test_environment.py`.
#
#   conda env create -f environment.yml && conda activate tracedlm && pip install --no-deps -e .
#
# torch: on Linux the index's default build carries CUDA and runs on machines without a GPU too,
# only larger. Where the small CPU build is wanted, install it from PyTorch's own index first; the
# pin below accepts it (2.13.0+cpu satisfies ==2.13.0). Transitive dependencies are pinned in
# constraints.txt (`make` uses it; so does `pip install -c constraints.txt -e .`).
"""


def pins() -> dict[str, str]:
    lines = (line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    matches = [PIN.fullmatch(line) for line in lines if line and not line.startswith("#")]
    assert all(matches), "constraints.txt holds something other than name==version"
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match}


def requirements() -> dict[str, list[Requirement]]:
    """Direct requirements by extra; the empty name is the package's own.

    Other extras that an extra names are left out.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [Requirement(line) for line in lines if not line.startswith("tracedlm[")]
        for extra, lines in groups.items()
    }


def environment_text() -> str:
    pinned = pins()
    names = {
        canonicalize_name(need.name)
        for extra, needs in requirements().items()
        if extra not in LEFT_OUT_OF_CONDA
        for need in needs
    }
    lines = [
        "name: tracedlm",
        "channels:",
        "  - conda-forge",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
    ]
    return (
        HEADER
        + "\n".join(lines + [f"      - {name}=={pinned[name]}" for name in sorted(names)])
        + "\n"
    )


def test_every_requirement_has_a_pin_inside_its_range():
    pinned = pins()
    for need in (need for needs in requirements().values() for need in needs):
        assert need.specifier.contains(pinned[canonicalize_name(need.name)]), (
            f"constraints.txt pins {need.name} outside {need.specifier}"
        )


def test_the_snakefile_asks_for_the_oldest_snakemake_that_the_package_admits():
    (snakemake,) = (need for need in requirements()[""] if need.name == "snakemake")
    (asked,) = re.findall(
        r'^min_version\("(.+)"\)$', (ROOT / "Snakefile").read_text(), re.MULTILINE
    )
    assert f">={asked}" in str(snakemake.specifier).split(",")


def test_pins_serve_cpu_cuda_and_xpu_builds():
    brought = (
        "nvidia-",
        "cuda-",
        "triton",
        "pytorch-triton",
        "intel-",
        "oneccl",
        "onemkl",
        "dpcpp",
        "impi-",
        "mkl",
        "tbb",
        "tcmlib",
        "umf",
    )
    vendor = [name for name in pins() if name.startswith(brought)]
    assert not vendor, (
        f"a build of torch brings these itself; a pin would break the other builds: {vendor}"
    )
    pin = Requirement(f"torch=={pins()['torch']}").specifier
    assert all(
        pin.contains(f"{pins()['torch']}+{build}") for build in ("cpu", "cu128", "cu130", "xpu")
    )


def test_every_extra_is_pinned_and_each_build_of_torch_documented():
    header = (ROOT / "constraints.txt").read_text().split("\n\n")[0]
    named = re.search(r"'\.\[(.+)\]'", header)
    assert named and set(named[1].split(",")) == set(requirements()) - {""}
    text = (ROOT / "docs/install.md").read_text()
    assert (
        all(f"whl/{build}" in text for build in ("cpu", "cu130", "xpu"))
        and f"torch {pins()['torch']}" in text
    )
    assert all(f"`{extra}`" in text for extra in set(requirements()) - {""})


def test_environment_yml_is_current():
    text = (ROOT / "environment.yml").read_text()
    assert text == environment_text(), (
        "environment.yml is stale: run python tests/test_environment.py"
    )
    environment = yaml.safe_load(text)
    assert environment["name"] == "tracedlm"
    (pip_section,) = [
        entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)
    ]
    assert dict(line.split("==") for line in pip_section).items() <= pins().items()


def test_installed_packages_agree_with_each_other():
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment_text())
