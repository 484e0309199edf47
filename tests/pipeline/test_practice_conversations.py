"""Conversations over the wire: a solver talks to a symbolic mind through HTTP as it does in one process, whatever breaks."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.practice_league import CATALOGUE, Table, league_web, voice, words
from tests.unit.test_agents_symbolic import QUESTIONS

from datagen.agents.llm.solver import LlmSolver
from datagen.clients.cache import ReplyCache
from datagen.clients.ledger import Ledger
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook
from datagen.clients.retrying import Patience
from datagen.clients.service import ChatService, Endpoint
from datagen.practice.knobs import TRANSPORT_FAULTS, Knobs, Latency
from datagen.practice.minds import SymbolicMind
from datagen.practice.server import running

pytestmark = pytest.mark.pipeline
BROKEN = Knobs(Latency("uniform", 0.0, 0.02), faults=dict.fromkeys(TRANSPORT_FAULTS, 0.06), retry_after=0.02, seed=2)


def service(server, folder: Path, *, stream: bool) -> ChatService:
    engine = OpenAIEngine([server.url], identity="practice", stream=stream)
    endpoint = Endpoint("here", engine, max_in_flight=16, start_in_flight=16, attempts=12)
    prices = PriceBook.load(Path(__file__).parents[2] / "data" / "prices.toml")
    # What is tested is what arrives, not how long anybody is willing to wait for it.
    patience = Patience(first=0.01, longest=0.05, jitter=0.01)
    return ChatService({"here": endpoint}, ReplyCache(folder, "chat"), Ledger(folder / "ledger.sqlite"), prices, patience=patience)  # fmt: skip


def attempts(client):
    def solve(name):
        return LlmSolver(voice(client), "m1").solve(words(name), league_web())

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(QUESTIONS, pool.map(solve, QUESTIONS), strict=True))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("knobs", [Knobs(), BROKEN], ids=["calm", "broken"])
def test_a_solver_gets_over_the_wire_what_it_gets_in_one_process(tmp_path, knobs, stream):
    expected = attempts(Table(SymbolicMind(CATALOGUE).answer))

    with running(SymbolicMind(CATALOGUE), knobs=knobs, ledger_path=tmp_path / "ledger.jsonl") as server:
        client = service(server, tmp_path, stream=stream)
        reached = attempts(client)
        billed = server.ledger()
    booked = Ledger(tmp_path / "ledger.sqlite").totals()

    assert reached == expected
    totals = {"replies": booked.calls, "input_tokens": booked.input_tokens, "output_tokens": booked.output_tokens}
    assert totals == billed["totals"]
    assert billed["answered_twice"] == 0
    assert bool(billed["aborted"]) == bool(knobs.faults)
    keys = [json.loads(line)["key"] for line in (tmp_path / "ledger.jsonl").read_bytes().splitlines()]
    assert len(keys) == len(set(keys)) == booked.calls
