"""Pages of one entity: encyclopedia articles, official sites, profiles, handbooks, registers, reviews.

An article has an opening, a box, a few headed paragraphs and lists of what points at the entity. Its second page, where
there is one, says less, in another order and with other words, and has a date of its own.
"""

from __future__ import annotations

from typing import Any

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
        colour = desk.colour(kind.section, page, ref.index, 4)
        parts.append(paragraph([desk.opening(ref), *self._sentences(lead, page, 1)]))
        parts.append(self._topics(ref, rest, colour, page))
        parts.append(self._incoming(ref, day))
        if colour:
            parts.append(paragraph(colour[-1:]))
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
        parts = []
        for number, topic in enumerate(sorted(by_topic, key=lambda t: (t + bits) % len(self._desk.style.headings))):
            headings = self._desk.style.headings[topic]
            sentences = self._sentences(by_topic[topic], page, number and 1)
            if number < len(colour) - 1:
                sentences.insert((bits >> number) % (len(sentences) + 1), colour[number])
            if len(told) > 2:
                parts.append(f"<h2>{headings[(bits >> (4 + number)) % len(headings)]}</h2>\n")
            parts.append(paragraph(sentences))
        return "".join(parts)

    def _incoming(self, ref: Ref, day: int) -> str:
        """What points here: two sentences, and lists by type."""
        found = self._desk.statements.pointing_at(ref, day, _LISTED)
        draws = self._world.draws
        lists: dict[str, dict[Ref, None]] = {}
        sentences = []
        for relation, type_id, subjects in found:
            draw = draws.below(100, f"incoming/{relation.id}/{type_id}/{ref.type}", ref.index)
            speaker = subjects[0]
            if draw < 30 and len(sentences) < 3 and not self._desk.statements.silent(speaker, relation.id):
                statement = Statement(speaker, relation, (ref,))
                sentences.append(self._say.sentence(statement, "incoming", subject=self._say.mention(speaker)))
            if draw % 10 < 6:
                lists.setdefault(type_id, {}).update(dict.fromkeys(subjects))
        parts = [paragraph(sentences)] if sentences else []
        for type_id, subjects in list(lists.items())[:4]:
            kind = self._world.ontology.kinds[type_id].words
            parts.append(f"<h3>Connected {kind.plural}</h3>\n")
            parts.append(bullets(self._say.mention(s) for s in list(subjects)[:_LISTED]))
        return "".join(parts)

    # -- second pages --------------------------------------------------------------------------------------------------

    def site(self, ref: Ref) -> Document:
        desk, name = self._desk, self._say.name(ref)
        kind = desk.addresses.site_kind(ref)
        type_name, site, menu = _SITES[kind]
        day = desk.edited(ref, kind)
        statements = desk.statements.about(ref, kind, day)
        body = self._site_body(ref, kind, day, statements)
        node = desk.about(ref)
        data: dict[str, Any] = {"@type": type_name, "name": name, "dateModified": iso_day(day)}
        data["itemReviewed" if kind == "review" else "mainEntity"] = node
        if kind == "reference":
            data["genre"] = "reference"
        url = desk.addresses.site(ref)
        return Document(url, name, site.format(name=name), data, body, menu=menu, og_type="website")

    def _site_body(self, ref: Ref, kind: str, day: int, statements: list[tuple[Statement, Place]]) -> str:
        desk, name = self._desk, self._say.name(ref)
        section = self._world.ontology.kinds[ref.type].section
        rows = [self._row(s, kind) for s, place in statements if place in {"both", "box"}]
        told = [s for s, place in statements if place in {"both", "prose"}]
        colour = desk.colour(section, kind, ref.index, 3)
        parts = [f"<h1>{name}</h1>\n"]
        if kind in {"reference", "registry"}:
            entry = self._world.ontology.kinds[ref.type].words.singular
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
