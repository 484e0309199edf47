"""InfoSeek's tags: think, search, information, in this order and again, then think and answer; all in one assistant turn.

    <think>
    The stadium opened in 1901; a list should name it.
    </think>
    <search>
    1. stadiums in Veltrin
    2. https://atlas.example/stadiums opening years
    </search>
    <information>
    1. stadiums in Veltrin
    Stadiums of Veltrin (https://atlas.example/stadiums): ...
    <snippet>
    2. https://atlas.example/stadiums opening years
    ...
    </information>
    <think>
    ...
    </think>
    <answer>
    Harlan Rovers
    </answer>

(spec infoseek_webexplorer §1.10.) What a query brings is told by a refiner (`summaries`). There is no verb for visits: a query
that is an address is one, and the words behind it are its goal. A text that breaks the order has no answer: InfoSeek pays for
none either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datagen.records.shipped import shipped_file
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.base import Parsed, Rendered, Segment
from datagen.rollouts.dialects.calls import loaded
from datagen.rollouts.dialects.frames import END, framed, frames_of, opened
from datagen.rollouts.dialects.guarding import guard, whole
from datagen.rollouts.dialects.infoseek_reading import SNIPPET, TagReader, is_address, quoted_address
from datagen.rollouts.dialects.summaries import ExtractiveRefiner, Refiner
from datagen.rollouts.dialects.turns import Turn, results_of, said_text, turns_of

_PARAGRAPHS = "\n\n"


class InfoSeek:
    """The dialect; `refiner` tells what a query brought."""

    name = "infoseek"
    losses = (
        "A search has no `top_k`, a visit no `offset`; white space in queries and goals is one blank.",
        "Results are the refiner's summaries.",
        "Calls that are no search and no visit are left out with what came back for them.",
        "Words that are neither call nor answer are left out, as are notes; thoughts of such turns go to the next one.",
        "Thoughts of one turn are one thought; turns are numbered anew, and calls too.",
        "What comes after an answer is left out.",
        "Documents of results and sources of answers stay in the log.",
    )
    tools: tuple[Mapping[str, Any], ...] = ()

    def __init__(self, refiner: Refiner | None = None) -> None:
        self._refiner = refiner or ExtractiveRefiner()
        self.system_prompt = shipped_file("dialects/infoseek.txt").read_text(encoding="utf-8").strip()

    def render(self, question: str, events: Sequence[Event]) -> Rendered:
        asked = guard(whole(question)).strip()
        head = f"{framed('system', self.system_prompt)}\n{framed('user', asked)}\n{opened('assistant')}"
        body = list(self._body(question, turns_of(events)))
        segments = [Segment(head, trained=False), *body]
        if body and not body[-1].trained:  # the end of the turn is the model's; a log that stops at a result has none
            segments[-1] = Segment(body[-1].text + END, trained=False, turn=body[-1].turn)
        elif body:
            segments[-1] = Segment(body[-1].text + END, trained=True, turn=body[-1].turn)
        else:
            segments[0] = Segment(head.removesuffix("\n" + opened("assistant")), trained=False)
        messages: list[Mapping[str, Any]] = [
            {"role": "system", "content": self.system_prompt},
            {"role": "user", "content": asked},
        ]
        if body:
            messages.append({"role": "assistant", "content": "".join(segment.text for segment in body)})
        return Rendered(tuple(segments), tuple(messages), self.tools, 1)

    def parse(self, text: str) -> Parsed:
        frames, faults = frames_of(text)
        return TagReader(frames, faults).parsed()

    def _body(self, question: str, turns: Sequence[Turn]) -> Iterator[Segment]:
        carried: list[str] = []
        number = 0
        for turn in turns:
            carried += turn.thoughts
            answer = said_text(turn) if turn.said is not None and turn.said.kind == "answer" else ""
            queries = [(place, query) for place, query in enumerate(map(query_of, turn.calls)) if query]
            if not queries and not answer:
                continue
            between = "\n" if number else ""
            thought = f"{between}{_thought(carried)}\n"
            carried = []
            if answer:
                yield Segment(f"{thought}<answer>\n{guard(answer)}\n</answer>", trained=True, turn=number)
                return
            lines = "\n".join(f"{k}. {guard(query)}" for k, (_, query) in enumerate(queries, 1))
            yield Segment(f"{thought}<search>\n{lines}\n</search>", trained=True, turn=number)
            results = results_of(turn, last=turn is turns[-1])
            if results:
                told = self._information(question, [(query, results[place]) for place, query in queries])
                yield Segment(told, trained=False, turn=number)
            number += 1
        if carried:
            between = "\n" if number else ""
            yield Segment(between + _thought(carried), trained=True, turn=number)

    def _information(self, question: str, brought: Sequence[tuple[str, Event]]) -> str:
        told = [
            f"{k}. {guard(query)}\n{guard(whole(self._refiner(question, query, result)).strip())}"
            for k, (query, result) in enumerate(brought, 1)
        ]
        return f"\n<information>\n{SNIPPET.join(told)}\n</information>"


def _thought(parts: Sequence[str]) -> str:
    return f"<think>\n{guard(_PARAGRAPHS.join(parts))}\n</think>"


def query_of(call: Event) -> str:
    """The line of a search block that a call is; empty for one that has no place there."""
    arguments = loaded(call.arguments) or {}
    query, url, goal = (arguments.get(name, "") for name in ("query", "url", "goal"))
    if call.tool == "search" and isinstance(query, str):
        line = " ".join(whole(query).split())
        return quoted_address(line)
    if call.tool == "visit" and isinstance(url, str) and isinstance(goal, str) and is_address(whole(url)):
        return " ".join([whole(url), *whole(goal).split()])
    return ""
