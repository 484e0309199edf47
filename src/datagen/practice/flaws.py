"""How a sound reply is spoiled: broken JSON, another schema, a refusal, quotes that nobody wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from datagen.practice.knobs import Fault
from datagen.practice.wire import WireRequest

_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I am not able to answer this request.",
    "I can't assist with identifying this subject.",
)
_FALSE_QUOTE = "According to the archive of the lighthouse keepers, entry {number} was never disputed."


@dataclass(frozen=True, slots=True)
class Said:
    """What the endpoint answers, before it is written in the protocol."""

    text: str
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    """(id, name, arguments as JSON text)."""
    refusal: str | None = None
    finish_reason: str = "stop"


def spoil(said: Said, fault: Fault, variant: float, request: WireRequest) -> Said | None:
    """The reply with the fault in it; None where the fault has nothing to take hold of."""
    if fault is Fault.REFUSAL:
        return Said("", refusal=_REFUSALS[int(variant * len(_REFUSALS))])
    if said.tool_calls:
        # One bad call among several is as bad as all of them, and harder to notice.
        number = int(variant * len(said.tool_calls))
        call_id, name, arguments = said.tool_calls[number]
        spoiled = _spoil_text(arguments, fault, variant, request, _tool_schema(request.body, name))
        if spoiled is None:
            return None
        calls = (*said.tool_calls[:number], (call_id, name, spoiled), *said.tool_calls[number + 1 :])
        return replace(said, tool_calls=calls)
    told = request.body.get("response_format") or {}
    schema = (told.get("json_schema") or {}).get("schema") or {}
    spoiled = _spoil_text(said.text, fault, variant, request, schema)
    return None if spoiled is None else replace(said, text=spoiled)


def _spoil_text(text: str, fault: Fault, variant: float, request: WireRequest, schema: Mapping[str, Any]) -> str | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    if fault is Fault.MALFORMED_JSON:
        # An object cut anywhere before its last brace does not parse.
        return text.rstrip()[: max(1, int(len(text) * (0.3 + 0.6 * variant)))].rstrip("}")
    if fault is Fault.WRONG_SCHEMA:
        return orjson.dumps(_misshapen(value, schema, variant)).decode()
    if fault is Fault.FALSE_QUOTES:
        quotes = _InventedQuotes(request, int(variant * 9000) + 1000)
        changed = quotes.replaced(value)
        return orjson.dumps(changed).decode() if quotes.used else None
    raise ValueError(f"{fault} is no fault of content")


def _misshapen(value: Mapping[str, Any], schema: Mapping[str, Any], variant: float) -> object:
    """Other keys than the required ones; a list where any object would fit."""
    if schema.get("required") and variant < 0.5:
        return {f"{key}_text": item for key, item in value.items()}
    return [value]


def _tool_schema(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for tool in body.get("tools") or ():
        told: Mapping[str, Any] = tool.get("function") or {}
        if told.get("name") == name:
            return told.get("parameters") or {}
    return {}


class _InventedQuotes:
    """Puts sentences of its own in place of quotes; none of them occurs in a message."""

    def __init__(self, request: WireRequest, first: int) -> None:
        self._read = "\n".join(message.content for message in request.messages)
        self._next = first
        self.used = 0

    def replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._quote_or_more(key, item) for key, item in value.items()}
        return [self.replaced(item) for item in value] if isinstance(value, list) else value

    def _quote_or_more(self, key: str, item: Any) -> Any:
        if key in {"quote", "quotes"} and _texts(item):
            return next(self._sentences()) if isinstance(item, str) else [next(self._sentences()) for _ in item]
        return self.replaced(item)

    def _sentences(self) -> Iterator[str]:
        while True:
            self._next += 1
            sentence = _FALSE_QUOTE.format(number=self._next)
            if sentence not in self._read:
                self.used += 1
                yield sentence


def _texts(item: Any) -> bool:
    if isinstance(item, list):
        return bool(item) and all(isinstance(entry, str) for entry in item)
    return isinstance(item, str) and bool(item)
