"""The two tools as trainers show them to a policy: plain function calling, and nothing that one of them would leave out.

A policy that was trained on one description of its tools calls none of them under another, so every form is the same to
the letter: what TRL reads off the methods of `datagen.environment.local.TextSearchEnvironment`, what verl keeps of
`tools.yaml`, and what rows of conversations carry. Tests hold the three together in the trainers' own code.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def _tool(name: str, description: str, required: str, **arguments: tuple[str, str]) -> Json:
    properties = {key: {"type": kind, "description": text} for key, (kind, text) in arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": [required]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS: tuple[Json, ...] = (
    _tool(
        "search",
        "Search the web. Returns the best pages with a snippet of each.",
        "query",
        query=("string", "Words to look for; no query syntax."),
        top_k=("integer", "How many results, 1 to 20."),
    ),
    _tool(
        "visit",
        "Read a page. Returns its text, its links as [start, end, address] of words in the text, and next_offset.",
        "url",
        url=("string", "Address of a page, as a result or a link has it."),
        offset=("integer", "Where to go on reading: next_offset of the window before."),
        goal=("string", "What you look for on the page; a long page is then answered with its passages about that."),
    ),
)


def tools_text() -> str:
    """The tools as JSON text."""
    return json.dumps(TOOLS, ensure_ascii=False)


def tools_text_with_returns() -> str:
    """The same with what they return, as schemas that are read off typed functions have it."""
    return json.dumps([{**t, "function": {**t["function"], "return": {"type": "string"}}} for t in TOOLS])
