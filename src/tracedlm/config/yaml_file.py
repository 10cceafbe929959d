"""YAML as people mean it.

What YAML 1.1 reads otherwise than it is written is refused, with the line.
"""

import re
from pathlib import Path
from typing import Any

import yaml

SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
OCTAL = re.compile(r"[-+]?0[0-7_]+")


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, made strict.

    PyYAML keeps the last of two equal keys, and reads 12:00 as 720. This loader does neither.
    """


def _mapping(loader: Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    lines: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)  # pyright: ignore[reportUnknownMemberType]
        line = key_node.start_mark.line + 1
        if isinstance(key, str | int | float) and key in lines:
            raise ValueError(
                f"{key!r} is set twice, in line {lines[key]} and in line {line}, and only the"
                " second would count; write one of them, with all that belongs to it"
            )
        if isinstance(key, str | int | float):
            lines[key] = line
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _built_mapping(loader: Loader, node: yaml.MappingNode) -> Any:
    # In two parts, as PyYAML does it, so that an alias may stand inside what it names.
    values: dict[Any, Any] = {}
    yield values
    values.update(_mapping(loader, node))


def _integer(loader: Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    line = node.start_mark.line + 1
    if SEXAGESIMAL.fullmatch(text):
        raise ValueError(
            f"line {line}: {text} is a number to the base of 60 in YAML,"
            f" {loader.construct_yaml_int(node)}; write a plain number, such as 720 minutes for"
            " twelve hours"
        )
    if OCTAL.fullmatch(text):
        raise ValueError(
            f"line {line}: {text} is octal in YAML, {loader.construct_yaml_int(node)}; write it"
            " without the leading 0, or in quotes where it is a text"
        )
    return loader.construct_yaml_int(node)


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    if SEXAGESIMAL.fullmatch(node.value):
        raise ValueError(
            f"line {node.start_mark.line + 1}: {node.value} is a number to the base of 60 in YAML;"
            " write a plain number"
        )
    return loader.construct_yaml_float(node)


Loader.add_constructor("tag:yaml.org,2002:map", _built_mapping)
Loader.add_constructor("tag:yaml.org,2002:int", _integer)
Loader.add_constructor("tag:yaml.org,2002:float", _float)


def read_yaml(path: str | Path) -> Any:
    """What a config file holds.

    Raises:
        ValueError: The file is missing, is no YAML, sets a key twice, or writes a number in a form
            that YAML reads as another one. The message names the file and the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """As `read_yaml`, of a text that came from `source`."""
    try:
        return yaml.load(text, Loader)
    # PyYAML also lets KeyErrors and the like through, for `!!bool x`; all mean a file that is no
    # config
    except Exception as error:
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            message = f"{source}: {error}"
        else:
            message = f"{source}: not readable as YAML ({' '.join(str(error).split())})"
        raise ValueError(message) from error
