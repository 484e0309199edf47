"""A mind under test: says what it is told to say, calls what it is told to call, and keeps to a schema.

Everything comes from the request. The word that a schema demands stands in the schema, as it does for a server that
enforces one while it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from datagen.agents.llm.fencing import sections
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, call_reply, json_reply
from datagen.practice.wire import WireReply, WireRequest


def say(_: Background, request: WireRequest) -> WireReply:
    return WireReply(text=body(request, "say"))


def ping(_: Background, request: WireRequest) -> WireReply:
    return call_reply("ping", word=body(request, "say"))


def fit_schema(_: Background, request: WireRequest) -> WireReply:
    """The first allowed value of every key that the schema requires."""
    schema = _schema(request)
    try:
        return json_reply({key: schema["properties"][key]["enum"][0] for key in schema["required"]})
    except (KeyError, IndexError, TypeError) as exc:
        raise LookupError("the schema leaves open what to say") from exc


def _schema(request: WireRequest) -> Mapping[str, Any]:
    """As the server is told it, or else as the prompt tells it."""
    wanted = (request.body.get("response_format") or {}).get("json_schema")
    if wanted:
        return dict(wanted.get("schema") or {})
    for message in request.messages:
        for section in sections(message.content, "reply_schema") if message.role == "system" else ():
            told = orjson.loads(section.body)
            if isinstance(told, dict):
                return told
    raise LookupError("the request has no schema")
