"""Minds with the tools of a solver or of a rival seeker: the symbolic solvers over the tool results in the messages.

There are two of them, which look for the answer in opposite directions. A model whose name ends in "topdown" or
"bottomup" takes that road; under any other name the parity of the request's seed decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.agents.budget import Budget
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.page_memory import BudgetSpentError, PageMemory
from datagen.agents.symbolic.solving import Found, conclude
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.toolbox import MAX_ANSWER_CHARS, MAX_SOURCES
from datagen.errors import PageNotFoundError, ParseError
from datagen.practice.minds.background import Background
from datagen.practice.minds.goals import goal_of_question
from datagen.practice.minds.judging import same_answer
from datagen.practice.minds.replay import ReplayWeb
from datagen.practice.minds.task import body, call_reply, told
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import rng_for
from datagen.records.question import Attempt
from datagen.web.tools import Web

SLIP_HITS = 8
"""Results among which a wrong answer is chosen."""


def solve(background: Background, request: WireRequest) -> WireReply:
    """The next call of a solver, or its `answer`."""
    question = body(request, "question")
    solver = road(background, request)

    def play(web: ReplayWeb) -> WireReply:
        if background.slips(request, question):
            return _slip(request, question, web)
        web.goal = goal_of_question(background, question)
        done = solver.solve(question, web)
        if done.answer is None and done.failure != "budget" and web.cut:
            web.read_whole_pages()
            done = solver.solve(question, web)
        return _answer(done)

    return background.sessions.next_turn(request, play)


def seek_rival(background: Background, request: WireRequest) -> WireReply:
    """The next call of somebody who looks for another answer, or the report."""
    question, known = body(request, "question"), body(request, "known_answer")
    solver, budget = road(background, request), budget_of(request)

    def play(web: ReplayWeb) -> WireReply:
        web.goal = goal_of_question(background, question)
        memory = PageMemory(web, background.competence, budget)
        rival = None if background.slips(request, question) else _rival(background, memory, solver, question, known)
        sources = rival.evidence_urls if rival else ()
        return call_reply("report_rival", rival=rival.answer or "" if rival else "", sources=_listed(sources))

    return background.sessions.next_turn(request, play)


def road(background: Background, request: WireRequest) -> TopDownSolver | BottomUpSolver:
    """The solver that a request gets."""
    for kind in (TopDownSolver, BottomUpSolver):
        if request.model.endswith(kind.name):
            return kind(background.competence, budget_of(request))
    kinds = (TopDownSolver, BottomUpSolver)
    return kinds[request.seed % 2](background.competence, budget_of(request))


def budget_of(request: WireRequest) -> Budget:
    """What the task says may be spent."""
    said = told(request, "budget").attributes
    try:
        return Budget(int(said["searches"]), int(said["visits"]))
    except (KeyError, ValueError):
        raise LookupError("the request's budget names no numbers of searches and visits") from None


def _answer(done: Attempt) -> WireReply:
    text = (done.answer or "")[:MAX_ANSWER_CHARS]
    return call_reply("answer", answer=text, sources=_listed(done.evidence_urls), failure=done.failure or "none")


def _listed(urls: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(urls))[:MAX_SOURCES]


def _rival(
    background: Background, memory: PageMemory, solver: TopDownSolver | BottomUpSolver, question: str, known: str
) -> Attempt | None:
    """The first entity that meets every clue and gives another answer than the known one."""
    try:
        query = background.parser.parse(question)
        found = solver.find(memory, query.root)
        namesakes = {memory.notebook.known_as(key) for key in memory.notebook.keys_named(known)}
        for key in found.keys:
            if memory.notebook.known_as(key) in namesakes:
                continue
            done = conclude(solver.name, memory, query, Found((key,), found.evidence))
            if done.answer is not None and not same_answer(known, done.answer):
                return done
    except (ParseError, BudgetSpentError):
        return None
    return None


def _slip(request: WireRequest, question: str, web: Web) -> WireReply:
    """A solver on a bad day: it gives up early, or takes a page that came up for the answer."""
    rng = rng_for("bad day", request.seed, question)
    try:
        hits = web.search(question, SLIP_HITS)
        if not hits or rng.random() < 0.5:
            return call_reply("answer", answer="", sources=[], failure="retrieval")
        hit = rng.choice(hits)
        web.visit(hit.url)
    except (BudgetSpentError, PageNotFoundError):
        return call_reply("answer", answer="", sources=[], failure="budget")
    return call_reply("answer", answer=hit.title[:MAX_ANSWER_CHARS] or "?", sources=[hit.url], failure="none")
