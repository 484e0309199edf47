"""Compiles the prose forms of a catalogue for reading: one automaton over their fixed words.

A form such as `The home ground of {s} is {o}` is three literal fragments around two slots. The middle fragment
(` is `) anchors the match: an Aho-Corasick pass over a page finds all middles at once, and only around a hit are the
other two fragments and the slots looked at. `{s}'s capital is {o}` is compiled a second time for `Its capital is ...`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import ahocorasick

from datagen.errors import ConfigError
from datagen.knowledge.catalogue import Catalogue, Relation

_SLOT = re.compile(r"\{([so])\}")


@dataclass(frozen=True, slots=True)
class Form:
    """One prose form, cut at its slots: before, slot, middle, slot, after."""

    relation: Relation
    before: str
    middle: str
    after: str
    subject_first: bool
    possessive: bool = False
    """The first slot holds a possessive (`Its`, `The club's`)."""


def compile_form(relation: Relation, template: str) -> Form:
    parts = _SLOT.split(template.strip().rstrip("."))
    if len(parts) != 5 or {parts[1], parts[3]} != {"s", "o"}:
        raise ConfigError(f"prose form {template!r} of relation {relation.id} must hold {{s}} and {{o}} once each.")
    if not parts[2].strip():
        raise ConfigError(f"prose form {template!r} of relation {relation.id} needs words between its slots.")
    return Form(relation, parts[0], parts[2], parts[4], subject_first=parts[1] == "s")


def compile_forms(catalogue: Catalogue) -> tuple[Form, ...]:
    forms: list[Form] = []
    for relation in catalogue.relations.values():
        for template in dict.fromkeys(t for form in relation.prose for t in _with_prepositions(relation, form)):
            form = compile_form(relation, template)
            forms.append(form)
            for ending in ("'s ", "’s "):
                if form.middle.startswith(ending):
                    forms.append(replace(form, middle=form.middle[len(ending) - 1 :], possessive=True))
    return tuple(forms)


def _with_prepositions(relation: Relation, template: str) -> tuple[str, ...]:
    """A form that says "in {o}" of a year says "on {o}" of a day."""
    if relation.object_kind != "date":
        return (template,)
    return template, template.replace(" in {o}", " on {o}"), template.replace(" on {o}", " in {o}")


def build_automaton(forms: tuple[Form, ...]) -> ahocorasick.Automaton:
    """Middle fragment -> (its length, all forms around it, in catalogue order)."""
    by_middle: dict[str, list[Form]] = {}
    for form in forms:
        by_middle.setdefault(form.middle, []).append(form)
    automaton = ahocorasick.Automaton()
    for middle, group in by_middle.items():
        automaton.add_word(middle, (len(middle), tuple(group)))
    if by_middle:
        automaton.make_automaton()
    return automaton
