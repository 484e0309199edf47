"""At which turn of an attempt each clue of its question was evidenced.

    question    "... a club that plays at a stadium which opened in 1901 ..."
    clue 1      opened in 1901-01-01..1901-12-31
    sources     page pg1-27 [204:247] "Opening: 4 May 1901", page pg1-90 [12:80] "Veltrin Park | Opened: 1901"
    turn 3      visit pg1-90 [0:2100]             -> clue 1 at turn 3

A clue is evidenced by the first result that the model asked for in which one of its places is shown:

  * a visited stretch of the page holds the whole span of the place (a page id or an address names the page), or
  * the text that a result shows of that page, a snippet or passages about a goal, holds the quote in whole words, white
    space apart, or
  * any text holds the quote, where the quote says its fact by itself: it names both things that it ties together, and the
    fact is not one of a certain day. "Founded: 1975" says nothing on another club's page.

A sentence that opens a complete list ("This is a complete list of all clubs that ...") states a fact about each member
only together with the list below it. It counts where a window shows text below it, or where what is shown also names the
member: the answer, or with a snapshot's facts any other thing.

A row names at most three places per clue; `rollouts.restatements` finds the others where a snapshot's facts are at hand.

A class clue ("is a novel") has no place of its own, for every page about a thing says what sort of thing it is. It counts
as evidenced with the first clue about the same thing, which is a convention and not a finding. A question without a
certificate has its hops for clues.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from datagen.knowledge.borders import goes_on
from datagen.knowledge.catalogue import CLOSURE_MEMBERS_FORMS, CLOSURE_SUBJECTS_FORMS
from datagen.knowledge.formula import Clue, ClueAddress, Edge, IsA, query_from_dict, walk_clues
from datagen.records.trajectory import Event
from datagen.rollouts.mentions import answer_turns, folded, states
from datagen.rollouts.showing import Piece, asked_results, pieces_of, same_address, squeezed

if TYPE_CHECKING:  # reading facts needs pyarrow, and this module is imported by trainers for rewards
    from datagen.rollouts.restatements import Restated, Restatements

__all__ = ["ClueSource", "Place", "answer_turns", "call_clues", "clue_sources", "clue_turns"]

_LIST_OPENINGS = tuple({form.partition("{")[0] for form in (*CLOSURE_SUBJECTS_FORMS, *CLOSURE_MEMBERS_FORMS)})
_DATED = re.compile(r" on \d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that a clue is stated."""

    url: str
    quote: str
    """With single blanks."""
    page_id: str | None = None
    start: int | None = None
    end: int | None = None
    anywhere: bool = False
    """Whether the quote says its fact on any page."""
    members: tuple[str, ...] | None = None
    """For a sentence that opens a list: names of the member, as far as they are known; None for any other quote."""


@dataclass(frozen=True, slots=True)
class ClueSource:
    """One clue of a question and where it is stated."""

    clue: int
    text: str
    """As the certificate describes it."""
    places: tuple[Place, ...]
    implied_by: tuple[int, ...] = ()
    """Clues about the same thing, any of which evidences this one as well; for clues that have no place."""


# --- sources of a question --------------------------------------------------------------------------------------------


def clue_sources(row: Mapping[str, Any], facts: Restatements | None = None) -> tuple[ClueSource, ...]:
    """One source for each clue of a row of `questions`, in the order of `certificate.clues`.

    With the facts of a snapshot every page that states a clue counts, without them those that the row names.
    """
    known = _known_names(row)
    if not row["certificate"]:
        return tuple(_hop_source(number, hop) for number, hop in enumerate(row["hops"] or ()))
    clues = row["certificate"]["clues"]
    answer = _answer_names(row) if row["answer_type"] == "entity" else ()
    places: list[list[Place]] = [[] for _ in clues]
    tree = _tree(row)
    for item in row["evidence"] or ():
        number = item["clue"]
        member = answer if number < len(tree) and len(tree[number][0]) == 1 else ()
        place = _place(item, known, member, dated=_DATED.search(clues[number]) is not None)
        if place not in places[number]:
            places[number].append(place)
    for number, restated in (facts.of(row) if facts is not None else {}).items():
        places[number] = _with_others(places[number], restated)
    return tuple(
        ClueSource(number, text, tuple(places[number]), () if places[number] else _siblings(tree, number))
        for number, text in enumerate(clues)
    )


def _place(item: Mapping[str, Any], known: frozenset[str], member: tuple[str, ...], *, dated: bool) -> Place:
    quote = squeezed(item["quote"])
    opens_list = quote.startswith(_LIST_OPENINGS)
    return Place(
        url=item["url"],
        quote=quote,
        page_id=item["page_id"],
        start=item["start"],
        end=item["end"],
        anywhere=not dated and not opens_list and _names_both(quote, known),
        members=member if opens_list else None,
    )


def _with_others(places: list[Place], restated: Restated) -> list[Place]:
    """The places of a clue and all others that state it; heads of lists learn whom the list has to name."""
    here = {(place.page_id, place.start, place.end) for place in places}
    known = [place if place.members is None else replace(place, members=restated.subject) for place in places]
    others = [s for s in restated.places if (s.page_id, s.start, s.end) not in here]
    return known + [Place(s.url, squeezed(s.quote), s.page_id, s.start, s.end) for s in others]


def _hop_source(number: int, hop: Mapping[str, Any]) -> ClueSource:
    """A claim of a question without a certificate."""
    quote = squeezed(hop["quote"])
    both = all(states(folded(quote), (hop[end],)) for end in ("entity_in", "entity_out"))
    place = Place(hop["url"], quote, anywhere=both and not hop["as_of"])
    return ClueSource(number, hop["fact"], (place,) if quote else ())


def _answer_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((row["answer"], *(row["answer_aliases"] or ()))))


def _known_names(row: Mapping[str, Any]) -> frozenset[str]:
    """Names of things that the row gives away: the answer's, those of its constants and of its hops."""
    names = set(_answer_names(row)) if row["answer_type"] == "entity" else set()
    names |= set((row["certificate"] or {}).get("exposed_constants") or ())
    names |= {hop[end] for hop in row["hops"] or () for end in ("entity_in", "entity_out")}
    return frozenset(name for name in names if any(c.isalpha() for c in name))


def _names_both(quote: str, known: frozenset[str]) -> bool:
    """Whether two different known things stand in the quote, neither of them inside the other's name."""
    said = folded(quote)
    found = sorted({folded(name) for name in known if states(said, (name,))}, key=lambda name: (-len(name), name))
    return any(short not in long for i, long in enumerate(found) for short in found[i + 1 :])


def _tree(row: Mapping[str, Any]) -> list[tuple[ClueAddress, Clue]]:
    raw = json.loads(row["tree"]) if row.get("tree") else None
    return list(walk_clues(query_from_dict(raw).root)) if raw and "root" in raw else []


def _siblings(tree: Sequence[tuple[ClueAddress, Clue]], number: int) -> tuple[int, ...]:
    """The other clues about the thing that a class clue speaks of; the edge that leads to it where there are none."""
    if number >= len(tree) or not isinstance(tree[number][1], IsA):
        return ()
    about = tree[number][0][:-1]
    same = [i for i, (address, clue) in enumerate(tree) if address[:-1] == about and not isinstance(clue, IsA)]
    return tuple(same or [i for i, (address, clue) in enumerate(tree) if address == about and isinstance(clue, Edge)])


# --- what an attempt was shown ----------------------------------------------------------------------------------------


def clue_turns(events: Sequence[Event], sources: Sequence[ClueSource]) -> tuple[int | None, ...]:
    """For each clue the first turn whose results evidence it; None for one that none did."""
    index = _Index(sources)
    turns: list[int | None] = [None] * len(sources)
    missing = {source.clue for source in sources if source.places}
    for result in asked_results(events):
        if not missing:
            break
        for clue in index.shown_by(result.event, missing):
            missing.discard(clue)
            turns[clue] = result.turn
    for source in sources:
        if source.implied_by:
            turns[source.clue] = min((t for i in source.implied_by if (t := turns[i]) is not None), default=None)
    return tuple(turns)


def call_clues(events: Sequence[Event], sources: Sequence[ClueSource]) -> tuple[tuple[int, ...], ...]:
    """For each call of the attempt the clues that its result shows, seen before or not."""
    index = _Index(sources)
    every = {source.clue for source in sources if source.places}
    shown: list[tuple[int, ...]] = [()] * sum(event.kind == "call" for event in events)
    for result in asked_results(events):
        found = index.shown_by(result.event, every)
        found |= {source.clue for source in sources if found.intersection(source.implied_by)}
        shown[result.call] = tuple(sorted(found))
    return tuple(shown)


class _Index:
    """The places of a question's clues by the page that they stand on."""

    def __init__(self, sources: Iterable[ClueSource]) -> None:
        self._by_page: dict[str, list[tuple[int, Place]]] = {}
        self._anywhere: list[tuple[int, Place]] = []
        for source in sources:
            for place in source.places:
                for key in {same_address(place.url), place.page_id} - {None}:
                    self._by_page.setdefault(str(key), []).append((source.clue, place))
                if place.anywhere:
                    self._anywhere.append((source.clue, place))

    def shown_by(self, result: Event, wanted: Iterable[int]) -> set[int]:
        """Which of the wanted clues a result shows."""
        missing = set(wanted)
        if result.error is not None or not self._may_show(result, missing):
            return set()
        found: set[int] = set()
        for piece in pieces_of(result):
            text: str | None = None
            for clue, place in self._candidates(piece):
                if clue not in missing or clue in found:
                    continue
                if _covers(piece, place):
                    found.add(clue)
                    continue
                text = squeezed(piece.text) if text is None else text
                if _quotes(piece, text, place):
                    found.add(clue)
        return found

    def _may_show(self, result: Event, missing: set[int]) -> bool:
        """A look at the pages that a result names, so that most results need not be read."""
        if not result.documents or any(clue in missing for clue, _ in self._anywhere):
            return True
        for shown in result.documents:
            places = self._by_page.get(shown.page_id or "") or self._by_page.get(same_address(shown.url)) or ()
            if any(clue in missing for clue, _ in places):
                return True
        return False

    def _candidates(self, piece: Piece) -> Iterator[tuple[int, Place]]:
        places = self._by_page.get(piece.page_id or "")
        if not places and piece.url is not None:
            places = self._by_page.get(same_address(piece.url))
        yield from places or ()
        yield from self._anywhere


def _covers(piece: Piece, place: Place) -> bool:
    """Whether a visited stretch holds the place. The version of the page has to be the one that the place was read from."""
    if place.start is None or place.end is None or piece.page_id != place.page_id:
        return False
    below = 1 if place.members is not None else 0
    if below and not piece.whole:
        return False
    return any(start <= place.start and place.end + below <= end for start, end in piece.stretches)


def _quotes(piece: Piece, text: str, place: Place) -> bool:
    """Whether shown text has the quote in whole words, and for the head of a list also the member that is meant."""
    if not place.quote or not _in_whole_words(text, place.quote):
        return False
    if place.members is None:
        return True
    return states(folded(f"{piece.title}\n{piece.text}"), place.members)


def _in_whole_words(text: str, quote: str) -> bool:
    place = text.find(quote)
    while place >= 0:
        if not goes_on(text, place) and not goes_on(text, place + len(quote)):
            return True
        place = text.find(quote, place + 1)
    return False
