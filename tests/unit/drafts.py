"""A small catalogue, a sound draft, and a cast of stand-ins for the tests of gates: every fault is planted from here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from datagen.errors import PageNotFoundError
from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query, Within, walk_clues
from datagen.records.page import Page
from datagen.records.question import UNBOUNDED, Answer, Attempt, Certificate, ClueEvidence, Hop
from datagen.synthesis.draft import Draft
from datagen.verification.funnel import Accepted, run_gates, standard_gates
from datagen.verification.gate import GateContext, GateSettings, SourceRule
from datagen.web.tools import Hit, Window

CATALOGUE = make_catalogue(
    "tiny",
    [EntityType("club", "football club", "football clubs"), EntityType("stadium", "stadium", "stadiums"),
     EntityType("town", "town", "towns")],
    [
        Relation("plays_at", "Ground", ("club",), "entity", ("stadium",)),
        Relation("founded", "Founded", ("club",), "date"),
        Relation("coach", "Coach", ("club",), "entity", ("town",), changes=True),
        Relation("located_in", "Town", ("stadium", "club"), "entity", ("town",)),
        Relation("capacity", "Capacity", ("stadium",), "number", unit="seats"),
    ],
)  # fmt: skip
ROOT = Node(
    "club",
    (
        Within("founded", "date", 693_961.0, 697_612.0),
        Match("coach", EntityRef("https://a.test/person/9", "Ilse Marn"), as_of="2025-03-01"),
        Edge("plays_at", Node("stadium", (Match("located_in", EntityRef("https://a.test/town/1", "Veltrin")),))),
    ),
)
QUESTION = (
    "Which football club was founded in the 1900s, was coached on 1 March 2025 by Ilse Marn, and plays at a stadium "
    "that is located in Veltrin?"
)


class FakeWeb:
    """Search answers from a table of (word in the query, hits); only the given pages can be visited."""

    def __init__(self, hits=(), pages=()):
        self.hits = dict(hits)
        self.pages = {page.url: page for page in pages}

    def search(self, query, top_k=5):
        return next((found for word, found in self.hits.items() if word in query), [])[:top_k]

    def visit(self, url, offset=0):
        if url not in self.pages:
            raise PageNotFoundError(f"{url} is not in this web.")
        p = self.pages[url]
        return Window(p.id, p.url, p.host, p.title, p.source_kind, p.published_at, p.about_url, p.entity_type,
                      p.text, p.links, 0, None, len(p.text))  # fmt: skip


def a_page(url, text, links=()):
    host = url.split("/")[2]
    return Page(
        f"pg1-{url}", url, host, "official", f"About {url}", text, links, "2025-06-01", url, "club", "0" * 64, ""
    )


class FakeWriter:
    def write(self, query, rng: random.Random):
        return f"Which {query.root.type} {type(query.root.clues[0]).__name__}?"


@dataclass(frozen=True)
class FixedSolver:
    name: str
    answer: str | None = "Harlan Rovers"
    calls: int = 4

    def solve(self, question, web):
        return Attempt(self.name, self.answer, failure=None if self.answer else "retrieval", searches=self.calls)


@dataclass(frozen=True)
class FixedGuesser:
    name: str = "guesser"
    guesses: tuple[str, ...] = ("Ashby United", "Quell Town")

    def guess(self, question, attempts):
        return self.guesses[:attempts]


@dataclass
class CountingGuesser:
    """Draws: says the same as `answers` tells for the number of the sample, and remembers what it was asked."""

    answers: dict[str, tuple[str | None, ...]]
    name: str = "m1+m2"
    asked: list[tuple[int, int]] = field(default_factory=list)

    def guess(self, question, attempts):
        return tuple(answer for _, answer in self.samples(question, attempts) if answer)

    def samples(self, question, attempts, first=0):
        self.asked.append((first, attempts))
        return tuple((model, said[n]) for model, said in self.answers.items() for n in range(first, first + attempts))


@dataclass
class FixedSeeker:
    """Finds what `finds` says for the number of the attempt, nothing where it says nothing."""

    finds: dict[int, str] = field(default_factory=dict)
    name: str = "seeker"
    failure: str | None = None
    tried: list[int] = field(default_factory=list)

    def seek(self, question, known, web, attempt):
        self.tried.append(attempt)
        return Attempt(self.name, self.finds.get(attempt), failure=self.failure, searches=2, visits=3)


@dataclass
class FixedReader:
    """Answers each attempt by `answers`, and remembers the pages it was shown."""

    answers: tuple[str | None, ...] = ("Harlan Rovers",) * 3
    name: str = "reader"
    shown: list[tuple] = field(default_factory=list)

    def read(self, question, pages, attempt):
        self.shown.append(pages)
        return self.answers[attempt]


@dataclass
class FixedJudge:
    """Takes the listed answers for the key; with `fault` it breaks instead."""

    same: tuple[str, ...] = ()
    name: str = "judge"
    fault: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def same_answer(self, question, expected, given):
        self.asked.append(given)
        if self.fault is not None:
            raise self.fault
        return given in self.same

    def same_question(self, first, second):
        return first == second


def evidence(clue, host="a.test", kind="official", published="2025-06-01"):
    url = f"https://{host}/page/{clue}"
    return ClueEvidence(clue, f"pg1-{clue}", url, host, kind, published, 0, 5, "quote", "0" * 64)


def certificate(**changes):
    clues = tuple(str(address) for address, _ in walk_clues(ROOT))
    proof = Certificate(
        mode="open_world",
        answer_set=("https://a.test/club/1",),
        rivals=0,
        clues=clues,
        sizes=(40, 5, 1),
        necessity=(3, 4, 5, UNBOUNDED),
        minimal_subset=(0, 1, 2, 3),
        minimal_subset_exact=True,
        min_documents=3,
        dependency_depth=2,
        exposed_constants=("Ilse Marn", "Veltrin"),
        evidence=(evidence(0), evidence(1, "b.test", "news"), evidence(2, "c.test", "table"), evidence(3)),
    )
    return replace(proof, **changes)


def draft(**changes):
    made = Draft(
        candidate=5,
        recipe="duetqa",
        query=Query(ROOT),
        question=QUESTION,
        question_raw=QUESTION,
        answer=Answer("Harlan Rovers", "entity", "Harlan Rovers", ("The Rovers",), "https://a.test/club/1", "club"),
        certificate=certificate(),
        hidden_names=("Harlan Rovers", "Hill End"),
        hops=(Hop("Harlan Rovers", "coach", "Ilse Marn", "f", "https://b.test/page/1", "b.test", "news", "2025-06-01",
                  "2025-03-01", "q"),),
    )  # fmt: skip
    return replace(made, **changes)


def context(**changes):
    rule = SourceRule(min_hosts=2, min_kinds=2, max_encyclopedia_share=0.7)
    made = GateContext(
        web=FakeWeb(),
        catalogue=CATALOGUE,
        verbaliser=FakeWriter(),
        settings=GateSettings(cutoff="2024-01-01", sources={"duetqa": rule}),
        solvers=(FixedSolver("top-down"), FixedSolver("bottom-up")),
        guessers=(FixedGuesser(),),
    )
    return replace(made, **changes)


def verdict(faulty, where=None):
    """(gate, reason) that ended the draft, or ("accepted", "ok")."""
    outcome = run_gates(faulty, standard_gates(), where or context())
    return ("accepted", "ok") if isinstance(outcome, Accepted) else (outcome.gate, outcome.reason)


def hit(url="https://a.test/club/1", title="Harlan Rovers", snippet=""):
    return Hit(url, title, "a.test", "official", None, snippet, 1.0)
