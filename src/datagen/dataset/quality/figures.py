"""What one question is like, in numbers, and the shape of trees in InfoSeek's record form.

    {"id": "A", "entity": "Harlan Rovers", "claims": [...], "children": [{"id": "B", "entity": null, ...}, ...]}

counts as many vertices as it has nodes, attribute nodes included: their `entity` is null or "None", since what they say
stands in the claim that leads to them (spec infoseek_webexplorer §1.9).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datagen.dataset.statistics import YEAR
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, query_from_dict, walk_clues, walk_nodes
from datagen.rollouts.mentions import folded, states

Row = Mapping[str, Any]
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*$")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class TreeShape:
    """Counts of an InfoSeek tree."""

    vertices: int
    entities: int
    attributes: int
    distinct_entities: int
    """Different `entity` strings, "None" among them: what de-duplicating readers count."""
    depth: int
    branching: int
    leaves: int
    inner: int
    """Vertices with children, the root left out."""
    claims: int


def tree_shape(root: Mapping[str, Any]) -> TreeShape:
    """The counts of a tree from its root."""
    nodes = list(_nodes(root, 0))
    names = ["None" if _is_attribute(node) else str(node["entity"]) for node, _ in nodes]
    children = [len(node.get("children") or ()) for node, _ in nodes]
    return TreeShape(
        vertices=len(nodes),
        entities=sum(name != "None" for name in names),
        attributes=sum(name == "None" for name in names),
        distinct_entities=len(set(names)),
        depth=max(depth for _, depth in nodes),
        branching=max(children),
        leaves=sum(count == 0 for count in children),
        inner=sum(count > 0 for count in children[1:]),
        claims=sum(len(node.get("claims") or ()) for node, _ in nodes),
    )


def _nodes(node: Mapping[str, Any], depth: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    yield node, depth
    for child in node.get("children") or ():
        yield from _nodes(child, depth + 1)


def _is_attribute(node: Mapping[str, Any]) -> bool:
    return node.get("entity") in (None, "", "None")


@dataclass(frozen=True, slots=True)
class QuestionFigures:
    """One question in numbers; None where its row does not carry what they are counted from."""

    id: str
    recipe: str
    vertices: int | None
    depth: int | None
    branching: int | None
    leaves: int | None
    attributes: int | None
    things: int | None
    clues: int | None
    clue_kinds: Mapping[str, int]
    words: int
    characters: int
    answer_words: int
    answer_digits: bool
    answer_type: str
    year: bool
    capitals: int
    constants: int | None
    leaks: bool
    least_pages: int | None
    route_dependency: int | None
    first_pages: int | None
    pages: int | None
    """Distinct pages listed."""
    covered: int | None
    """Most clues that one listed page states."""
    oracle: tuple[int, int] | None
    """Tries and right ones."""
    gate_calls: tuple[tuple[str, int], ...]
    """Solvers of the gates with their tool calls; every one of them was right, or the question would not be here."""


def question_figures(row: Row) -> QuestionFigures:
    """The figures of one row of `questions`."""
    shape, proof = row["difficulty"] or {}, row["certificate"]
    pages = _pages(row) if proof else None
    kinds = _kinds(row)
    return QuestionFigures(
        id=row["id"],
        recipe=row["recipe"],
        vertices=shape.get("vertices"),
        depth=shape.get("depth"),
        branching=shape.get("max_branching"),
        leaves=shape.get("leaves"),
        attributes=kinds["range"] + kinds["value"] + kinds["class"] if kinds else None,
        things=kinds["thing"] if kinds else None,
        clues=len(proof["clues"]) if proof else None,
        clue_kinds=kinds,
        words=len(row["question"].split()),
        characters=len(row["question"]),
        answer_words=len(row["answer"].split()),
        answer_digits=any(c.isdigit() for c in row["answer"]),
        answer_type=row["answer_type"],
        year=YEAR.search(row["question"]) is not None,
        capitals=mid_sentence_capitals(row["question"]),
        constants=len(proof["exposed_constants"]) if proof else None,
        leaks=states(folded(row["question"]), accepted(row)),
        least_pages=proof["min_documents"] if proof else None,
        route_dependency=proof["dependency_depth"] if proof else None,
        first_pages=len({found[0] for found in pages.values()}) if pages else None,
        pages=len({page for found in pages.values() for page in found}) if pages else None,
        covered=max(Counter(p for found in pages.values() for p in set(found)).values()) if pages else None,
        oracle=(row["oracle"]["attempts"], row["oracle"]["right"]) if row["oracle"] else None,
        gate_calls=tuple((a["solver"], a["searches"] + a["visits"]) for a in row["attempts"] or ()),
    )


def accepted(row: Row) -> tuple[str, ...]:
    """Every form of the answer that grades as right."""
    forms = (row["answer"], row["answer_canonical"], *(row["answer_aliases"] or ()))
    return tuple(dict.fromkeys(form for form in forms if form))


def _pages(row: Row) -> dict[int, list[str]]:
    """For each clue that has evidence the pages listed, the first one first."""
    pages: dict[int, list[str]] = {}
    for item in row["evidence"] or ():
        pages.setdefault(item["clue"], []).append(item["page_id"])
    return pages


def _kinds(row: Row) -> Mapping[str, int]:
    """Clues by kind, with the things described; empty for a row without a formula."""
    root = formula_of(row)
    if root is None:
        return {}
    counts = Counter(dict.fromkeys(("thing", "edge", "named", "value", "range", "class"), 0))
    counts["thing"] = sum(1 for _ in walk_nodes(root))
    for _, clue in walk_clues(root):
        if isinstance(clue, Edge):
            counts["edge"] += 1
        elif isinstance(clue, IsA):
            counts["class"] += 1
        elif isinstance(clue, Match):
            counts["named" if isinstance(clue.value, EntityRef) else "value"] += 1
        else:
            counts["range"] += 1
    return dict(counts)


def formula_of(row: Row) -> Node | None:
    """The root of the question's formula, for rows that have one."""
    raw = json.loads(row["tree"]) if row["certificate"] and row["tree"] else None
    return query_from_dict(raw).root if raw and "root" in raw else None


def mid_sentence_capitals(text: str) -> int:
    """Words with a capital that do not open a sentence.

    >>> mid_sentence_capitals("Who met Ada King? It was in 'New York', I think.")
    4
    """
    count, opens = 0, True
    for word in text.split():
        first = _LETTER.search(word)
        if not opens and first is not None and first.group().isupper() and word.strip(",.;:!?'\"") != "I":
            count += 1
        opens = _SENTENCE_END.search(word) is not None
    return count
