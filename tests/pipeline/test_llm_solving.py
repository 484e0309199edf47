"""Models over HTTP do what the programs behind them do: real server, real clients, questions of a real run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from datagen.agents.budget import Budget
from datagen.agents.llm.prompts import PromptBook
from datagen.agents.llm.solver import LlmSolver
from datagen.agents.llm.voice import Voice
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.clients.billing import billing
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ModelSpec
from datagen.clients.ledger import Ledger
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook
from datagen.clients.service import ChatService, Endpoint
from datagen.errors import UnusableReplyError
from datagen.knowledge.catalogue import Catalogue, load_catalogue
from datagen.language.parse import Parser
from datagen.practice.knobs import Fault, Knobs
from datagen.practice.minds import SymbolicMind
from datagen.practice.server import running
from datagen.records.shipped import shipped_file
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

pytestmark = pytest.mark.pipeline
KINDS = {"topdown": TopDownSolver, "bottomup": BottomUpSolver}
BUDGET = Budget()


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


@pytest.fixture(scope="module")
def web(small_web) -> SnapshotWeb:
    return SnapshotWeb(Snapshot.open(small_web))


@pytest.fixture(scope="module")
def catalogue(small_web) -> Catalogue:
    return load_catalogue(small_web / "knowledge" / "catalogue.json")


@pytest.fixture
def questions(datagen, small_run, tmp_path) -> list[str]:
    """Questions that both programs solved."""
    code, _, err = datagen("run", "demo", *small_run(tmp_path))
    assert code == 0, err
    return pl.read_parquet(tmp_path / "run" / "questions.parquet")["question"].to_list()


@dataclass
class Here:
    """A service and its ledger."""

    service: ChatService
    ledger: Ledger

    def complete(self, request, **where):
        return self.service.complete(request, **where)


def opened(url: str, folder: Path) -> Here:
    folder.mkdir(parents=True, exist_ok=True)
    engine = OpenAIEngine([url], identity="practice")
    ledger = Ledger(folder / "ledger.sqlite")
    service = ChatService(
        {"practice": Endpoint("practice", engine, attempts=12)},
        cache=ReplyCache(folder / "cache", "chat"),
        ledger=ledger,
        prices=PriceBook.load(shipped_file("prices.toml")),
    )
    return Here(service, ledger)


def solver(client, road: str) -> LlmSolver:
    voice = Voice(client, ModelSpec(road, "practice", f"practice-{road}"), "solver", PromptBook())
    return LlmSolver(voice, road, BUDGET)


def outcome(attempt) -> tuple[object, ...]:
    return attempt.answer, attempt.failure, attempt.searches, attempt.visits, sorted(attempt.urls)


def test_models_solve_what_the_programs_solve_with_the_same_calls(web, catalogue, questions, tmp_path):
    competence = Competence.of(catalogue, Parser(catalogue))
    with running(SymbolicMind(catalogue)) as server:
        client = opened(server.url, tmp_path / "here")
        for question in questions:
            for road, kind in KINDS.items():
                with billing() as bill:
                    found = solver(client, road).solve(question, web)
                assert outcome(found) == outcome(kind(competence, BUDGET).solve(question, web))
                assert bill.corrections == 0
        assert server.ledger()["totals"]["replies"] > len(questions)


def test_faults_cost_corrections_and_change_no_attempt(web, catalogue, questions, tmp_path):
    """Unless three turns in a row are spoiled: such an attempt ends with an error and never with another answer."""
    competence = Competence.of(catalogue, Parser(catalogue))
    corrections = spoiled = 0
    with running(SymbolicMind(catalogue), knobs=Knobs.each(0.02, *Fault, retry_after=0.01)) as server:
        client = opened(server.url, tmp_path / "here")
        for question in questions[:6]:
            try:
                with billing() as bill:
                    found = solver(client, "topdown").solve(question, web)
            except UnusableReplyError:
                spoiled += 1
                continue
            corrections += bill.corrections
            assert outcome(found) == outcome(TopDownSolver(competence, BUDGET).solve(question, web))
        assert server.ledger()["totals"]["output_tokens"] == client.ledger.totals().output_tokens
    assert corrections > 0
    assert spoiled < 6


def test_a_crash_in_the_middle_of_a_trajectory_resumes_without_a_repeated_call(web, catalogue, questions, tmp_path):
    class Mortal:
        def __init__(self, client, lives: int) -> None:
            self._client, self._lives = client, lives

        def complete(self, request, **where):
            if not self._lives:
                raise Killed
            self._lives -= 1
            return self._client.complete(request, **where)

    chosen = questions[:3]
    with running(SymbolicMind(catalogue)) as server:
        expected = [solver(opened(server.url, tmp_path / "one"), "topdown").solve(q, web) for q in chosen]
        once = server.ledger()["totals"]
    with running(SymbolicMind(catalogue)) as server:
        for question in chosen:
            for lives in (1, 3, 4):
                with pytest.raises(Killed):
                    solver(Mortal(opened(server.url, tmp_path / "two"), lives), "topdown").solve(question, web)
        found = [solver(opened(server.url, tmp_path / "two"), "topdown").solve(q, web) for q in chosen]
        assert server.ledger()["totals"] == once
    assert found == expected
