"""What a practising mind knows before it is asked anything: the words of the catalogue and how to read. No facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from datagen.agents.symbolic.page_memory import Competence
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.reading import CachedReader, Reader, Reading
from datagen.language.parse import Parser
from datagen.practice.minds.replay import Sessions
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import rng_for, sha256_hex
from datagen.records.page import Page

READINGS_KEPT = 32_768
SESSIONS_KEPT = 512


class ContentReader(CachedReader):
    """Remembers readings by what the page says, never by the name that a message gives it."""

    def read(self, page: Page) -> Reading:
        key = sha256_hex(repr((page.id, page.url, page.title, page.source_kind, page.text, page.links)).encode())
        return self._readings.get(key, lambda: self._reader.read(page))


@dataclass(frozen=True, slots=True)
class Background:
    """Shared by all minds of one server, from many threads."""

    catalogue: Catalogue
    parser: Parser
    competence: Competence
    """The catalogue, the parser and the reader as the symbolic cast wants them."""
    accuracy: float
    """Share of tasks that are done as well as the symbolic cast can; the others are got wrong."""
    closed_types: tuple[str, ...]
    """Types that a proposer may take as fully listed."""
    sessions: Sessions

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        *,
        accuracy: float = 1.0,
        closed_types: tuple[str, ...] = (),
        sessions: int = SESSIONS_KEPT,
    ) -> Background:
        parser = Parser(catalogue)
        reader = Reader(catalogue)
        competence = Competence(catalogue, parser, ContentReader(reader, READINGS_KEPT), reader.types.find_in_url)
        return cls(catalogue, parser, competence, accuracy, tuple(closed_types), Sessions(sessions))

    def slips(self, request: WireRequest, task: str) -> bool:
        """Whether this task is got wrong: a pure function of the task and the request's seed."""
        return self.accuracy < 1 and rng_for("slip", request.seed, task).random() >= self.accuracy


Handler = Callable[[Background, WireRequest], WireReply]
"""How one kind of request is answered, from its messages alone. Raises `LookupError` for one it cannot make sense of."""
