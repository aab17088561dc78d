"""Renders a template of this package as one self-contained HTML file.

Escaping is always on and an unknown name in a template is an error, so that a page is either whole
or not written at all. What a page says is its own module's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from obfnet.core.errors import MissingExtraError
from obfnet.report import wording


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """Fills a template.

    Args:
        template: File name in this package, ending in `.html.j2`.
        context: Names that the template uses; strings are escaped in it.

    Returns:
        The page as HTML text without any reference to the outside.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as exc:
        raise MissingExtraError("jinja2", "report") from exc
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=wording.percent,
        similarity=wording.similarity,
        count=wording.count,
        microseconds=wording.microseconds,
        size=wording.size,
        power=wording.power,
        seconds=wording.seconds,
        several=wording.several,
    )
    return environment.get_template(template).render(context)
