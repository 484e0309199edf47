"""Statements as sentences and as rows, in the words of the catalogue.

A sentence is one prose form with the entity in the subject slot: its name, a pronoun (`It`, `They`, `He`, `She`) or
`the football club`. A relation that changes carries its date in brackets: "(since 3 March 2025)".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from datagen.knowledge.catalogue import Relation
from datagen.knowledge.literals import format_days
from datagen.records.fact import Literal
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.statements import Statement, Statements

Mention = Callable[[Ref], str]
_PLURAL_VERB = re.compile(r"\{s\} (?:play|are|have|come|wear|turn|compete|represent|carry)\b")
_CLOSED = re.compile(r"^\{s\}")


def day_words(day: int) -> str:
    """`3 March 2025`."""
    return format_days(day, day)


def iso_day(day: int) -> str:
    return date.fromordinal(day).isoformat()


class Phrasing:
    """Writes sentences; everything random is drawn from the address (page, entity, relation)."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self.world = statements.world
        self._draws = self.world.draws
        self._types = self.world.ontology.catalogue.types

    # -- words for things ----------------------------------------------------------------------------------------------

    def mention(self, ref: Ref) -> str:
        """The name, linked where the entity has a page."""
        home = self.statements.addresses.home(ref)
        name = self.world.name(ref)
        return f'<a href="{home}">{name}</a>' if home else name

    def name(self, ref: Ref) -> str:
        return self.world.name(ref)

    def pronoun(self, ref: Ref) -> str:
        if not self._types[ref.type].who:
            return "It"
        return ("He", "She")[self._draws.below(2, f"gender/{ref.type}", ref.index)]

    def literal_words(self, literal: Literal, address: str, index: int) -> str:
        """A literal as a page writes it; three dates in ten only say month or year."""
        if literal.kind != "date":
            return literal.text
        if literal.low != literal.high:
            return literal.text
        day = date.fromordinal(int(literal.low))
        # News is exact: it reports the day.
        draw = self._draws.below(100, f"precision/{address}", index)
        if draw < 70 or address.startswith("news"):
            return day_words(day.toordinal())
        return f"{day:%B} {day.year}" if draw < 80 else str(day.year)

    def value_words(self, statement: Statement, page: str, mention: Mention | None = None) -> list[str]:
        """The objects of a statement as HTML, one by one."""
        if statement.literal is not None:
            address = f"{page}/{statement.relation.id}/{statement.subject.type}"
            return [self.literal_words(statement.literal, address, statement.subject.index)]
        return [(mention or self.mention)(o) for o in statement.objects]

    # -- sentences -----------------------------------------------------------------------------------------------------

    def sentence(self, statement: Statement, page: str, *, subject: str | None = None, turn: int = 0) -> str:
        """One sentence with a full stop. Without `subject` the entity is pronoun or `the ...`, by turns."""
        relation, ref = statement.relation, statement.subject
        draw = self._draws.bits(f"form/{page}/{relation.id}/{ref.type}", ref.index)
        forms = self._forms(relation, statement.literal)
        form = forms[draw % len(forms)]
        words = self.value_words(statement, page)
        value = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
        if relation.object_kind == "date" and "in {o}" in form and value[0].isdigit() and " " in value:
            form = form.replace("in {o}", "on {o}")
        who = subject or self._reference(ref, form, draw >> 20, turn)
        text = form.replace("{s}", who).replace("{o}", value)
        if statement.since is not None:
            text += f" (since {day_words(statement.since)})"
        return capitalise(text) + "."

    @staticmethod
    def _forms(relation: Relation, literal: Literal | None) -> tuple[str, ...]:
        if literal is None or literal.kind != "date":
            return relation.prose
        return tuple(f for f in relation.prose if "on {o}" not in f)

    def _reference(self, ref: Ref, form: str, draw: int, turn: int) -> str:
        """How the page's own subject is called in this sentence."""
        if turn == 0:
            return self.name(ref)
        starts = _CLOSED.match(form) is not None
        if starts and draw % 5 < 3:
            return "They" if _PLURAL_VERB.match(form) and not self._types[ref.type].who else self.pronoun(ref)
        return f"the {self._types[ref.type].singular}" if draw % 2 else self.name(ref)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def row(self, statement: Statement, page: str, *, close: bool) -> tuple[str, str]:
        """Label and value of a box; with `close` a list of all objects says that it is complete."""
        relation, ref = statement.relation, statement.subject
        labels = (relation.label, relation.label, *relation.labels)
        label = labels[self._draws.below(len(labels), f"label/{page}/{relation.id}/{ref.type}", ref.index)]
        words = self.value_words(statement, page)
        if statement.since is not None:
            words = [f"{words[0]} (since {day_words(statement.since)})"]
        if close and statement.complete and not relation.single:
            label += " (complete)"
        return label, "<br>".join(words)


def capitalise(text: str) -> str:
    """A capital at the head of a sentence, also where it starts with a link."""
    if text.startswith("<"):
        end = text.index(">") + 1
        return text[:end] + text[end : end + 1].upper() + text[end + 1 :]
    return text[:1].upper() + text[1:]


def article(noun: str) -> str:
    """`a bridge`, `an island`; the ear decides for `university`."""
    return f"{'an' if noun[0] in 'aeiou' and not noun.startswith('uni') else 'a'} {noun}"
