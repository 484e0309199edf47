"""InfoSeek's browser as a model: it reads the pages, quotes what they claim, and chooses among the links.

What a model cannot do is left to the graph. Which claims leave which rivals is computed, never asked for: the model's
claims are joined with the graph by their quotes (`knowledge.grounding`), and growth may use no statement that the model
did not read and quote. So a tree rests on what was read by the model, and its proof on everything that is known.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, Field

from datagen.agents.llm.claims import ClaimReader
from datagen.agents.llm.fencing import section
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.symbolic.claims import Claim, ClaimBook, is_list
from datagen.agents.symbolic.tree import SymbolicBrowser
from datagen.clients.billing import current_bill
from datagen.errors import PageNotFoundError
from datagen.knowledge.formula import EntityRef, Match
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.grounding import Grounder, Quotation
from datagen.records.fact import Fact
from datagen.records.page import Page
from datagen.web.tools import Web, read_whole

LINKS_SHOWN = 5


class ChoiceReply(BaseModel):
    """One of the numbered options."""

    reason: str = Field(max_length=500, description="Why this one, in a sentence.")
    choice: int = Field(ge=1, description="Number of the option.")


class QuotedClaimBook(ClaimBook):
    """The claims of an entity that a model has read on a page and quoted."""

    def __init__(self, graph: FactGraph, reader: ClaimReader, web: Web) -> None:
        super().__init__(graph)
        self._graph = graph
        self._reader = reader
        self._web = web
        self._grounder = Grounder(graph)

    def claims(self, i: int) -> tuple[Claim, ...]:
        return self._remembered("claims", i, super().claims)

    def lists(self, i: int) -> tuple[Claim, ...]:
        return self._remembered("lists", i, super().lists)

    def pins(self, i: int, rng: random.Random) -> list[Claim]:
        return [claim for claim in super().pins(i, rng) if self._is_quoted(i, claim)]

    def _find_lists(self, i: int) -> tuple[Claim, ...]:
        """From all that is stated: what is kept between records must not depend on what one of them has read."""
        ends = (e for e in self._ends(i) if not self._catalogue.relations[e.relation].single)
        pointed = (self.pointed(i, *e) for e in ends)
        return tuple(c for c in (*ClaimBook.claims(self, i), *pointed) if is_list(c))

    def _remembered(self, kind: str, i: int, stated: object) -> tuple[Claim, ...]:
        memory = current_bill().memory
        key = (kind, i)
        if key not in memory:
            assert callable(stated)
            memory[key] = tuple(claim for claim in stated(i) if self._is_quoted(i, claim))
        found: tuple[Claim, ...] = memory[key]
        return found

    def _is_quoted(self, i: int, claim: Claim) -> bool:
        """Whether the model quoted a statement of the claim from the page of its subject, or where it is stated first."""
        clue = claim.clue
        inverse = isinstance(clue, Match) and clue.inverse
        subject = claim.other if inverse else i
        assert subject is not None
        facts = [f for f in self._graph.facts(subject, clue.relation) if self._is_of(f, i, claim, inverse=inverse)]
        own = self._graph.key(subject)
        places = {fact.evidence.url for fact in facts}
        url = own if own in places else min(places, default=None)
        return url is not None and any(self._quotes(fact) for fact in facts if fact.evidence.url == url)

    def _is_of(self, fact: Fact, i: int, claim: Claim, *, inverse: bool) -> bool:
        if inverse:
            return fact.object_key == self._graph.key(i)
        value = claim.clue.value if isinstance(claim.clue, Match) else None
        return not isinstance(value, EntityRef) or fact.object_key == value.key

    def _quotes(self, fact: Fact) -> bool:
        relation = self._graph.catalogue.relations[fact.relation]
        return any(
            claim.start < fact.evidence.end
            and fact.evidence.start < claim.end
            and self._grounder.same_object(claim.object, fact, relation)
            for claim in self._read(fact.evidence.url)
        )

    def _read(self, url: str) -> Sequence[Quotation]:
        memory = current_bill().memory
        key = ("quotations", url)
        if key not in memory:
            page = self._page(url)
            memory[key] = self._reader.read(page) if page is not None else ()
        found: Sequence[Quotation] = memory[key]
        return found

    def _page(self, url: str) -> Page | None:
        try:
            return read_whole(self._web, url)[0]
        except PageNotFoundError:
            return None


class LlmBrowser(SymbolicBrowser):
    """Grows research trees from what a model reads; the model also chooses where they go."""

    def __init__(self, voice: Voice, graph: FactGraph, web: Web) -> None:
        super().__init__(graph, book=QuotedClaimBook(graph, ClaimReader(voice), web), links_shown=LINKS_SHOWN)
        self.name = voice.model.name
        self._voice = voice

    def _pick(self, links: Sequence[Claim], rng: random.Random) -> Claim:
        if len(links) == 1:
            return links[0]
        options = [self._words(link) for link in links]
        chosen = choose(self._voice, "Which of these things shall the question describe next?", options, rng)
        return links[chosen]

    def _words(self, link: Claim) -> str:
        assert link.other is not None
        kind = self._graph.type(link.other)
        said = self._graph.catalogue.types[kind].singular if kind else "thing"
        relation = self._graph.catalogue.relations[link.clue.relation]
        return f"{self._graph.name(link.other)}, a {said} ({relation.label})"


def choose(voice: Voice, task: str, options: Iterable[str], rng: random.Random) -> int:
    """Index of the option that a model takes."""
    listed = list(options)
    asked = voice.ask(
        "choice",
        ChoiceReply,
        seed=draw("choice", task, *listed, rng.getrandbits(31)),
        problems=lambda reply: [] if reply.choice <= len(listed) else [f"There are only {len(listed)} options."],
        task=task,
        options=[section("option", text, number=number) for number, text in enumerate(listed, start=1)],
    )
    return asked.value.choice - 1
