"""WebExplorer's conversations: `search(queries)` with several queries at once, `browse(url, query)`, JSON between tags.

    <think>...</think>
    <tool_call>
    {"name": "search", "arguments": {"queries": ["stadiums in Veltrin", "stadiums opened in 1901"]}}
    </tool_call>

    <tool_response>
    ... <next_query> ...
    </tool_response>

    <think>...</think>
    Harlan Rovers                     a turn without a call ends the attempt, and is the answer

(spec infoseek_webexplorer §2.7.) Searches of one turn become one call. `browse` has an `offset` of its own here, for a page
that is read in windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from datagen.agents.toolbox import MAX_QUERY_CHARS, VISIT
from datagen.clients.chat import Tool
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.calls import Arguments, Vocabulary, WireTool, loaded, written
from datagen.rollouts.dialects.conversation import Conversation, worded_result
from datagen.rollouts.dialects.guarding import guard, unguard
from datagen.rollouts.dialects.reading import Said

_QUERIES = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARS}, "minItems": 1}
SEARCH_MANY = Tool(
    "search",
    "Search the web with several queries at once. Returns for each the best pages with a snippet.",
    {"type": "object", "properties": {"queries": _QUERIES}, "required": ["queries"], "additionalProperties": False},
)
_URL, _OFFSET, _GOAL = (VISIT.parameters["properties"][name] for name in ("url", "offset", "goal"))
BROWSE = Tool(
    "browse",
    "Read a page for what it says about a query; an empty query reads the page itself, a window at a time.",
    {
        "type": "object",
        "properties": {"url": _URL, "query": {k: v for k, v in _GOAL.items() if k != "default"}, "offset": _OFFSET},
        "required": ["url", "query"],
        "additionalProperties": False,
    },
)


def _search_to_wire(arguments: Arguments) -> Arguments:
    return {"queries": [arguments["query"]]} if _is_search(arguments) else arguments


def _search_from_wire(arguments: Arguments) -> list[Arguments] | None:
    queries = arguments.get("queries")
    if set(arguments) != {"queries"} or not isinstance(queries, list) or not queries:
        return None
    return [{"query": query} for query in queries] if all(isinstance(query, str) for query in queries) else None


def _is_search(arguments: Arguments) -> bool:
    return isinstance(arguments.get("query"), str) and set(arguments) <= {"query", "top_k"}


def _visit_to_wire(arguments: Arguments) -> Arguments:
    if "url" not in arguments or not set(arguments) <= {"url", "goal", "offset"}:
        return arguments
    rest: dict[str, Any] = {"offset": arguments["offset"]} if "offset" in arguments else {}
    return {"url": arguments["url"], "query": arguments.get("goal", "")} | rest


def _visit_from_wire(arguments: Arguments) -> list[Arguments] | None:
    if not {"url", "query"} <= set(arguments) <= {"url", "query", "offset"}:
        return None
    goal: dict[str, Any] = {"goal": arguments["query"]} if arguments["query"] != "" else {}
    rest: dict[str, Any] = {"offset": arguments["offset"]} if "offset" in arguments else {}
    return [{"url": arguments["url"]} | rest | goal]


class WebExplorer(Conversation):
    name = "webexplorer"
    losses = (
        "A search has no `top_k`, and an empty goal is no goal.",
        "Call ids are numbered anew, and arguments come in one order.",
        "Results are words: of a search title, address, date and snippet, of a page its address, text and links.",
        "White space around thoughts and answers goes; an answer that something comes after is read as malformed.",
        "Documents of results and sources of answers stay in the log.",
    )

    def __init__(self) -> None:
        tools = (
            WireTool("search", "search", _search_to_wire, _search_from_wire),
            WireTool("visit", "browse", _visit_to_wire, _visit_from_wire),
        )
        super().__init__(Vocabulary(*tools), (SEARCH_MANY, BROWSE))

    def grouped(self, calls: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """Searches that stand together are one call."""
        together: list[Event] = []
        for call in calls:
            arguments = loaded(call.arguments) if call.tool == "search" else None
            if arguments is not None and _is_search(arguments):
                together.append(call)
                continue
            if together:
                yield together
                together = []
            yield (call,)
        if together:
            yield together

    def wire_call(self, group: Sequence[Event]) -> tuple[str, Arguments | str]:
        if len(group) == 1:
            return super().wire_call(group)
        return "search", {"queries": [(loaded(call.arguments) or {})["query"] for call in group]}

    def write_call(self, name: str, arguments: Arguments | str) -> str:
        return f"<tool_call>\n{written(name, arguments)}\n</tool_call>"

    def write_said(self, text: str, *, answer: bool) -> str:  # noqa: ARG002 - the last words are the answer
        return guard(text)

    def read_said(self, text: str) -> Said:
        return Said(unguard(text).strip(), "answer_if_last")

    def write_result(self, call: Event, result: Event) -> str:  # noqa: ARG002 - a result stands by itself
        return worded_result(result)
