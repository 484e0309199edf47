"""The sandbox in which chat templates run: what they may call, and nothing else.

Templates are downloaded with models, so they run in Jinja's immutable sandbox. The conventions are those that tokenizers
ship templates for: blocks are trimmed, `tojson` does not escape for HTML, `raise_exception` refuses a conversation,
`strftime_now` prints the day, `{% generation %}` marks what a model wrote (and is not needed here).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from datagen.errors import ChatTemplateError

Message = Mapping[str, Any]


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`, passed through."""

    tags = {"generation"}  # noqa: RUF012 - the name and type that Jinja reads

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _clock(today: date | None) -> Callable[[str], str]:
    def strftime_now(form: str) -> str:
        if today is None:
            raise TemplateError("the template prints the day: give ChatTemplate a `today`")
        return datetime.combine(today, time()).strftime(form)

    return strftime_now


class Compiled:
    """A template that is ready to run."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def text(
        self, messages: Sequence[Message], tools: Sequence[Message], *, reply: bool, variables: Mapping[str, Any]
    ) -> str:
        given = {"bos_token": "", "eos_token": "", **variables}
        given |= {"messages": list(messages), "tools": list(tools) or None, "add_generation_prompt": reply}
        try:
            return self._template.render(given)
        except TemplateError as exc:
            raise ChatTemplateError(f"the chat template refuses the conversation: {exc}.") from exc
        except (TypeError, ValueError, KeyError, AttributeError) as exc:
            raise ChatTemplateError(
                f"the chat template fails on the conversation: {type(exc).__name__}: {exc}."
            ) from exc


@lru_cache(maxsize=64)
def compiled(source: str, today: date | None) -> Compiled:
    """The template; compiled once."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _clock(today)
    try:
        return Compiled(environment.from_string(source))
    except TemplateError as exc:
        raise ChatTemplateError(f"the chat template cannot be read: {exc}.") from exc
