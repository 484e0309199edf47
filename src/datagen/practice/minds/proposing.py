"""A mind that proposes: the symbolic proposer over the tool results in the messages, its chain told as claims.

A model whose name ends in "m1" looks broadly, any other deeply.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import orjson

from datagen.agents.llm.fencing import sections
from datagen.agents.roles import NoProposal, Proposal, SeedQuestion, SkeletonClue, SkeletonNode
from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.gathering import BROAD, DEEP
from datagen.agents.symbolic.proposer import SymbolicProposer
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Query, walk_clues
from datagen.practice.minds.background import Background
from datagen.practice.minds.goals import goal_of_themes
from datagen.practice.minds.replay import ReplayWeb
from datagen.practice.minds.solving import budget_of
from datagen.practice.minds.task import call_reply, task_text, told
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.fact import Fact
from datagen.records.ids import rng_for

MAX_FAILURE_CHARS = 300


def propose(background: Background, request: WireRequest) -> WireReply:
    """The next call of a proposer, or its `propose`."""
    task = task_text(request)
    themes = tuple(section.body for section in sections(task, "theme"))
    seed_question = _seed_question(task)
    rules = told(request, "rules").attributes
    complete = tuple(t for t in background.closed_types if t in rules.get("complete_types", ""))
    proposer = SymbolicProposer(
        request.model,
        background.competence,
        BROAD if request.model.endswith("m1") else DEEP,
        cutoff=rules.get("cutoff", "2024-01-01"),
        min_hosts=int(rules.get("hosts", "2")),
        complete_types=complete,
        budget=budget_of(request),
    )

    def play(web: ReplayWeb) -> WireReply:
        web.goal = goal_of_themes(background.catalogue, themes)
        made = proposer.propose(themes, seed_question, web, rng_for("propose", request.seed, *themes))
        if isinstance(made, NoProposal):
            return _nothing(f"{made.reason}: {made.detail}")
        return _told(background.catalogue, made, themes)

    return background.sessions.next_turn(request, play)


def _nothing(why: str) -> WireReply:
    return call_reply(
        "propose", vertices=[], claims=[], answer="", asked="", themes_used=[], failure=why[:MAX_FAILURE_CHARS]
    )


def _seed_question(task: str) -> SeedQuestion | None:
    shown = next(sections(task, "model_question"), None)
    shape = next(sections(task, "shape"), None)
    if shown is None or shape is None:
        return None
    asks = shown.attributes["asks"]
    kind: Any = asks if asks in ("entity", "date", "number") else "entity"
    return SeedQuestion(shown.attributes.get("id", ""), shown.body, kind, _skeleton(orjson.loads(shape.body)))


def _skeleton(raw: Mapping[str, Any]) -> SkeletonNode:
    clues = (
        SkeletonClue(c["shape"], c["hint"], _skeleton(c["child"]) if c.get("child") else None) for c in raw["clues"]
    )
    return SkeletonNode(raw["hint"], tuple(clues))


def _told(catalogue: Catalogue, made: Proposal, themes: tuple[str, ...]) -> WireReply:
    """The chain as vertices and claims."""
    letters: dict[str, str] = {}
    names: dict[str, str] = {}

    def end(key: str, name: str) -> str:
        names.setdefault(key, name)
        return letters.setdefault(key, ascii_uppercase[len(letters)])

    root = _root_key(made.query, made.facts)
    end(root, "")
    claims = []
    for fact, hop in zip(made.facts, made.hops, strict=True):
        subject = hop.entity_in if _is_constant(made.query, fact, subject=True) else end(fact.subject, hop.entity_in)
        names[fact.subject] = hop.entity_in
        value = fact.object
        if fact.object_key is not None and not _is_constant(made.query, fact, subject=False):
            value = end(fact.object_key, fact.object)
            names[fact.object_key] = names[fact.object_key] or fact.object
        label = catalogue.relations[fact.relation].label
        claims.append({"subject": subject, "relation": label, "object": value, "url": hop.url, "quote": hop.quote})
    kinds = _kinds(catalogue, made, root)
    vertices = [
        {"id": letter, "name": names[key] or key, "kind": kinds.get(key, ""), "url": key if "://" in key else ""}
        for key, letter in letters.items()
    ]
    asked = catalogue.relations[made.query.ask].label if made.query.ask else ""
    used = [number for number, words in enumerate(themes, start=1) if words in made.themes_used]
    return call_reply(
        "propose", vertices=vertices, claims=claims, answer="A", asked=asked, themes_used=used, failure=""
    )


def _kinds(catalogue: Catalogue, made: Proposal, root: str) -> dict[str, str]:
    """What sort of thing each entity is, as far as the relations that speak of it tell."""
    kinds: dict[str, str] = {}
    for fact in made.facts:
        relation = catalogue.relations[fact.relation]
        for key, types in ((fact.subject, relation.subject_types), (fact.object_key, relation.object_types)):
            if key is not None and len(types) == 1:
                kinds.setdefault(key, catalogue.types[types[0]].singular)
    if made.query.root.type is not None:
        kinds[root] = catalogue.types[made.query.root.type].singular
    return kinds


def _root_key(query: Query, facts: tuple[Fact, ...]) -> str:
    """The entity that is asked for: an end of the first statement, which is about it."""
    first = facts[0]
    if query.ask is not None:
        return first.subject
    clue = next(c for c in query.root.clues if not isinstance(c, IsA))
    return (first.object_key or first.subject) if _points(clue) else first.subject


def _points(clue: Clue) -> bool:
    return isinstance(clue, Match | Edge) and clue.inverse


def _is_constant(query: Query, fact: Fact, *, subject: bool) -> bool:
    """Whether the question names this end of the statement."""
    key, name = (fact.subject, "") if subject else (fact.object_key, fact.object)
    for _, clue in walk_clues(query.root):
        if isinstance(clue, Match) and clue.relation == fact.relation and clue.inverse is subject:
            value = clue.value
            if isinstance(value, EntityRef) and (value.key == key or (name and fold(value.name) == fold(name))):
                return True
    return False
