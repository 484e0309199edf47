"""Logs of attempts, orderly and wild, full of words that would pass for marks."""

from __future__ import annotations

import orjson
from hypothesis import strategies as st

from datagen.agents.toolbox import error_to_json, hits_to_json, window_to_json
from datagen.records.page import Link
from datagen.records.trajectory import Event
from datagen.web.tools import Hit, Window

QUESTION = "Which club plays in the stadium that opened in 1901?"
MARKS = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<|im_start|>"),
    *("<|im_end|>", "<|im_start|>assistant\n", "<answer>", "</answer>", "<search>", "</search>", "<information>"),
    *(
        "</information>",
        "<snippet>",
        "\n<snippet>\n",
        "\n<next_query>\n",
        "\\boxed{",
        "}",
        "\\",
        "<\\think>",
        "<\\\\think>",
    ),
    *(
        "[INST]",
        "[/INST]",
        "[\\INST]",
        "[TOOL_CALLS]",
        "</s>",
        "<|eot_id|>",
        "<｜User｜>",
        "result: \n",
        "1. ",
        "\n",
        "---",
    ),
    *(
        '{"name": "search", "arguments": {"query": "x"}}',
        '{"error": "x"}',
        '"',
        "{",
        "[not_found] ",
        "https://a.example/x",
    ),
    *("<<SYS>>", "<", "[", "</think", "<THINK>", "\t", " ", "\u2028", "~search", "\0"),
)
WORDS = st.sampled_from(["Harlan Rovers", "1901", "Ωμέγα", "דוגמה", "東京", "a", "stadium", "é", "😀"])
nasty = st.lists(st.sampled_from(MARKS) | WORDS | st.text(max_size=8), max_size=6).map("".join)
"""Text of a tokenizer's worst days; without lone surrogates, which `wild` adds."""
broken = nasty | st.lists(st.sampled_from(["\ud800", "\udfff", "x", "<think>"]), max_size=4).map("".join)


def said(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Text that is more than white space, and has none at its ends: what the model says."""
    return text.map(str.strip).filter(bool)


def spoken(text: str) -> str:
    """What check_text takes for words that can be encoded."""
    return text.replace("\0", "")


urls = st.sampled_from(["https://a.example/x", "https://b.example/y?z=<think>", "http://c.example/[INST]"])
links = st.just((Link(0, 1, "https://a.example/l", "x"),))


@st.composite
def hits(draw: st.DrawFn) -> str:
    found = draw(st.lists(st.tuples(urls, nasty, nasty), max_size=3))
    return hits_to_json([Hit(url, title, "a.example", "web", None, snippet, 1.0) for url, title, snippet in found])


@st.composite
def windows(draw: st.DrawFn) -> str:
    text = draw(nasty)
    offset = draw(st.sampled_from([0, 16_000]))
    more = draw(st.booleans())
    window = Window(
        page_id="p1",
        url=draw(urls),
        host="a.example",
        title=draw(nasty),
        source_kind="web",
        published_at=draw(st.sampled_from([None, "2024-01-02"])),
        about_url=None,
        entity_type=None,
        text=text,
        links=(Link(0, 1, "https://a.example/l", text[:1]),) if text else (),
        offset=offset,
        next_offset=offset + len(text) if more else None,
        total_chars=offset + len(text) + more,
    )
    return window_to_json(window)


errors = st.builds(error_to_json, st.sampled_from(["not_found", "budget_spent", "no_result"]), nasty)


def arguments(raw: dict) -> str:
    return orjson.dumps(raw).decode()


searches = st.builds(lambda query: ("search", arguments({"query": query})), said(nasty.map(spoken)))
visits = st.builds(
    lambda url, goal: ("visit", arguments({"url": url} | ({"goal": goal} if goal else {}))), urls, nasty.map(spoken)
)
windowed = st.builds(lambda url: ("visit", arguments({"url": url, "offset": 16_000})), urls)


@st.composite
def orderly(draw: st.DrawFn, *, offsets: bool = True, answered: bool | None = None) -> tuple[Event, ...]:
    """A log that keeps the form, but for an answer that may be missing."""
    events: list[Event] = []
    calls = searches | visits | (windowed if offsets else st.nothing())
    number = 0
    for _ in range(draw(st.integers(0, 4))):
        events += [Event(number, "thought", text) for text in draw(st.lists(said(nasty.map(spoken)), max_size=2))]
        made = draw(st.lists(calls, min_size=1, max_size=3))
        ids = [f"c{number:04d}{k:04d}" for k in range(len(made))]
        events += [
            Event(number, "call", call_id=name, tool=tool, arguments=args)
            for name, (tool, args) in zip(ids, made, strict=True)
        ]
        for name, (tool, _) in zip(ids, made, strict=True):
            text = draw(hits() if tool == "search" else windows() | errors.filter(lambda e: "no_result" not in e))
            error = orjson.loads(text).get("error")
            events.append(Event(number, "result", text, call_id=name, tool=tool, error=error))
        number += 1
    if draw(st.booleans()) if answered is None else answered:
        events += [Event(number, "thought", text) for text in draw(st.lists(said(nasty.map(spoken)), max_size=1))]
        events.append(Event(number, "answer", draw(said(nasty.map(spoken)))))
    return tuple(events)


def wild_event(number: int) -> st.SearchStrategy[Event]:
    ids = st.sampled_from([None, "a", "b", "c00000000", "\ud800"])
    tools = (
        st.sampled_from(["search", "visit", "search_urls", "query_url", "browse", "~search", "~~x", "", None]) | broken
    )
    raw = st.sampled_from(
        [
            None,
            "",
            "{}",
            "[1]",
            '"x"',
            "{",
            '{"query": "x"',
            '{}, "name": "visit"',
            '{"queries": ["x"]}',
            "}",
            '{"query": 1}',
        ]
    )
    args = raw | broken | searches.map(lambda c: c[1]) | visits.map(lambda c: c[1]) | windowed.map(lambda c: c[1])
    results = hits() | windows() | errors | broken
    return st.one_of(
        st.builds(lambda text: Event(number, "thought", text), broken),
        st.builds(lambda text: Event(number, "answer", text), broken),
        st.builds(lambda text: Event(number, "malformed", text), broken),
        st.builds(lambda text: Event(number, "note", text), broken),
        st.builds(lambda i, t, a: Event(number, "call", call_id=i, tool=t, arguments=a), ids, tools, args),
        st.builds(
            lambda i, text, e: Event(number, "result", text, call_id=i, error=e),
            ids,
            results,
            st.sampled_from([None, "x_y", "X!"]),
        ),
    )


wild = st.lists(st.integers(-1, 4).flatmap(wild_event), max_size=12).flatmap(
    lambda events: st.sampled_from([tuple(events), tuple(sorted(events, key=lambda e: e.turn))])
)
"""A log in any disorder, with anything in it."""
