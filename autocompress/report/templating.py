"""Templates of the page. Whatever is put into them is escaped and written on one line, unless it was made by one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autocompress.report.plain_text import one_line

TEMPLATES: Final = Path(__file__).with_name("templates")


def rendered(name: str, **values: Any) -> Markup:
    """The template of that name with these values."""
    return Markup(_environment().get_template(name).render(**values))


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_on_one_line,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def _on_one_line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value
