"""What a model at an endpoint can do, found out by asking it; what a role needs; and the sentence where the two differ.

Servers take options that they do not know and answer as if nothing had been asked: no logprobs, no schema, no error. So
nothing here is believed that was not seen in a reply. Every capability costs one small call of the kind that roles make:

    chat          a reply comes back
    usage         ... with both token counts
    tools         a tool that the user asks for is called, with arguments that are JSON, under `tool_choice: auto`
    json_schema   the schema demands a word that the messages do not tell: only a server that enforces it can say it.
                  Where `structured = "prompt"`, the schema is told and the reply has to fit it
    logprobs      one alternative per token comes back
    seed          one seed, twice, gives one text; nobody needs it, and batching servers cannot promise it

A model may have a bad moment, so what a role needs is drawn up to three times; logprobs and token counts are the server's.
What fails on the way is a finding with its sentence. An endpoint that does not answer the first call is not asked again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from datagen.clients.chat import ChatEngine, ChatReply, ChatRequest, Message, ModelSpec, ReplySchema, Tool
from datagen.clients.retrying import Patience, with_retries
from datagen.clients.structured import bare, told_schema
from datagen.errors import DatagenError, UnfitEndpointError


class Capability(StrEnum):
    """Something that a role may need, or a report may want to say."""

    CHAT = "chat"
    USAGE = "usage"
    TOOLS = "tools"
    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    SEED = "seed"


_TALKS = frozenset({Capability.CHAT, Capability.JSON_SCHEMA})
_RESEARCHES = frozenset({Capability.CHAT, Capability.TOOLS})
NEEDS: Mapping[str, frozenset[Capability]] = {
    "planner": _TALKS,
    "browser": _TALKS,
    "obfuscator": _TALKS,
    "writer": _TALKS,
    "guesser": _TALKS,
    "judge": _TALKS,
    "proposer": _RESEARCHES,
    "solver": _RESEARCHES | _TALKS,  # it also answers from the gold pages, in a schema
}
"""What each role of the cast cannot do without. The other capabilities are reported and nobody is refused for them."""

WORD = "quillomber"
"""In no dictionary, so that no model says it unless something makes it."""
TOKENS = 1024
"""At most, per reply: a model that thinks first needs room for it."""
SHORT = 16
ATTEMPTS = 3
"""Tries of one call that does not come through."""
DRAWS = 3
"""Replies looked at, each with a seed of its own, before a model is said not to do what it only may have missed."""
SHOWN = 60
_UP_TO_THE_MODEL = frozenset({Capability.CHAT, Capability.TOOLS, Capability.JSON_SCHEMA})
_SCHEMA = ReplySchema(
    "probe",
    {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [WORD]}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
_PING = Tool(
    "ping",
    "Sends a word and waits for its echo.",
    {
        "type": "object",
        "properties": {"word": {"type": "string", "description": "The word to send."}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
_SAY = "Say this word and nothing else.\n<say>\namber\n</say>"
_SEND = "Call the tool `ping` once, with this word.\n<say>\namber\n</say>"
_NAME = "Name any colour, as a JSON object with the key `word`."
_LETTERS = "Write twelve letters in any order you like.\n<say>\nq w k f z a n d u r p e\n</say>"

_REMEDIES: Mapping[Capability, str] = {
    Capability.CHAT: "start the server, or mend base_url and api_key_env of cast.endpoints.{endpoint}",
    Capability.TOOLS: (
        "start the server with tool calls (vLLM: --enable-auto-tool-choice --tool-call-parser hermes), "
        "or give the role to a model at another endpoint"
    ),
    Capability.JSON_SCHEMA: 'set structured = "prompt" in cast.models.{model}, or take another endpoint',
}
_REMEDY_TOLD = "take a model that follows a schema told in its prompt, or an endpoint that enforces one"


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """Whether a capability was seen, and what was seen instead."""

    capability: Capability
    ok: bool
    sentence: str


def probe(
    engine: ChatEngine,
    model: ModelSpec,
    wanted: Collection[Capability] = tuple(Capability),
    *,
    patience: Patience | None = None,
) -> tuple[ProbeFinding, ...]:
    """Ask for each capability, in the order of `Capability`; chat is asked first and always told."""
    asked = _Probe(engine, model, patience)
    first = asked.find(Capability.CHAT)
    others = [capability for capability in Capability if capability in wanted and capability is not Capability.CHAT]
    if not first.ok:
        return (first, *(ProbeFinding(each, False, "not tried, since chat failed.") for each in others))
    return (first, *map(asked.find, others))


def require(findings: Iterable[ProbeFinding], roles: Iterable[str], model: ModelSpec) -> None:
    """Raises `UnfitEndpointError` for the first role that the model cannot play where it is served."""
    seen = {finding.capability: finding for finding in findings}
    for role in roles:
        for capability in Capability:
            finding = seen.get(capability)
            if capability not in NEEDS[role] or (finding is not None and finding.ok):
                continue
            told = finding.sentence if finding is not None else "it was not probed."
            raise UnfitEndpointError(
                f"{model.name} ({model.model} at the endpoint {model.endpoint}) cannot play the {role}, which needs "
                f"{capability}: {told} To mend it, {_remedy(capability, model)}."
            )


def _remedy(capability: Capability, model: ModelSpec) -> str:
    if capability is Capability.JSON_SCHEMA and model.structured == "prompt":
        return _REMEDY_TOLD
    return _REMEDIES[capability].format(endpoint=model.endpoint, model=model.name)


class _Probe:
    """One model at one endpoint, being asked."""

    def __init__(self, engine: ChatEngine, model: ModelSpec, patience: Patience | None) -> None:
        self._engine = engine
        self._model = model
        self._patience = patience
        self._said: ChatReply | None = None
        self._draw = 0

    def find(self, capability: Capability) -> ProbeFinding:
        """What is seen in the first good reply, or else in the last bad one."""
        ok, sentence = False, ""
        for draw in range(DRAWS if capability in _UP_TO_THE_MODEL else 1):
            self._draw = draw
            try:
                ok, sentence = _WAYS[capability](self)
            except DatagenError as fault:
                return ProbeFinding(capability, False, str(fault))
            if ok:
                break
        return ProbeFinding(capability, ok, sentence)

    def _ask(self, text: str, *, tokens: int = TOKENS, **more: Any) -> ChatReply:
        own = self._model.sampling
        drawn = replace(
            own, max_tokens=min(own.max_tokens or tokens, tokens), **{"seed": self._draw, **more.pop("sampling", {})}
        )
        told = [Message("system", f"You are being tested.{more.pop('told', '')}"), Message("user", text)]
        request = ChatRequest(model=self._model.model, messages=tuple(told), sampling=drawn, **more)
        # A key of its own for every call: servers that know such keys must answer anew, not from memory.
        key = secrets.token_hex(16)
        return with_retries(
            lambda number: self._engine.attempt(request, key, prefer=number),
            attempts=ATTEMPTS,
            what=f"a call of {self._model.model} at {self._model.endpoint}",
            patience=self._patience,
        )

    def chat(self) -> tuple[bool, str]:
        reply = self._said = self._ask(_SAY, tokens=SHORT)
        if reply.refusal is not None:
            return False, f"it declined to say a word: {_shown(reply.refusal)}."
        return True, f"it answers as {reply.model or 'a model without a name'}."

    def usage(self) -> tuple[bool, str]:
        assert self._said is not None
        used = self._said.usage
        if used.input_tokens is None or used.output_tokens is None:
            return False, "replies do not say how many tokens they took, so spend is recorded as null."
        return True, f"{used.input_tokens} tokens in, {used.output_tokens} out."

    def tools(self) -> tuple[bool, str]:
        reply = self._ask(_SEND, tools=(_PING,))
        if not reply.tool_calls:
            return False, f"it was told to call a tool and wrote {_shown(reply.text)} instead."
        call = reply.tool_calls[0]
        if call.name != _PING.name:
            return False, f"it called {_shown(call.name)}, a tool that it was not given."
        sent = _parsed(call.arguments)
        if not isinstance(sent, dict) or not isinstance(sent.get("word"), str):
            return False, f"it called a tool with the arguments {_shown(call.arguments)}, which its schema forbids."
        return True, "it calls a tool with arguments that fit."

    def json_schema(self) -> tuple[bool, str]:
        if self._model.structured == "prompt":
            reply = self._ask(_NAME, told=f"\n\n{told_schema(_SCHEMA)}")
            how, failing = "it follows a schema that its prompt tells", "it was told a schema"
        else:
            reply = self._ask(_NAME, schema=_SCHEMA)
            how, failing = "the server enforces a schema", "the server took a JSON schema and did not enforce it"
        if _parsed(bare(reply.text)) == {"word": WORD}:
            return True, f"{how}."
        cut = " (cut off)" if reply.finish_reason == "length" else ""
        return False, f"{failing}; the reply was {_shown(reply.refusal or reply.text)}{cut}."

    def logprobs(self) -> tuple[bool, str]:
        reply = self._ask(_SAY, tokens=SHORT, sampling={"logprobs": 1})
        if not reply.logprobs:
            return False, "the server took the wish for logprobs and sent none."
        if not any(token.top for token in reply.logprobs):
            return False, "the server sent logprobs of the chosen tokens, and none of their alternatives."
        return True, f"logprobs of {len(reply.logprobs)} tokens came back."

    def seed(self) -> tuple[bool, str]:
        first, second = (self._ask(_LETTERS, tokens=SHORT * 2, sampling={"seed": 7}).text for _ in range(2))
        if first != second:
            return False, f"one seed gave {_shown(first)} and {_shown(second)}; replies are kept in the cache anyway."
        return True, "one seed gave one text, twice."


_WAYS: Mapping[Capability, Callable[[_Probe], tuple[bool, str]]] = {
    Capability.CHAT: _Probe.chat,
    Capability.USAGE: _Probe.usage,
    Capability.TOOLS: _Probe.tools,
    Capability.JSON_SCHEMA: _Probe.json_schema,
    Capability.LOGPROBS: _Probe.logprobs,
    Capability.SEED: _Probe.seed,
}


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _shown(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}…") if plain else "nothing"
