"""A mind that answers from the pages in its prompt: the symbolic solvers over a web that has these pages and no others.

Search is a count of shared words, titles first. Links are told below each page in the order of the text, so the place of
one is where its anchor comes up next.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from datagen.agents.budget import Budget
from datagen.agents.llm.fencing import sections
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.notebook import Notebook
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.solving import Found, attempt
from datagen.agents.symbolic.standing import Status
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.errors import PageNotFoundError
from datagen.knowledge.formula import Edge, Node
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply, task_text
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import sha256_hex
from datagen.records.page import Link, Page
from datagen.records.question import Attempt
from datagen.web.tools import Hit, Window

PATIENCE = Budget(searches=400, visits=400)
"""Looking at pages that lie on the table costs nothing."""
SNIPPET_CHARS = 200
TITLE_WEIGHT = 3


def read_pages(background: Background, request: WireRequest) -> WireReply:
    question = body(request, "question")
    done = answer_from(background.competence, question, pages_of(task_text(request)), first=request.seed % 2)
    answer = "" if background.slips(request, question) else done.answer or ""
    where = ", ".join(done.evidence_urls) or "no page"
    return json_reply({"reasoning": f"The conditions are met on {where}."[:2_000], "answer": answer})


def answer_from(competence: Competence, question: str, pages: Sequence[Page], *, first: int) -> Attempt:
    """Both solvers in turn, then the entity that the pages come closest to describing."""
    roads = [kind(competence, PATIENCE) for kind in (TopDownSolver, BottomUpSolver)]
    table = PagesOnTheTable(pages)
    for road in (roads[first], roads[1 - first]):
        done = road.solve(question, table)
        if done.answer is not None or done.failure in ("parse", "ambiguous"):
            return done
    memory = PageMemory(table, competence, PATIENCE)
    for page in pages:
        memory.read(page.url)
    return attempt("closest", memory, competence.parser, question, closest)


def closest(memory: PageMemory, root: Node) -> Found:
    """The one entity that no clue contradicts and that more clues confirm than any other; a prover would want all."""
    ranked = sorted(
        ((confirmed(memory.notebook, key, root), key) for key in list(memory.notebook.types)),
        key=lambda case: (-case[0], case[1]),
    )
    best = [key for count, key in ranked if count > 0 and count == ranked[0][0]]
    return Found((best[0],)) if len(best) == 1 else Found((), failure="ambiguous" if best else "retrieval")


def confirmed(notebook: Notebook, key: str, node: Node) -> int:
    """How many clues of a vertex and of those below it are confirmed; -1 where the type or a clue is contradicted."""
    if node.type is not None and not notebook.could_be(key, (node.type,)):
        return -1
    count = 0
    for clue in node.clues:
        if isinstance(clue, Edge):
            mine = notebook.target_of([key])
            follow = notebook.holders if clue.inverse else notebook.objects
            below = [confirmed(notebook, other, clue.child) for other in follow(clue.relation, mine, clue.as_of)]
            count += 1 + max(below) if below and max(below) >= 0 else 0
        else:
            status, _ = notebook.check(key, clue)
            if status is Status.NO:
                return -1
            count += status is Status.YES
    return count


def pages_of(prompt: str) -> list[Page]:
    """The pages of a prompt with their links."""
    pages: list[Page] = []
    links: dict[str, list[tuple[str, str]]] = {}
    for part in sections(prompt):
        if part.tag == "page":
            pages.append(_page(part.attributes, part.body))
        elif part.tag == "links":
            lines = (line.rpartition(" -> ") for line in part.body.split("\n"))
            links[part.attributes.get("url", "")] = [(anchor, url) for anchor, _, url in lines]
    return [_linked(page, links.get(page.url, ())) for page in pages]


def _page(marks: dict[str, str], text: str) -> Page:
    url = marks.get("url", "")
    return Page(
        id=f"told-{sha256_hex(f'{url} {text}'.encode())[:24]}",
        url=url,
        host=url.partition("://")[2].partition("/")[0],
        source_kind=marks.get("source_kind", "other"),
        title=marks.get("title", ""),
        text=text,
        published_at=marks.get("published_at"),
        about_url=marks.get("about_url"),
        entity_type=marks.get("entity_type"),
    )


def _linked(page: Page, links: Sequence[tuple[str, str]]) -> Page:
    placed: list[Link] = []
    position = 0
    for anchor, url in links:
        words = r"\s+".join(re.escape(word) for word in anchor.split())
        found = re.compile(words).search(page.text, position) if words else None
        if found is not None:
            placed.append(Link(found.start(), found.end(), url, found.group()))
            position = found.end()
    return Page(**{name: getattr(page, name) for name in page.__slots__} | {"links": tuple(placed)})


class PagesOnTheTable:
    """A web of a few pages."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = {page.url: page for page in pages}
        self._words = {page.url: (_words(page.title), _words(page.text)) for page in pages}

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        wanted = _words(query)
        scores = {
            url: TITLE_WEIGHT * len(wanted & title) + len(wanted & text) for url, (title, text) in self._words.items()
        }
        best = sorted((url for url, score in scores.items() if score), key=lambda url: (-scores[url], url))
        return [self._hit(self._pages[url], query, scores[url]) for url in best[:top_k]]

    def _hit(self, page: Page, query: str, score: float) -> Hit:
        """The snippet begins at the query's last word that the page has, which is mostly a name."""
        places = (page.text.find(word) for word in reversed(query.split()))
        start = max(0, next((place for place in places if place >= 0), 0) - SNIPPET_CHARS // 2)
        snippet = " ".join(page.text[start : start + SNIPPET_CHARS].split())
        return Hit(page.url, page.title, page.host, page.source_kind, page.published_at, snippet, score)

    def visit(self, url: str, offset: int = 0) -> Window:
        page = self._pages.get(url)
        if page is None or offset:
            raise PageNotFoundError(f"{url} is not on the table.")
        return Window(
            page_id=page.id,
            url=page.url,
            host=page.host,
            title=page.title,
            source_kind=page.source_kind,
            published_at=page.published_at,
            about_url=page.about_url,
            entity_type=page.entity_type,
            text=page.text,
            links=page.links,
            offset=0,
            next_offset=None,
            total_chars=len(page.text),
        )


def _words(text: str) -> frozenset[str]:
    return frozenset(fold(text).split())
