"""Rule `certify`."""

from pathlib import Path

from tracedlm.config import Certify
from tracedlm.stages.certify.certify import certify_set
from tracedlm.stages.certify.setup import read_setup
from tracedlm.stages.job import logged

with logged(snakemake):
    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    readouts = dict(zip(p.readouts, map(Path, i.readouts), strict=True))
    samples, maps = ([Path(path) for path in paths] for paths in (i.samples, i.maps))
    out = {
        name: {kind: Path(snakemake.output[kind][n]) for kind in ("samples", "grid", "summary")}
        for n, name in enumerate(p.readouts)
    }
    setup = read_setup(Path(i.selection), w.dataset, int(w.seq_len), Certify(**p.settings), p.tau)
    certify_set(readouts, samples, maps, setup, p.seed, out)
