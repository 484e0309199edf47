"""The log of a conversation with tools, written while it takes place.

    log = Transcriber()
    research(voice, opening, web, final, limits, seed=seed, log=log)
    log.events          also when `research` raised: a conversation that went wrong is worth a look as well

What is logged is what the model was shown, to the letter, and what it wrote, before anything was mended.
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.agents.desk import Answered
from datagen.clients.billing import Account
from datagen.clients.chat import ChatReply, ToolCall
from datagen.records.trajectory import Event, Generation, Shown


class Transcriber:
    """Gathers the events of one attempt."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.generations: list[Generation] = []
        self.turn = -1
        self.usage = Account()
        """Tokens of all replies; None as soon as a server did not count one."""

    def replied(self, reply: ChatReply) -> None:
        """A new turn: what the model wrote around its calls. Without a call it is a turn that went wrong."""
        self.turn += 1
        self.usage.add(reply.usage, None)
        said = "\n\n".join(part for part in (reply.reasoning, reply.text or reply.refusal or "") if part.strip())
        if not reply.tool_calls:
            self.events.append(Event(self.turn, "malformed", said))
        elif said:
            self.events.append(Event(self.turn, "thought", said))
        if reply.token_ids is not None:
            logprobs = tuple(token.logprob for token in reply.logprobs or ())
            whole = logprobs if len(logprobs) == len(reply.token_ids) else ()
            prompt = reply.usage.input_tokens
            model = reply.model or None
            self.generations.append(Generation(self.turn, reply.token_ids, whole, prompt, reply.finish_reason, model))

    def called(self, calls: Sequence[ToolCall]) -> None:
        """The calls of the turn, with their arguments as they came."""
        for call in calls:
            self.events.append(Event(self.turn, "call", call_id=call.id, tool=call.name, arguments=call.arguments))

    def returned(self, call: ToolCall, text: str, result: Answered) -> None:
        """What one call brought, as it was sent to the model."""
        self.events.append(
            Event(
                self.turn,
                "result",
                text,
                call_id=call.id,
                tool=call.name,
                error=result.error,
                documents=result.documents,
            )
        )

    def noted(self, text: str) -> None:
        """A word of the program to the model."""
        self.events.append(Event(self.turn, "note", text))

    def answered(self, call: ToolCall, answer: str, sources: Sequence[str]) -> None:
        """The final call, accepted: it becomes the answer, and what else was called in that turn came to nothing."""
        this = [k for k, e in enumerate(self.events) if e.turn == self.turn and e.call_id == call.id]
        documents = tuple(Shown(url) for url in sources)
        unanswered = {e.call_id for e in self.events if e.turn == self.turn and e.kind == "call"}
        kept = [
            e
            for k, e in enumerate(self.events)
            if k not in this and not (e.turn == self.turn and e.call_id in unanswered)
        ]
        self.events = [*kept, Event(self.turn, "answer", answer, documents=documents)]
