"""Pages of one entity: encyclopedia articles, official sites, profiles, handbooks, registers, reviews.

An article has an opening, a box, a few headed paragraphs and lists of what points at the entity. Its second page, where
there is one, says less, in another order and with other words, and has a date of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datagen.knowledge.catalogue import Relation
from datagen.web.synthetic.addresses import ENCYCLOPEDIA
from datagen.web.synthetic.desk import Desk
from datagen.web.synthetic.html import LICENCE, Document, box, bullets, definitions, paragraph
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.phrasing import capitalise, day_words, iso_day
from datagen.web.synthetic.statements import Place, Statement

ENCYCLOPEDIA_NAME = "Lexicora Encyclopedia"
_LISTED = 8
"""So many names of what points at an entity; more is what list pages are for."""
_SITES = {
    "official": ("AboutPage", "{name}", ("Home", "News", "About us", "Contact")),
    "profile": ("ProfilePage", "Vitarium People", ("Home", "People A to Z", "Search")),
    "reference": ("WebPage", "Terranor Handbook", ("Contents", "Index", "Using this handbook")),
    "registry": ("WebPage", "Civica Register", ("Search the register", "Fees", "Help")),
    "review": ("Review", "Foliant Reviews", ("New", "Archive", "Reviewers")),
}
_CONTEXT = (0, 0, 0, 0, 1, 2, 4, 8)
"""Sentences about what an article mentions. Most have none: a page that also describes its neighbours answers
questions in one visit."""
_CONTEXT_HEADINGS = ("Context", "Related entries", "Connections", "Further notes")
_MISCELLANY_HEADINGS = ("Miscellany", "Everyday life", "Notes", "Anecdotes", "Small things")
_WOVEN = 3
"""Sentences of colour that are woven into paragraphs; the rest stands at the end."""
_VERDICTS = (
    "Patient readers of such things will be rewarded.", "The middle part is too long, the ending is a triumph.",
    "Few works of its kind stay in the memory like this one.", "It is easier to admire than to love.",
    "Give it an evening; it asks for no more and returns a good deal.", "Our reviewer went back twice.",
)  # fmt: skip


class EntityPages:
    """Writes the pages of single entities."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._say = desk.phrasing
        self._world = desk.world

    # -- the encyclopedia ----------------------------------------------------------------------------------------------

    def article(self, ref: Ref) -> Document:
        url = self._desk.addresses.article(ref)
        day = self._desk.edited(ref, "article")
        body = self.article_body(ref, day)
        data = {
            "@type": "Article",
            "headline": self._say.name(ref),
            "genre": "encyclopedia",
            "dateModified": iso_day(day),
            "license": LICENCE,
            "mainEntity": self._desk.about(ref),
        }
        menu = ("Main page", "Contents", "Random article", "Help")
        return Document(url, self._say.name(ref), ENCYCLOPEDIA_NAME, data, body, menu=menu)

    def article_body(self, ref: Ref, day: int, page: str = "article") -> str:
        """Everything between header and footer, as of a day."""
        desk, name = self._desk, self._say.name(ref)
        kind = self._world.ontology.kinds[ref.type]
        statements = desk.statements.about(ref, page, day)
        parts = [f"<h1>{name}</h1>\n", self._hatnote(ref)]
        rows = [self._row(s, page) for s, place in statements if place in {"both", "box"}]
        parts.append(box(capitalise(kind.words.singular), rows))
        told = [s for s, place in statements if place in {"both", "prose"}]
        lead, rest = self._lead(ref, told)
        colour = desk.colour(kind.section, f"{page}/{ref.type}", ref.index, 14)
        parts.append(paragraph([desk.opening(ref), *self._sentences(lead, page, 1)]))
        parts.append(self._topics(ref, rest, colour, page))
        incoming = desk.statements.pointing_at(ref, day, _LISTED)
        parts.append(self._incoming(ref, incoming))
        neighbours = [o for s in told for o in s.objects] + [s for _, _, subjects in incoming for s in subjects]
        parts.append(self._context(ref, neighbours, day))
        parts += self._miscellany(ref, colour[_WOVEN:])
        parts.append(f"<p>This article was last edited on {day_words(day)}.</p>\n")
        return "<article>\n" + "".join(parts) + "</article>\n"

    def _hatnote(self, ref: Ref) -> str:
        pair = self._world.pair_of(ref)
        if pair is None:
            return ""
        first, second = self._world.pair(ref.type, pair)
        other = second if ref == first else first
        noun = self._world.ontology.kinds[ref.type].words.singular
        country = self._say.name(Ref("country", self._world.layout.country(other)))
        link = f'<a href="{self._desk.addresses.home(other)}">{self._say.name(other)}</a>'
        return f'<div class="hatnote" role="note">For the other {noun} of this name ({country}), see {link}.</div>\n'

    def _row(self, statement: Statement, page: str) -> tuple[str, str]:
        ref, relation = statement.subject, statement.relation
        close = self._world.draws.happens(0.75, f"close/{page}/{relation.id}/{ref.type}", ref.index)
        return self._say.row(statement, page, close=close)

    def _lead(self, ref: Ref, told: list[Statement]) -> tuple[list[Statement], list[Statement]]:
        count = 1 + self._world.draws.below(2, f"lead/{ref.type}", ref.index)
        return told[:count], told[count:]

    def _sentences(self, statements: list[Statement], page: str, first_turn: int) -> list[str]:
        return [self._say.sentence(s, page, turn=first_turn + n) for n, s in enumerate(statements)]

    def _topics(self, ref: Ref, told: list[Statement], colour: list[str], page: str) -> str:
        """Paragraphs under headings, each with what belongs together."""
        by_topic: dict[int, list[Statement]] = {}
        for statement in told:
            by_topic.setdefault(self._desk.style.topic_of.get(statement.relation.id, 0), []).append(statement)
        bits = self._world.draws.bits(f"topics/{page}/{ref.type}", ref.index)
        parts: list[str] = []
        loose: list[str] = []
        for number, topic in enumerate(sorted(by_topic, key=lambda t: (t + bits) % len(self._desk.style.headings))):
            headings = self._desk.style.headings[topic]
            sentences = self._sentences(by_topic[topic], page, number and 1)
            if len(sentences) < 2:
                loose += sentences
                continue
            if number < min(len(colour), _WOVEN):
                sentences.insert((bits >> number) % (len(sentences) + 1), colour[number])
            parts.append(f"<h2>{headings[(bits >> (4 + number)) % len(headings)]}</h2>\n")
            parts.append(paragraph(sentences))
        # What stands alone needs no heading; it follows the lead.
        return (paragraph(loose) if loose else "") + "".join(parts)

    def _miscellany(self, ref: Ref, colour: list[str]) -> Iterator[str]:
        """What is left of the colour, in paragraphs of up to four sentences."""
        if len(colour) > 3:
            bits = self._world.draws.bits(f"miscellany/{ref.type}", ref.index)
            yield f"<h2>{_MISCELLANY_HEADINGS[bits % len(_MISCELLANY_HEADINGS)]}</h2>\n"
        for start in range(0, len(colour), 4):
            yield paragraph(colour[start : start + 4])

    def _context(self, ref: Ref, neighbours: list[Ref], day: int) -> str:
        """A few things about what the article mentioned; long articles have more of them."""
        desk, draws = self._desk, self._world.draws
        bits = draws.bits(f"context/{ref.type}", ref.index)
        known = [n for n in dict.fromkeys(neighbours) if n != ref and desk.addresses.home(n)]
        told: list[str] = []
        for number, neighbour in enumerate(known[: _CONTEXT[bits % len(_CONTEXT)]]):
            relations = desk.statements.relations[neighbour.type]
            relation = relations[(bits >> 8 + number) % len(relations)]
            if relation.changes or desk.statements.silent(neighbour, relation.id):
                continue
            statement = desk.statements.state(neighbour, relation, day)
            if statement is not None and ref not in statement.objects:
                subject = self._say.mention(neighbour)
                told.append(self._say.sentence(statement, f"context/{number}", subject=subject))
        if not told:
            return ""
        heading = _CONTEXT_HEADINGS[bits % len(_CONTEXT_HEADINGS)]
        halves = [told[: len(told) // 2], told[len(told) // 2 :]] if len(told) > 5 else [told]
        return f"<h2>{heading}</h2>\n" + "".join(paragraph(half) for half in halves)

    def _incoming(self, ref: Ref, found: list[tuple[Relation, str, tuple[Ref, ...]]]) -> str:
        """What points here: a few sentences, and lists by type."""
        draws = self._world.draws
        lists: dict[str, dict[Ref, None]] = {}
        sentences: list[str] = []
        for relation, type_id, subjects in found:
            draw = draws.below(100, f"incoming/{relation.id}/{type_id}/{ref.type}", ref.index)
            speaker = subjects[0]
            if draw < 45 and len(sentences) < 8 and not self._desk.statements.silent(speaker, relation.id):
                statement = Statement(speaker, relation, (ref,))
                sentences.append(self._say.sentence(statement, "incoming", subject=self._say.mention(speaker)))
            if draw % 10 < 6:
                lists.setdefault(type_id, {}).update(dict.fromkeys(subjects))
        parts = [paragraph(sentences)] if sentences else []
        for type_id, group in list(lists.items())[:5]:
            kind = self._world.ontology.kinds[type_id].words
            parts.append(f"<h3>{capitalise(kind.plural)}</h3>\n")
            parts.append(bullets(self._say.mention(s) for s in list(group)[:_LISTED]))
        return "".join(parts)

    # -- second pages --------------------------------------------------------------------------------------------------

    def site(self, ref: Ref) -> Document:
        desk, name = self._desk, self._say.name(ref)
        kind = desk.addresses.site_kind(ref)
        type_name, site, menu = _SITES[kind]
        day = desk.edited(ref, kind)
        statements = desk.statements.about(ref, kind, day)
        hidden = [s for s, place in statements if place == "box" and self._in_markup(s, kind)]
        shown = [(s, place) for s, place in statements if s not in hidden]
        body = self._site_body(ref, kind, day, shown)
        node = desk.about(ref)
        if hidden:
            node["additionalProperty"] = [self._property(s, kind) for s in hidden]
        data: dict[str, Any] = {"@type": type_name, "name": name, "dateModified": iso_day(day)}
        data["itemReviewed" if kind == "review" else "mainEntity"] = node
        if kind == "reference":
            data["genre"] = "reference"
        url = desk.addresses.site(ref)
        return Document(url, name, site.format(name=name), data, body, menu=menu, og_type="website")

    def _in_markup(self, statement: Statement, kind: str) -> bool:
        """Whether a statement stands in the JSON-LD of a page rather than in its box."""
        relation, ref = statement.relation, statement.subject
        plain = relation.single and not relation.changes
        return plain and self._world.draws.happens(0.3, f"markup/{kind}/{relation.id}/{ref.type}", ref.index)

    def _property(self, statement: Statement, kind: str) -> dict[str, str]:
        relation = statement.relation
        value = self._say.value_words(statement, kind, self._say.name)[0]
        node = {"@type": "PropertyValue", "name": relation.label, "value": value}
        home = self._desk.addresses.home(statement.objects[0]) if statement.objects else None
        return {**node, "url": home} if home else node

    def _site_body(self, ref: Ref, kind: str, day: int, statements: list[tuple[Statement, Place]]) -> str:
        desk, name = self._desk, self._say.name(ref)
        section = self._world.ontology.kinds[ref.type].section
        rows = [self._row(s, kind) for s, place in statements if place in {"both", "box"}]
        told = [s for s, place in statements if place in {"both", "prose"}]
        colour = desk.colour(section, f"{kind}/{ref.type}", ref.index, 3)
        parts = [f"<h1>{name}</h1>\n"]
        if kind in {"reference", "registry"}:
            entry = capitalise(self._world.ontology.kinds[ref.type].words.plural)
            parts.append(f"<p>Entry in the section {entry}, checked on {day_words(day)}.</p>\n")
            parts.append(definitions(rows) if kind == "reference" else box(f"Entry {name}", rows))
            parts.append(paragraph([*self._sentences(told, kind, 0), *colour[:1]]) if told else "")
        else:
            sentences = self._sentences(told, kind, 0)
            half = (len(sentences) + 1) // 2
            parts.append(paragraph([desk.opening(ref), *sentences[:half], *colour[:1]]))
            parts.append(definitions(rows))
            rest = [*sentences[half:], *colour[1:]]
            if kind == "review":
                rest.append(_VERDICTS[self._world.draws.below(len(_VERDICTS), f"verdict/{ref.type}", ref.index)])
            parts.append(paragraph(rest) if rest else "")
            parts.append(f"<p>Last updated on {day_words(day)}.</p>\n")
        article = self._desk.addresses.has_article(ref)
        link = f'<p>See also: <a href="{self._desk.addresses.article(ref)}">{ENCYCLOPEDIA}</a></p>\n' if article else ""
        return "<article>\n" + "".join(parts) + link + "</article>\n"
