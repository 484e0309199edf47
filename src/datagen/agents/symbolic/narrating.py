"""Thoughts for what a program did: why this search, what the last page said, what is out, what is left to check.

A thought is written for a turn from what came before it: the results of the turn before, and the calls that were made
next. The narrator sees what the attempt has seen and no more, so a thought can name nothing that was not retrieved.

    results of turn 3     "The list has 14 rows, and Real Fjushond and Vale Rangers match on founded."
    calls of turn 4       "I'll read Real Fjushond and Vale Rangers."
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.findings import Classes, Finding, NamedClue, clues_of, findings_on, say_fact
from datagen.agents.symbolic.logbook import Action, Turn
from datagen.agents.symbolic.solving import is_list_like
from datagen.agents.symbolic.wordbank import Wordbank, listed, lowered, topic_of, with_article
from datagen.knowledge.formula import ClueAddress, Edge, Match, Query, Within
from datagen.knowledge.literals import format_days
from datagen.knowledge.reading import Reading
from datagen.records.fact import Literal
from datagen.records.page import LOW_TRUST_KINDS

ROWS = 4
"""Statements on one clue from which a page is spoken of as a list."""
TOLD = 2
"""Statements that one thought repeats, at most."""


class Narrator:
    """Thinks aloud about one attempt, turn by turn."""

    def __init__(self, query: Query, classes: Classes, readings: Mapping[str, Reading], rng: random.Random) -> None:
        catalogue = classes.catalogue
        self._query = query
        self._classes = classes
        self._catalogue = catalogue
        self._clues = clues_of(query, catalogue)
        self._readings = readings
        self._rng = rng
        self._words = Wordbank(rng)
        self._titles: dict[str, str] = {}
        """Address -> what results and links call it."""
        self._read: set[str] = set()
        self._windows: dict[str, list[tuple[int, int]]] = {}
        """Page -> stretches of it that were read."""
        self._told: set[tuple[str, int, str]] = set()
        self.findings: list[Finding] = []
        """All that the pages read so far say on the clues."""

    # The turns -------------------------------------------------------------------------------------------------------

    def opening(self, turn: Turn) -> str:
        """The thought before the first call."""
        said = [self._words.say("opening", "asked", what=self._what())]
        if self._rng.random() < 0.6:
            said.append(self._words.say("opening", "clues", clues="; ".join(map(self._phrase, self._root_clues()))))
        name = self._name_in(turn[0].query) if turn[0].tool == "search" else None
        if name is not None:
            said.append(self._words.say("opening", "start", name=name))
        elif self._is_broad(turn[0]):
            return " ".join([*said, self._words.say("opening", "start_broad")])
        return " ".join([*said, self._plan(turn, None)])

    def thought(self, before: Turn, turn: Turn) -> str:
        """The thought between two turns."""
        reaction, dead_end = self._react(before, turn)
        plan = self._plan(turn, before)
        if dead_end and turn[0].tool == "search" and self._rng.random() < 0.4:
            plan = f"{self._words.say('search', 'again')} {plan}"
        if reaction and plan and self._rng.random() < 0.12:
            return reaction
        return " ".join(part for part in (reaction, plan) if part)

    def take_in(self, turn: Turn) -> list[Finding]:
        """Note what the results of a turn show; returns what is new on the clues."""
        new: list[Finding] = []
        for action in turn:
            for hit in action.hits:
                self._titles.setdefault(hit.url, hit.title)
            if action.window is None:
                continue
            self._titles.setdefault(action.window.url, action.window.title)
            for link in action.window.links:
                self._titles.setdefault(link.url, link.anchor)
            new += [f for f in self._on_window(action) if (f.subject, f.clue, fold(f.other)) not in self._told]
            self._read.add(action.url)
        self._told.update((f.subject, f.clue, fold(f.other)) for f in new)
        self.findings += new
        return new

    def stated(self, subject: str, relation: str) -> str | None:
        """The value of a relation that the stretches of pages read so far give for a thing."""
        for url, spans in self._windows.items():
            for fact in self._readings[url].facts:
                place = fact.evidence.start
                if (fact.subject, fact.relation) == (subject, relation) and any(a <= place < b for a, b in spans):
                    return fact.object
        return None

    def _on_window(self, action: Action) -> list[Finding]:
        """What the visited stretch of the page says on the clues."""
        window, reading = action.window, self._readings.get(action.url)
        if window is None or reading is None:
            return []
        end = window.offset + len(window.text)
        self._windows.setdefault(action.url, []).append((window.offset, end))
        return [
            f for f in findings_on(reading, self._clues, self._classes) if window.offset <= f.fact.evidence.start < end
        ]

    # Reactions -------------------------------------------------------------------------------------------------------

    def _react(self, before: Turn, turn: Turn) -> tuple[str, bool]:
        """What the results of the turn before come to, and whether they led nowhere."""
        if before[0].tool == "search":
            self.take_in(before)
            return self._react_to_hits(before[0], turn)
        return self._react_to_pages(before, self.take_in(before))

    def _react_to_hits(self, search: Action, turn: Turn) -> tuple[str, bool]:
        if not search.hits:
            return self._words.say("found", "nothing"), True
        next_urls = [action.url for action in turn if action.tool == "visit"]
        chosen = [hit for hit in search.hits if hit.url in next_urls]
        if not chosen:
            known = all(hit.url in self._read for hit in search.hits[:5])
            return self._words.say("found", "seen_before" if known else "unhelpful"), True
        if self._rng.random() < 0.35:
            return "", False
        lists = [hit for hit in chosen if is_list_like(hit)]
        if lists:
            return self._words.say("found", "list_page", title=lists[0].title), False
        if len(chosen) == 1 and self._is_name(chosen[0].title):
            return self._words.say("found", "own_page", title=_short(chosen[0].title)), False
        return "", False

    def _react_to_pages(self, turn: Turn, new: Sequence[Finding]) -> tuple[str, bool]:
        if all(action.window is None for action in turn):
            return self._words.say("learned", "missing"), True
        said = self._learned(new)
        if said:
            return " ".join(said), False
        if any(self._on_window(action) for action in turn):
            return self._words.say("learned", "known"), False
        kinds = {action.window.source_kind for action in turn if action.window is not None}
        if kinds <= LOW_TRUST_KINDS:
            return self._words.say("learned", "low_trust"), True
        topics = [clue.topic for clue in self._clues if clue.relation is not None]
        if topics and self._rng.random() < 0.5:
            return self._words.say("learned", "silent", topic=self._rng.choice(topics)), True
        return self._words.say("learned", "silent_plain"), True

    def _learned(self, new: Sequence[Finding]) -> list[str]:
        """Sentences on what is new: lists in one, single statements each for itself."""
        said: list[str] = []
        for clue in self._clues:
            about = [f for f in new if f.clue == clue.number]
            subjects = list(dict.fromkeys(f.name for f in about))
            if not about or len(said) >= TOLD:
                continue
            if len(subjects) >= ROWS:
                said.append(self._rows(clue, about, subjects))
            else:
                said += self._single(clue, about)[: TOLD - len(said)]
        return said

    def _rows(self, clue: NamedClue, about: Sequence[Finding], subjects: Sequence[str]) -> str:
        fitting = list(dict.fromkeys(f.name for f in about if f.bearing == "fits"))
        count = len(subjects)
        if all(f.bearing == "link" for f in about):
            return self._words.say("learned", "rows_link", count=count, names=listed(subjects))
        if not fitting:
            return self._words.say("learned", "rows_none", count=count, topic=clue.topic)
        if len(fitting) == count:
            return self._words.say("learned", "rows_all", count=count, names=listed(fitting))
        key = "rows_one" if len(fitting) == 1 else "rows_fit"
        return self._words.say("learned", key, count=count, names=listed(fitting), topic=clue.topic)

    def _single(self, clue: NamedClue, about: Sequence[Finding]) -> list[str]:
        out = list(dict.fromkeys(f.name for f in about if f.bearing == "differs"))
        if len(out) > 1:
            rest = [f for f in about if f.bearing == "fits"]
            return [
                self._words.say("learned", "several_out", names=listed(out), topic=clue.topic),
                *self._each(clue, rest),
            ]
        return self._each(clue, about)

    def _each(self, clue: NamedClue, about: Sequence[Finding]) -> list[str]:
        return [
            self._words.say("learned", f.bearing, fact=say_fact(f, clue, self._rng), name=f.name) for f in about[:1]
        ]

    # Plans -----------------------------------------------------------------------------------------------------------

    def _plan(self, turn: Turn, before: Turn | None) -> str:
        if turn[0].tool == "search":
            return self._plan_search(turn[0].query)
        if turn[0].offset:
            return self._words.say("open", "further")
        if before is not None and before[0].tool == "visit" and before[0].batch == turn[0].batch >= 0:
            return self._words.say("open", "remaining")
        titles = list(dict.fromkeys(self._called(a.url) for a in turn if a.url in self._titles))
        if not titles:
            return self._words.say("open", "index")
        hits = [hit.url for hit in before[0].hits] if before is not None and before[0].tool == "search" else None
        if hits is not None and len(titles) <= 3 and not any(action.url in hits for action in turn):
            return self._words.say("back", "candidates", titles=listed(titles))
        if len(titles) == 1:
            return self._words.say("open", "one", title=titles[0])
        if len(titles) <= 3:
            return self._words.say("open", "several", titles=listed(titles))
        return self._words.say("open", "many", titles=", ".join(titles[:2]), rest=len(titles) - 2)

    def _plan_search(self, query: str) -> str:
        words = fold(query)
        plural = self._plural_in(words)
        name = self._name_in(query)
        if name is None:
            key = "whole_class" if plural and words.startswith(("register", plural)) else "plain"
            return self._words.say("search", key, plural=plural, query=query)
        rest = words.replace(fold(name), " ")
        stated = any(clue.constant == name for clue in self._clues)
        labels = [c for c in self._clues if c.relation and f" {fold(c.relation.label)} " in f" {rest} "]
        topic = max(labels, key=lambda c: len(c.topic)).topic if labels else None
        if topic is not None and not stated:
            return self._words.say("search", "fact_of", topic=topic, name=name)
        if plural:
            return self._words.say("search", "class_of", plural=plural, name=name)
        return self._words.say("search", "name_only" if not rest.strip() else "plain", name=name, query=query)

    def _name_in(self, query: str) -> str | None:
        """The longest name in a query that the question states or a page has given."""
        words = f" {fold(query)} "
        names = [c.constant for c in self._clues if c.constant] + [f.name for f in self.findings]
        names += [f.other for f in self.findings if f.bearing == "link"]
        inside = [name for name in names if fold(name) and f" {fold(name)} " in words]
        return max(inside, key=len, default=None)

    def _plural_in(self, words: str) -> str:
        plurals = (t.plural for t in self._catalogue.types.values())
        return max((p for p in plurals if f" {fold(p)} " in f" {words} "), key=len, default="")

    def _is_name(self, title: str) -> bool:
        """Whether a title is the name of a thing that was spoken of, and not a headline."""
        name = fold(_short(title))
        return any(name == fold(n) for f in self.findings for n in (f.name, f.other)) or any(
            clue.constant is not None and fold(clue.constant) == name for clue in self._clues
        )

    def _called(self, url: str) -> str:
        """What to call a page: by its name, or in quotation marks where the title is more than one."""
        title = _short(self._titles[url])
        return title if self._is_name(title) or (len(title.split()) <= 3 and ":" not in title) else f"“{title}”"

    def _is_broad(self, action: Action) -> bool:
        return action.tool == "search" and len(action.query.split()) > 8

    # The question in words -------------------------------------------------------------------------------------------

    def _what(self) -> str:
        kind = self._query.root.type
        noun = self._catalogue.types[kind].singular if kind else "thing"
        if self._query.ask is None:
            return with_article(noun)
        return f"the {topic_of(self._catalogue.relations[self._query.ask].label)} of {with_article(noun)}"

    def _root_clues(self) -> list[NamedClue]:
        return [clue for clue in self._clues if len(clue.address) == 1]

    def _phrase(self, clue: NamedClue) -> str:
        """A clue in a few words: "home ground some stadium", "founded 1970 to 1980"."""
        meaning = clue.clue
        if isinstance(meaning, Edge):
            kind = meaning.child.type
            noun = self._catalogue.types[kind].singular if kind else "thing"
            return f"{clue.topic}: {with_article(noun)} I have to identify"
        if isinstance(meaning, Within):
            return f"{clue.topic}: {_span(meaning)}"
        if isinstance(meaning, Match):
            value = meaning.value
            return f"{clue.topic}: {value.text if isinstance(value, Literal) else value.name}"
        return f"a {meaning.type.replace('_', ' ')}"

    # The end ---------------------------------------------------------------------------------------------------------

    def closing(self, name: str, value: str | None) -> str:
        """The thought before the answer: which statements it rests on."""
        said = [self._words.say("close", "sure", name=name)]
        kept = self._proofs(name)
        if kept and self._rng.random() < 0.75:
            facts = [say_fact(f, self._clues[f.clue], self._rng) for f in kept]
            said.append(self._words.say("close", "check", facts="; ".join([facts[0], *map(lowered, facts[1:])])))
        if value is not None and self._query.ask is not None:
            topic = topic_of(self._catalogue.relations[self._query.ask].label)
            said.append(self._words.say("close", "value", topic=topic, value=value))
        return " ".join(said)

    def _proofs(self, name: str) -> list[Finding]:
        """For each clue one statement that supports the answer, along the links that lead furthest."""
        return self._support(name, ())[:4]

    def _support(self, name: str, place: ClueAddress) -> list[Finding]:
        """Statements for the clues about the thing at `place`, if it is the one called so."""
        kept: list[Finding] = []
        for clue in self._clues:
            if clue.address[:-1] != place:
                continue
            good = [f for f in self.findings if f.clue == clue.number and fold(f.name) == fold(name)]
            ways: list[list[Finding]] = [
                [f, *(self._support(f.other, clue.address) if f.bearing == "link" else ())]
                for f in good
                if f.bearing != "differs"
            ]
            longest: list[Finding] = sorted(ways, key=len)[-1] if ways else []
            kept += longest
        return kept

    def supports(self, name: str) -> int:
        """How much of what was read speaks for this thing as the one sought."""
        return len(self._support(name, ()))

    def settling(self, found: Finding) -> str:
        """The thought of somebody who does not check further."""
        return self._words.say("close", "hasty", name=found.name, topic=self._clues[found.clue].topic)

    def giving_up(self, reason: str, names: Sequence[str] = ()) -> str:
        """Why there is no answer."""
        if reason == "ambiguous" and len(names) > 1:
            return self._words.say("close", "several_left", names=listed(names))
        return self._words.say("close", "spent" if reason == "budget" else "gave_up")


def _short(title: str) -> str:
    """A title without the name of its site."""
    return title.split(" - ", maxsplit=1)[0].split(" | ", maxsplit=1)[0].strip() or title


def _span(clue: Within) -> str:
    if clue.kind == "date":
        return format_days(int(clue.low), int(clue.high))
    unit = f" {clue.unit}" if clue.unit else ""
    return f"{clue.low:,.6g} to {clue.high:,.6g}{unit}"
