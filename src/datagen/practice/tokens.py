"""A tokenizer that anyone can recount by hand, and log-probabilities to go with it.

A token is a word (letters, digits, underscores) or a run of other signs, with the white space before it; white space at
the end of a text is a token of its own. So tokens joined are the text, and no text has more tokens than bytes.

    "Hill End, 1994."  ->  "Hill", " End", ",", " 1994", "."

Input tokens are those of every message's role-independent words: content, calls (name and arguments), the tools and the
schema as compact JSON. No constants are added per message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import orjson

from datagen.practice.wire import WireMessage

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")
_LEAST_CHANCE = 0.5
"""Chance of the likeliest token at least; alternatives share what is left, each half of the one before."""


def tokens_of(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=2048)
def count_tokens(text: str) -> int:
    """How many tokens a text has. Conversations grow turn by turn, so texts that were counted are remembered."""
    return len(_TOKEN.findall(text))


def count_input(messages: Sequence[WireMessage], body: Mapping[str, Any]) -> int:
    """Tokens of everything that a model reads."""
    count = 0
    for message in messages:
        count += count_tokens(message.content)
        for _, name, arguments in message.tool_calls:
            count += count_tokens(name) + count_tokens(arguments)
    for part in ("tools", "response_format"):
        if body.get(part):
            count += count_tokens(orjson.dumps(body[part]).decode())
    return count


def logprobs_of(text: str, top: int) -> list[dict[str, Any]]:
    """The protocol's `logprobs.content`: pseudo values, a function of the token and its place alone."""
    listed = []
    for place, token in enumerate(tokens_of(text)):
        drawn = crc32(f"{place}:{token}".encode()) / 2**32
        chance = _LEAST_CHANCE + (1 - _LEAST_CHANCE) * drawn * 0.999
        rivals = [(f"{token}~{rank}", (1 - chance) / 2**rank) for rank in range(1, top)]
        best = [(token, chance), *rivals][:top]
        listed.append(_entry(token, chance) | {"top_logprobs": [_entry(t, p) for t, p in best]})
    return listed


def _entry(token: str, chance: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(math.log(chance), 6), "bytes": list(token.encode())}
