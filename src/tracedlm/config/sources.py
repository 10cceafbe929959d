"""Where each value of a study comes from: a config file, the command line, or a default."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tracedlm.config.decoding import merged
from tracedlm.config.study import Study, load_study
from tracedlm.config.yaml_file import parse_yaml, read_yaml
from tracedlm.resources import located

DEFAULT_STUDY = "config/config.yaml"
"""What the Snakefile merges `--configfile` into."""

DEFAULT = "default"
"""Source of a value that no file sets."""

WIDEST = 60
"""Column of the sources, but for values that reach beyond it."""

Path = tuple[str, ...]
"""Keys from the top of a config down to a value."""


@dataclass(frozen=True)
class Layer:
    """One mapping of those that make a study.

    Attributes:
        source: What to call it: a file's path, or `--config`.
        values: What it sets.
    """

    source: str
    values: dict[str, Any]


def merge_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """The config that Snakemake makes of the layers: mappings merge, lists and values replace."""
    config: dict[str, Any] = {}
    for layer in layers:
        config = merged(config, layer.values)
    return config


def study_layers(
    files: Sequence[str], settings: Sequence[str] = (), replace_default: bool = False
) -> list[Layer]:
    """The layers that Snakemake merges for these arguments of `--configfile` and `--config`.

    Args:
        files: Config files, the last of which wins.
        settings: `KEY=VALUE` of the command line, which win over all files.
        replace_default: Leave out config/config.yaml, as `--replace-workflow-config` does.

    Raises:
        ValueError: A file is missing or is no YAML, or as `command_line_layer`.
    """
    named = [*files] if replace_default else [DEFAULT_STUDY, *files]
    layers = [Layer(file, read_yaml(located(file))) for file in named]
    if settings:
        layers.append(command_line_layer(settings))
    return layers


def command_line_layer(settings: Sequence[str]) -> Layer:
    """The layer of `KEY=VALUE` arguments, read as Snakemake reads those of its own `--config`.

    Raises:
        ValueError: An argument has no `=`, or its value is no YAML.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--config {setting}: expected KEY=VALUE, for example seed=1")
        values[key] = parse_yaml(text, f"--config {setting}")
    return Layer("--config", values)


def explain_study(layers: Sequence[Layer]) -> str:
    """The study that the layers make, as YAML, with the source of each value behind it.

    Raises:
        ValueError: As `load_study`.
    """
    study = load_study(merge_layers(layers))
    sources = _sources(layers)
    lines = list(_lines(study, sources))
    width = min(WIDEST, max(len(text) for text, _ in lines))
    return "".join(
        f"{text:<{width}}  # {source}\n" if source else f"{text}\n" for text, source in lines
    )


def _sources(layers: Sequence[Layer]) -> dict[Path, str]:
    """The last layer that sets each value."""
    sources: dict[Path, str] = {}
    for layer in layers:
        for path, _ in _leaves(layer.values):
            sources[path] = layer.source
    return sources


def _leaves(values: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no mapping, and every empty mapping, with the keys that lead to it."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, (*above, str(key)))
    else:
        yield above, values


def _lines(study: Study, sources: dict[Path, str]) -> Iterator[tuple[str, str]]:
    """Lines of YAML, each with its source; a line that only opens a mapping has none."""
    opened: Path = ()
    for path, value in _leaves(study.model_dump(mode="json")):
        for depth in range(len(path) - 1):
            if path[: depth + 1] != opened[: depth + 1]:
                yield f"{'  ' * depth}{path[depth]}:", ""
        opened = path[:-1]
        written = yaml.safe_dump(value, default_flow_style=True, width=10_000)
        written = written.removesuffix("\n").removesuffix("\n...")
        indent = "  " * (len(path) - 1)
        yield f"{indent}{path[-1]}: {written}", sources.get(path, DEFAULT)
