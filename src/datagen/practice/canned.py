"""A mind that thinks nothing: one text for everybody, and where a schema or a tool is asked for, the least that fits it.

For benchmarks, where the endpoint must not be the bottleneck, and for trying a client. It is answered on the spot rather
than in a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from datagen.practice.wire import WireReply, WireRequest

_DEEPEST = 12


class CannedMind:
    """Says `text`, or JSON made up to fit where a schema is asked for and the text is no JSON object.

    Tools are called only if they have to be (`tool_choice`).
    """

    def __init__(self, text: str = "This is a practice reply.") -> None:
        self.text = text
        self._is_object = text.lstrip().startswith("{")

    def answer(self, request: WireRequest) -> WireReply:
        body = request.body
        if request.tool_names and (tool := _demanded_tool(body)) is not None:
            return WireReply(tool_calls=((tool["name"], sample_of(tool.get("parameters") or {"type": "object"})),))
        if self._is_object or not (wanted := body.get("response_format")):
            return WireReply(self.text)
        schema = (wanted.get("json_schema") or {}).get("schema") or {"type": "object"}
        return WireReply(orjson.dumps(sample_of(schema)).decode())


def asks_what_is_possible(request: WireRequest) -> bool:
    """Whether a request is of no role: it has neither schema nor tools, or calls them probes, as `datagen check` does."""
    names = request.tool_names or ((request.schema_name,) if request.schema_name else ())
    return all(name.startswith("probe") for name in names)


def _demanded_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The tool that has to be called: the one named, or the first where any will do."""
    choice = body.get("tool_choice")
    if choice == "required":
        first: Mapping[str, Any] = body["tools"][0]["function"]
        return first
    if isinstance(choice, Mapping):
        named = choice.get("function", {}).get("name")
        return next((tool["function"] for tool in body["tools"] if tool["function"]["name"] == named), None)
    return None


def sample_of(schema: Mapping[str, Any]) -> Any:
    """A small value that fits a JSON schema: what is required and no more."""
    return _sample(schema, schema, 0)


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _sample(_resolved(root, schema["$ref"]), root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _sample(schema[key][0], root, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [_sample(schema.get("items") or {}, root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        return {key: _sample(fields.get(key, {}), root, depth + 1) for key in schema.get("required", ())}
    return _plain_sample(kind, schema)


def _plain_sample(kind: str | None, schema: Mapping[str, Any]) -> Any:
    if kind in {"integer", "number"}:
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        return min(least, schema["maximum"]) if "maximum" in schema else least
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return "practice".ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _resolved(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """What "#/$defs/Name" points at."""
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
