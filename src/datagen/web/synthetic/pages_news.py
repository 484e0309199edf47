"""News: one dated event per article, told in the words of the catalogue, with a little background.

    appointment   an office or contract begins        "The head coach of Peya Rovers is Nainor Paikmanu (since ...)."
    edition       a ceremony or final took place      its winner, its place
    milestone     something was opened, published, released or founded; older things have an anniversary

An article says what was true on its day and carries that day in JSON-LD.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from datagen.knowledge.catalogue import Relation
from datagen.web.synthetic.desk import TODAY, Desk
from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.html import Document, paragraph
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.phrasing import capitalise, day_words, iso_day
from datagen.web.synthetic.statements import Statement
from datagen.web.synthetic.tenures import Tenure

PAPERS = {
    "sport": ("www.touchline-news.example", "Touchline News"),
    "culture": ("www.evening-gallery.example", "Evening Gallery News"),
    "business": ("www.ledger-courier.example", "Ledger Courier"),
    "politics": ("www.morning-herald.example", "Morning Herald"),
    "science": ("www.science-tribune.example", "Science Tribune"),
    "places": ("www.provincial-courier.example", "Provincial Courier"),
    "history": ("www.provincial-courier.example", "Provincial Courier"),
}
"""Newspapers by the section of the subject's type."""
_MILESTONES = ("opened", "published", "released", "founded", "premiered", "first_held", "painted_in", "described")
_EDITIONS = ("award_ceremony", "cup_final")
_FIRST_ANNIVERSARY = date(2019, 1, 1).toordinal()
_QUOTES = (
    "“A good day for everyone here,” said a spokesperson.", "Guests were served soup and dark bread.",
    "Photographs were taken in light rain.", "The announcement was short and the applause was long.",
    "More than a few regulars came early to get a seat.", "A brass band played at the entrance.",
    "Reporters were given ten minutes for questions.", "The local choir rounded off the event.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewsSpec:
    """A series of articles: one relation of one type, `pages` of them."""

    name: str
    relation: Relation | None
    type: str
    pages: int


class NewsPages:
    """Plans and writes news."""

    def __init__(self, desk: Desk, budget: int) -> None:
        self._desk, self._say, self._world = desk, desk.phrasing, desk.world
        self._relations = self._world.ontology.catalogue.relations
        self.specs = tuple(self._plan(budget))
        self._by_name = {s.name: s for s in self.specs}
        self._rings = {
            s.name: Ring(self._world.layout.sizes[s.type], self._world.draws.bits(f"news/{s.name}")) for s in self.specs
        }

    def _plan(self, budget: int) -> list[NewsSpec]:
        """All series that could be written, thinned evenly to the budget."""
        possible = self._possible()
        share = min(1.0, budget / max(1, sum(spec.pages for spec in possible)))
        return [scaled for spec in possible if (scaled := replace(spec, pages=int(spec.pages * share))).pages]

    def _possible(self) -> list[NewsSpec]:
        sizes = self._world.layout.sizes
        found = []
        for relation in self._relations.values():
            milestone = relation.id in _MILESTONES
            if relation.changes or milestone:
                for type_id in self._world.ontology.subject_kinds(relation):
                    name = f"{relation.id.replace('_', '-')}-{self._world.ontology.kinds[type_id].folder}"
                    found.append(
                        NewsSpec(name, relation, type_id, sizes[type_id] // 3 if milestone else sizes[type_id])
                    )
        for type_id in _EDITIONS:
            found.append(NewsSpec(self._world.ontology.kinds[type_id].folder, None, type_id, sizes[type_id]))
        return found

    def subject(self, spec: NewsSpec, number: int) -> Ref:
        return Ref(spec.type, self._rings[spec.name].inverse(number))

    # -- when ----------------------------------------------------------------------------------------------------------

    def day(self, spec: NewsSpec, ref: Ref) -> int | None:
        """The day of the article; None where there is nothing to report."""
        draw = self._world.draws.bits(f"reported/{spec.name}", ref.index)
        if spec.relation is None:
            event = self._desk.statements.last_event(ref)
            return event + 1 + draw % 2 if event else None
        if spec.relation.changes:
            tenure = self._tenure(spec, ref)
            return tenure.start + draw % 3 if tenure else None
        literal = self._world.value(ref, spec.relation.id)
        if literal is None:
            return None
        if literal.low == literal.high and literal.low >= _FIRST_ANNIVERSARY:
            return int(literal.low) + 1 + draw % 2
        # An older date has its anniversary reported in one of the last years, in the same month where it is known.
        low = max(_FIRST_ANNIVERSARY, int(literal.high) + 400, self._desk.statements.last_event(ref) + 1)
        return low + draw % (TODAY - low) if low < TODAY else None

    def _tenure(self, spec: NewsSpec, ref: Ref) -> Tenure | None:
        """The tenure whose beginning is reported: the latest one, or the one before."""
        assert spec.relation is not None
        terms = self._world.terms(ref, spec.relation.id)
        if not terms:
            return None
        term = terms[self._world.draws.below(4, f"which/{spec.name}", ref.index) == 0 and len(terms) > 1]
        return term if self._desk.statements.can_mention(term.target, spec.relation) else None

    def exists(self, spec: NewsSpec, number: int) -> bool:
        ref = self.subject(spec, number)
        return self._desk.addresses.home(ref) is not None and self.day(spec, ref) is not None

    # -- addresses -----------------------------------------------------------------------------------------------------

    def url(self, spec: NewsSpec, ref: Ref) -> str:
        day = self.day(spec, ref)
        assert day is not None
        host, _ = PAPERS[self._world.ontology.kinds[ref.type].section]
        return f"https://{host}/{date.fromordinal(day):%Y/%m/%d}/{spec.name}/{self._desk.addresses.label(ref)}"

    def find(self, parts: list[str]) -> tuple[NewsSpec, Ref] | None:
        """`2025/05/19/coach-football-clubs/peya-rovers-106`."""
        spec = self._by_name.get(parts[3]) if len(parts) == 5 else None
        if spec is None:
            return None
        ref = self._desk.addresses.find(self._world.ontology.kinds[spec.type].folder, parts[4])
        if ref is None or self._rings[spec.name].forward(ref.index) >= spec.pages:
            return None
        return (spec, ref) if self.exists(spec, self._rings[spec.name].forward(ref.index)) else None

    # -- pages ---------------------------------------------------------------------------------------------------------

    def page(self, spec: NewsSpec, ref: Ref) -> Document:
        day = self.day(spec, ref)
        assert day is not None
        headline, first = self._report(spec, ref, day)
        told = first + self._background(spec, ref, day, " ".join(first))
        draw = self._world.draws.bits(f"copy/{spec.name}", ref.index)
        told.insert(1 + draw % len(told), _QUOTES[(draw >> 8) % len(_QUOTES)])
        cut = 1 + (draw >> 16) % max(1, len(told) - 1)
        section = self._world.ontology.kinds[ref.type].section
        _, paper = PAPERS[section]
        colour = self._desk.colour(section, f"news/{spec.name}", ref.index, 2)
        body = (
            f"<article>\n<h1>{headline}</h1>\n"
            f'<p class="byline">{paper}, <time datetime="{iso_day(day)}">{day_words(day)}</time></p>\n'
            f"{paragraph(told[:cut])}{paragraph([*told[cut:], *colour])}</article>\n"
        )
        data = {
            "@type": "NewsArticle",
            "headline": headline,
            "datePublished": iso_day(day),
            "publisher": {"@type": "Organization", "name": paper},
            "about": self._desk.about(ref),
        }
        menu = ("Front page", "Politics", "Sport", "Culture", "Subscribe")
        return Document(self.url(spec, ref), headline, paper, data, body, menu=menu)

    def _report(self, spec: NewsSpec, ref: Ref, day: int) -> tuple[str, list[str]]:
        """The headline, and the sentences that report the event."""
        name, mention = self._say.name(ref), self._say.mention(ref)
        noun = self._world.ontology.kinds[ref.type].words.singular
        if spec.relation is None:
            told = self._tell(ref, ("held_on", "final_date", "winner", "final_winner", "runner_up", "held_in"), day)
            return f"After the event: {name}", told or [f"{mention} is over."]
        if spec.relation.changes:
            tenure = self._tenure(spec, ref)
            assert tenure is not None
            statement = Statement(ref, spec.relation, (tenure.target,), since=tenure.start)
            sentence = self._say.sentence(statement, "news", subject=mention)
            label = spec.relation.label.lower() if spec.relation.label != "Current club" else "club"
            return f"{name}: new {label} announced", [sentence, *self._tell(tenure.target, None, day, most=1 + day % 4)]
        literal = self._world.value(ref, spec.relation.id)
        assert literal is not None
        statement = Statement(ref, spec.relation, literal=literal)
        sentence = self._say.sentence(statement, "news", subject=mention)
        fresh = literal.low >= _FIRST_ANNIVERSARY and literal.low == literal.high
        label = spec.relation.label.lower()
        headline = f"{capitalise(noun)} {name}: {label}" if fresh else f"Looking back: how the {noun} {name} came to be"
        return headline, [sentence]

    def _background(self, spec: NewsSpec, ref: Ref, day: int, told: str) -> list[str]:
        """What else there is to say about the subject, without repeats."""
        draws = self._world.draws
        relations = [r.id for r in self._desk.statements.relations[ref.type] if r is not spec.relation]
        start = draws.below(len(relations), f"background/{spec.name}", ref.index)
        count = 1 + draws.below(6, f"background count/{spec.name}", ref.index)
        found = self._tell(ref, tuple(relations[start:] + relations[:start]), day, most=count)
        return [sentence for sentence in found if sentence not in told]

    def _tell(self, ref: Ref, relations: tuple[str, ...] | None, day: int, most: int = 6) -> list[str]:
        """Sentences about an entity, with its name in the first; only what was true on the day and may be told."""
        statements = self._desk.statements
        if self._desk.addresses.home(ref) is None:
            return []
        order = relations or tuple(r.id for r in statements.relations[ref.type])
        told: list[str] = []
        for relation_id in order:
            if len(told) >= most:
                break
            relation = self._relations[relation_id]
            if statements.silent(ref, relation_id):
                continue
            statement = statements.state(ref, relation, day)
            if statement is not None:
                subject = self._say.mention(ref)
                told.append(self._say.sentence(statement, "news", subject=subject))
        return told
