"""Ways to say the same, drawn so that one attempt does not repeat itself; the words are in `data/narration.toml`."""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from datagen.language.wording import article
from datagen.records.shipped import shipped_file

_PLACE = re.compile(r"\{(\w+)\}")
_PREPOSITIONS = frozenset({"at", "by", "for", "from", "in", "into", "near", "of", "on", "through", "to", "under"})


@cache
def _lists() -> dict[str, dict[str, Any]]:
    raw: dict[str, dict[str, Any]] = tomllib.loads(shipped_file("narration.toml").read_text(encoding="utf-8"))
    return raw


def topic_of(label: str) -> str:
    """What a relation is called inside a sentence: "Founded" is the founding date."""
    label = label.replace(" - ", " ")
    plain = label.casefold()
    named = _lists()["topics"].get(plain)
    if isinstance(named, str):
        return named
    return f"“{label}” entry" if plain.rsplit(" ", 1)[-1] in _PREPOSITIONS else label[:1].lower() + label[1:]


class Wordbank:
    """Sentences for one attempt."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: Counter[str] = Counter()

    def say(self, section: str, key: str, /, **values: object) -> str:
        """One of the ways to say it, among those least used in this attempt."""
        forms: list[str] = _lists()[section][key]
        least = min(self._used[form] for form in forms)
        form = self._rng.choice([form for form in forms if self._used[form] == least])
        self._used[form] += 1
        return fill(form, values)


def fill(form: str, values: dict[str, object]) -> str:
    """The sentence with its places filled in, and a capital at every beginning."""

    def put(match: re.Match[str]) -> str:
        text = str(values[match[1]])
        opens = match.start() == 0 or form[: match.start()].rstrip().endswith((".", "?", "!"))
        return text[:1].upper() + text[1:] if opens else text

    said = _PLACE.sub(put, form)
    return said[:1].upper() + said[1:]


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Names as a sentence has them: `Ada, Bea and Cleo`; beyond the limit the rest is counted."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def with_article(noun: str) -> str:
    """The noun with its article: `an ode`, `a union`."""
    return f"{article(noun)} {noun}"
