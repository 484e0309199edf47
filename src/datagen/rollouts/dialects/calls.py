"""Calls as JSON in a text, and the tools of a dialect under the names that it gives them.

    {"name": "search_urls", "arguments": {"query": "stadiums in Veltrin"}}

What a model wrote as arguments may be anything. What is a JSON object is written in one style of JSON; what is none is
carried along as it is, marked as bad when it is read back, and never taken for something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from datagen.agents.toolbox import SearchArguments, VisitArguments, parse_arguments
from datagen.rollouts.dialects.guarding import guard, guard_json, unguard, whole

_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:', re.DOTALL)
_ARGUMENTS: Mapping[str, type[BaseModel]] = {"search": SearchArguments, "visit": VisitArguments}
_DEEP = 200
"""JSON that nests deeper can be read and not be written again."""
_SPACED = json.JSONEncoder(ensure_ascii=False).encode
FOREIGN = "~"
"""Before a name that one side does not have and the other would take for one of its own."""

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WireTool:
    """One tool as a dialect has it. The two functions are each other's inverse on the arguments that the tool takes."""

    tool: str
    """Its name in a log."""
    name: str
    """Its name in the dialect."""
    to_wire: Callable[[Arguments], Arguments]
    from_wire: Callable[[Arguments], list[Arguments] | None]
    """The calls of the log that one call in the dialect stands for; None where the arguments do not fit the tool."""


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A call as the log has it."""

    tool: str
    arguments: str
    known: bool = True
    fits: bool = True


def loaded(text: str | None) -> Arguments | None:
    """A JSON object; None for anything else."""
    try:
        raw = orjson.loads((text or "").strip() or "{}")
        if text and text.count("[") + text.count("{") > _DEEP:
            orjson.dumps(raw)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return raw if isinstance(raw, dict) else None


def dumped(raw: Any) -> str:
    """JSON in the style of logs."""
    return orjson.dumps(raw).decode()


def spaced(raw: Any) -> str:
    """JSON in the style that models write, with blanks after commas and colons."""
    return _SPACED(raw)


def written(name: str, arguments: Arguments | str) -> str:
    """The text of a call. Arguments that are text are no JSON object and stand as they are."""
    if isinstance(arguments, str):
        return f'{{"name": {guard_json(spaced(name))}, "arguments": {guard(arguments)}}}'
    return guard_json(spaced({"name": name, "arguments": arguments}))


def read(text: str) -> tuple[str, Arguments | str] | None:
    """Name and arguments of a call's text; arguments that are no JSON object as text. None where it is no call."""
    head = _HEAD.match(text)
    if head is None or not text.endswith("}"):
        return _read_whole(text)
    try:
        name = orjson.loads(head.group(1))
    except orjson.JSONDecodeError:
        return None
    raw = text[head.end() : -1].strip()
    arguments = loaded(raw) if raw else None
    return name, (arguments if arguments is not None else unguard(raw))


def _read_whole(text: str) -> tuple[str, Arguments | str] | None:
    """A call that has its keys in another order."""
    raw = loaded(text) if text else None
    if raw is None or set(raw) != {"name", "arguments"} or not isinstance(raw["name"], str):
        return None
    arguments = raw["arguments"]
    return raw["name"], (arguments if isinstance(arguments, dict) else dumped(arguments))


class Vocabulary:
    """The tools of one dialect, both ways."""

    def __init__(self, *tools: WireTool) -> None:
        self._by_tool = {tool.tool: tool for tool in tools}
        self._by_name = {tool.name: tool for tool in tools}

    def to_wire(self, tool: str | None, arguments: str | None) -> tuple[str, Arguments | str]:
        """Name and arguments in the dialect."""
        known = self._by_tool.get(tool or "")
        name = known.name if known else self._foreign_to_wire(whole(tool or ""))
        raw = loaded(arguments)
        if raw is None:
            return name, whole(arguments or "").strip()
        return name, known.to_wire(raw) if known else raw

    def from_wire(self, name: str, arguments: Arguments | str) -> list[ReadCall]:
        """The calls of the log that a call in the dialect stands for."""
        known = self._by_name.get(name)
        if known is None:
            foreign = FOREIGN + name if self._needs_mark(name, self._by_tool) else name
            text = arguments if isinstance(arguments, str) else dumped(arguments)
            return [ReadCall(foreign, text, known=False, fits=not isinstance(arguments, str))]
        if isinstance(arguments, str):
            return [ReadCall(known.tool, arguments, fits=False)]
        calls = known.from_wire(arguments)
        if calls is None:
            return [ReadCall(known.tool, dumped(arguments), fits=False)]
        texts = [dumped(call) for call in calls]
        return [ReadCall(known.tool, text, fits=_fits(known.tool, text)) for text in texts]

    def _foreign_to_wire(self, tool: str) -> str:
        """The name of a tool that the log does not have, such that it is none of the dialect's either."""
        bare = tool.removeprefix(FOREIGN)
        if bare != tool and bare not in self._by_name and self._needs_mark(bare, self._by_tool):
            return bare
        return FOREIGN + tool if self._needs_mark(tool, self._by_name) else tool

    @staticmethod
    def _needs_mark(name: str, taken: Mapping[str, WireTool]) -> bool:
        return name in taken or name.startswith(FOREIGN)


def _fits(tool: str, text: str) -> bool:
    return not parse_arguments(text, _ARGUMENTS[tool])[1]
