"""`config/README.md`, generated from the typed config.

`python -m tracedlm.config.docs > config/README.md`.
"""

from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tracedlm.config import Study

HEADER = """\
# Configuration

Generated from `src/tracedlm/config/`; a test fails when it is stale. To write it anew:

    python -m tracedlm.config.docs > config/README.md

`config.yaml` is the default study. Other files are merged into it with `--configfile`: mappings
merge key by key, lists are replaced. An unknown key is an error that names the nearest known one.
"""


def markdown() -> str:
    """The whole page: one table per section of the config."""
    sections = [_table("Study", Study, "")]
    for name, field in Study.model_fields.items():
        if (section := _section_of(field.annotation)) is not None:
            prefix = f"{name}.<dataset>." if get_origin(field.annotation) is dict else f"{name}."
            sections.append(_table(f"`{name}`", section, prefix))
    return "\n".join([HEADER, *sections])


def _table(title: str, section: type[BaseModel], prefix: str) -> str:
    rows = [
        "| key | type | default | meaning and unit |",
        "| --- | --- | --- | --- |",
        *_rows(section, prefix),
    ]
    return f"## {title}\n\n{(section.__doc__ or '').splitlines()[0]}\n\n" + "\n".join(rows) + "\n"


def _rows(section: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None and prefix:
            rows += _rows(inner, f"{prefix}{name}.")
        else:
            kind = f"section `{name}`" if inner is not None else _type(field.annotation, field)
            default = "" if inner is not None else _default(field)
            rows.append(
                f"| `{prefix}{name}` | {kind} | {default} |"
                f" {(field.description or '').replace('|', chr(92) + '|')} |"
            )
    return rows


def _section_of(annotation: Any) -> type[BaseModel] | None:
    kind = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    limits = [_limit(rule) for rule in field.metadata] if field else []
    if get_origin(annotation) is Annotated:
        annotation, *rules = get_args(annotation)
        limits += [
            _limit(rule)
            for info in rules
            for rule in (info.metadata if isinstance(info, FieldInfo) else [info])
        ]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return f"mapping of {_type(key)} to {_type(value)}"
    if section := _section_of(annotation):
        return f"mapping of {', '.join(f'`{name}`' for name in section.model_fields)}"
    names = {
        int: "integer",
        float: "number",
        str: "text",
        bool: "`true` or `false`",
        NoneType: "null",
        Any: "any value",
    }
    if annotation in names:
        return " ".join([names[annotation], *filter(None, limits)])
    return " ".join(
        [" or ".join(_type(kind) for kind in get_args(annotation)), *filter(None, limits)]
    )


def _limit(rule: Any) -> str:
    for sign, name in (("≥", "ge"), (">", "gt"), ("≤", "le"), ("<", "lt")):
        if (value := getattr(rule, name, None)) is not None:
            return f"{sign} {value}"
    return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, tuple) else f"`{value}`"


if __name__ == "__main__":
    print(markdown(), end="")
