"""One question on its way into words: sentences with one topic each, and what is still to be said.

The writer keeps, for every vertex, the clues not said yet. The lead says what fits; then each sentence takes the vertex
that was spoken of last, or else the first one introduced that has something left.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from datagen.errors import WordingError
from datagen.knowledge.formula import Clue, Edge, IsA, Node, Query
from datagen.language.grammar import LEADS_FIND, LEADS_FIND_ASKING, LEADS_PERSON_ASKING, LEADS_THERE
from datagen.language.phrases import ONE, ORDINALS, AskPhrase, Phrase, PhraseTable, Voice
from datagen.language.wording import (
    MAIN,
    RELATIVE,
    ClueWords,
    Style,
    article,
    day_words,
    fill,
    leaf_words,
    phrases_for,
)

MAX_INLINE = 2
"""Described things nested in one sentence: "a club whose stadium was designed by an architect who ..." and no deeper."""


@dataclass(slots=True)
class Vertex:
    """A vertex on its way into words. `todo` are the clues not said yet."""

    node: Node
    word: str
    person: bool
    todo: list[Clue] = field(default_factory=list)
    number: int = 0
    """Position among the vertices of the same word, once introduced."""


class Writer:
    """One question being written."""

    def __init__(
        self, table: PhraseTable, query: Query, rng: random.Random, style: Style, *, long: bool = False
    ) -> None:
        self.table, self.query, self.rng, self.style, self.long = table, query, rng, style, long
        self.introduced: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self._count(query.root)
        self.queue: list[Vertex] = []
        self.newest = False
        self.short = False
        self.root = self._vertex(query.root)

    def _count(self, node: Node) -> None:
        if node.type not in self.table.type_words:
            raise WordingError(f"The catalogue {self.table.catalogue.name!r} has no type {node.type!r}.")
        word = self.table.type_words[node.type]
        self.totals[word] = self.totals.get(word, 0) + 1
        for clue in node.clues:
            if isinstance(clue, Edge):
                self._count(clue.child)

    def _vertex(self, node: Node) -> Vertex:
        """A vertex with its clues in saying order: leaves in drawn order, then edges, the bushiest last."""
        leaves = [c for c in node.clues if not isinstance(c, Edge)]
        edges = [c for c in node.clues if isinstance(c, Edge)]
        self.rng.shuffle(leaves)
        edges.sort(key=lambda edge: len(edge.child.clues))
        word = self.table.type_words[node.type]
        return Vertex(node, word, self.table.is_person(node.type), [*leaves, *edges])

    # --- the whole ------------------------------------------------------------------------------------------------

    def write(self) -> str:
        """The lead, what it left unsaid, and the closing question; a lead that asks must leave nothing unsaid."""
        asks = self._ask_phrases()
        self.short = self._is_short() and not self.long
        lead = (self._short_ask(asks) if asks else self._short_lead()) if self.short else None
        if lead is not None and self._next(self.root) is not None:
            return Writer(self.table, self.query, self.rng, self.style, long=True).write()
        asked = lead is not None
        if lead is None:
            imperative = not asks and self.rng.random() < 0.3
            lead, asked = self._open(imperative=imperative), imperative
        sentences, topic = [lead], self.root
        while (vertex := self._next(topic)) is not None:
            sentences.append(self._sentence(vertex, same=vertex is topic))
            topic = vertex
        if not asked:
            clear = topic is self.root and not self.newest and self.totals[self.root.word] == 1
            sentences.append(self._close_ask(asks, clear=clear) if asks else self._close(clear=clear))
        return " ".join(sentences)

    def _ask_phrases(self) -> list[AskPhrase]:
        if self.query.ask is None:
            return []
        if self.query.ask not in self.table.asks:
            raise WordingError(f"The catalogue {self.table.catalogue.name!r} has no relation {self.query.ask!r}.")
        sought = self.query.root.type
        every = self.table.asks[self.query.ask]
        fitting = [p for p in every if self.table.resolve_ask((p.open, p.tail), sought) == (self.query.ask,)]
        if not fitting:
            raise WordingError(f"No question form of {self.query.ask!r} can be told from another relation's.")
        return fitting[:-1] or fitting if not self.style.plain else fitting[-1:]

    def _is_short(self) -> bool:
        """Whether one sentence can hold it all: a chain of at most three described things, few clues each."""
        node, links, clues = self.query.root, 0, 0
        while True:
            edges = [c for c in node.clues if isinstance(c, Edge)]
            clues += len(node.clues)
            if len(edges) > 1 or len(node.clues) > 3 or clues > 5 or links > 2 or not node.clues:
                return False
            if not edges or not edges[0].child.clues:
                return True
            if edges[0].as_of is not None:
                return False
            node, links = edges[0].child, links + 1

    def _next(self, topic: Vertex) -> Vertex | None:
        """The vertex to speak of next: go on with the topic, else the first introduced that has something left."""
        waiting = [v for v in (topic, self.root, *self.queue) if v.todo]
        return waiting[0] if waiting else None

    # --- leads and closes -----------------------------------------------------------------------------------------

    def _introduce(self, vertex: Vertex) -> None:
        self.introduced[vertex.word] = vertex.number = self.introduced.get(vertex.word, 0) + 1
        self.newest = True

    def _new(self, vertex: Vertex) -> str:
        """First mention: "a town", "another town", "a third town"."""
        self._introduce(vertex)
        self.queue.append(vertex)
        if vertex.number == 1:
            return f"{article(vertex.word)} {vertex.word}"
        start = "another" if self.totals[vertex.word] == 2 else f"a {ORDINALS[vertex.number - 1]}"
        return f"{start} {self._again(vertex)}"

    def _again(self, vertex: Vertex) -> str:
        """The class word once more; "one" for a long one, where all things in the question are of that class."""
        return ONE if len(self.totals) == 1 and vertex.word.count(" ") > 1 and not self.style.plain else vertex.word

    def _back(self, vertex: Vertex) -> str:
        """Later mention: "that town", "this club" for what is sought, "the second town" once there are several."""
        if self.introduced[vertex.word] > 1:
            return f"the {ORDINALS[vertex.number - 1]} {self._again(vertex)}"
        pointing = "this" if vertex is self.root else "that"
        return f"{self.rng.choice((pointing, pointing, 'the'))} {vertex.word}"

    def _sought(self) -> str:
        """The root in the closing question, where "the first town" could be misread."""
        if self.totals[self.root.word] == 1:
            return f"this {self.root.word}"
        return self.rng.choice((f"the {self.root.word} in question", f"the first {self._again(self.root)}"))

    def _short_lead(self) -> str | None:
        """One sentence: "Which stadium was opened in 1925?", "Name the stadium that ..."."""
        self._introduce(self.root)
        draw = self.rng.random()
        if draw < 0.45 and not self.style.plain:
            said = self._main_only(self.root)
            if said is not None:
                return f"Which {self.root.word} {said}?"
        if 0.45 <= draw < 0.6:
            self.newest = False
            there = f"{self.rng.choice(LEADS_THERE[:3])} {article(self.root.word)} {self.root.word}"
            said = self._relatives(self.root, 9, 0)
            closing = self._close(clear=not self.newest and self.totals[self.root.word] == 1, imperative=False)
            return f"{there} {said}; {closing[0].lower()}{closing[1:]}"
        lead, stop = self._find()
        return f"{lead} {self.root.word} {self._relatives(self.root, 9, 0)}{stop}"

    def _find(self) -> tuple[str, str]:
        asking = [*LEADS_FIND_ASKING, *(LEADS_PERSON_ASKING * 2 if self.root.person else ())]
        lead = self.rng.choice([*LEADS_FIND, *asking])
        return lead, "?" if lead in asking else "."

    def _open(self, *, imperative: bool) -> str:
        limit = self.rng.choice((2, 2, 3))
        self._introduce(self.root)
        lead, stop = (self.rng.choice(LEADS_FIND), ".") if imperative else (self.rng.choice(LEADS_THERE), ".")
        self.newest = False
        said = self._relatives(self.root, limit, 0)
        head = f"{lead} {self.root.word}" if imperative else f"{lead} {article(self.root.word)} {self.root.word}"
        return f"{head} {said}".rstrip() + stop

    def _close(self, *, clear: bool, imperative: bool = True) -> str:
        word, back = self.root.word, self._sought()
        options = [f"What is the name of {back}?", f"What is {back} called?"]
        if self.root.person:
            options = [f"Who is {back}?", f"Who is {back}?", f"What is the name of {back}?"]
        if imperative:
            options.append(f"{self.rng.choice(('Name', 'Identify'))} {back}.")
        if self.totals[word] == 1:
            options.append(f"Which {word} is this?")
        if clear and not self.root.person:
            options += ["What is its name?", "What is it called?", f"Which {word} is it?"]
        return self.rng.choice(options)

    def _as_of_lead(self) -> str:
        return "" if self.query.ask_as_of is None else f"As of {day_words(self.query.ask_as_of)}, "

    def _asked(self, phrase: AskPhrase, subject: str, after: str = "") -> str:
        opening = self._as_of_lead() + phrase.open
        if self.query.ask_as_of is not None:
            opening = self._as_of_lead() + phrase.open[0].lower() + phrase.open[1:]
        tail = f"{'' if phrase.tail.startswith(chr(39)) or not phrase.tail else ' '}{phrase.tail}"
        return f"{opening} {subject}{tail}{' ' if after else ''}{after}?"

    def _close_ask(self, asks: list[AskPhrase], *, clear: bool) -> str:
        phrase = self.rng.choice(asks)
        verb_follows = phrase.tail and not phrase.tail.startswith(("'", "’"))
        subject = "it" if clear and verb_follows and not self.root.person else self._sought()
        return self._asked(phrase, subject)

    def _short_ask(self, asks: list[AskPhrase]) -> str | None:
        phrase = self.rng.choice(asks)
        if phrase.tail.startswith(("'", "’")) or len(phrase.tail.split()) > 1 or len(self.query.root.clues) > 3:
            return None
        self._introduce(self.root)
        # "When was the painter born to whom ..." would mislead; a clue with "that" or "whose" may stand behind the verb.
        voices = MAIN if phrase.tail else RELATIVE
        return self._asked(phrase, f"the {self.root.word}", self._relatives(self.root, 9, 0, first=voices))

    # --- sentences about a topic ----------------------------------------------------------------------------------

    def _take(self, vertex: Vertex, limit: int, *, main: bool = False) -> list[Clue]:
        """The next clues to say together: leaves first, at most one edge, and that last.

        A described thing with a date waits for a sentence of its own, which can begin with the date.
        """
        leaves: list[Clue] = [c for c in vertex.todo if not isinstance(c, Edge)]
        edges = [c for c in vertex.todo if isinstance(c, Edge)]
        dated = [c for c in edges if c.as_of and c.child.clues]
        plain = [c for c in edges if c not in dated]
        if dated and not plain and (leaves or main):
            taken = leaves[:limit] or list[Clue](dated[:1])
        else:
            first = (plain or dated)[:1]
            taken = [*leaves[: limit - len(first)], *first]
        left = list(vertex.todo)
        for clue in taken:
            left.remove(clue)
        vertex.todo = left
        return taken

    def _sentence(self, vertex: Vertex, *, same: bool) -> str:
        """One sentence about a vertex: "That stadium was opened in 1925 and has 4,000 seats."."""
        back = "it" if same and not self.newest and not vertex.person else self._back(vertex)
        self.newest = False
        clues = self._take(vertex, self.rng.choice((2, 2, 3)), main=True)
        said: list[str] = []
        before: Voice | None = None
        while clues:
            clue, voices = clues[0], self._main_voices(vertex, before)
            phrase = None if isinstance(clue, IsA) else self._pick(vertex, clue, voices)
            if phrase is None and not (isinstance(clue, IsA) and "subject" in voices):
                break
            clues.pop(0)
            if isinstance(clue, Edge) and phrase is not None and before is None and _begins_with_date(clue, phrase):
                said.append(self._dated(clue, phrase, back))
                break
            words = self._said(clue, phrase, 0, last=not clues)
            said.append(self._subject(vertex, words, before, back))
            before = words.voice
        if not said:
            said = [self._one(vertex, clues.pop(0), back)]
        vertex.todo = [*clues, *vertex.todo]
        return f"{_joined(said)}."

    def _main_voices(self, vertex: Vertex, before: Voice | None) -> tuple[Voice, ...]:
        """What a main clause may be. "Their birthplace is X and ..." cannot go on with a verb: nobody knows he or she."""
        return ("possessive",) if vertex.person and before == "possessive" else MAIN

    def _dated(self, edge: Edge, phrase: Phrase, back: str) -> str:
        """A sentence that begins with its date: "As of 3 March 2025, its head coach is a coach who ..."."""
        assert edge.as_of is not None
        subject = back if phrase.voice == "subject" else _possessive(back)
        return f"As of {day_words(edge.as_of)}, {subject} {phrase.open} {self._child(edge, 0, inline=True)}"

    def _subject(self, vertex: Vertex, words: ClueWords, before: Voice | None, back: str) -> str:
        """Put the subject in front, or leave it out where the clause before has the same one."""
        if before is None:
            text = f"{back if words.voice == 'subject' else _possessive(back)} {words.text}"
            return text[0].upper() + text[1:]
        if words.voice == "possessive":
            return f"{'their' if vertex.person else 'its'} {words.text}"
        return words.text if before == "subject" else f"it {words.text}"

    def _one(self, vertex: Vertex, clue: Clue, back: str) -> str:
        """The clause "It is one in which the club plays", for phrases that only follow a noun."""
        said = self._relative(vertex, clue, 0, first=RELATIVE, last=True)
        assert said is not None
        pronoun = "someone" if vertex.person else "one"
        return f"{back[0].upper()}{back[1:]} is {pronoun} {self._with_pronoun(vertex, said, None)}"

    # --- clues ----------------------------------------------------------------------------------------------------

    def _pick(self, vertex: Vertex, clue: Clue, voices: tuple[Voice, ...], *, first: bool = True) -> Phrase | None:
        """A phrase of one of these voices; where a described thing follows, rather one that ends in it.

        And rather "was designed by an architect" than "whose architect was an architect".
        """
        assert not isinstance(clue, IsA)
        phrases = phrases_for(self.table, clue, vertex.node.type, self.style)
        phrases = [p for p in phrases if p.voice in voices and (first or not p.reduced)]
        if isinstance(clue, Edge) and clue.child.clues:
            phrases = [p for p in phrases if not p.tail] or phrases
        if isinstance(clue, Edge):
            word = f" {self.table.type_words.get(clue.child.type, '')} "
            phrases = [p for p in phrases if word not in f" {p.open} "] or phrases
        return self.rng.choice(phrases) if phrases else None

    def _is_a(self, clue: IsA) -> ClueWords:
        word = self.table.type_words.get(clue.type)
        if word is None:
            raise WordingError(f"The catalogue {self.table.catalogue.name!r} has no type {clue.type!r}.")
        return ClueWords("subject", f"is {article(word)} {word}")

    def _said(self, clue: Clue, phrase: Phrase | None, depth: int, *, last: bool) -> ClueWords:
        """The clue in words; a class needs no phrase. Only at the end of a sentence may a child bring its own clues."""
        if isinstance(clue, IsA):
            return self._is_a(clue)
        assert phrase is not None
        if isinstance(clue, Edge):
            inline = last and depth < MAX_INLINE and clue.as_of is None and not phrase.tail
            return ClueWords(phrase.voice, fill(phrase, self._child(clue, depth, inline=inline), clue.as_of))
        return ClueWords(phrase.voice, fill(phrase, leaf_words(self.table, clue, phrase, self.style), clue.as_of))

    def _child(self, edge: Edge, depth: int, *, inline: bool) -> str:
        """A child in the slot: "a stadium", with some of its clues where there is room."""
        child = self._vertex(edge.child)
        new = self._new(child)
        if not inline or not child.todo:
            return new
        return f"{new} {self._relatives(child, 9 if self.short else self.rng.choice((1, 2, 2)), depth + 1)}"

    def _relative(
        self, vertex: Vertex, clue: Clue, depth: int, *, first: tuple[Voice, ...], last: bool
    ) -> ClueWords | None:
        """One relative clause; `first` are the voices that may begin the list, empty further on."""
        phrase = None
        if not isinstance(clue, IsA):
            voices = first if first and self._pick(vertex, clue, first) else RELATIVE
            phrase = self._pick(vertex, clue, voices, first=bool(first))
        return None if phrase is None and not isinstance(clue, IsA) else self._said(clue, phrase, depth, last=last)

    def _relatives(self, vertex: Vertex, limit: int, depth: int, *, first: tuple[Voice, ...] = RELATIVE) -> str:
        """Relative clauses: "that was opened in 1925, has 4,000 seats and whose architect is an ..."; empty when there is nothing."""
        clues = self._take(vertex, limit)
        said: list[str] = []
        before: Voice | None = None
        while clues:
            words = self._relative(vertex, clues[0], depth, first=() if said else first, last=len(clues) == 1)
            if words is None:
                break
            clues.pop(0)
            said.append(self._with_pronoun(vertex, words, before))
            before = words.voice
        vertex.todo = [*clues, *vertex.todo]
        return _joined(said)

    def _with_pronoun(self, vertex: Vertex, words: ClueWords, before: Voice | None) -> str:
        if words.voice == "possessive":
            return f"whose {words.text}"
        if words.voice == "other":
            return words.text
        pronoun = "who" if vertex.person else "that"
        if words.voice == "subject" and before == "subject" and self.rng.random() < 0.6:
            return words.text
        return f"{pronoun} {words.text}"

    def _main_only(self, vertex: Vertex) -> str | None:
        """The clues as predicates of "Which stadium ...", None when one cannot be."""
        clues = self._take(vertex, 9)
        phrases = [None if isinstance(c, IsA) else self._pick(vertex, c, ("subject",)) for c in clues]
        if vertex.todo or any(p is None and not isinstance(c, IsA) for c, p in zip(clues, phrases, strict=True)):
            vertex.todo = [*clues, *vertex.todo]
            return None
        pairs = list(zip(clues, phrases, strict=True))
        return _joined([self._said(c, p, 0, last=i == len(pairs) - 1).text for i, (c, p) in enumerate(pairs)])


def _possessive(back: str) -> str:
    return "its" if back == "it" else f"{back}'s"


def _begins_with_date(edge: Edge, phrase: Phrase) -> bool:
    """Whether "As of 3 March 2025, ..." can stand in front: the child is described, and in the last place."""
    return edge.as_of is not None and bool(edge.child.clues) and not phrase.tail


def _joined(parts: list[str]) -> str:
    return "".join(parts) if len(parts) < 2 else f"{', '.join(parts[:-1])} and {parts[-1]}"
