"""The smoke study gives the recorded numbers on every machine, and needs no network to make them.

Processors order sums of float32 differently, which training and a softmax at D_t of 1e-6 enlarge.
Measured between AVX-512 and AVX2 kernels (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA): losses equal to
six decimals, maps within 1.3e-5, D_t within 5e-5 of itself; all that is counted was equal.
"""

import json

import pytest

from smoke_numbers import RECORD, numbers
from smoke_study import INTERFACES, RESULTS, without_network

TOLERANCES = {"loss": {"rel": 1e-4}, "map": {"abs": 2e-4}, "kl": {"rel": 1e-3}}
"""Of what is measured.

Forwards, solved problems, flips, certificates and the selection are counted or chosen, and are
equal.
"""


def close(name, found, recorded):
    return (
        found == pytest.approx(recorded, **TOLERANCES[kind])
        if (kind := name.split("/")[0]) in TOLERANCES
        else found == recorded
    )


@pytest.mark.slow
def test_the_study_gives_the_recorded_numbers(study):
    found, recorded = numbers(study / RESULTS), json.loads(RECORD.read_text())
    assert list(found) == list(recorded)
    off = [name for name in recorded if not close(name, found[name], recorded[name])]
    assert not off, (
        f"{off} moved: if that is meant, make smoke && python tests/smoke_numbers.py results/smoke"
    )


@pytest.mark.slow
def test_the_study_needs_no_network(study):
    """The shared study has been run with nothing but a loopback that is down."""
    if not without_network():
        pytest.skip("this system lets nobody take the network away (unshare --map-root-user --net)")
    names = [
        line.split(":")[0].strip() for line in (study / INTERFACES).read_text().splitlines()[2:]
    ]
    assert names == ["lo"] and (study / RESULTS / "report.html").exists()
