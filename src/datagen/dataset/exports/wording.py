"""The files of an export that are words or code: templates beside this module, filled in and never assembled."""

from __future__ import annotations

import json
from importlib.resources import files

import jinja2

# Markdown, YAML and Python: no browser reads them, so nothing is escaped.
_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    autoescape=False,  # noqa: S701
)

# Jinja's own `tojson` sorts keys and escapes for HTML.
_ENVIRONMENT.filters["json"] = json.dumps


def filled(template: str, **values: object) -> str:
    """The text of `templates/NAME.j2` with its values."""
    source = files(__package__).joinpath(f"templates/{template}.j2").read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(source).render(**values)
