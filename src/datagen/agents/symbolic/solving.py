"""What both search solvers share: search words from clues, and the last step from an entity to an answer.

The solvers differ in how they find and test candidates; see `topdown` and `bottomup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.page_memory import BudgetSpentError, PageMemory, ParsesQuestions
from datagen.agents.symbolic.standing import Statement, is_nameless
from datagen.errors import ParseError
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Query, walk_clues
from datagen.records.page import Page
from datagen.records.question import Attempt
from datagen.web.tools import Hit

Failure = OneOf["parse", "retrieval", "reading", "ambiguous", "budget"]

STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "there",
        "this",
        "to",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whose",
        "with",
    ]
)
LIST_KINDS = frozenset({"list", "table", "registry"})


@dataclass(frozen=True, slots=True)
class Found:
    """How an attempt at the root entity ended."""

    keys: tuple[str, ...]
    """Entities that satisfy every clue."""
    evidence: tuple[str, ...] = ()
    failure: Failure | None = None


def clue_words(relation: Relation, name: str, *, inverse: bool) -> str:
    """The content words of a clue with its constant, for a search engine: "home ground Hill End"."""
    forms = relation.inverse if inverse else relation.clue
    form = forms[0] if forms else f"{relation.label} {{o}}"
    words = [w for w in form.split() if "{" not in w and w.casefold().strip(",.?'") not in STOP_WORDS]
    return f"{' '.join(words) or relation.label} {name}"


def statement_words(relation: Relation, name: str) -> str:
    """How pages may say it, for a search engine: the name, the label, and content words of two prose forms."""
    words: dict[str, None] = dict.fromkeys(relation.label.casefold().split())
    for form in relation.prose[:2]:
        plain = (w.casefold().strip(",.;:'()") for w in form.split() if "{" not in w)
        words.update(dict.fromkeys(w for w in plain if w and w not in STOP_WORDS))
    return f"{name} {' '.join(list(words)[:5])}"


def telling_words(catalogue: Catalogue, name: str) -> str:
    """The words of a name that no class shares: "Ngeklon" of "Battle of Ngeklon"."""
    plain = {w for t in catalogue.types.values() for w in fold(t.singular).split()} | STOP_WORDS
    return " ".join(w for w in name.split() if fold(w) not in plain) or name


def naming(hits: Sequence[Hit], name: str, limit: int, *, lists: bool = False) -> list[Hit]:
    """Pages that speak of the name by title or snippet; of lists only those about it, unless `lists`."""
    wanted = f" {fold(name)} "
    told = [h for h in hits if wanted in f" {fold(h.title)} " or wanted in f" {fold(h.snippet)} "]
    return [h for h in told if lists or not is_list_like(h) or wanted in f" {fold(h.title)} "][:limit]


def is_list_like(hit: Hit) -> bool:
    return hit.source_kind in LIST_KINDS or hit.title.casefold().startswith(("list of", "all "))


def lists_about(hits: Sequence[Hit], name: str, limit: int) -> list[Hit]:
    """List pages whose title speaks of the name: the list of its subjects, if there is one."""
    wanted = f" {fold(name)} "
    return [h for h in hits if is_list_like(h) and wanted in f" {fold(h.title)} "][:limit]


def lists_of_all(hits: Sequence[Hit], words: str, limit: int) -> list[Hit]:
    """List pages whose title says little more than the class: "Register of bridges"."""
    wanted, size = fold(words), len(fold(words).split())
    titles = [(h, fold(h.title)) for h in hits if is_list_like(h)]
    return [h for h, title in titles if wanted in title and len(title.split()) <= size + 3][:limit]


def dated_first(hits: Sequence[Hit], day: str | None) -> list[Hit]:
    """Pages of the very day that a clue speaks of come first, then later ones: older ones cannot state it."""
    if day is None:
        return list(hits)
    return sorted(hits, key=lambda h: (h.published_at != day, (h.published_at or "") < day))


def titled(hit: Hit, names: Iterable[str]) -> bool:
    """Whether a hit's title is one of the (folded) names, alone or before a site's own name."""
    title = fold(hit.title)
    return any(title == n or title.startswith(n + " ") or fold(hit.title.split(" - ")[0]) == n for n in names)


def type_words(catalogue: Catalogue, type_ids: Iterable[str]) -> str:
    return " ".join(catalogue.types[t].singular for t in list(type_ids)[:1])


def plural(catalogue: Catalogue, type_id: str | None) -> str:
    return catalogue.types[type_id].plural if type_id is not None else ""


def child_type(catalogue: Catalogue, edge: Edge) -> str | None:
    """The child's own type, else the only one that the relation allows."""
    if edge.child.type is not None:
        return edge.child.type
    relation = catalogue.relations[edge.relation]
    allowed = relation.subject_types if edge.inverse else relation.object_types
    return allowed[0] if len(allowed) == 1 else None


def constants(clue: Clue) -> list[str]:
    """Every name that a clue and its subtree state."""
    clues = [clue, *(c for _, c in walk_clues(clue.child))] if isinstance(clue, Edge) else [clue]
    return [c.value.name for c in clues if isinstance(c, Match) and isinstance(c.value, EntityRef)]


def named_constants(node: Node) -> list[str]:
    return [name for clue in node.clues for name in constants(clue)]


def missed(memory: PageMemory, keys: Iterable[str], node: Node) -> Failure:
    """Why no entity was found: "reading" when a visited page names a candidate beside a constant, else "retrieval"."""
    names = [memory.notebook.names[k] for k in list(keys)[:5] if k in memory.notebook.names]
    pairs = ((name, constant) for name in names for constant in named_constants(node))
    return "reading" if any(memory.mentions_together(a, b) for a, b in pairs) else "retrieval"


def page_of(memory: PageMemory, key: str) -> Page | None:
    """The entity's own page, visited; one that is only named is looked up first. None for an entity without a page."""
    notebook = memory.notebook
    key = notebook.known_as(key)
    if is_nameless(key):
        name = notebook.names.get(key, "")
        kind = notebook.types.get(key)
        hits = memory.search(f"{name} {type_words(notebook.catalogue, [kind] if kind else [])}", top_k=5)
        for hit in [h for h in hits if not is_list_like(h)][:2]:
            memory.read(hit.url)
        key = notebook.known_as(key)
    return None if is_nameless(key) else memory.read(key)


def attempt(
    solver: str, memory: PageMemory, parser: ParsesQuestions, question: str, find: Callable[[PageMemory, Node], Found]
) -> Attempt:
    """One try in a fresh memory: read the question, find its root, say what was found or why not."""
    try:
        query = parser.parse(question)
    except ParseError:
        return Attempt(solver=solver, answer=None, failure="parse")
    try:
        return conclude(solver, memory, query, find(memory, query.root))
    except BudgetSpentError:
        return conclude(solver, memory, query, Found((), failure="budget"))


def conclude(solver: str, memory: PageMemory, query: Query, found: Found) -> Attempt:
    """From the root entity to the answer: its name, or its value of the relation that is asked for."""
    notebook = memory.notebook
    if found.failure is not None:
        return _attempt(solver, memory, found, failure=found.failure)
    key = found.keys[0]
    if query.ask is None:
        page_of(memory, key)
        key = notebook.known_as(key)
        return _attempt(solver, memory, found, answer=notebook.names[key], answer_key=key)
    relation = notebook.catalogue.relations[query.ask]
    stated = _asked_value(memory, key, relation, query.ask_as_of)
    if not stated:
        failure: Failure = "reading" if memory.mentions_together(notebook.names[key], relation.label) else "retrieval"
        return _attempt(solver, memory, found, failure=failure)
    best = stated[0]
    found = Found(found.keys, (*found.evidence, best.url))
    return _attempt(solver, memory, found, answer=best.fact.object, answer_key=best.fact.object_key)


def _asked_value(memory: PageMemory, key: str, relation: Relation, day: str | None) -> list[Statement]:
    """What stands for the asked relation: from the entity's page, else from pages that name it, else from a register."""
    notebook = memory.notebook
    page_of(memory, key)
    name, kind = notebook.names[key], plural(notebook.catalogue, notebook.types.get(key))
    stated = notebook.settled(key, relation, day)
    for query, limit in ((statement_words(relation, name), 4), (f"register list {kind}", 1), (f"{kind} {name}", 4)):
        if stated and not _is_rough(stated[0]):
            break
        hits = memory.search(query, top_k=10)
        told = naming(hits, name, 6, lists=True) if limit > 1 else lists_of_all(hits, kind, limit)
        memory.read_all(hit.url for hit in dated_first(told, day)[:limit])
        stated = notebook.settled(key, relation, day)
    return stated


def _is_rough(statement: Statement) -> bool:
    """Whether a more precise statement may exist: a year where a day could be known."""
    literal = statement.fact.literal
    return literal is not None and literal.kind == "date" and literal.low != literal.high


def _attempt(
    solver: str,
    memory: PageMemory,
    found: Found,
    *,
    answer: str | None = None,
    answer_key: str | None = None,
    failure: Failure | None = None,
) -> Attempt:
    return Attempt(
        solver=solver,
        answer=answer,
        answer_key=answer_key,
        failure=failure,
        searches=memory.searches,
        visits=memory.visits,
        urls=memory.visited,
        evidence_urls=tuple(dict.fromkeys(url for url in found.evidence if url)),
    )
