"""Thoughts for what a program did: why this search, what the last page said, what is out, what is left to check.

A thought is written for a turn from what came before it: the results of the turn before, and the calls that were made
next. The narrator sees what the attempt has seen and no more, so a thought can name nothing that was not retrieved.

    results of turn 3     "The list has 14 rows, and Real Fjushond and Vale Rangers match on founded."
    calls of turn 4       "I'll read Real Fjushond and Vale Rangers."
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.concluding import Conclusion
from datagen.agents.symbolic.findings import Classes, Finding, clues_of, findings_on, say_fact
from datagen.agents.symbolic.logbook import Action, Turn
from datagen.agents.symbolic.restating import phrase_clue, phrase_target
from datagen.agents.symbolic.solving import is_list_like
from datagen.agents.symbolic.telling import Teller
from datagen.agents.symbolic.wordbank import Wordbank, listed, topic_of
from datagen.knowledge.formula import Query
from datagen.knowledge.reading import Reading
from datagen.records.page import LOW_TRUST_KINDS

MANY_LINKS = 20
"""Links from which on a page is an index."""
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_LISTS = re.compile(r"(?:Register|List|Index) of |All ")


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
        self._teller = Teller(query, self.findings, catalogue, self._words, rng)
        self._sought = ""
        """Plural of the class that the last search was for."""
        self._dead_end = False
        """Whether the last results led nowhere."""
        self._listed: set[str] = set()
        """Plurals of the classes that a list of all was searched for."""
        self._looked_up = ""
        """The name that the last search was for, where it was for no more than that."""
        self._fitting = ""
        """What was said to fit everything."""
        self._without_value = ""
        """What was said to fit everything before its asked value was read."""
        self._valued: set[str] = set()
        """Things whose asked value was told."""
        asked = catalogue.relations[query.ask] if query.ask is not None else None
        self.end = Conclusion(self._clues, asked, self.findings, self._words, rng)

    # The turns -------------------------------------------------------------------------------------------------------

    def opening(self, turn: Turn) -> str:
        """The thought before the first call."""
        said = [self._words.say("opening", "asked", what=phrase_target(self._query, self._catalogue))]
        if self._rng.random() < 0.6:
            phrases = [phrase_clue(clue, self._catalogue) for clue in self._clues if len(clue.address) == 1]
            said.append(self._words.say("opening", "clues" if len(phrases) > 1 else "clue", clues="; ".join(phrases)))
        if self._is_broad(turn[0]):
            return " ".join([*said, self._words.say("opening", "start_broad")])
        name = self._name_in(turn[0].query) if turn[0].tool == "search" else None
        if name is not None:
            said.append(self._words.say("opening", "start", name=name))
        return " ".join([*said, self._plan(turn, None)])

    def reaction(self, before: Turn, turn: Turn, later: Collection[str] = ()) -> str:
        """What the results of the turn before come to; `later` are pages that are opened afterwards. Takes them in."""
        said, self._dead_end = self._react(before, turn, later)
        return said

    def thought(self, reaction: str, before: Turn, turn: Turn) -> str:
        """The thought between two turns: the reaction to the first, and the plan for the second."""
        told = self._all_fits(turn)
        plan = self._plan(turn, before)
        if self._dead_end and not told and turn[0].tool == "search" and self._rng.random() < 0.4:
            plan = f"{self._words.say('search', 'again')} {plan}"
        opens = before[0].tool == "search" and len(turn) == 1 and turn[0].url in self._titles
        if not told and opens and _short(self._titles[turn[0].url]) in reaction:
            plan = self._words.say("open", "it") if self._rng.random() < 0.7 else ""
        return " ".join(part for part in (reaction, told, plan) if part)

    def last_reaction(self, turn: Turn) -> str:
        """What the results of the last turn come to."""
        return self._react(turn, (), ())[0] if turn[0].tool == "visit" else self._words.say("found", "last")

    def _all_fits(self, turn: Turn) -> str:
        """Said once of a thing that everything read speaks for: its value is wanted then, or whether there is another."""
        name, ask = self.end.complete(), self._query.ask
        if name is None or name == self._fitting:
            return ""
        if ask is not None and not any(self.stated(f.subject, ask) for f in self.end.about(name)):
            if name == self._without_value:
                return ""
            self._without_value = name
            topic = topic_of(self._catalogue.relations[ask].label)
            return self._words.say("rival", "value_left", name=name, topic=topic)
        if any(self._titles.get(a.url) == name or fold(name) in fold(a.query) for a in turn):
            return ""  # more about itself comes first
        self._fitting = name
        kind = self._query.root.type
        noun = self._catalogue.types[kind].singular if kind else "one"
        return self._words.say("rival", "first", name=name, kind=noun)

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

    def stated(self, subject: str, relation: str) -> tuple[str, str] | None:
        """The value of a relation that the stretches of pages read so far give for a thing, and the page that does."""
        for url, spans in self._windows.items():
            for fact in self._readings[url].facts:
                place = fact.evidence.start
                if (fact.subject, fact.relation) == (subject, relation) and any(a <= place < b for a, b in spans):
                    return fact.object, url
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

    def _react(self, before: Turn, turn: Turn, later: Collection[str]) -> tuple[str, bool]:
        """What the results of the turn before come to, and whether they led nowhere."""
        if before[0].tool == "search":
            self.take_in(before)
            return self._react_to_hits(before[0], turn, later)
        return self._react_to_pages(before, self.take_in(before), turn)

    def _react_to_hits(self, search: Action, turn: Turn, later: Collection[str]) -> tuple[str, bool]:
        if not search.hits:
            return self._words.say("found", "nothing"), True
        next_urls = [action.url for action in turn if action.tool == "visit"]
        chosen = [hit for hit in search.hits if hit.url in next_urls]
        if not chosen:
            return self._left_closed(search, later), True
        lists = [hit for hit in chosen if is_list_like(hit)]
        if self._looked_up and not any(fold(self._looked_up) in fold(hit.title) for hit in (*search.hits, *lists)):
            return self._words.say("found", "no_own", name=self._looked_up), False
        if self._rng.random() < 0.3:
            return "", False
        if lists and self._sought:
            right = [
                hit for hit in lists if fold(hit.title).startswith((fold(self._sought), "register", "list", "all"))
            ]
            if right or len(chosen) == 1:
                title = f"“{(right or lists)[0].title}”"
                key = "list_page" if right else "other_list"
                return self._words.say("found", key, title=title, plural=self._sought), False
        if len(chosen) == 1 and self._is_name(chosen[0].title) and not self._has_read(chosen[0].title):
            return self._words.say("found", "own_page", title=_short(chosen[0].title)), False
        return "", False

    def _left_closed(self, search: Action, later: Collection[str]) -> str:
        """On hits of which none is opened now: read, of use later, or of none."""
        if self._is_broad(search):
            return self._words.say("found", "broad")
        if all(hit.url in self._read for hit in search.hits[:5]):
            return self._words.say("found", "seen_before")
        kept = [hit for hit in search.hits if hit.url in later and hit.url not in self._read]
        if kept:
            return self._words.say("found", "later", title=self._called(kept[0].url))
        return self._words.say("found", "no_rival" if self._fitting else "unhelpful")

    def _react_to_pages(self, turn: Turn, new: Sequence[Finding], after: Turn) -> tuple[str, bool]:
        if all(action.window is None for action in turn):
            return self._words.say("learned", "missing"), True
        entities = [r.entity for action in turn if (r := self._readings.get(action.url)) is not None]
        said = [*self._teller.tell(new, [e.name for e in entities if e is not None]), *self._asked_on(turn)]
        if said:
            return " ".join(said), False
        again = [f for action in turn for f in self._on_window(action) if f.bearing != "differs"]
        if again:
            found = self._rng.choice(again)
            fact = say_fact(found, self._clues[found.clue], self._rng)
            return self._words.say("learned", "again" if self._rng.random() < 0.7 else "known", fact=fact), False
        links = {link.url for action in turn if action.window is not None for link in action.window.links}
        if len(links) >= MANY_LINKS and after and all(action.url in links for action in after):
            return self._words.say("found", "index"), False
        kinds = {action.window.source_kind for action in turn if action.window is not None}
        if kinds <= LOW_TRUST_KINDS:
            return self._words.say("learned", "low_trust"), True
        listing = self._other_class(turn)
        if listing and self._rng.random() < 0.7:
            return self._words.say("learned", "other_class", others=listing, plural=self._sought), True
        topics = self._topics_for(turn)
        titles = list(dict.fromkeys(self._called(action.url) for action in turn if action.url in self._titles))
        if topics and len(titles) == 1 and self._rng.random() < 0.6:
            topic = self._rng.choice(topics)
            return self._words.say("learned", "silent", topic=topic, page=self._page(titles[0])), True
        key = "no_rival" if self._fitting else "silent_plain" if len(titles) == 1 else "silent_all"
        return self._words.say("learned", key), True

    def _asked_on(self, turn: Turn) -> list[str]:
        """The value asked for, where a page of the turn is the first to give it for what is still in question."""
        ask = self._query.ask
        if ask is None:
            return []
        root = [f for f in self.findings if len(self._clues[f.clue].address) == 1]
        out = {f.subject for f in root if f.bearing == "differs"}
        urls = {action.url for action in turn}
        for subject, name in {f.subject: f.name for f in root if f.subject not in out}.items():
            given = None if subject in self._valued else self.stated(subject, ask)
            if given is not None and given[1] in urls:
                self._valued.add(subject)
                topic = topic_of(self._catalogue.relations[ask].label)
                return [self._words.say("learned", "asked", topic=topic, name=name, value=given[0])]
        return []

    def _other_class(self, turn: Turn) -> str:
        """What the lists of a turn are lists of, where that is not what was searched for."""
        titles = [fold(action.window.title) for action in turn if action.window is not None]
        plurals = [t.plural for t in self._catalogue.types.values()]
        listed_there = {p for title in titles for p in plurals if title.startswith(f"{fold(p)} wh")}
        return listed_there.pop() if len(listed_there) == 1 and self._sought not in {"", *listed_there} else ""

    def _topics_for(self, turn: Turn) -> list[str]:
        """What the pages of a turn could have told, being about what they are about."""
        entities = [r.entity for action in turn if (r := self._readings.get(action.url)) is not None]
        kinds = {entity.type for entity in entities if entity is not None}
        told = [clue for clue in self._clues if clue.relation is not None and clue.about in kinds and not clue.inverse]
        return list(dict.fromkeys(clue.topic for clue in told))

    # Plans -----------------------------------------------------------------------------------------------------------

    def _plan(self, turn: Turn, before: Turn | None) -> str:
        if turn[0].tool == "search":
            return self._plan_search(turn[0].query)
        if turn[0].offset:
            return self._words.say("open", "further" if len(turn) == 1 else "further_many")
        if before is not None and before[0].tool == "visit" and before[0].batch == turn[0].batch >= 0:
            return self._words.say("open", "remaining")
        titles = list(dict.fromkeys(self._called(a.url) for a in turn if a.url in self._titles))
        if len(titles) == 1 and _HOST.fullmatch(titles[0]):
            return self._words.say("open", "linked", title=titles[0])
        if len(titles) == 1 and self._has_read(titles[0]):
            return self._words.say("open", "another", title=titles[0])
        if not titles:
            return self._words.say("open", "index")
        hits = [hit.url for hit in before[0].hits] if before is not None and before[0].tool == "search" else None
        if hits is not None and len(titles) <= 3 and not any(action.url in hits for action in turn):
            return self._words.say("back", "candidates", titles=listed(titles))
        if len(titles) == 1:
            key = "titled" if titles[0].startswith("“") else "one"
            thorough = self._fitting and self._rng.random() < 0.6
            return self._words.say("open", "rival" if thorough else key, title=titles[0])
        if len(titles) <= 3:
            return self._words.say("open", "several", titles=listed(titles))
        return self._words.say("open", "many", titles=", ".join(titles[:2]), rest=len(titles) - 2)

    def _plan_search(self, query: str) -> str:
        words = fold(query)
        plural = self._plural_in(words)
        name = self._name_in(query)
        self._looked_up, self._sought = "", plural if words.startswith(fold(plural)) else ""
        if name is None:
            key = "whole_class" if plural and words.startswith(("register", fold(plural))) else "plain"
            kind = self._query.root.type
            if key == "whole_class" and plural in self._listed:
                return self._words.say("search", "whole_again", plural=plural)
            self._listed.add(plural)
            if key == "whole_class" and kind and plural != self._catalogue.types[kind].plural:
                return self._words.say("search", "whole_step", plural=plural, kind=self._catalogue.types[kind].singular)
            return self._words.say("search", key, plural=plural, query=query)
        rest = " ".join(words.replace(fold(name), " ").split())
        if not rest or any(rest == fold(t.singular) for t in self._catalogue.types.values()):
            self._looked_up = name
            return self._words.say("search", "name_only", name=name)
        stated = any(clue.constant == name for clue in self._clues)
        topic = self._topic_in(rest)
        if topic is not None and not self._sought and not (stated and plural):
            subject = self._name_in(query, leading=True) or name
            if subject != name:
                return self._words.say("search", "tie", topic=topic, name=subject, other=name)
            if self._is_far(topic):
                return self._words.say("search", "far_end", topic=topic, name=name)
            key = "second_source" if self._knows(name, topic) else "fact_of"
            return self._words.say("search", key, topic=topic, name=name)
        if plural:
            return self._words.say("search", "class_of", plural=plural, name=name)
        return self._words.say("search", "plain", query=query)

    def _knows(self, name: str, topic: str) -> bool:
        """Whether a page that was read gave this about the thing called so."""
        about = [f for f in self.findings if fold(f.name) == fold(name)]
        ask = self._query.ask
        asked = ask is not None and topic_of(self._catalogue.relations[ask].label) == topic
        valued = asked and any(self.stated(f.subject, ask or "") is not None for f in about)
        return valued or any(self._clues[f.clue].topic == topic for f in about)

    def _is_far(self, topic: str) -> bool:
        """Whether the question has things only at the far end of a relation: a birthplace, and nobody's own birth."""
        ends = {clue.inverse for clue in self._clues if clue.relation is not None and clue.topic == topic}
        return ends == {True}

    def _topic_in(self, words: str) -> str | None:
        """The relation of the question that a query speaks of."""
        relations = [clue.relation for clue in self._clues if clue.relation is not None]
        if self._query.ask is not None:
            relations.append(self._catalogue.relations[self._query.ask])
        labels = [r.label for r in relations if f" {fold(r.label)} " in f" {words} "]
        return topic_of(max(labels, key=len)) if labels else None

    def _name_in(self, query: str, *, leading: bool = False) -> str | None:
        """The longest name in a query, or at its beginning, that the question states or a page has given."""
        words = f" {fold(query)} "
        names = [c.constant for c in self._clues if c.constant] + [f.name for f in self.findings]
        names += [f.other for f in self.findings if f.bearing == "link"]
        places = ((name, words.find(f" {fold(name)} ")) for name in names if fold(name))
        inside = [name for name, place in places if place == 0 or (place > 0 and not leading)]
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
        plain = len(title.split()) <= 3 and ":" not in title and not _LISTS.match(title)
        return title if self._is_name(title) or plain else f"“{title}”"

    def _has_read(self, title: str) -> bool:
        """Whether a page of this title was read."""
        return any(_short(self._titles[url]) == _short(title.strip("“”")) for url in self._read if url in self._titles)

    def _is_broad(self, action: Action) -> bool:
        return action.tool == "search" and len(action.query.split()) > 8

    def _page(self, title: str) -> str:
        """A page inside a sentence: by its headline, or by what it is about."""
        return title if title.startswith("“") else f"the page on {title}"


def _short(title: str) -> str:
    """A title without the name of its site."""
    return title.split(" - ", maxsplit=1)[0].split(" | ", maxsplit=1)[0].strip() or title
