r"""Fathom's conversations: `search_urls` and `query_url(url, goal)`, thoughts that the prompt opens, a boxed answer.

    <|im_start|>assistant
    <think>                                                               written by the program
    why</think>
    <tool_call>{"name": "search_urls", "arguments": {...}}</tool_call>    several per turn
    <|im_start|>user
    <tool_response>{the call}
    result:
    ...
    </tool_response>
    <|im_start|>assistant
    <think>why</think>
    \boxed{Harlan Rovers}

(spec fathom §4.1, §4.2.) The schemas are JSON. Braces and backslashes of an answer are escaped inside the box, so an answer
is what stands in the box to the letter. Nothing but the box counts: neither the last box of a thought nor the last words of
a turn without one.
"""

from __future__ import annotations

import re

from datagen.agents.toolbox import SEARCH, VISIT
from datagen.clients.chat import Tool
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.calls import Arguments, Vocabulary, WireTool, written
from datagen.rollouts.dialects.conversation import Conversation, worded_result
from datagen.rollouts.dialects.guarding import guard, unguard
from datagen.rollouts.dialects.reading import Said
from datagen.rollouts.dialects.turns import Turn
from datagen.rollouts.faults import FaultCode

_BOX = re.compile(r"(?<!\\)\\boxed\{")
# Runs of backslashes are matched from their first one only, or a long run would take quadratic time.
_BOX_WORD = re.compile(r"(?<!\\)(\\+)(?=boxed)")
_GUARDED_BOX_WORD = re.compile(r"(?<!\\)\\(\\+)(?=boxed)")
_ESCAPED = re.compile(r"\\([\\{}])")
_SPECIAL = re.compile(r"[\\{}]")
_RESULT = "\nresult: \n"


def _search_to_wire(arguments: Arguments) -> Arguments:
    return arguments


def _search_from_wire(arguments: Arguments) -> list[Arguments] | None:
    return [arguments]


def _visit_to_wire(arguments: Arguments) -> Arguments:
    return {"url": arguments["url"], "goal": "", **arguments} if "url" in arguments else arguments


def _visit_from_wire(arguments: Arguments) -> list[Arguments] | None:
    if arguments.get("goal") == "" and "url" in arguments:
        return [{name: value for name, value in arguments.items() if name != "goal"}]
    return [arguments]


SEARCH_URLS = Tool("search_urls", SEARCH.description, SEARCH.parameters)
QUERY_URL = Tool(
    "query_url",
    "Read a page. With a `goal`, a long page is answered with its passages about the goal. An empty goal reads the page "
    "itself, a window at a time; `offset` goes on where the window before ended.",
    {**VISIT.parameters, "required": ["url", "goal"]},
)


class Fathom(Conversation):
    name = "fathom"
    opening = "<think>"
    losses = (
        "Call ids are numbered anew, and an empty goal is no goal.",
        "Results are words: of a search title, address, date and snippet, of a page its address, text and links.",
        "Arguments are written in one style of JSON; white space around thoughts and answers goes.",
        "Documents of results and sources of answers stay in the log.",
    )

    def __init__(self) -> None:
        tools = (
            WireTool("search", "search_urls", _search_to_wire, _search_from_wire),
            WireTool("visit", "query_url", _visit_to_wire, _visit_from_wire),
        )
        super().__init__(Vocabulary(*tools), (SEARCH_URLS, QUERY_URL))

    def thoughts(self, turn: Turn) -> str:
        return "\n".join(f"<think>\n{guard(thought)}\n</think>" for thought in turn.thoughts or [""])

    def write_call(self, name: str, arguments: Arguments | str) -> str:
        return f"<tool_call>{written(name, arguments)}</tool_call>"

    def write_said(self, text: str, *, answer: bool) -> str:
        return boxed(text) if answer else _BOX_WORD.sub(r"\1\\", guard(text))

    def read_said(self, text: str) -> Said:
        boxes = list(_BOX.finditer(text))
        if not boxes:
            return Said(unguard(_GUARDED_BOX_WORD.sub(r"\1", text)).strip(), "other")
        faults: list[tuple[FaultCode, str]] = []
        if len(boxes) > 1:
            faults.append(("two_answers", f"there are {len(boxes)} boxes"))
        begin, end = boxes[-1].end(), _closing(text, boxes[-1].end())
        if end is None:
            return Said(unguard(text).strip(), "other", (("unbalanced_tag", "the box is never closed"),))
        if text[: boxes[-1].start()].strip() or text[end + 1 :].strip():
            faults.append(("stray_text", "words around the box"))
        return Said(unboxed(text[begin:end]), "answer", tuple(faults))

    def write_result(self, call: Event, result: Event) -> str:
        name, arguments = self.vocabulary.to_wire(call.tool, call.arguments)
        goal = "" if isinstance(arguments, str) else str(arguments.get("goal", ""))
        return f"{written(name, arguments)}{_RESULT}{worded_result(result, goal)}"

    def read_result(self, raw_call: str, body: str) -> str | None:
        head = raw_call + _RESULT
        return body[len(head) :] if body.startswith(head) else None


def boxed(answer: str) -> str:
    r"""The answer in its box, with a backslash before its own braces and backslashes."""
    escaped = _SPECIAL.sub(lambda special: "\\" + special.group(), guard(answer))
    return f"\\boxed{{{escaped}}}"


def unboxed(inner: str) -> str:
    return unguard(_ESCAPED.sub(r"\1", inner)).strip()


_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def _closing(text: str, begin: int) -> int | None:
    """The place of the brace that closes a box; escaped braces and inner pairs are passed over."""
    depth = 1
    for mark in _BRACE.finditer(text, begin):
        if mark.group() == "{":
            depth += 1
        elif mark.group() == "}":
            depth -= 1
            if depth == 0:
                return mark.start()
    return None
