"""Which numbers of a config a rehearsal makes small. Every other value stays what it is."""

from typing import Any

LARGEST: dict[str, int] = {
    "catalogue.*.test_samples": 2,
    "catalogue.*.validation_samples": 2,
    "catalogue.*.train_samples": 8,
    "sft.rank": 4,
    "sft.steps": 3,
    "sft.batch_size": 4,
    "sft.checkpoint_every": 2,
    "sft.snapshot_every": 2,
    "decode.batch_size": 4,
    "trace.shards": 2,
    "evaluation.samples": 1,
    "evaluation.seeds": 2,
    "flip_audit.samples": 2,
    "flip_audit.probes": 2,
    "ablation.samples": 2,
    "ablation.task_runs": 2,
    "noise.samples": 2,
    "pseudo_gradient.samples": 1,
    "explorer.samples": 4,
    "resources.threads": 1,
    "dynamics.seeds": 2,
    "dynamics.sentences": 400,
    "dynamics.types": 120,
    "dynamics.layers": 2,
    "dynamics.heads": 2,
    "dynamics.hidden": 12,
    "dynamics.feed_forward": 16,
    "dynamics.steps": 4,
    "dynamics.interval": 2,
    "dynamics.batch_size": 16,
    "dynamics.warmup": 2,
    "dynamics.evaluation": 24,
    "dynamics.curvature_sentences": 8,
    "dynamics.sft_examples": 2,
    "dynamics.probe_seeds": 2,
}
"""Key -> the largest value it has in a rehearsal; `*` stands for every dataset of the catalogue.

Canvas lengths stay, since settings may differ by length (`exits.by_set`), and so does everything
that a rule counts in steps or tokens: a shorter canvas would be another study.
"""


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a complete config with its sizes cut to those of `LARGEST`."""
    return _shrunk(config, ())


def _shrunk(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _shrunk(inner, (*path, str(key))) for key, inner in value.items()}
    largest = LARGEST.get(_pattern(path))
    if largest is None or value is None:
        return value
    return min(value, largest)


def _pattern(path: tuple[str, ...]) -> str:
    """The key as `LARGEST` writes it."""
    if len(path) == 3 and path[0] == "catalogue":
        path = (path[0], "*", path[2])
    return ".".join(path)
