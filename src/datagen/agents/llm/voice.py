"""One model in one role: whom to call, under which name the call is booked, and the prompts it is asked with.

Every role of the llm cast speaks through a `Voice`, so nothing but rendered prompts and tool results goes on the wire:

    asked = voice.ask("same_answer", Judgement, seed=seed, question=question, expected=expected, given=given)
    asked.value.same

Roles that use tools take the first two turns from `opening` and go on in `loop.research`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel

from datagen.agents.llm.prompts import PromptBook
from datagen.clients.chat import ChatClient, ChatReply, ChatRequest, Message, ModelSpec, Tool
from datagen.clients.structured import Asked, ask
from datagen.records.ids import seed_for

T = TypeVar("T", bound=BaseModel)
SEED_BITS = 0x7FFF_FFFF
"""Servers take seeds of 31 bits."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A model that plays `role`."""

    client: ChatClient
    model: ModelSpec
    role: str
    prompts: PromptBook

    def ask(
        self,
        prompt: str,
        schema: type[T],
        /,
        *,
        seed: int,
        problems: Callable[[T], Sequence[str]] | None = None,
        keep_flawed: bool = False,
        **variables: object,
    ) -> Asked[T]:
        """Fill in a prompt and have it answered in a schema, which goes by the prompt's name.

        `problems` says in sentences what is wrong with a reply that fits the schema. Raises `UnusableReplyError` when
        corrections do not help; with `keep_flawed` the last reply that fits is handed back with the problems left.
        """
        return ask(
            self.client,
            self.model,
            self.opening(prompt, **variables),
            role=self.role,
            name=prompt,
            schema=schema,
            seed=seed & SEED_BITS,
            problems=problems,
            keep_flawed=keep_flawed,
        )

    def opening(self, prompt: str, /, **variables: object) -> tuple[Message, Message]:
        """The system and the user turn of a prompt."""
        return self.prompts[prompt].render(**variables)

    def turn(self, messages: Sequence[Message], tools: Sequence[Tool], *, seed: int) -> ChatReply:
        """One turn of a conversation with tools.

        The tools are the same in every turn: servers put them before the messages, and a prompt that keeps its
        beginning need not be computed again.
        """
        request = ChatRequest(
            model=self.model.model,
            messages=tuple(messages),
            tools=tuple(tools),
            sampling=replace(self.model.sampling, seed=seed & SEED_BITS),
        )
        return self.client.complete(request, endpoint=self.model.endpoint, role=self.role)


def draw(*address: str | int) -> int:
    """The seed of a call: equal for equal contents, different for every sample."""
    return seed_for(*address) & SEED_BITS
