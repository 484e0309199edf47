"""What a refiner would tell of a result: by default the passages of it that speak of the question and of the query.

    ExtractiveRefiner()("which club ...?", "clubs of Veltrin", result)
        Clubs of Veltrin (https://atlas.example/clubs): Harlan Rovers play in ...

InfoSeek's refiner is a model that reads five passages and writes what they say (spec infoseek_webexplorer §1.10). This one
quotes: of a search the first five hits with their addresses, of a page its passages about the query before those about the
question. A function that calls a model takes its place in `InfoSeek(refiner=...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from datagen.records.trajectory import Event
from datagen.rollouts.dialects.wording import error_in_words, linked_text, shaped
from datagen.web.passages import chosen_passages

SUMMARY_CHARS = 2_048
"""As much as is kept of raw text where the published refiner fails."""
HITS = 5


class Refiner(Protocol):
    def __call__(self, question: str, query: str, result: Event) -> str: ...


@dataclass(frozen=True, slots=True)
class ExtractiveRefiner:
    """Passages instead of prose: nothing is said that the result does not say."""

    limit: int = SUMMARY_CHARS

    def __call__(self, question: str, query: str, result: Event) -> str:
        raw = shaped(result.text)
        if raw is None:
            return result.text
        if isinstance(raw.get("error"), str):
            return error_in_words(raw)
        if isinstance(raw.get("results"), list):
            return self._hits(raw["results"])
        return self._page(raw, f"{query};{question}")

    def _hits(self, hits: list[Any]) -> str:
        room = self.limit // HITS
        lines = [_cut(_line(hit), room) for hit in hits[:HITS] if isinstance(hit, dict)]
        return "\n".join(lines) or "Nothing was found."

    def _page(self, raw: Mapping[str, Any], goal: str) -> str:
        text = linked_text(raw)
        head = f"{raw.get('title') or ''} ({raw.get('url') or ''}):\n"
        if len(text) <= self.limit:
            return head + text
        return head + "\n".join(text[start:end] for start, end in chosen_passages(text, goal, self.limit))


def _line(hit: Mapping[str, Any]) -> str:
    title, url, snippet = (str(hit.get(name) or "") for name in ("title", "url", "snippet"))
    return f"{title} ({url}): {' '.join(snippet.split())}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1].rsplit(" ", 1)[0] + "…"
