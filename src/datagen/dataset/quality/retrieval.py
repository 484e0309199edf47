"""How far one query gets: the whole question as a query to BM25, against the pages that its evidence lists.

    retrieved {1, 2, 9}, evidence {1, 2, 3, 4}       recall 0.5

as BrowseComp-Plus counts it (spec infoseek_webexplorer §4.1). A set that one query opens needs no agent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, TypeVar

from datagen.dataset.quality.figures import accepted
from datagen.rollouts.mentions import folded, states
from datagen.web.snapshot import Snapshot

Row = Mapping[str, Any]
T = TypeVar("T")
CUTS = (5, 100, 1_000)
NDCG_CUT = 10


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What one query finds of one question's evidence."""

    question_id: str
    recall: Mapping[int, float]
    ndcg: float
    gold_pages: int
    """Evidence pages whose text has the answer."""
    evidence_pages: int


def recall(retrieved: Iterable[T], relevant: Collection[T]) -> float:
    """Share of the relevant that was retrieved.

    >>> recall([1, 2, 9], {1, 2, 3, 4})
    0.5
    """
    return len(set(retrieved) & set(relevant)) / len(set(relevant))


def ndcg(ranked: Sequence[T], relevant: Collection[T], cut: int) -> float:
    """Normalised discounted cumulative gain with gains of 0 and 1.

    >>> ndcg(["a", "b"], {"a"}, 10), round(ndcg(["b", "a"], {"a"}, 10), 3)
    (1.0, 0.631)
    """
    wanted = set(relevant)
    gained = sum(1 / log2(rank + 2) for rank, item in enumerate(ranked[:cut]) if item in wanted)
    return gained / sum(1 / log2(rank + 2) for rank in range(min(cut, len(wanted))))


def first_stage(
    snapshot: Snapshot, rows: Iterable[Row], watch: Callable[[int], None] | None = None
) -> list[FirstStage]:
    """The question as a query, for every row that lists evidence which the snapshot has."""
    found = []
    for done, row in enumerate(rows, start=1):
        urls = {item["url"] for item in row["evidence"] or ()}
        pages = {page for url in urls if (page := snapshot.store.find(url)) is not None}
        if pages:
            found.append(_of_question(snapshot, row, pages))
        if watch is not None:
            watch(done)
    return found


def _of_question(snapshot: Snapshot, row: Row, pages: set[int]) -> FirstStage:
    ranked = _ranked(snapshot, row["question"], max(CUTS))
    forms = accepted(row)
    return FirstStage(
        question_id=row["id"],
        recall={cut: recall(ranked[:cut], pages) for cut in CUTS},
        ndcg=ndcg(ranked, pages, NDCG_CUT),
        gold_pages=sum(states(folded(snapshot.store.text(page)), forms) for page in sorted(pages)),
        evidence_pages=len(pages),
    )


def _ranked(snapshot: Snapshot, query: str, limit: int) -> list[int]:
    """Rows of the best pages; pages of equal score by address, as the search tool gives them."""
    ranked: list[int] = []
    for group in snapshot.index.search(query, limit):
        rows = [match.row for match in group]
        ranked += rows if len(rows) == 1 else sorted(rows, key=lambda row: snapshot.store.meta(row).url)
    return ranked[:limit]
