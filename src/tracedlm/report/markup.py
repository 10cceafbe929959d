"""Templates of the study's pages: the report and the explorer."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def html() -> Environment:
    """Templates that escape every value, and in which a name without one is an error."""
    return Environment(
        loader=PackageLoader("tracedlm.report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
