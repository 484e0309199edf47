"""A manner of talking for models of a million parameters: short, and with marks that are one token each.

    <question> Which region contains the town where Aga Brun was born? <end>
    place of birth ; region <search> Aga Brun <end>                       thought, call
    <result> 1 Aga Brun | encyclopedia
    2 Aga Brundt | profile <end>
    <visit> 1 <end>                                                       a result by its number
    <result> Aga Brun
    Aga Brun is a painter. She was born at Velmo. ... <end>
    Velmo ; region <search> Velmo <end>
    ...
    <answer> Upper Trisk <end>

A result of a search shows titles and kinds of pages; one of a visit shows the text, cut after `page_tokens`. Everything
else that the tools return is left out, which is what such a model has room for. A number that no result has is a visit to
an address that does not exist, and the web says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from datagen.errors import TrainingError
from datagen.records.trajectory import Event
from datagen.training.tokenizer import Vocabulary

QUESTION, END, SEARCH, VISIT, ANSWER, RESULT = "<question>", "<end>", "<search>", "<visit>", "<answer>", "<result>"
MARKS = ("<pad>", QUESTION, END, SEARCH, VISIT, ANSWER, RESULT)
"""Special tokens; text never becomes one of them."""


@dataclass(frozen=True)
class CompactFraming:
    """Implements `Framing`."""

    tokenizer: Vocabulary
    page_tokens: int = 320
    """Tokens of a page that a visit shows, from its beginning."""
    hits: int = 5
    """Results that a search asks for."""

    @property
    def stop(self) -> tuple[int, ...]:
        return (self.tokenizer.mark(END),)

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.size

    def begin(self, question: str) -> CompactTalk:
        return CompactTalk(self, question)


class CompactTalk:
    """Implements `Talk`."""

    def __init__(self, framing: CompactFraming, question: str) -> None:
        self._framing = framing
        self._tokens = framing.tokenizer.begin(question)
        self._question = question
        self._urls: list[str] = []
        """Addresses of the results shown last, by their number from 1."""
        self._answers_at_once = False
        """Whether the prompt ended with the mark of an answer, which the model then does not write."""

    def opening(self, *, tools: bool = True) -> list[int]:
        self._answers_at_once = not tools
        prompt = self._marked(QUESTION, self._tokens.encode(self._question))
        return prompt if tools else [*prompt, self._tokens.mark(ANSWER)]

    def read(self, written: Sequence[int], turn: int) -> tuple[Event, ...]:
        ended = bool(written) and written[-1] == self._tokens.mark(END)
        body = list(written[:-1] if ended else written)
        if self._answers_at_once and ended and not any(map(self._tokens.mark_name, body)):
            return (Event(turn, "answer", self._tokens.decode(body).strip()),)
        places = [(i, name) for i, token in enumerate(body) if (name := self._tokens.mark_name(token))]
        if not ended or len(places) != 1 or places[0][1] not in (SEARCH, VISIT, ANSWER):
            return (Event(turn, "malformed", self._tokens.decode(body)),)
        at, kind = places[0]
        thought, said = self._tokens.decode(body[:at]).strip(), self._tokens.decode(body[at + 1 :]).strip()
        thoughts = (Event(turn, "thought", thought),) if thought else ()
        if kind == ANSWER:
            return (*thoughts, Event(turn, "answer", said))
        return (*thoughts, self._call(kind, said, turn))

    def _call(self, kind: str, said: str, turn: int) -> Event:
        call_id = f"c{turn}"
        if kind == SEARCH:
            arguments = {"query": said, "top_k": self._framing.hits}
            return Event(turn, "call", call_id=call_id, tool="search", arguments=orjson.dumps(arguments).decode())
        number = int(said) if said.isascii() and said.isdigit() else 0
        url = self._urls[number - 1] if 1 <= number <= len(self._urls) else f"result {said}"
        return Event(turn, "call", call_id=call_id, tool="visit", arguments=orjson.dumps({"url": url}).decode())

    def show(self, results: Sequence[Event]) -> list[int]:
        shown: list[int] = []
        for result in results:
            shown += self._marked(RESULT, self._shown(result))
        return shown

    def _shown(self, result: Event) -> list[int]:
        raw = orjson.loads(result.text)
        if "error" in raw:
            return self._tokens.encode(str(raw["error"]).replace("_", " "))
        if "results" in raw:
            hits = raw["results"][: self._framing.hits]
            self._urls = [hit["url"] for hit in hits]
            lines = (f"{n} {hit['title']} | {hit['source_kind']}" for n, hit in enumerate(hits, 1))
            return self._tokens.encode("\n".join(lines) or "nothing")
        return self._tokens.encode(raw["text"])[: self._framing.page_tokens]

    def write(self, said: Sequence[Event]) -> list[int]:
        last = said[-1] if said else None
        if last is None or any(event.kind != "thought" for event in said[:-1]):
            raise TrainingError("a turn is thoughts and then one call or an answer")
        thought = self._tokens.encode(" ".join(event.text for event in said[:-1]))
        if last.kind == "answer":
            return [*thought, *self._marked(ANSWER, self._tokens.encode(last.text))]
        if last.kind != "call":
            raise TrainingError(f"a turn that ends in {last.kind!r} cannot be a model to follow")
        arguments = orjson.loads(last.arguments or "{}")
        if last.tool == "search":
            return [*thought, *self._marked(SEARCH, self._tokens.encode(str(arguments.get("query", ""))))]
        if last.tool == "visit" and arguments.get("url") in self._urls and not arguments.get("offset"):
            number = self._urls.index(arguments["url"]) + 1
            return [*thought, *self._marked(VISIT, self._tokens.encode(str(number)))]
        raise TrainingError(f"a call of {last.tool!r} with {last.arguments} cannot be said by the number of a result")

    def _marked(self, mark: str, tokens: list[int]) -> list[int]:
        return [self._tokens.mark(mark), *tokens, self._tokens.mark(END)]
